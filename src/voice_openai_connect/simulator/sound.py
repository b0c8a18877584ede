"""Sound as the town knows it: µ-law bytes on the line, 16-bit samples for sums. All at 8 kHz unless a rate is named.

Levels are dBFS where 0 is a sine that just fits into 16 bits, so `level_dbfs(tone(..., dbfs=-20))` is -20.
"""

import math
import wave
from itertools import pairwise, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voice_openai_connect.limits import BYTES_PER_MS, FRAME_BYTES, ULAW_SILENCE

RATE = 8_000
FULL_SCALE = 32_767

Samples = NDArray[np.int16]


def _encoding_table() -> NDArray[np.uint8]:
    """The code of every 16-bit sample, indexed by the sample's two's complement (ITU-T G.711, table 2a)."""
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int64)
    quarter = sample >> 2  # µ-law compands 14 bits
    magnitude = np.minimum(np.abs(quarter), 8_158) + 33
    segment = np.floor(np.log2(magnitude)).astype(np.int64) - 5
    code = (segment << 4) | ((magnitude >> (segment + 1)) & 0x0F)
    return (code ^ np.where(sample < 0, 0x7F, 0xFF)).astype(np.uint8)


def _decoding_table() -> Samples:
    """The sample of every code."""
    code = ~np.arange(256, dtype=np.int64) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


_ENCODE = _encoding_table()
_DECODE = _decoding_table()


def ulaw_encode(samples: Samples) -> bytes:
    """16-bit samples as G.711 µ-law, one byte each."""
    return _ENCODE[samples.astype(np.int16, copy=False).view(np.uint16)].tobytes()


def ulaw_decode(data: bytes) -> Samples:
    """G.711 µ-law bytes as 16-bit samples."""
    return _DECODE[np.frombuffer(data, dtype=np.uint8)]


def resample(samples: Samples, rate_from: int, rate_to: int) -> Samples:
    """The same sound at another rate, band-limited (soxr, high quality). The length follows the rates."""
    if rate_from == rate_to:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, rate_from, rate_to), dtype=np.int16)


def frames(data: bytes) -> list[bytes]:
    """µ-law cut into 20 ms frames of 160 bytes, the last one padded with silence."""
    padded = data + silence_bytes(-len(data) % FRAME_BYTES)
    return [padded[i : i + FRAME_BYTES] for i in range(0, len(padded), FRAME_BYTES)]


def silence_bytes(count: int) -> bytes:
    """That many µ-law samples of silence."""
    return bytes([ULAW_SILENCE]) * count


def silence(ms: float) -> bytes:
    """µ-law silence of that length."""
    return silence_bytes(round(ms * BYTES_PER_MS))


def tone(hz: float, ms: float, dbfs: float = -12.0) -> Samples:
    """A sine, starting at phase 0."""
    t = np.arange(round(ms * BYTES_PER_MS)) / RATE
    return np.rint(FULL_SCALE * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def level_dbfs(samples: Samples) -> float:
    """The level of the whole, minus infinity for silence or nothing."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0
    return 10 * math.log10(2 * power / FULL_SCALE**2) if power else -math.inf


def frame_levels(data: bytes) -> list[float]:
    """The level in dBFS of each 20 ms frame of µ-law."""
    return [level_dbfs(ulaw_decode(frame)) for frame in frames(data)]


def longest_silence_ms(*sides: bytes, below_dbfs: float = -50.0) -> int:
    """The longest run of frames under that level on every side: what a caller would call dead air."""
    levels = [max(frame) for frame in zip_longest(*map(frame_levels, sides), fillvalue=-math.inf)]
    loud = [i for i, level in enumerate(levels) if level >= below_dbfs]
    edges = [-1, *loud, len(levels)]
    return max(after - before - 1 for before, after in pairwise(edges)) * FRAME_BYTES // BYTES_PER_MS


def write_stereo_wav(path: Path, left: bytes, right: bytes) -> None:
    """Write µ-law from two sides as one 16-bit WAV at 8 kHz; the shorter side is filled up with silence."""
    length = max(len(left), len(right))
    sides = [ulaw_decode(side + silence_bytes(length - len(side))) for side in (left, right)]
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes(np.column_stack(sides).astype("<i2").tobytes())


def read_stereo_wav(path: Path) -> tuple[Samples, Samples]:
    """The two sides of what `write_stereo_wav` wrote. Raises `ValueError` for any other kind of WAV."""
    with wave.open(str(path), "rb") as wav:
        if (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) != (2, 2, RATE):
            raise ValueError(f"{path} is not a stereo 16-bit WAV at {RATE} Hz")
        both = np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2").astype(np.int16).reshape(-1, 2)
    return both[:, 0], both[:, 1]
