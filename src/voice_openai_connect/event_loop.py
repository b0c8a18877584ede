"""The event loop that carries the calls: uvloop where there is one, with lookups of host names that do not wait for
one another.

libuv looks names up in a few threads of its own, and a name whose server does not answer holds one for ten seconds and
more, also when those who asked have long given up. As libuv comes, two such lookups are enough to keep every other from
beginning: a CRM whose name cannot be found would take the model away from all new calls.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from voice_openai_connect import limits

THREADS: Final = "UV_THREADPOOL_SIZE"
"""Where libuv looks for the number of its threads, when it first needs one."""


def run(main: Coroutine[object, object, None]) -> None:
    """As `asyncio.run`."""
    try:
        import uvloop
    except ImportError:  # not on every platform
        asyncio.run(main)
        return
    os.environ.setdefault(THREADS, str(limits.LOOKUP_THREADS))

    class Loop(uvloop.Loop):
        """Looks a name up once for all who ask for it meanwhile."""

        def __init__(self) -> None:
            super().__init__()
            self._lookups: dict[Any, asyncio.Task[Any]] = {}

        async def getaddrinfo(self, *place: Any, **kind: Any) -> Any:
            asked = (place, tuple(sorted(kind.items())))
            if (lookup := self._lookups.get(asked)) is None:
                answer = first_answer(partial(super().getaddrinfo, *place, **kind))
                lookup = self._lookups[asked] = self.create_task(answer)
                lookup.add_done_callback(lambda _: self._lookups.pop(asked))
            return await asyncio.shield(lookup)

    uvloop.run(main, loop_factory=Loop)


async def first_answer(ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Ask, and once more beside it whenever `LOOKUP_AGAIN_S` have brought no answer, `LOOKUPS_A_NAME` times in all.

    A question to a name server is one datagram, and the system takes five seconds to notice that it was lost.
    """
    asking: list[asyncio.Task[Any]] = []
    try:
        while True:
            asking.append(asyncio.create_task(ask()))
            more = len(asking) < limits.LOOKUPS_A_NAME
            patience = limits.LOOKUP_AGAIN_S if more else None
            done, _ = await asyncio.wait(asking, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return done.pop().result()
    finally:
        for each in asking:
            if not each.cancel() and not each.cancelled():
                each.exception()  # it is known that it failed, whoever else did
