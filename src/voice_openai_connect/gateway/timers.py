"""Every timer of every call on one timer of the event loop.

Calls set and cancel timers for each piece of speech, and hardly any ever fires. A heap of our own makes that two cheap
steps without a system timer behind each; a cancelled timer lets go of its call at once.
"""

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

from voice_openai_connect import limits


class Timer:
    """One that is set. `cancel` may be called at any time, also after it has fired."""

    __slots__ = ("_timers", "due")

    def __init__(self, timers: "Timers", due: Callable[[], None]) -> None:
        self._timers = timers
        self.due: Callable[[], None] | None = due
        """None once it has fired or was cancelled."""

    def cancel(self) -> None:
        """It will not fire."""
        if self.due is not None:
            self.due = None
            self._timers.was_cancelled()


class Timers:
    """The timers of one event loop. Times are those of its clock, in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0
        self._next: asyncio.TimerHandle | None = None
        self._next_at = 0.0
        """Kept here, because uvloop's handle does not know it once its time has passed."""

    def __len__(self) -> int:
        """How many are set."""
        return len(self._heap) - self._cancelled

    @property
    def entries(self) -> int:
        """The same with those that are cancelled and still take room."""
        return len(self._heap)

    def set(self, at: float, due: Callable[[], None]) -> Timer:
        """Call `due` at that time or a little later; at once, on the loop's next round, if it has passed.

        Timers fire in the order of their times, and of setting where these are the same.
        """
        timer = Timer(self, due)
        heappush(self._heap, (at, next(self._order), timer))
        if self._next is None or at < self._next_at:
            self._look_at(at)
        return timer

    def was_cancelled(self) -> None:
        """One of the heap's timers is of no use any more."""
        self._cancelled += 1
        if self._cancelled * 2 > len(self._heap) >= limits.TIMERS_SWEPT_AT:
            self._heap = [entry for entry in self._heap if entry[2].due is not None]
            heapify(self._heap)
            self._cancelled = 0

    def _look_at(self, at: float) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next, self._next_at = self._loop.call_at(at, self._look), at

    def _look(self) -> None:
        self._next = None
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            timer = heappop(self._heap)[2]
            due, timer.due = timer.due, None
            if due is None:
                self._cancelled -= 1
                continue
            try:
                due()
            except Exception as error:  # noqa: BLE001 - one call's mistake must not keep the others' timers waiting
                self._loop.call_exception_handler({"message": "a timer failed", "exception": error})
        # One that was set by another while it fired may be later than those that wait.
        if self._heap and (self._next is None or self._heap[0][0] < self._next_at):
            self._look_at(self._heap[0][0])


_timers: dict[asyncio.AbstractEventLoop, Timers] = {}


def timers() -> Timers:
    """The timers of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _timers.get(loop)
    if found is None:
        for gone in [other for other in _timers if other.is_closed()]:
            del _timers[gone]
        found = _timers[loop] = Timers(loop)
    return found
