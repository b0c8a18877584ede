"""A bound on how often something may happen."""


class TokenBucket:
    """`per_second` in the long run, `burst` at once. Times are seconds on any clock that only goes forward."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._looked_at = 0.0

    def take(self, now: float, times: int = 1) -> bool:
        """Whether it may happen once more, or so many times at once. What is refused costs nothing."""
        earned = max(0.0, now - self._looked_at) * self._per_second
        self._left = min(self._burst, self._left + earned)
        self._looked_at = now
        if self._left < times:
            return False
        self._left -= times
        return True
