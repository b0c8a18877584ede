"""What may hang (a pipe that nobody reads, a disk), done in order by a thread of its own.

All calls of a process share one event loop: what it waits for, every caller waits for.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread


class Errands:
    """Does what it is given, one after the other. It sets no bound: whoever gives looks at `waiting` beforehand."""

    def __init__(self, name: str) -> None:
        self._waiting: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many have not been begun."""
        return self._waiting.qsize()

    def put(self, work: Callable[[], object]) -> None:
        """Have this done after all before it. It must not raise; that would end the thread."""
        self._waiting.put(work)

    def settled(self, seconds: float) -> bool:
        """Wait until all that was given so far is done, so long at the most; whether it is."""
        done = Event()
        self._waiting.put(done.set)
        return done.wait(seconds)

    def close(self, seconds: float) -> None:
        """Wait until all is done, so long at the most. What is given after it is not done."""
        self._waiting.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()
