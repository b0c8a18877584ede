"""uvicorn that finishes its calls before it stops.

Stock uvicorn closes every WebSocket with 1012 at the first SIGTERM. This one first drains: readiness fails, no new
call is taken, calls on the line go on and are then handed to a person. A second signal lets no call wait any longer for
the end of a turn; a third stops at once. A drain may also begin before any signal, and then ends nothing.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Literal

import uvicorn

from voice_openai_connect import limits
from voice_openai_connect.gateway.unfinished import Unfinished

_TICKS_A_SECOND: Final = 10


class DrainingServer(uvicorn.Server):
    """A server whose first stop signal begins a drain, and whose second one hastens it.

    The real shutdown comes when the drain is over, or with a third signal. After a drain that was begun by `drain` it
    waits for a signal. A connection whose next request is not complete within `request_s` is closed.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Callable[[], Awaitable[None]],
        hasten: Callable[[], None],
        *,
        request_s: float = limits.REQUEST_S,
    ) -> None:
        super().__init__(config)
        self._unfinished = Unfinished(request_s)
        self._drain = drain
        self._hasten = hasten
        self._signals = 0
        self._draining: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn on SIGINT and SIGTERM, outside the event loop's own flow."""
        self._signals += 1
        match self._signals:
            case 1:
                self._loop.call_soon_threadsafe(self._drain_then_stop)
            case 2:
                self._loop.call_soon_threadsafe(self._hasten)
            case _:
                super().handle_exit(sig, frame)

    def drain(self) -> asyncio.Task[None]:
        """Begin the drain, unless it has begun. The server goes on afterwards, without calls, until a signal comes.

        To be called on the server's own loop.
        """
        if self._draining is None:
            self._draining = self._loop.create_task(self._drained(), name="drain")
        return self._draining

    async def _drained(self) -> None:
        await self._drain()

    def _drain_then_stop(self) -> None:
        self.drain().add_done_callback(self._stop)

    def _stop(self, _: asyncio.Task[None]) -> None:
        self.should_exit = True

    async def serve_within(self) -> None:
        """Serve on a loop that belongs to somebody else: signals are theirs. Ended by `should_exit`."""
        self._loop = asyncio.get_running_loop()
        await self._serve()

    async def until_started(self) -> None:
        """Return when connections are accepted."""
        await self._listening.wait()

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        if counter % _TICKS_A_SECOND == 0:
            self._unfinished.look(self.server_state.connections, self._loop.time())
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn to begin listening."""
        await super().startup(sockets)
        self._listening.set()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until stopped."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)


class CannotListenError(Exception):
    """The address cannot be listened on; the text says why and what to do."""


ALL_ADDRESSES: Final = "::"


def listening_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that listens on `host` (a name or an address) and `port`; 0 takes any free one. `::` is IPv6 and IPv4.

    With `shared` other processes may listen there as well, each with a socket of its own. Raises `CannotListenError`.
    uvicorn would do the same later, and end the process with the bare words of the system.
    """
    both = host == ALL_ADDRESSES and socket.has_dualstack_ipv6()
    try:
        listening = socket.create_server((host, port), family=_family(host), reuse_port=shared, dualstack_ipv6=both)
    except OSError as error:
        why = str(error.strerror or error).partition(" (while")[0].lower()
        remedy = "Stop the program that uses it, or set HOST and PORT to others"
        raise CannotListenError(f"HOST, PORT: cannot listen on {host}:{port}: {why}. {remedy}") from None
    # Each frame is sent at once. uvloop sees to it; asyncio only for sockets that it makes itself.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


@contextmanager
def reserved_port(host: str, port: int) -> Generator[int]:
    """While the block runs, the port is kept for processes that share it, also while none of them listens.

    Gives the port. Raises `CannotListenError` when anybody listens there, even one who would share it.
    """
    with listening_socket(host, port) as alone:
        port = int(alone.getsockname()[1])
    with socket.socket(_family(host)) as kept:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # as the workers' own sockets will have them
            kept.setsockopt(socket.SOL_SOCKET, option, 1)
        kept.bind((host, port))
        yield port


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _http() -> type[asyncio.Protocol] | Literal["auto"]:
    if sys.platform == "win32":
        return "auto"  # h11 there, which bounds a head by itself
    from voice_openai_connect.gateway.http_head import ShortHeads

    return ShortHeads


def server_config(
    app: Callable[..., object], *, host: str, port: int, media: type[asyncio.Protocol] | None = None
) -> uvicorn.Config:
    """The one way we run uvicorn: no compression, no trust in forwarded headers, explicit pings and limits.

    `media` carries the WebSockets instead of the application, see `picows_media`.
    """
    return uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]  any ASGI application
        host=host,
        port=port,
        http=_http(),
        ws=media or "websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=limits.TWILIO_MESSAGE_BYTES,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        # Its INFO lines hold the path of every media socket, and with it a ticket.
        log_level="warning",
        lifespan="on",
        timeout_keep_alive=limits.KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(limits.SOCKET_CLOSE_S) + 4,
    )
