"""The town's sound: exactly G.711, and levels that mean something."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from voice_openai_connect.simulator import sound

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    audioop = pytest.importorskip("audioop", reason="the standard library's codec left in Python 3.13")

EVERY_SAMPLE = np.arange(-32_768, 32_768).astype(np.int16)
EVERY_CODE = bytes(range(256))


def test_every_sample_is_encoded_as_the_standard_library_does() -> None:
    assert sound.ulaw_encode(EVERY_SAMPLE) == audioop.lin2ulaw(EVERY_SAMPLE.tobytes(), 2)


def test_every_code_is_decoded_as_the_standard_library_does() -> None:
    assert sound.ulaw_decode(EVERY_CODE).tobytes() == audioop.ulaw2lin(EVERY_CODE, 2)


def test_a_decoded_code_encodes_to_itself_except_negative_zero() -> None:
    again = sound.ulaw_encode(sound.ulaw_decode(EVERY_CODE))

    assert [code for code in range(256) if again[code] != code] == [0x7F]
    assert again[0x7F] == 0xFF


def test_frames_are_160_bytes_and_the_last_is_filled_with_silence() -> None:
    cut = sound.frames(b"\x01" * 200)

    assert [len(frame) for frame in cut] == [160, 160]
    assert cut[1] == b"\x01" * 40 + b"\xff" * 120


def test_no_sound_is_no_frames() -> None:
    assert sound.frames(b"") == []


@pytest.mark.parametrize("dbfs", [-3.0, -20.0, -40.0])
def test_a_tone_has_the_level_it_was_asked_for(dbfs: float) -> None:
    made = sound.tone(1_000, 100, dbfs)

    assert made.size == 800
    assert sound.level_dbfs(made) == pytest.approx(dbfs, abs=0.1)


def test_silence_has_no_level() -> None:
    assert sound.level_dbfs(sound.ulaw_decode(sound.silence(20))) == -math.inf
    assert sound.level_dbfs(np.zeros(0, dtype=np.int16)) == -math.inf


def test_each_frame_has_its_own_level() -> None:
    loud = sound.ulaw_encode(sound.tone(1_000, 20, -10))

    levels = sound.frame_levels(sound.silence(20) + loud)

    assert levels == [-math.inf, pytest.approx(-10, abs=0.5)]


@pytest.mark.parametrize(
    ("before", "between", "after", "longest"), [(100, 40, 60, 100), (0, 300, 20, 300), (20, 0, 500, 500)]
)
def test_the_longest_silence_is_found_wherever_it_is(before: int, between: int, after: int, longest: int) -> None:
    word = sound.ulaw_encode(sound.tone(300, 60, -12))

    heard = sound.silence(before) + word + sound.silence(between) + word + sound.silence(after)

    assert sound.longest_silence_ms(heard) == longest


def test_resampling_keeps_pitch_level_and_duration() -> None:
    made = sound.resample(sound.tone(440, 500, -12), 8_000, 24_000)

    spectrum = np.abs(np.fft.rfft(made.astype(np.float64)))
    assert made.size == 12_000
    assert int(spectrum.argmax()) * 24_000 / made.size == pytest.approx(440, abs=2)
    assert sound.level_dbfs(made) == pytest.approx(-12, abs=0.3)


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    samples = sound.tone(440, 20)

    assert sound.resample(samples, 8_000, 8_000) is samples


def test_a_stereo_wav_keeps_both_sides_and_fills_the_shorter(tmp_path: Path) -> None:
    left, right = EVERY_CODE, b"\x12" * 100

    sound.write_stereo_wav(tmp_path / "call.wav", left, right)

    read_left, read_right = sound.read_stereo_wav(tmp_path / "call.wav")
    assert np.array_equal(read_left, sound.ulaw_decode(left))
    assert np.array_equal(read_right, sound.ulaw_decode(right + b"\xff" * 156))


def test_another_kind_of_wav_is_refused(tmp_path: Path) -> None:
    import wave

    path = tmp_path / "mono.wav"
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(8_000)

    with pytest.raises(ValueError, match="not a stereo 16-bit WAV at 8000 Hz"):
        sound.read_stereo_wav(path)
