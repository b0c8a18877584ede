"""How a measured quantity is spread, in bounded memory however many samples there are."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

_FINE_BELOW: Final = 10.0
_COARSE: Final = 10


@dataclass
class Spread:
    """Milliseconds: kept to a tenth below ten, to one above. `worst` is exact."""

    count: int = 0
    worst: float = 0.0
    _buckets: Counter[int] = field(default_factory=Counter[int])

    def add(self, ms: float) -> None:
        """One sample; negative ones count as zero."""
        self.count += 1
        self.worst = max(self.worst, ms)
        tenths = math.ceil(max(ms, 0.0) * 10)
        self._buckets[tenths if ms < _FINE_BELOW else -(-tenths // _COARSE) * _COARSE] += 1

    def percentile(self, share: float) -> float:
        """The smallest value that so much of the samples (0 to 1) does not exceed; nan without samples."""
        wanted = math.ceil(share * self.count)
        passed = 0
        for tenths in sorted(self._buckets):
            passed += self._buckets[tenths]
            if passed >= wanted:
                return tenths / 10
        return math.nan

    def summary(self) -> dict[str, float]:
        """For a report."""
        return {
            "count": self.count,
            "p50": self.percentile(0.5),
            "p99": self.percentile(0.99),
            "worst": round(self.worst, 1),
        }

    def __str__(self) -> str:
        if not self.count:
            return "nothing measured"
        return f"p50 {self.percentile(0.5):g} ms, p99 {self.percentile(0.99):g} ms, worst {self.worst:.1f} ms"
