"""Marked audio: 20 ms of near silence that say whose they are, where they belong and when they were made.

Everything the load generator puts on a line is such blocks, in both directions. Whoever takes one out at the other
end knows whether a byte was changed, a block lost, repeated or given to another call, and how long it was on its way.
"""

import random
from typing import Final, NamedTuple

from voice_openai_connect.limits import FRAME_BYTES

_MAGIC: Final = 0xC5
_HEAD: Final = 26
_DIGITS: Final = b"0123456789abcdef"
_QUIET: Final = bytes(range(0xF0, 0x100))
"""The sixteen softest positive codes of µ-law: one for each hexadecimal digit."""
_TO_SOUND: Final = bytes.maketrans(_DIGITS, _QUIET)
_TO_DIGITS: Final = bytes(_DIGITS[_QUIET.index(code)] if code in _QUIET else ord("?") for code in range(256))
_BEGINNING: Final = (b"%02x" % _MAGIC).translate(_TO_SOUND)
_FILLER_KINDS: Final = 256
_FILLER_RANDOM: Final = random.Random(160)
_FILLERS: Final = tuple(bytes(_FILLER_RANDOM.choices(_QUIET, k=FRAME_BYTES - _HEAD)) for _ in range(_FILLER_KINDS))
CLOCK: Final = 1 << 32
"""`at` counts tenths of a millisecond and begins anew here: after five days."""


class Block(NamedTuple):
    """What a block says of itself."""

    call: int
    """Which call it belongs to, below 2^24."""
    turn: int
    """Caller: the turn being spoken, 0 for silence. Model: the item. Below 2^16."""
    number: int
    """Counts from 0: the caller's blocks in the call, the model's in the item. Below 2^24."""
    at: int
    """When it was made, in tenths of a millisecond of the generator's clock."""


def write(call: int, turn: int, number: int, at: int) -> bytes:
    """160 bytes of µ-law that `read` understands."""
    value = (((_MAGIC << 24 | call) << 16 | turn) << 24 | number) << 32 | at % CLOCK
    return (b"%026x" % value).translate(_TO_SOUND) + _FILLERS[_filler(call, number)]


def read(audio: bytes) -> Block | None:
    """The block, or None if these bytes are not one that `write` made."""
    if len(audio) != FRAME_BYTES or audio[:2] != _BEGINNING:
        return None
    digits = audio[:_HEAD].translate(_TO_DIGITS)
    if b"?" in digits:
        return None
    value = int(digits, 16)
    call, number = value >> 72 & 0xFFFFFF, value >> 32 & 0xFFFFFF
    if audio[_HEAD:] != _FILLERS[_filler(call, number)]:
        return None
    return Block(call, value >> 56 & 0xFFFF, number, value & 0xFFFFFFFF)


def age_ms(block: Block, now: float) -> float:
    """How old a block is at `now`, in seconds of the clock that `stamp` reads."""
    return (stamp(now) - block.at) % CLOCK / 10


def stamp(seconds: float) -> int:
    """A moment as blocks carry it."""
    return int(seconds * 10_000)


def _filler(call: int, number: int) -> int:
    return (call * 31 + number) % _FILLER_KINDS
