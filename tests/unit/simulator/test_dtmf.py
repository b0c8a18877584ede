"""Touch tones: every key is heard through noise, level and twist, and speech presses nothing."""

import shutil
import subprocess

import numpy as np
import pytest
from numpy.typing import NDArray

from voice_openai_connect.simulator import dtmf, sound

ALL_KEYS = "0123456789ABCD#*"


def heard(data: bytes) -> str:
    detector = dtmf.DtmfDetector()
    return "".join(detector.feed(frame) for frame in sound.frames(data))


def pair(low: float, high: float, ms: float = 100, *, dbfs: tuple[float, float] = (-10, -10)) -> bytes:
    return sound.ulaw_encode(sound.tone(low, ms, dbfs[0]) + sound.tone(high, ms, dbfs[1]))


def noisy(data: bytes, *, snr_db: float, seed: int) -> bytes:
    clean = sound.ulaw_decode(data).astype(np.float64)
    tone_rms = sound.FULL_SCALE * 10 ** (dtmf.TONE_DBFS / 20)  # two equal sines
    noise = np.random.default_rng(seed).normal(0, tone_rms * 10 ** (-snr_db / 20), clean.size)
    return sound.ulaw_encode(np.clip(clean + noise, -32_768, 32_767).astype(np.int16))


def test_every_key_is_heard_in_order() -> None:
    assert heard(dtmf.tones(ALL_KEYS)) == ALL_KEYS


def test_a_key_pressed_again_and_again_is_heard_each_time() -> None:
    assert heard(dtmf.tones("0000000000#")) == "0000000000#"


def test_w_waits_half_a_second_and_capital_w_a_whole() -> None:
    assert dtmf.tones("wW") == sound.silence(1_500)


@pytest.mark.parametrize("wrong", ["a", "12 3", "+61", "١٢٣", "1\n"])
def test_only_the_keys_of_a_telephone_can_be_sent(wrong: str) -> None:
    with pytest.raises(ValueError, match="only 0-9 A-D"):
        dtmf.tones(wrong)


@pytest.mark.parametrize("offset", range(0, 160, 23))
def test_the_shortest_tones_allowed_are_heard_however_they_fall_on_the_frames(offset: int) -> None:
    assert heard(sound.silence_bytes(offset) + dtmf.tones(ALL_KEYS, tone_ms=40, gap_ms=40)) == ALL_KEYS


@pytest.mark.parametrize("seed", range(5))
def test_noise_15_db_under_the_tones_hides_nothing(seed: int) -> None:
    assert heard(noisy(dtmf.tones(ALL_KEYS, tone_ms=50, gap_ms=50), snr_db=15, seed=seed)) == ALL_KEYS


@pytest.mark.parametrize("level", [-7, -25, -38])
def test_loud_and_faint_tones_are_heard(level: float) -> None:
    assert heard(pair(770, 1336, dbfs=(level, level))) == "5"


def test_tones_too_faint_to_be_a_caller_are_not_heard() -> None:
    assert heard(pair(770, 1336, dbfs=(-50, -50))) == ""


@pytest.mark.parametrize(("low_db", "high_db"), [(-16, -10), (-10, -16), (-31, -25), (-25, -31)])
def test_six_decibels_of_twist_are_accepted_either_way(low_db: float, high_db: float) -> None:
    assert heard(pair(852, 1477, dbfs=(low_db, high_db))) == "9"


@pytest.mark.parametrize(("low_db", "high_db"), [(-22, -10), (-10, -22), (-10, -80)])
def test_a_tone_without_its_partner_is_not_a_key(low_db: float, high_db: float) -> None:
    assert heard(pair(852, 1477, dbfs=(low_db, high_db))) == ""


@pytest.mark.parametrize("detuned", [0.985, 1.015])
def test_a_sender_one_and_a_half_percent_off_is_understood(detuned: float) -> None:
    pressed = b"".join(
        pair(low * detuned, high * detuned, 50) + sound.silence(50) for low in dtmf.ROWS for high in dtmf.COLUMNS
    )

    assert heard(pressed) == "".join(dtmf.KEYS)


def test_a_drop_out_inside_a_tone_is_not_a_second_press() -> None:
    tone = pair(697, 1209, 60)

    assert heard(tone + sound.silence(12) + tone + sound.silence(12) + tone) == "1"


@pytest.mark.parametrize("ms", [12, 20])
@pytest.mark.parametrize("before", range(0, 160, 20))
def test_a_click_is_not_a_key(ms: int, before: int) -> None:
    assert heard(sound.silence_bytes(before) + pair(697, 1209, ms) + sound.silence(50)) == ""


@pytest.mark.parametrize("hz", [*dtmf.ROWS, *dtmf.COLUMNS, 440.0, 2_100.0])
def test_a_single_tone_is_not_a_key(hz: float) -> None:
    assert heard(sound.ulaw_encode(sound.tone(hz, 500))) == ""


def vowels(seed: int, seconds: int = 10) -> bytes:
    """Something voiced: the harmonics of a gliding pitch, shaped by formants that move every 150 ms."""
    rng = np.random.default_rng(seed)
    t = np.arange(seconds * sound.RATE) / sound.RATE
    steps = np.arange(0, seconds, 0.15)

    def glide(lowest: float, highest: float) -> NDArray[np.float64]:
        return np.interp(t, steps, rng.uniform(lowest, highest, steps.size))

    pitch, first, second = glide(90, 320), glide(300, 900), glide(900, 2_400)
    phase = 2 * np.pi * np.cumsum(pitch) / sound.RATE
    voice = np.zeros(t.size)
    for harmonic in range(1, 30):
        hz = harmonic * pitch
        strength = 1 / (1 + ((hz - first) / 90) ** 2) + 0.6 / (1 + ((hz - second) / 120) ** 2) + 0.02
        voice += np.where(hz < 3_800, strength / harmonic, 0) * np.sin(harmonic * phase)
    voice *= np.interp(t, steps, rng.uniform(0.1, 1, steps.size)) / np.abs(voice).max()
    return sound.ulaw_encode((voice * 30_000).astype(np.int16))


@pytest.mark.parametrize("seed", range(6))
def test_speech_presses_no_keys(seed: int) -> None:
    assert heard(vowels(seed)) == ""


def test_noise_alone_presses_no_keys() -> None:
    assert heard(noisy(sound.silence(20_000), snr_db=3, seed=1)) == ""


def test_keys_are_heard_while_a_far_voice_is_on_the_line() -> None:
    pressed = sound.ulaw_decode(dtmf.tones("0123456789#"))
    voice = sound.ulaw_decode(vowels(3))[: pressed.size] // 12

    assert heard(sound.ulaw_encode(pressed + voice)) == "0123456789#"


@pytest.mark.parametrize("length", [0, 159, 161, 320])
def test_a_frame_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="160 bytes"):
        dtmf.DtmfDetector().feed(b"\xff" * length)


@pytest.mark.skipif(shutil.which("multimon-ng") is None, reason="multimon-ng, the independent decoder, is not here")
def test_an_independent_decoder_hears_the_same_keys() -> None:
    samples = sound.resample(sound.ulaw_decode(dtmf.tones(ALL_KEYS)), 8_000, 22_050)
    # Raw samples at the decoder's own rate: a WAV it would only read with the help of sox.
    said = subprocess.run(
        ["multimon-ng", "-q", "-t", "raw", "-a", "DTMF", "-"], input=samples.tobytes(), capture_output=True, check=True
    ).stdout.decode()

    assert "".join(line.removeprefix("DTMF: ") for line in said.splitlines()) == ALL_KEYS
