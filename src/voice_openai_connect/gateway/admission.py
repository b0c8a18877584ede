"""Whether this process can take one more call without harm to those on the line: by rate, by lag, by descriptors.

A call that is refused here reaches a person at once. One that is taken by a process without room for it costs every
caller on that process something.
"""

import asyncio
import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.gateway.token_bucket import TokenBucket

_OPEN_DESCRIPTORS: Final = Path("/dev/fd")
"""One entry for each descriptor that this process has open, on Linux and on macOS."""


class LagMeter:
    """How late the event loop is. `looked` is to be called every `LAG_LOOK_MS`; all times are milliseconds."""

    def __init__(self) -> None:
        self.lag_ms = 0.0
        """Smoothed: a single short stall is no overload."""
        self._due: float | None = None
        self._busy_until = -math.inf

    def looked(self, now: float) -> None:
        """The loop has come round."""
        self.lag_ms = self._lag_at(now)
        calm = limits.LAG_CALM_MS if self._recovering(now) else limits.LAG_BUSY_MS
        if self.lag_ms > calm:
            self._busy_until = now + limits.LAG_CALM_FOR_MS
        self._due = now + limits.LAG_LOOK_MS

    def is_busy(self, now: float) -> bool:
        """Whether the loop is too late to take more on. A look that is overdue counts already."""
        return self._recovering(now) or self._lag_at(now) > limits.LAG_BUSY_MS

    def _recovering(self, now: float) -> bool:
        return now < self._busy_until

    def _lag_at(self, now: float) -> float:
        late = 0.0 if self._due is None else max(0.0, now - self._due)
        return self.lag_ms + limits.LAG_SHARE * (late - self.lag_ms)


async def watch_lag(meter: LagMeter, told: Callable[[float], None]) -> None:
    """Look every `LAG_LOOK_MS`, for ever. `told` gets the smoothed lag in milliseconds after each look."""
    while True:
        meter.looked(time.monotonic() * 1_000)
        told(meter.lag_ms)
        await asyncio.sleep(limits.LAG_LOOK_MS / 1_000)


def raise_descriptors() -> None:
    """Allow this process as many files and sockets as the system lets it have, `DESCRIPTORS_MAX` at the most.

    systemd and many shells begin with 1,024, for programs that use `select`; that would be 240 calls.
    """
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.DESCRIPTORS_MAX if most == resource.RLIM_INFINITY else min(most, limits.DESCRIPTORS_MAX)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        with suppress(OSError, ValueError):  # macOS has a bound of its own, beside the one it tells
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def free_descriptors() -> float:
    """How many more files and sockets this process may open; infinite where that cannot be found out."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return math.inf
    try:
        return allowed - _open_descriptors()
    except FileNotFoundError:
        return math.inf
    except OSError:  # not even one is left to look with
        return 0


def _open_descriptors() -> int:
    """Listing them takes milliseconds where there are hundreds; Linux tells their number as the folder's size, from
    6.2 on (`proc_fd_getattr` in its fs/proc/fd.c), and 0 before."""
    told = _OPEN_DESCRIPTORS.stat().st_size if sys.platform == "linux" else 0
    return told or sum(1 for _ in _OPEN_DESCRIPTORS.iterdir())


def calls_that_fit(free: float) -> float:
    """How many more calls fit under the limit of descriptors when `free` of them are left."""
    return (free - limits.DESCRIPTORS_RESERVED) / limits.DESCRIPTORS_A_CALL


class Admission:
    """What stands between a new call and this process, beside the count of calls.

    `free` says how many descriptors are left.
    """

    def __init__(
        self, *, calls_per_second: float = limits.CALLS_PER_SECOND, free: Callable[[], float] = free_descriptors
    ) -> None:
        self.lag = LagMeter()
        self._free = free
        self._rate = TokenBucket(calls_per_second, max(1.0, calls_per_second * limits.CALLS_BURST_S))

    def trouble(self, now: float) -> str:
        """What is wrong with the process at `now` (seconds): ``descriptors``, ``busy``, or nothing."""
        if calls_that_fit(self._free()) < 1:
            return "descriptors"
        return "busy" if self.lag.is_busy(now * 1_000) else ""

    def refusal(self, now: float, *, resumed: bool = False) -> str:
        """Why a call is not taken at `now` (seconds); nothing if it is.

        One that is `resumed` has a caller in the middle of a conversation. A lost process brings many of them at
        once, so only what would make the call fail here is held against it.
        """
        trouble = self.trouble(now)
        if resumed:
            return trouble if trouble == "descriptors" else ""
        return trouble or ("" if self._rate.take(now) else "rate")
