"""What every simulated call is held to, and the notes taken of it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.simulator.simulation_world import Agenda, Sound, Turns, dead_air

DEAD_AIR_MS: Final = 4_000
_ONCE: Final = frozenset({"FindContact", "OpenTicket", "SaveHandover", Fact.ESCALATED.value})
_ONCE_A_STREAM: Final = frozenset({"CloseStream", "MoveStream"})
_DEADLINES: Final = {
    Phase.STARTING: {"model_ready"},
    Phase.RECOVERING: {"model_ready"},
    Phase.TALKING: {"call_limit"},
    Phase.SAYING_GOODBYE: {"goodbye"},
    Phase.HANDING_OVER: {"sentence", "summary", "crm", "save"},
    Phase.DIALING: {"late"},
    Phase.CLEARING_UP: {"late"},
}
"""Of these timers, at least one is set in the phase."""


@dataclass(slots=True)
class Outcome:
    """How one call went."""

    seed: int
    how: str = ""
    """dial, goodbye, promise or caller_left; empty if it never ended."""
    streams: int = 0
    lasted_ms: int = 0
    longest_dead_air_ms: int = 0
    broken: list[str] = field(default_factory=list[str])
    """Promises that were broken, with the time in ms."""
    trace: list[str] = field(default_factory=list[str])
    """What happened, line by line, if it was to be told."""


class Promises:
    """One call's. `told` says whether a trace is wanted, which takes most of the time."""

    def __init__(self, seed: int, agenda: Agenda, *, told: bool) -> None:
        self.outcome = Outcome(seed)
        self.told = told
        self._agenda = agenda
        self._asked: Counter[str] = Counter()
        self._tokens: set[str] = set()
        self._dials = 0

    def note(self, where: str, sign: str, what: object) -> None:
        """A line of the trace."""
        if self.told:
            self.outcome.trace.append(f"{self._agenda.now:>7} {where:<16} {sign} {_short(what)}")

    def break_(self, what: str) -> None:
        """This should not have happened."""
        self.outcome.broken.append(f"at {self._agenda.now} ms: {what}")
        self.note("", "✗ ", what)

    def count(self, command: do.Command, stream: int) -> None:
        """What may be asked for only once is asked for."""
        name = command.fact.value if isinstance(command, do.Tell) else type(command).__name__
        if name in _ONCE_A_STREAM:
            key = f"{name} {stream}"
        elif name in _ONCE:
            key = name
        else:
            return
        self._asked[key] += 1
        if self._asked[key] > 1:
            self.break_(f"{name} for the second time")

    def forgive(self) -> None:
        """What had been decided was lost with its store: who goes on cannot know."""
        self._asked.clear()

    def dialled(self, token: str) -> None:
        """Twilio dials the contact centre, and sends this token if it is not empty."""
        self._dials += 1
        if self._dials > limits.DIAL_ATTEMPTS:
            self.break_(f"dial number {self._dials}")
        if token and token in self._tokens:
            self.break_("a token was used for the second time")
        self._tokens.add(token)

    def check_deadlines(self, phase: Phase, timers: dict[str, int], tools: set[str]) -> None:
        """Whoever waits for something has a timer."""
        wanted = _DEADLINES.get(phase)
        if wanted and not wanted & timers.keys():
            self.break_(f"waits without a timer, {phase.value}")
        if tools and phase is Phase.TALKING:
            for call_id in sorted(tools):
                if f"tool:{call_id}" not in timers:
                    self.break_(f"waits for the tool {call_id} without a timer")

    def judge(self, turns: Turns, sounds: list[Sound]) -> None:
        """When all is over: how long the caller had to listen to nothing."""
        outcome = self.outcome
        if not outcome.how:
            self.break_("never ended: no way out")
        gaps = dead_air(turns.changes, sounds, outcome.lasted_ms)
        outcome.longest_dead_air_ms = max((length for _, length in gaps), default=0)
        outcome.broken += [f"at {at} ms: {ms} ms of dead air" for at, ms in gaps if ms > DEAD_AIR_MS]


def _short(what: object) -> str:
    if isinstance(what, do.PlayAudio | ev.ModelAudio):
        ms = len(what.audio) // limits.BYTES_PER_MS
        return f"{type(what).__name__} {ms} ms of {what.audio[:1].hex()}"
    text = str(what)
    return text if len(text) <= 150 else text[:149] + "…"
