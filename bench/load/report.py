"""What a run has to say: figures, what was found wrong, and whether it counts."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.load.carrier import Break, CarriedCall
from bench.load.spread import Spread
from bench.load.town import LoadTown

PACING_P99_MS: Final = 20.0
"""A generator that is later than a frame measures itself. Such a run counts for nothing."""
SHOWN: Final = 12


@dataclass
class Report:
    """Figures by name, in order; `wrong` fails the run, `void` says that it measured nothing."""

    title: str
    figures: dict[str, object] = field(default_factory=dict[str, object])
    wrong: list[str] = field(default_factory=list[str])
    void: list[str] = field(default_factory=list[str])

    def note(self, name: str, value: object) -> None:
        """A figure."""
        self.figures[name] = value

    def expect(self, holds: object, what: str) -> None:
        """A condition of success."""
        if not holds:
            self.wrong.append(what)

    def count_calls(self, town: LoadTown) -> None:
        """What every run reports of its calls and of itself."""
        carrier, ledger = town.carrier, town.ledger
        lost = [call for call in carrier.calls if call.lost]
        self.note("calls", len(carrier.calls))
        self.note("callers lost", len(lost))
        self.note("ended", dict(Counter(call.outcome for call in carrier.calls)))
        self.note("requests that broke off and were repeated", len(carrier.failures))
        self.note("turns", sum(len(book.turns) for book in ledger.calls.values()))
        self.note("sessions of the model", sum(book.sessions for book in ledger.calls.values()))
        self.note("turns lost", sum(book.forgotten for book in ledger.calls.values()))
        self.note("caller's frame to the model", ledger.up)
        self.note("model's frame to the carrier", ledger.down)
        self.note("silence while the gateway is waited for", carrier.silences)
        self.note("pacing of the generator", carrier.pacing)
        self.wrong += [f"call {call.book.number} is lost: {call.outcome or 'no end'}" for call in lost]
        self.wrong += ledger.violations
        if carrier.pacing.percentile(0.99) > PACING_P99_MS:
            self.void.append(f"the generator itself was late: {carrier.pacing}")

    @property
    def status(self) -> int:
        """The exit status: 0 good, 1 something is wrong, 3 void."""
        return 1 if self.wrong else 3 if self.void else 0

    def lines(self) -> list[str]:
        """For a terminal."""
        width = max(map(len, self.figures), default=0)
        text = [self.title, *(f"  {name.ljust(width)}  {value}" for name, value in self.figures.items())]
        for heading, found in (("WRONG", self.wrong), ("VOID", self.void)):
            text += [f"  {heading}: {each}" for each in found[:SHOWN]]
            if len(found) > SHOWN:
                text.append(f"  {heading}: and {len(found) - SHOWN} more")
        return [*text, f"  verdict: {('good', 'failed', '', 'void')[self.status]}"]

    def save(self, path: Path) -> None:
        """For a program."""
        figures = {
            name: value.summary() if isinstance(value, Spread) else value for name, value in self.figures.items()
        }
        content: dict[str, Any] = {"title": self.title, "figures": figures, "wrong": self.wrong, "void": self.void}
        path.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


def gaps(breaks: Iterable[Break], *, until_voice: bool = True) -> Spread:
    """From the end of each stream to the model's voice at the caller, or to any sound."""
    spread = Spread()
    for each in breaks:
        heard_at = each.voice_at if until_voice else each.sound_at
        if heard_at is not None:
            spread.add((heard_at - each.at) * 1_000)
    return spread


def to_stream(breaks: Iterable[Break]) -> Spread:
    """From the end of each stream to the next one's being open."""
    spread = Spread()
    for each in breaks:
        if each.stream_at is not None:
            spread.add((each.stream_at - each.at) * 1_000)
    return spread


def machine_load() -> str:
    """What else the machine does."""
    one, five, _ = os.getloadavg()
    return f"load {one:.1f} over one minute, {five:.1f} over five, on {os.cpu_count()} cores"


def last_breaks(calls: Sequence[CarriedCall]) -> list[Break]:
    """The latest break of each call that had one."""
    return [call.breaks[-1] for call in calls if call.breaks]
