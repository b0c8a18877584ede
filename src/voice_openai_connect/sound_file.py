"""A holding sound of the company's own: a WAV or µ-law file, read and made ready for the telephone once, at start.

What would not do on a telephone is refused with the remedy: callers who wait hear nothing else.
"""

import io
import math
import wave
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.holding_sound import ulaw_code
from voice_openai_connect.resample import TELEPHONE_HZ, to_telephone_rate

RATES: Final = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
ULAW_SUFFIXES: Final = frozenset({".ulaw", ".ul"})
_SAMPLE_BYTES: Final = 2
_FULL_SCALE: Final = 32_768
_WINDOW: Final = TELEPHONE_HZ // 10
"""Loudness is judged by tenths of a second: shorter is a click, longer would hide a pause."""


class SoundError(Exception):
    """A file that cannot be the holding sound. The text says what is wrong with it and what to do, without its name."""


def read_holding_sound(path: Path) -> bytes:
    """One round of the holding sound: µ-law at 8 kHz, whole frames.

    Takes WAV (16 bits, mono or stereo, one of `RATES`) and bare µ-law at 8 kHz (`.ulaw`, `.ul`). Raises `SoundError`.
    """
    data = _bytes_of(path)
    samples = _decoded_ulaw(data) if path.suffix.lower() in ULAW_SUFFIXES else _from_wav(data, path.name)
    _look_at_length(len(samples))
    _listen(samples, path.name)
    sound = bytes(map(ulaw_code, samples))
    whole_frames = -(-len(sound) // limits.FRAME_BYTES) * limits.FRAME_BYTES
    return sound.ljust(whole_frames, bytes([limits.ULAW_SILENCE]))


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limits.HOLD_FILE_BYTES + 1)
    except OSError as error:
        raise SoundError(f"cannot be read ({type(error).__name__}). Check the path and its permissions") from None
    if len(data) > limits.HOLD_FILE_BYTES:
        raise SoundError(f"is larger than {limits.HOLD_FILE_BYTES // 1_000_000} MB. Cut it shorter")
    return data


def _from_wav(data: bytes, name: str) -> list[int]:
    remedy = f"Convert it: ffmpeg -i {name} -ac 1 -ar 8000 -c:a pcm_s16le hold.wav"
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            pcm = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise SoundError(f"is not a WAV file that can be read ({error or 'it ends too soon'}). {remedy}") from None
    if width != _SAMPLE_BYTES or channels not in {1, 2} or rate not in RATES:
        seen = f"{8 * width} bits, {channels} channels, {rate} Hz"
        raise SoundError(
            f"has {seen}; 16 bits, mono or stereo, at {', '.join(map(str, RATES))} Hz can be used. {remedy}"
        )
    _look_at_length(len(pcm) // (_SAMPLE_BYTES * channels) * TELEPHONE_HZ // rate)  # before the work, not after it
    lowered = to_telephone_rate(_mono(pcm, channels), rate)
    return [max(-_FULL_SCALE, min(_FULL_SCALE - 1, round(sample))) for sample in lowered]


def _mono(pcm: bytes, channels: int) -> Sequence[float]:
    """Little-endian samples as they are; of two channels, the mean."""
    samples = array("h")
    samples.frombytes(pcm[: len(pcm) // (_SAMPLE_BYTES * channels) * _SAMPLE_BYTES * channels])
    if array("H", b"\x01\x00")[0] != 1:
        samples.byteswap()
    return samples if channels == 1 else [(a + b) / 2 for a, b in zip(samples[::2], samples[1::2], strict=True)]


def _decoded_ulaw(data: bytes) -> list[int]:
    """What each byte stands for (ITU-T G.711), on the 16-bit scale."""
    levels = [_level(code ^ 0xFF) for code in range(256)]
    return [levels[code] for code in data]


def _level(code: int) -> int:
    magnitude = (((code & 0x0F) << 3) + 132 << (code >> 4 & 7)) - 132
    return -magnitude if code & 0x80 else magnitude


# --- Whether it will do


def _look_at_length(samples: int) -> None:
    ms = samples * 1_000 // TELEPHONE_HZ
    if not limits.HOLD_SOUND_MIN_MS <= ms <= limits.HOLD_SOUND_MAX_MS:
        low, high = limits.HOLD_SOUND_MIN_MS / 1_000, limits.HOLD_SOUND_MAX_MS / 1_000
        raise SoundError(
            f"is {ms / 1_000:.1f} s long. Make it {low:g} to {high:g} s: it is repeated while callers wait"
        )


def _listen(samples: Sequence[int], name: str) -> None:
    """Loud enough, soft enough, and never silent for long. It is played round after round, so its ends meet."""
    levels = [_dbfs(samples[at : at + _WINDOW]) for at in range(0, len(samples), _WINDOW)]
    loudest = max(levels)
    if loudest == -math.inf:
        raise SoundError("is silent. Give another file, or leave the line out")
    if not -limits.HOLD_SOFTEST_DB <= loudest <= -limits.HOLD_LOUDEST_DB:
        wrong = "soft" if loudest < -limits.HOLD_SOFTEST_DB else "loud"
        remedy = f"ffmpeg -i {name} -af volume={-limits.HOLD_AIM_DB - loudest:.0f}dB hold.wav"
        raise SoundError(f"is too {wrong} ({loudest:.0f} dBFS). Change its volume: {remedy}")
    pause_ms = 100 * _longest_pause([level < -limits.HOLD_SOFTEST_DB for level in levels])
    if pause_ms > limits.HOLD_PAUSE_MS:
        raise SoundError(
            f"has a pause of {pause_ms / 1_000:.1f} s, its end and its beginning together. "
            f"Keep pauses below {limits.HOLD_PAUSE_MS / 1_000:g} s: callers take longer ones for a dead line"
        )


def _dbfs(samples: Sequence[int]) -> float:
    power = sum(sample * sample for sample in samples) / len(samples)
    return 10 * math.log10(power / _FULL_SCALE**2) if power else -math.inf


def _longest_pause(quiet: Sequence[bool]) -> int:
    """Of windows that are played in a ring; at least one is not quiet."""
    longest = now = 0
    for is_quiet in (*quiet, *quiet):
        now = now + 1 if is_quiet else 0
        longest = max(longest, now)
    return longest
