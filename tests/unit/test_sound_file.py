import math
import wave
from array import array
from pathlib import Path

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.simulator import sound
from voice_openai_connect.sound_file import RATES, SoundError, read_holding_sound

PEAK = 2_000
MINUS_ZERO = 0x7F


def tone(rate: int, ms: int = 1_000, peak: float = PEAK) -> "array[int]":
    return array("h", (round(peak * math.sin(2 * math.pi * 440 * n / rate)) for n in range(rate * ms // 1_000)))


def wav(path: Path, samples: "array[int]", rate: int = 8_000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SoundError) as refused:
        read_holding_sound(path)
    return str(refused.value)


@pytest.mark.parametrize("rate", RATES)
def test_a_recording_of_any_usual_rate_sounds_the_same_on_the_telephone(tmp_path: Path, rate: int) -> None:
    heard = sound.ulaw_decode(read_holding_sound(wav(tmp_path / "hold.wav", tone(rate), rate)))
    wanted = tone(8_000)

    assert len(heard) == len(wanted)
    errors = [abs(int(a) - b) for a, b in zip(heard[400:-400], wanted[400:-400], strict=True)]
    assert max(errors) < PEAK / 20


def test_of_two_channels_both_are_heard(tmp_path: Path) -> None:
    left = tone(8_000, peak=2 * PEAK)
    both = array("h", (value for sample in left for value in (sample, 0)))
    stereo = read_holding_sound(wav(tmp_path / "two.wav", both, channels=2))

    assert stereo == read_holding_sound(wav(tmp_path / "one.wav", tone(8_000)))


@pytest.mark.parametrize("suffix", [".ulaw", ".UL"])
def test_bare_ulaw_is_taken_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"hold{suffix}"
    path.write_bytes(holding_sound())

    assert read_holding_sound(path) == holding_sound()


def test_every_ulaw_code_survives(tmp_path: Path) -> None:
    path = tmp_path / "hold.ulaw"
    softly = bytes(code for code in range(256) if code & 0x70 >= 0x30 and code != MINUS_ZERO) * 32
    path.write_bytes(softly)

    assert set(read_holding_sound(path)) == set(softly)


def test_the_last_frame_is_filled_up_with_silence(tmp_path: Path) -> None:
    heard = read_holding_sound(wav(tmp_path / "hold.wav", tone(8_000)[:-100]))

    assert len(heard) == 8_000
    assert heard[-100:] == bytes([limits.ULAW_SILENCE]) * 100


# --- what will not do


def test_a_file_that_is_not_there_or_no_file_is_named_as_such(tmp_path: Path) -> None:
    assert "cannot be read (FileNotFoundError)" in refusal(tmp_path / "hold.wav")
    assert "cannot be read (IsADirectoryError)" in refusal(tmp_path)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"ID3 an mp3 of somebody's", b"RIFF\x00\x00\x00\x00WAVEfmt "])
def test_what_is_no_wav_is_refused_with_the_command_that_makes_one(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "music.mp3"
    path.write_bytes(data)

    assert "ffmpeg -i music.mp3 -ac 1 -ar 8000 -c:a pcm_s16le hold.wav" in refusal(path)


@pytest.mark.parametrize(
    ("rate", "channels", "width", "seen"),
    [
        (11_025, 1, 2, "16 bits, 1 channels, 11025 Hz"),
        (8_000, 4, 2, "16 bits, 4 channels, 8000 Hz"),
        (8_000, 1, 1, "8 bits, 1 channels, 8000 Hz"),
    ],
)
def test_a_wav_of_another_kind_is_refused_with_what_it_is_and_the_remedy(
    tmp_path: Path, rate: int, channels: int, width: int, seen: str
) -> None:
    said = refusal(wav(tmp_path / "hold.wav", tone(rate), rate, channels, width))

    assert seen in said
    assert "ffmpeg -i hold.wav" in said


@pytest.mark.parametrize("ms", [limits.HOLD_SOUND_MIN_MS - 20, limits.HOLD_SOUND_MAX_MS + 20])
def test_a_length_that_callers_cannot_be_asked_to_bear_is_refused(tmp_path: Path, ms: int) -> None:
    assert "0.5 to 20 s" in refusal(wav(tmp_path / "hold.wav", tone(8_000, ms)))


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "hold.wav"
    with path.open("wb") as file:
        file.truncate(limits.HOLD_FILE_BYTES * 1_000)

    assert "is larger than 4 MB" in refusal(path)


@pytest.mark.parametrize(("peak", "fault"), [(30_000, "too loud (-4 dBFS)"), (100, "too soft (-53 dBFS)")])
def test_a_volume_that_would_not_do_is_refused_with_the_one_that_would(tmp_path: Path, peak: int, fault: str) -> None:
    said = refusal(wav(tmp_path / "hold.wav", tone(8_000, peak=peak)))

    assert fault in said
    change = int(said.rpartition("volume=")[2].partition("dB")[0])
    better = tone(8_000, peak=peak * 10 ** (change / 20))
    assert read_holding_sound(wav(tmp_path / "better.wav", better))


def test_silence_is_no_sound(tmp_path: Path) -> None:
    assert "is silent" in refusal(wav(tmp_path / "hold.wav", array("h", [0] * 8_000)))


@pytest.mark.parametrize("pauses", [(0, 16_000, 0), (8_000, 8_000)], ids=["in the middle", "at both ends"])
def test_a_long_pause_sounds_like_a_dead_line_and_is_refused(tmp_path: Path, pauses: tuple[int, ...]) -> None:
    """The end meets the beginning, because it is repeated."""
    samples = array("h", [0] * pauses[0])
    for pause in pauses[1:]:
        samples.extend(tone(8_000))
        samples.extend([0] * pause)

    assert "a pause of 2.0 s" in refusal(wav(tmp_path / "hold.wav", samples))


def test_our_own_two_notes_would_be_taken(tmp_path: Path) -> None:
    path = tmp_path / "ours.ulaw"
    path.write_bytes(holding_sound())

    assert read_holding_sound(path)
