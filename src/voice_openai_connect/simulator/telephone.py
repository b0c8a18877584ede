"""A telephone line between two ends: 20 ms frames of µ-law both ways, until somebody hangs up.

The line carries; it does not pace. Whoever sends is expected to send a frame every 20 ms of real time.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from voice_openai_connect.limits import FRAME_BYTES, ULAW_SILENCE

SILENCE = bytes([ULAW_SILENCE]) * FRAME_BYTES
FRAME_S = 0.02


@dataclass
class LineEnd:
    """One end of a line. `near` is this end's number, `far` the other's (empty when withheld)."""

    near: str
    far: str
    _other: "LineEnd | None" = None
    _inbox: deque[bytes] = field(default_factory=deque[bytes])
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: bool = False
    """True once either end has hung up."""

    def send(self, frame: bytes) -> None:
        """Send one 160-byte frame; lost if the line is down."""
        if len(frame) != FRAME_BYTES:
            message = f"a telephone line carries {FRAME_BYTES}-byte frames, not {len(frame)}"
            raise ValueError(message)
        if self._other is not None and not self.hung_up:
            self._other._inbox.append(frame)  # noqa: SLF001 - the two ends are one thing
            self._other._arrived.set()  # noqa: SLF001

    async def receive(self) -> bytes | None:
        """The next frame from the other end, or None once the line is down and everything has been heard."""
        while not self._inbox:
            if self.hung_up:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self._inbox.popleft()

    def receive_now(self) -> bytes | None:
        """A frame that is already here, or None."""
        return self._inbox.popleft() if self._inbox else None

    def hang_up(self) -> None:
        """End the call for both ends. May be called twice."""
        for end in (self, self._other):
            if end is not None:
                end.hung_up = True
                end._arrived.set()

    async def until_hung_up(self) -> None:
        """Return when the line is down, leaving unheard frames in place."""
        while not self.hung_up:
            self._arrived.clear()
            await self._arrived.wait()


def line(caller: str, called: str) -> tuple[LineEnd, LineEnd]:
    """A line from `caller` to `called`: the caller's end and the called end."""
    a, b = LineEnd(near=caller, far=called), LineEnd(near=called, far=caller)
    a._other, b._other = b, a  # noqa: SLF001
    return a, b


class Subscriber(Protocol):
    """Somebody with a telephone number."""

    async def answer(self, end: LineEnd) -> None:
        """Take a call; return when it is over. The far end hears what is sent from the moment this is called."""
        ...
