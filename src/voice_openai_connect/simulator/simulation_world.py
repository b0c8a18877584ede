"""An abstract world around one call, on a clock of its own: a line, a model, a caller, and the services behind.

Nothing here is a protocol; the world speaks in events and hears commands. All chance comes from one seed.
"""

import heapq
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do

HOLD_BYTE: Final = 0xFE
"""What the holding sound is made of here; the model's items are made of other bytes, so that each can be told."""
JITTER_MS: Final = limits.PLAYOUT_MARGIN_MS - 2 * 20
"""How uneven the way to the caller is at most: the margin, less the frame being played and the one being filled."""

Marks = Literal["come back", "never come back", "are lost in runs"]


class Agenda:
    """Virtual time: what is due, in order. Times are ms."""

    def __init__(self) -> None:
        self.now = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, ms: int, action: Callable[[], None]) -> None:
        """Do this in so many ms; of things due at once, the first put down comes first."""
        self._count += 1
        heapq.heappush(self._due, (self.now + ms, self._count, action))

    def step(self, until: int) -> bool:
        """Do the next thing; False if nothing is due by then."""
        if not self._due or self._due[0][0] > until:
            return False
        self.now, _, action = heapq.heappop(self._due)
        action()
        return True


@dataclass(slots=True)
class Weather:
    """How things go today: chances between 0 and 1, drawn once for a call."""

    connect_fails: float
    connect_hangs: float
    format_wrong: float
    response_fails: float
    response_stalls: float
    noise: float
    model_dies: float
    model_lies: float
    tool_wanted: float
    transfer_wanted: float
    end_wanted: float
    service_fails: float
    service_hangs: float
    marks: Marks
    line_breaks: float
    instance_dies: float
    store_fails: float
    dial_fails: float
    no_room: float
    message_wanted: float
    caller_silent: bool
    closed: bool
    """Whether the queue that callers are moved to is known to be closed, at least at first."""
    interrupts: float
    wants_person: float
    keys: float
    leaves: float
    ordered_after_ms: int | None
    moved_after_ms: int | None

    @classmethod
    def drawn(cls, rng: Random) -> "Weather":
        """Most things go well on most days; each of them goes badly on some."""

        def chance(on_bad_days: float, bad_days: float = 0.2) -> float:
            return on_bad_days if rng.random() < bad_days else 0.0

        return cls(
            connect_fails=chance(0.5),
            connect_hangs=chance(0.3, 0.1),
            format_wrong=chance(0.5, 0.05),
            response_fails=chance(0.3),
            response_stalls=chance(0.2),
            noise=chance(0.3, 0.1),
            model_dies=chance(0.1),
            model_lies=chance(0.3),
            tool_wanted=chance(0.4, 0.5),
            transfer_wanted=chance(0.1, 0.5),
            end_wanted=chance(0.1, 0.5),
            service_fails=chance(0.5),
            service_hangs=chance(0.4),
            marks=rng.choices(("come back", "never come back", "are lost in runs"), (92, 4, 4))[0],
            line_breaks=chance(0.01, 0.15),
            instance_dies=chance(0.5, 0.5),
            store_fails=chance(0.3, 0.1),
            dial_fails=chance(0.7, 0.3),
            no_room=chance(0.3, 0.1),
            message_wanted=chance(0.5, 0.6),
            caller_silent=rng.random() < 0.1,
            closed=rng.random() < 0.15,
            interrupts=chance(0.05, 0.5),
            wants_person=chance(0.2, 0.5),
            keys=chance(0.02),
            leaves=chance(0.004, 0.4),
            ordered_after_ms=rng.randrange(90_000) if rng.random() < 0.06 else None,
            moved_after_ms=rng.randrange(60_000) if rng.random() < 0.15 else None,
        )


@dataclass(slots=True)
class Sound:
    """A stretch of one sound on the caller's line. `made_of` tells whose it is."""

    start: int
    end: int
    made_of: int


@dataclass(slots=True)
class Line:
    """The caller's line on one stream: audio arrives unevenly and in order, and plays in order.

    Marks come back once what was sent before them has played, and when it is cleared; or they do not, see `marks`.
    """

    agenda: Agenda
    rng: Random
    on_mark: Callable[[str], None]
    marks: Marks = "come back"
    closed: bool = False
    played: list[Sound] = field(default_factory=list[Sound])
    _arrived_at: int = 0
    _back_at: int = 0
    _free_at: int = 0
    _out: dict[str, None] = field(default_factory=dict[str, None])
    _losing: int = 0

    def carry_out(self, command: do.Command) -> None:
        """Send a command on its way to the caller. Each takes its own time, also if they were sent together."""
        now = self.agenda.now
        self._arrived_at = max(self._arrived_at, now + self.rng.randint(0, JITTER_MS))
        self.agenda.after(self._arrived_at - now, lambda: self._arrive(command))

    def _arrive(self, command: do.Command) -> None:
        if self.closed:
            return
        now = self.agenda.now
        self._free_at = max(self._free_at, now)
        match command:
            case do.PlayAudio(audio=audio):
                self._queue(audio)
            case do.MarkPlayback(name=name):
                self._out[name] = None
                self.agenda.after(self._free_at - now, lambda: self._reach(name))
            case do.ClearPlayback():
                self._stop()
                for name in list(self._out):
                    self._reach(name)
            case _:
                raise ValueError(f"{command} is not for the line")

    def _queue(self, audio: bytes) -> None:
        length = len(audio) // limits.BYTES_PER_MS
        last = self.played[-1] if self.played else None
        if last and last.made_of == audio[0] and last.end == self._free_at:
            last.end += length
        else:
            self.played.append(Sound(self._free_at, self._free_at + length, audio[0]))
        self._free_at += length

    def _reach(self, name: str) -> None:
        if name not in self._out:
            return  # it came back when the line was cleared
        del self._out[name]
        if self.closed or self._lost():
            return
        self._back_at = max(self._back_at, self.agenda.now + self.rng.randint(5, 150))
        self.agenda.after(self._back_at - self.agenda.now, lambda: self.on_mark(name))

    def _lost(self) -> bool:
        """Whether this mark does not come back."""
        if self.marks == "are lost in runs" and self._losing == 0 and self.rng.random() < 0.05:
            self._losing = self.rng.randint(1, 60)
        self._losing = max(0, self._losing - 1)
        return self.marks == "never come back" or self._losing > 0

    def _stop(self) -> None:
        """What is still to be played is not."""
        now = self._free_at = self.agenda.now
        self.played = [sound for sound in self.played if sound.start < now]
        for sound in self.played[-1:]:
            sound.end = min(sound.end, now)

    def heard_ms(self, made_of: int) -> int:
        """How much of one sound has been heard by now."""
        now = self.agenda.now
        return sum(min(s.end, now) - s.start for s in self.played if s.made_of == made_of and s.start < now)

    @property
    def audible(self) -> bool:
        """Whether something is playing now."""
        return bool(self.played) and self.played[-1].end > self.agenda.now

    def close(self) -> None:
        """The stream is over; what was still to be played is not."""
        self.closed = True
        self._stop()


class Turns:
    """Whose turn it has been, as the world sees it: a list of changes, in order."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self.changes: list[tuple[int, bool]] = []
        """When, and whether it became ours."""

    @property
    def ours(self) -> bool:
        """Whether the caller is waiting for us now."""
        return bool(self.changes) and self.changes[-1][1]

    def set(self, *, ours: bool) -> None:
        """From now on it is ours, or the caller's."""
        if not self.changes or self.changes[-1][1] is not ours:
            self.changes.append((self._agenda.now, ours))


def dead_air(turns: list[tuple[int, bool]], sounds: list[Sound], end: int) -> list[tuple[int, int]]:
    """Stretches without a sound while the turn was ours: (start, length) in ms."""
    filled: list[tuple[int, int]] = []
    for number, (start, ours) in enumerate(turns):
        if not ours:
            insort(filled, (start, turns[number + 1][0] if number + 1 < len(turns) else end))
    for sound in sounds:
        insort(filled, (sound.start, min(sound.end, end)))
    gaps: list[tuple[int, int]] = []
    reached = turns[0][0] if turns else end
    for start, stop in [*filled, (end, end)]:
        if start > reached:
            gaps.append((reached, start - reached))
        reached = max(reached, stop)
    return gaps
