"""The sound of one call, both ways, and what of it has arrived: every byte is compared with what was sent.

Both ends of a call are in this process, so what is to arrive is known: the caller's frames wait in the order they were
sent, the model's items byte by byte. The blocks themselves (`bench.load.blocks`) say whose they are, which is needed
only to say what went wrong.
"""

import base64
import binascii
from collections import deque
from typing import Final

from bench.audio.tally import Tally
from bench.load import blocks
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.limits import FRAME_BYTES, ULAW_SILENCE

FRAMES_WAIT: Final = 1_500
"""Thirty seconds of a caller that have not arrived: they are lost."""
_PADDING: Final = bytes([ULAW_SILENCE]) * FRAME_BYTES
_HOLDING: Final = holding_sound() * 2
"""The gateway's own sound, whole rounds of it: the only audio a caller may hear that the model has not made."""


class Upward:
    """A caller's frames on their way to the model."""

    def __init__(self, call: int, tally: Tally) -> None:
        self.number = 0
        self.must_arrive_from: float | None = None
        """When the model was ready. Frames sent before that may be thrown away, as old speech is."""
        self._call = call
        self._tally = tally
        self._sent: deque[tuple[bytes, float]] = deque()

    def next(self, now: float) -> bytes:
        """The next 20 ms, as base64."""
        audio = blocks.write(self._call, 0, self.number, blocks.stamp(now))
        payload = binascii.b2a_base64(audio, newline=False)
        self.number += 1
        self._sent.append((payload, now))
        if len(self._sent) > FRAMES_WAIT:
            self._sent.popleft()
            self._tally.complain("lost", f"a frame of call {self._call} did not arrive")
        return payload

    def arrived(self, payload: bytes, now: float) -> None:
        """An append has come: one frame as it was sent, or several in one piece."""
        if self._sent and self._sent[0][0] == payload:
            self._tally.up.append((now - self._sent.popleft()[1]) * 1_000)
        else:
            self._look_closer(payload, now)

    def _look_closer(self, payload: bytes, now: float) -> None:
        audio = _decoded(payload)
        if not audio or len(audio) % FRAME_BYTES:
            self._tally.complain("changed", f"call {self._call}: an append of {len(audio)} bytes")
            return
        sent_at = now
        for start in range(0, len(audio), FRAME_BYTES):
            piece = binascii.b2a_base64(audio[start : start + FRAME_BYTES], newline=False)
            sent_at = self._find(piece, now)
        if len(audio) > FRAME_BYTES:
            self._tally.up.append((now - sent_at) * 1_000)

    def _find(self, payload: bytes, now: float) -> float:
        """Take one frame out of those that wait, and say when it was sent; whatever was before it is lost."""
        if not any(payload == sent for sent, _ in self._sent):
            self._tally.complain(*_what_is_wrong(_decoded(payload), self._call))
            return now
        while True:
            sent, sent_at = self._sent.popleft()
            if sent == payload:
                return sent_at
            if self.must_arrive_from is None or sent_at > self.must_arrive_from:
                self._tally.complain("lost", f"a frame of call {self._call} was passed over")

    def waiting(self, before: float) -> int:
        """How many frames sent before this moment have not arrived, of those that must."""
        since = self.must_arrive_from
        return 0 if since is None else sum(1 for _, at in self._sent if since < at < before)


class Item:
    """One piece of the model's speech on its way to the caller."""

    def __init__(self, call: int, number: int, frames: int, now: float) -> None:
        self.audio = b"".join(blocks.write(call, number, n, blocks.stamp(now)) for n in range(frames))
        self.sent: deque[tuple[int, float]] = deque()
        """Up to which byte was sent, and when."""
        self.heard = 0

    def sent_at(self, position: int, now: float) -> float:
        """When the byte before `position` was sent."""
        while self.sent and self.sent[0][0] < position:
            self.sent.popleft()
        return self.sent[0][1] if self.sent else now


class Downward:
    """The model's items on their way to the caller, in order."""

    def __init__(self, call: int, tally: Tally) -> None:
        self._call = call
        self._tally = tally
        self._items: deque[Item] = deque()
        self._count = 0

    def new_item(self, frames: int, now: float) -> Item:
        """The model begins to speak."""
        self._count += 1
        item = Item(self._call, self._count % 65_536, frames, now)
        self._items.append(item)
        return item

    def arrived(self, audio: bytes, now: float) -> None:
        """The caller's side was given these bytes."""
        while self._items and self._items[0].heard == len(self._items[0].audio):
            self._items.popleft()
        item = self._items[0] if self._items else None
        if item is not None and item.audio.startswith(audio, item.heard):
            item.heard += len(audio)
            sent_at = item.sent_at(item.heard, now)
            self._tally.down.append((now - sent_at) * 1_000)
        elif _is_holding(audio):
            self._tally.counts["holding sound, frames"] += len(audio) // FRAME_BYTES
        else:
            self._tally.complain(*_what_is_wrong(audio, self._call))

    def cleared(self) -> None:
        """What was not heard will not come any more."""
        self._items.clear()

    def missing(self) -> int:
        """Frames that were sent to the caller and have not come."""
        return sum((item.sent[-1][0] - item.heard if item.sent else 0) for item in self._items) // FRAME_BYTES


def _decoded(payload: bytes) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except ValueError:
        return b""


def _is_holding(audio: bytes) -> bool:
    return audio in _HOLDING or audio == _PADDING[: len(audio)]


def _what_is_wrong(audio: bytes, call: int) -> tuple[str, str]:
    """A word for it, and a sentence."""
    block = blocks.read(audio[:FRAME_BYTES])
    if block is None:
        return "changed", f"call {call} was given {len(audio)} bytes that nobody sent: {audio[:16].hex()}"
    if block.call != call:
        return "crossed", f"call {call} was given sound of call {block.call}"
    return "out of order", f"call {call} was given block {block.number} of {block.turn}, late, early or again"
