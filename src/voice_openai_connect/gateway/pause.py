"""How long to leave a service alone that has just failed: longer each time, and never longer than it is worth."""

from voice_openai_connect import limits


def doubled(first_s: float, failures: int, *, at_most_s: float) -> float:
    """Seconds until the next try: `first_s` after the first failure, twice as long after each of `failures` before."""
    return min(first_s * 2 ** min(failures, limits.PAUSE_DOUBLINGS), at_most_s)
