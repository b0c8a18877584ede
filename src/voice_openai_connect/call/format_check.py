"""Whether what calls itself µ-law really is: a service that confirms G.711 and sends PCM would be noise in the ear.

16-bit PCM shows itself in its bytes. Sound moves slowly from sample to sample, so of every two bytes the high one
changes little and the low one is as good as random. In µ-law every byte is a sample, and all are alike.
"""

from collections.abc import Callable
from operator import sub
from typing import Final

from voice_openai_connect import limits

ENOUGH_BYTES: Final = limits.FORMAT_TELLS_MS * limits.BYTES_PER_MS
CERTAIN_BYTES: Final = limits.FORMAT_CERTAIN_MS * limits.BYTES_PER_MS
_ZEROS: Final = 0.5
"""µ-law silence is 0xFF; zeros by the hundred are PCM's silence."""
_CALMER: Final = 0.5
"""High bytes that move less than half as much as low ones: above 0.8 for µ-law, below 0.3 for PCM, as measured."""
_APART: Final = tuple(min(step, 256 - step) for step in range(256))
"""How far two values are apart that differ by so much. A negative difference counts from the end: it is a circle."""


def looks_like_pcm16(audio: bytes) -> bool:
    """True if these bytes (a stream from its beginning) are 16-bit samples, low byte first, and not µ-law."""
    if len(audio) < ENOUGH_BYTES:
        return False
    if audio.count(0) > len(audio) * _ZEROS:
        return True
    step = 2 + 2 * (len(audio) // (2 * limits.FORMAT_PAIRS))
    return _movement(audio[1::step], audio[3::step]) < _CALMER * _movement(audio[::step], audio[2::step])


def _movement(values: bytes, neighbours: bytes) -> float:
    """How far each is apart from its neighbour on average, around the circle of 256."""
    return sum(map(_APART.__getitem__, map(sub, values, neighbours))) / len(neighbours)


class FormatCheck:
    """Looks at the beginning of what a session sends, until its format is certain."""

    def __init__(self, sounds_wrong: Callable[[bytes], bool]) -> None:
        self._sounds_wrong = sounds_wrong
        self._first_bytes = b""

    def begin(self) -> None:
        """Another session: the next audio is its first."""
        self._first_bytes = b""

    def refuses(self, audio: bytes) -> bool:
        """Whether this piece, with all before it, shows another format than ours."""
        if len(self._first_bytes) >= CERTAIN_BYTES:
            return False
        self._first_bytes += audio[:CERTAIN_BYTES]
        return self._sounds_wrong(self._first_bytes)
