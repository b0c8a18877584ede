"""A bound on how often something may happen."""


class TokenBucket:
    """`per_second` in the long run, `burst` at once. Times are seconds on any clock that only goes forward."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._looked_at = 0.0

    def take(self, now: float) -> bool:
        """Whether it may happen once more. What is refused costs nothing."""
        earned = max(0.0, now - self._looked_at) * self._per_second
        self._left = min(self._burst, self._left + earned)
        self._looked_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
