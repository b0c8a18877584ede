"""An ASGI application served on this machine for as long as a block lasts, at a port that was free."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import uvicorn

from voice_openai_connect.simulator.ports import listener

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Scope]], Callable[[Scope], Awaitable[None]]], Awaitable[None]]

STOP_S: Final = 2
"""What requests still open may take when the block is left."""


class QuietServer(uvicorn.Server):
    """Leaves the process's signals to whoever runs the process, and stops at once when told to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told_to_stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Uvicorn looks ten times a second whether to stop; here it is told."""
        await self.on_tick(0)
        await self._told_to_stop.wait()

    def stop(self) -> None:
        """Take nothing new, finish what there is, and end."""
        self.should_exit = True
        self._told_to_stop.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Called by uvicorn around its work: none of them is caught."""
        yield


@asynccontextmanager
async def serving(app: App, media: type[asyncio.Protocol] | None = None) -> AsyncGenerator[str]:
    """Serve `app` and give its base address, such as ``http://127.0.0.1:49152``. It listens from the first moment.

    `media` carries the WebSockets instead of the application.
    """
    listening = listener()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=STOP_S,
        ws=media or "websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
    server = QuietServer(config)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.stop()
        await running
        listening.close()
