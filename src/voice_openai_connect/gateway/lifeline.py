"""A worker's line to its supervisor: a socket that it finds as its standard input.

A byte a second says that the event loop comes round; the first one, that calls are taken. The line ends when the
supervisor does. Then nobody would replace this worker or tell it to stop, so it stops by itself, as on SIGTERM.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from voice_openai_connect import limits

BEAT: Final = b"."


@asynccontextmanager
async def supervised(
    until_started: Callable[[], Awaitable[None]],
    *,
    line: int = 0,
    on_lost: Callable[[], object] = lambda: signal.raise_signal(signal.SIGTERM),
) -> AsyncGenerator[None]:
    """While the block runs, the supervisor hears of us once `until_started` has returned. `line` is a descriptor.

    The line stays open after the block: what is left of the process is still its supervisor's.
    """
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=os.dup(line)))

    async def beat() -> None:
        await until_started()
        while not writer.is_closing():
            writer.write(BEAT)
            await asyncio.sleep(limits.WORKER_BEAT_S)

    async def listen() -> None:
        await reader.read()
        on_lost()

    tasks = {asyncio.create_task(beat(), name="beats"), asyncio.create_task(listen(), name="supervisor")}
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
