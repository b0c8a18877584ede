"""What the caller hears while somebody is being waited for: two soft notes and a pause. Made here, owned by nobody."""

from functools import cache
from math import cos, pi, sin
from typing import Final

from voice_openai_connect import limits

RATE: Final = 8_000
NOTES_HZ: Final = (523.25, 659.25)
NOTE_MS: Final = 350
LEVEL: Final = 1_400
"""Peak on the 16-bit scale: about -27 dBFS, well below speech."""
_BIAS: Final = 33
_CLIP: Final = 8_158


def ulaw_code(sample: int) -> int:
    """One 16-bit sample as a µ-law byte (ITU-T G.711, which knows 14 bits of it)."""
    level = sample >> 2
    magnitude = min(abs(level), _CLIP) + _BIAS
    exponent = magnitude.bit_length() - 6
    mantissa = (magnitude >> (exponent + 1)) & 0x0F
    return (exponent << 4 | mantissa) ^ (0x7F if level < 0 else 0xFF)


def _note(hz: float) -> bytes:
    """A note that swells and fades, so that it neither begins nor ends with a click."""
    length = NOTE_MS * RATE // 1_000
    return bytes(
        ulaw_code(round(LEVEL * (1 - cos(2 * pi * n / length)) / 2 * sin(2 * pi * hz * n / RATE)))
        for n in range(length)
    )


@cache
def holding_sound() -> bytes:
    """One round: µ-law, `HOLD_MS` long, whole frames."""
    sound = b"".join(_note(hz) for hz in NOTES_HZ)
    return sound.ljust(limits.HOLD_MS * limits.BYTES_PER_MS, bytes([limits.ULAW_SILENCE]))
