"""A person on the telephone, with a script: listens, speaks, interrupts, presses keys, hangs up.

The same person can ring (`carrier.place_call(caller, …)`) and be rung (in a carrier's directory).
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.limits import BYTES_PER_MS, FRAME_BYTES
from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.telephone import FRAME_MS, RINGBACK, SILENCE, FrameClock, LineEnd, Pulse
from voice_openai_connect.simulator.timeline import Timeline

Voice = Callable[[str], bytes]
"""Text in, µ-law out. May be slow: it is called in a thread."""

SPEECH_DBFS: Final = -40.0
QUIET_DBFS: Final = -46.0
"""Between the two nothing changes: a level that hovers is not a row of words."""
ONSET_FRAMES: Final = 2
HANGOVER_FRAMES: Final = 10
"""Pauses inside a word are shorter than this."""
KEY_MS: Final = 100
GAP_MS: Final = 150
LOST_FRAMES: Final = 5
"""So many steps without a frame are silence, not a frame that is late."""
_NOBODY_SPEAKS: Final = frozenset(RINGBACK) | frozenset(sound.frames(holding_sound()))
"""Tones that a person knows for what they are: it rings, or somebody is asked to wait. Neither is an answer."""


@dataclass
class Hearing:
    """Tells speech from silence by level, with hysteresis; knows the ringing tone and the
    gateway's holding sound. All lengths are milliseconds."""

    speaking: bool = False
    heard_ms: int = 0
    spoken_ms: int = 0
    """How long the other side has been speaking without a pause; kept until it speaks again."""
    quiet_ms: int = 0
    """How long it has been silent; 0 while it speaks."""
    utterances: int = 0
    _onset: int = 0
    _quiet: int = 0

    def hear(self, frame: bytes) -> None:
        """Hear 20 ms."""
        level = QUIET_DBFS - 1 if frame in _NOBODY_SPEAKS else sound.level_dbfs(sound.ulaw_decode(frame))
        self.heard_ms += FRAME_MS
        self._onset = self._onset + 1 if level >= SPEECH_DBFS else 0
        self._quiet = self._quiet + 1 if level < QUIET_DBFS else 0
        if not self.speaking and self._onset >= ONSET_FRAMES:
            self.speaking, self.utterances = True, self.utterances + 1
            self.spoken_ms = (self._onset - 1) * FRAME_MS
        elif self.speaking and self._quiet >= HANGOVER_FRAMES:
            self.speaking = False
            self.spoken_ms -= (self._quiet - 1) * FRAME_MS
        if self.speaking:
            self.spoken_ms += FRAME_MS
        self.quiet_ms = 0 if self.speaking else (self.quiet_ms or (self._quiet - 1) * FRAME_MS) + FRAME_MS


class Step(Protocol):
    """One thing a script asks for."""

    async def perform(self, caller: "Caller") -> None:
        """Do it. Raises `TimeoutError` when what it waits for does not come."""
        ...


@dataclass(frozen=True, slots=True)
class Listen:
    """Wait until the other side has spoken and then been silent for `ms`, or (`speech`) has begun to speak.

    What was spoken before this step began does not count, unless it is still going on.
    """

    until: Literal["silence", "speech"] = "silence"
    ms: int = 700
    within_s: float = 30.0

    async def perform(self, caller: "Caller") -> None:
        """Listen."""
        hearing = caller.hearing
        before = hearing.utterances - hearing.speaking
        if self.until == "speech":
            await caller.until(lambda: hearing.utterances > before, "the other side to speak", self.within_s)
        else:
            await caller.until(
                lambda: hearing.utterances > before and hearing.quiet_ms >= self.ms,
                f"the other side to speak and then be silent for {self.ms} ms",
                self.within_s,
            )


@dataclass(frozen=True, slots=True)
class Say:
    """Speak: a text in the caller's voice, or µ-law as it is."""

    what: str | bytes

    async def perform(self, caller: "Caller") -> None:
        """Speak to the end."""
        await caller.speak(self.what)


@dataclass(frozen=True, slots=True)
class InterruptAfter:
    """Let the other side speak for `ms`, then speak as well."""

    ms: int
    what: str | bytes
    within_s: float = 30.0

    async def perform(self, caller: "Caller") -> None:
        """Wait for the moment, and speak to the end."""
        hearing = caller.hearing
        await caller.ready(self.what)
        await caller.until(
            lambda: hearing.speaking and hearing.spoken_ms >= self.ms,
            f"the other side to speak for {self.ms} ms",
            self.within_s,
        )
        await caller.speak(self.what)


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys, one after the other."""

    digits: str

    async def perform(self, caller: "Caller") -> None:
        """Press them all."""
        for digit in self.digits:
            await caller.press(digit)


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for a while."""

    ms: int

    async def perform(self, caller: "Caller") -> None:
        """Wait, counted on the caller's own clock."""
        due = caller.spent_ms + self.ms
        await caller.until(lambda: caller.spent_ms >= due, "time to pass", self.ms / 1000 + 30)


@dataclass(frozen=True, slots=True)
class WaitForPerson:
    """Wait until a person, not a machine, is on the line: the far end says so with `introduce_person`."""

    within_s: float = 60.0

    async def perform(self, caller: "Caller") -> None:
        """Wait."""
        await caller.until(lambda: caller.person_there, "a person to come to the telephone", self.within_s)


@dataclass(frozen=True, slots=True)
class HangUp:
    """Put the receiver down."""

    async def perform(self, caller: "Caller") -> None:
        """Hang up."""
        caller.hang_up()


@dataclass
class Caller:
    """A person with a script. When the script is over the person stays on the line and says nothing.

    If the line goes down first the rest of the script is left out: `left_out` tells what. With `noise` there is
    faint comfort noise between the words instead of perfect silence. One person, one call.
    """

    script: Sequence[Step]
    voice: Voice | None = None
    name: str = "caller"
    timeline: Timeline = field(default_factory=Timeline)
    noise: bool = False
    hearing: Hearing = field(default_factory=Hearing)
    spent_ms: int = 0
    left_out: list[Step] = field(default_factory=list[Step])

    def __post_init__(self) -> None:
        self._mouth: deque[bytes] = deque()
        self._spoken: dict[str, bytes] = {}
        self._pulse = Pulse()
        self._random = random.Random(self.name)
        self._silent_steps = 0
        self._end: LineEnd | None = None

    async def prepare(self) -> None:
        """Have everything in the script spoken beforehand, so that nobody waits for the voice during the call."""
        for step in self.script:
            if isinstance(step, Say | InterruptAfter):
                await self.ready(step.what)

    async def answer(self, end: LineEnd) -> None:
        """Be on the telephone until the line is down. Raises `TimeoutError` when the script cannot go on."""
        self._end = end
        living = asyncio.create_task(self._live(end))
        acting = asyncio.create_task(self._act())
        try:
            await asyncio.wait({living, acting}, return_when=asyncio.FIRST_COMPLETED)
            if acting.done():
                acting.result()
            await living
        finally:
            end.hang_up()
            for task in (living, acting):
                task.cancel()
            await asyncio.gather(living, acting, return_exceptions=True)

    async def _live(self, end: LineEnd) -> None:
        """Breathe: every 20 ms one frame out, and whatever has come in."""
        clock = FrameClock()
        while not end.hung_up:
            await clock.step()
            end.send(self._mouth.popleft() if self._mouth else self._silence())
            self._listen(end)
            self.spent_ms += FRAME_MS
            self._pulse.beat()
        self._listen(end)

    def _listen(self, end: LineEnd) -> None:
        self._silent_steps += 1
        while (frame := end.receive_now()) is not None:
            self.hearing.hear(frame)
            self._silent_steps = 0
        if self._silent_steps > LOST_FRAMES:
            self.hearing.hear(SILENCE)

    def _silence(self) -> bytes:
        if not self.noise:
            return SILENCE
        return bytes(self._random.choice((0xFF, 0xFE, 0x7F, 0x7E)) for _ in range(FRAME_BYTES))

    async def _act(self) -> None:
        self.left_out = list(self.script)
        for step in self.script:
            await step.perform(self)
            self.left_out.pop(0)

    # --- What steps are made of

    @property
    def person_there(self) -> bool:
        """Whether the far end has introduced a person."""
        return self._end is not None and self._end.person_there

    async def until(self, holds: Callable[[], bool], what: str, within_s: float) -> None:
        """Wait until that holds. Raises `TimeoutError` naming `what`."""
        try:
            async with asyncio.timeout(within_s):
                while not holds():
                    await self._pulse.wait()
        except TimeoutError as error:
            raise TimeoutError(f"{self.name} waited {within_s:g} s for {what}") from error

    async def ready(self, what: str | bytes) -> bytes:
        """The sound of it, from memory if it was said before. Raises `ValueError` for a text without a voice."""
        if isinstance(what, bytes):
            return what
        if self.voice is None:
            raise ValueError(f"{self.name} needs a voice to say {what!r}: pass voice=, or say µ-law bytes")
        if what not in self._spoken:
            self._spoken[what] = await asyncio.to_thread(self.voice, what)
        return self._spoken[what]

    async def speak(self, what: str | bytes) -> None:
        """Say it, and return when the last of it is on the line."""
        audio = await self.ready(what)
        said = what if isinstance(what, str) else f"({len(audio) // BYTES_PER_MS} ms of sound)"
        self.timeline.note(self.name, "says", text=said)
        self._mouth.extend(sound.frames(audio))
        await self.until(lambda: not self._mouth, "the end of the own sentence", len(audio) / BYTES_PER_MS / 1000 + 30)

    async def press(self, digit: str) -> None:
        """Press one key. Its sound is the network's business: on the line there is silence meanwhile."""
        if self._end is not None:
            self._end.press(digit)
        self.timeline.note(self.name, "presses a key")
        self._mouth.extend(sound.frames(sound.silence(KEY_MS + GAP_MS)))
        await self.until(lambda: not self._mouth, "the key to come up again", 30)

    def hang_up(self) -> None:
        """Put the receiver down."""
        self.timeline.note(self.name, "hangs up")
        if self._end is not None:
            self._end.hang_up()
