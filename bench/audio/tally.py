"""What a run has measured, and everything that was wrong in it."""

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

EXAMPLES: Final = 5


def percentile(samples: "array[float]", share: float) -> float:
    """The smallest sample that so much of them (0 to 1) does not exceed; nan without samples."""
    if not samples:
        return math.nan
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


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
