"""What a run has measured, and everything that was wrong in it."""

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Delays:
    """A measured time in milliseconds; nan without samples."""

    count: int = 0
    p50: float = math.nan
    p99: float = math.nan
    p999: float = math.nan


def delays(samples: "array[float]") -> Delays:
    """Percentiles: the smallest sample that so much of them does not exceed."""
    if not samples:
        return Delays()
    ordered = sorted(samples)
    p50, p99, p999 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99, 0.999))
    return Delays(len(ordered), p50, p99, p999)


def _samples() -> "array[float]":
    return array("d")


@dataclass
class Tally:
    """Delays are milliseconds. `begin` forgets what was measured before, never what was wrong."""

    set_up: "array[float]" = field(default_factory=_samples)
    """A call: from its first request until its model's session is configured."""
    counts: Counter[str] = field(default_factory=Counter[str])
    wrong: Counter[str] = field(default_factory=Counter[str])
    examples: list[str] = field(default_factory=list[str])

    def begin(self) -> None:
        """The window begins."""
        del self.set_up[:]
        self.counts.clear()

    def complain(self, kind: str, detail: str) -> None:
        """Something was wrong; the first few are kept in full."""
        self.wrong[kind] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{kind}: {detail}")
