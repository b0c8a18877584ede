"""What happened in the town, and when: one list that every part writes to, and anyone may watch."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `at_ms` counts from the timeline's start; `details` are ready to print."""

    at_ms: int
    who: str
    what: str
    details: dict[str, object]

    def __str__(self) -> str:
        details = "  ".join(f"{name}={value}" for name, value in self.details.items())
        return f"{self.at_ms / 1000:8.2f} s  {self.who:<12} {self.what}{'  ' + details if details else ''}"


Listener = Callable[[Entry], None]


@dataclass
class Timeline:
    """The common record of a run. `clock` returns seconds and never goes back."""

    clock: Callable[[], float] = time.monotonic
    entries: list[Entry] = field(default_factory=list[Entry])
    _listeners: list[Listener] = field(default_factory=list[Listener])
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.clock()

    def now_ms(self) -> int:
        """Whole milliseconds since the start."""
        return int((self.clock() - self._start) * 1000)

    def begin(self) -> None:
        """Count from now on. What was noted before keeps its time."""
        self._start = self.clock()

    def note(self, who: str, what: str, /, **details: object) -> None:
        """Write down that `who` did `what`, and tell the listeners. A detail may have any name."""
        entry = Entry(self.now_ms(), who, what, details)
        self.entries.append(entry)
        for listener in self._listeners:
            listener(entry)

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every entry from now on."""
        self._listeners.append(listener)

    @contextmanager
    def span(self, who: str, what: str, /, **details: object) -> Generator[None]:
        """Note `what` when the block is left, with how long it took as `took_ms`; also when it raises."""
        began = self.now_ms()
        try:
            yield
        finally:
            self.note(who, what, took_ms=self.now_ms() - began, **details)

    def said_by(self, who: str) -> list[str]:
        """Everything noted by one party, in order."""
        return [entry.what for entry in self.entries if entry.who == who]
