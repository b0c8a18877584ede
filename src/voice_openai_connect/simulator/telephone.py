"""A telephone line between two ends: 20 ms frames of µ-law both ways, until somebody hangs up.

The line carries; it does not pace. Whoever sends is expected to send a frame every 20 ms of real time,
and `FrameClock` says when. Keys travel beside the audio, as a telephone network carries them.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

from voice_openai_connect.limits import FRAME_BYTES, ULAW_SILENCE
from voice_openai_connect.simulator import sound

SILENCE: Final = bytes([ULAW_SILENCE]) * FRAME_BYTES
FRAME_S: Final = 0.02
FRAME_MS: Final = 20
KEYS: Final = "0123456789*#ABCD"


def _ringback() -> list[bytes]:
    ring = sound.ulaw_encode(sound.tone(440, 2_000, -22) + sound.tone(480, 2_000, -22))
    return sound.frames(ring + sound.silence(4_000))


RINGBACK: Final = _ringback()
"""What a caller hears while it rings, in frames: 440 and 480 Hz for two seconds, then four of nothing."""


class NotTaken(Exception):  # noqa: N818 - a call that is not taken is an answer, not an error
    """What a subscriber raises instead of answering. `status` is the word a carrier has for it."""

    status = "failed"


class Busy(NotTaken):
    """The subscriber is talking to somebody else."""

    status = "busy"


class NoAnswer(NotTaken):
    """It rang, and nobody came."""

    status = "no-answer"


class Canceled(NotTaken):
    """The dial was given up from outside before anybody answered."""

    status = "canceled"


class Failed(NotTaken):
    """The number cannot be reached."""


@dataclass
class _Way:
    """One direction of a line."""

    frames: deque[bytes] = field(default_factory=deque[bytes])
    keys: deque[str] = field(default_factory=deque[str])
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    opened: bool = False
    person: bool = False


@dataclass
class _Down:
    """Shared by both ends: whether the line is down."""

    yes: bool = False


@dataclass
class LineEnd:
    """One end of a line. `near` is this end's number, `far` the other's (empty when withheld)."""

    near: str
    far: str
    _incoming: _Way = field(default_factory=_Way, repr=False)
    _outgoing: _Way = field(default_factory=_Way, repr=False)
    _down: _Down = field(default_factory=_Down, repr=False)

    @property
    def hung_up(self) -> bool:
        """True once either end has hung up."""
        return self._down.yes

    @property
    def far_end_answered(self) -> bool:
        """True once the other end has picked up, or has sent anything."""
        return self._incoming.opened

    @property
    def person_there(self) -> bool:
        """True once the other end has said that a person, not a machine, is on the line."""
        return self._incoming.person

    def send(self, frame: bytes) -> None:
        """Send one 160-byte frame; lost if the line is down. The first frame picks up."""
        if len(frame) != FRAME_BYTES:
            raise ValueError(f"a telephone line carries {FRAME_BYTES}-byte frames, not {len(frame)}")
        if not self.hung_up:
            self._outgoing.frames.append(frame)
            self.pick_up()

    def press(self, digit: str) -> None:
        """Press one key (0-9 * # A-D); the other end gets it as a key, not as sound."""
        if len(digit) != 1 or digit not in KEYS:
            raise ValueError(f"a telephone has no key {digit!r}; it has {KEYS}")
        if not self.hung_up:
            self._outgoing.keys.append(digit)

    def pick_up(self) -> None:
        """Answer without having anything to say yet."""
        self._outgoing.opened = True
        self._outgoing.moved.set()

    def introduce_person(self) -> None:
        """Tell the other end that a person has joined. Sound alone cannot say so: machines talk too."""
        self._outgoing.person = True

    async def receive(self) -> bytes | None:
        """The next frame from the other end, or None once the line is down and everything has been heard."""
        while not self._incoming.frames:
            if self.hung_up:
                return None
            await self._something_moves()
        return self._incoming.frames.popleft()

    def receive_now(self) -> bytes | None:
        """A frame that is already here, or None."""
        return self._incoming.frames.popleft() if self._incoming.frames else None

    @property
    def waiting(self) -> int:
        """How many frames are here and not yet received."""
        return len(self._incoming.frames)

    def keys_now(self) -> list[str]:
        """The keys the other end has pressed since the last time this was asked."""
        pressed = list(self._incoming.keys)
        self._incoming.keys.clear()
        return pressed

    def hang_up(self) -> None:
        """End the call for both ends. May be called twice."""
        self._down.yes = True
        self._incoming.moved.set()
        self._outgoing.moved.set()

    async def until_hung_up(self) -> None:
        """Return when the line is down, leaving unheard frames in place."""
        while not self.hung_up:
            await self._something_moves()

    async def until_answered(self) -> None:
        """Return when the other end has answered or the line is down."""
        while not (self.far_end_answered or self.hung_up):
            await self._something_moves()

    async def _something_moves(self) -> None:
        self._incoming.moved.clear()
        await self._incoming.moved.wait()


def line(caller: str, called: str) -> tuple[LineEnd, LineEnd]:
    """A line from `caller` to `called`: the caller's end and the called end."""
    there, back, down = _Way(), _Way(), _Down()
    return LineEnd(caller, called, back, there, down), LineEnd(called, caller, there, back, down)


class Subscriber(Protocol):
    """Somebody with a telephone number."""

    async def answer(self, end: LineEnd) -> None:
        """Take a call; return when it is over.

        The call counts as answered with the first frame sent, or with `end.pick_up()`; until then it rings.
        Who does not take it raises `Busy`, `NoAnswer` or `Failed` before that.
        """
        ...


class FrameClock:
    """Real time in steps of 20 ms, counted from the first. A late step does not make the next one late."""

    def __init__(self) -> None:
        self._started = 0.0
        self._steps = 0

    async def step(self) -> None:
        """Wait for the next frame's time. When behind, give others a turn and go on at once."""
        now = asyncio.get_running_loop().time()
        if self._steps == 0:
            self._started = now
        due = self._started + self._steps * FRAME_S
        self._steps += 1
        await asyncio.sleep(max(0.0, due - now))


class Pulse:
    """Wakes everybody who waits, each time it beats."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        """Wake everybody."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Return at the next beat."""
        await self._next.wait()
