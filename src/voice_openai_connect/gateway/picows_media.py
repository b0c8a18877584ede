"""The media socket without a framework: uvicorn hands the connection over at its upgrade, and picows carries it.

Per frame no ASGI and no task runs: the call hears of a frame in the callback that read it. It costs half of
`StarletteMediaSocket` (docs/performance.md), and both pass the same tests.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import unquote

from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSListener,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)

from voice_openai_connect import limits
from voice_openai_connect.gateway.media_socket import NORMAL, POLICY_VIOLATION, MediaSocket, nobody_told
from voice_openai_connect.gateway.token_bucket import TokenBucket
from voice_openai_connect.picows_socket import QUIET, Heard, PicowsSocket

if TYPE_CHECKING:

    class WSProtocol(asyncio.BufferedProtocol):
        """What picows does not describe of its own protocol; see docs/decisions/0017."""

        transport: WSTransport
        listener: WSListener | None

        def __init__(self, *_: object) -> None: ...
        def get_buffer(self, sizehint: int) -> memoryview: ...  # noqa: D102
else:
    from picows.picows import WSProtocol

Pass = TypeVar("Pass")


def _header(size: int) -> bytes:
    """Of a server's frame with a whole text message (RFC 6455, 5.2), which is not masked."""
    if size < 126:  # noqa: PLR2004 - up to here the second byte is the size
        return bytes((0x81, size))
    return b"\x81\x7e" + size.to_bytes(2) if size < 1 << 16 else b"\x81\x7f" + size.to_bytes(8)


class PicowsMediaSocket(PicowsSocket):
    """`MediaSocket` on picows."""

    __slots__ = ("_allowed", "_flooded", "_loop", "_opened", "_outbox", "_stalled", "on_trouble")

    def __init__(self, opened: Callable[["PicowsMediaSocket"], None]) -> None:
        super().__init__(limits.TWILIO_MESSAGE_BYTES)
        self.on_trouble: Callable[[str], None] = nobody_told
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._outbox: list[bytes] = []
        """What has been sent in this turn of the loop."""
        self._allowed = TokenBucket(limits.STREAM_MESSAGES_PER_S, limits.STREAM_MESSAGES_BURST)
        self._flooded = False
        self._stalled: asyncio.TimerHandle | None = None

    def send(self, message: bytes) -> None:
        """Send a text message. All that are sent in one turn of the loop leave together."""
        if self._closing or self._transport is None:
            return
        # Not by picows, which makes a system call of each: a reply's pieces and their marks come by the dozen.
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox += (_header(len(message)), message)

    def _flush(self) -> None:
        if self._closing or self._transport is None:
            return
        self._transport.underlying_transport.write(b"".join(self._outbox))
        self._outbox.clear()
        if self._stalled is not None and self.backlog_bytes > limits.OUTBOX_BYTES:
            self._give_up()

    def begin_close(self, code: int) -> None:
        """Say goodbye after what is queued."""
        if self._outbox:
            self._flush()
        super().begin_close(code)

    async def deliver(self, heard: Heard) -> None:
        """Hand over every message from now on as it comes."""
        await self.listen(heard)

    async def close(self, code: int = NORMAL) -> None:
        """Send what is queued, within a second, and close."""
        await self.shut(POLICY_VIOLATION if self._flooded else code, limits.SOCKET_CLOSE_S)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done: the call begins."""
        super().on_ws_connected(transport)
        self._opened(self)
        del self._opened  # it holds the protocol, which holds this: nothing would be let go of by itself

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection is gone."""
        self.resume_writing()
        super().on_ws_disconnected(transport)

    def _allow_more(self) -> int:
        if self._allowed.take(time.monotonic(), limits.STREAM_MESSAGES_TOGETHER):
            return limits.STREAM_MESSAGES_TOGETHER
        if not self._flooded and not self._deaf:
            self._flooded = True
            self._end()
            self.on_trouble("flood")
        return 0

    # --- a peer that does not read

    def pause_writing(self) -> None:
        """More waits than a moment's congestion explains."""
        if self._stalled is None:
            self._stalled = asyncio.get_running_loop().call_later(limits.SEND_STALLED_S, self._give_up)

    def resume_writing(self) -> None:
        """The peer reads again."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _give_up(self) -> None:
        if not self._closing:
            self.abort()
            self._end()
            self.on_trouble("not_reading")


# --- The way in


@dataclass(frozen=True)
class MediaDoor(Generic[Pass]):
    """Who may open a media socket, and what is done with it."""

    admit: Callable[[str, Mapping[str, str]], Pass | None]
    """Looks at the path and the headers (of any case) of a handshake; None turns it away with 403."""
    serve: Callable[[MediaSocket, Pass], Coroutine[Any, Any, None]]
    """Serves the socket to its end."""
    failed: Callable[[str, BaseException], None]
    """Told when `serve` raises."""


def media_protocol(door: MediaDoor[Any]) -> type[asyncio.Protocol]:
    """A class for uvicorn's `ws` setting: every WebSocket of the server goes through this door."""

    class MediaProtocol(_UpgradedProtocol):
        def __init__(self, *, server_state: Any, **_: object) -> None:
            super().__init__(door, server_state)

    return cast("type[asyncio.Protocol]", MediaProtocol)  # uvicorn's word for whatever takes bytes


class _UpgradedProtocol(WSProtocol):
    """picows' protocol in the shape in which uvicorn makes, feeds and stops one."""

    def __init__(self, door: MediaDoor[Any], server_state: Any) -> None:
        # By position, because its constructor takes no names.
        super().__init__(
            None,  # host and path are a client's
            None,
            False,
            self._listener_of,
            QUIET,
            True,
            None,  # the request is whole already, so the handshake needs no deadline
            False,
            limits.MODEL_PING_S,
            limits.MODEL_PING_S,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,
            limits.TWILIO_MESSAGE_BYTES,
            None,
            limits.SOCKET_BUFFER_BYTES,
        )
        self._door = door
        self._server_state = server_state

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by uvicorn at the upgrade."""
        self._server_state.connections.add(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Called by uvicorn once, with the request it has read; from then on bytes come by `get_buffer`."""
        while data:
            space = self.get_buffer(len(data))
            piece, data = data[: len(space)], data[len(space) :]
            space[: len(piece)] = piece
            self.buffer_updated(len(piece))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is gone."""
        self._server_state.connections.discard(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Called by uvicorn when it stops, which it does after the drain."""
        if isinstance(self.listener, PicowsSocket):
            self.listener.begin_close(WSCloseCode.SERVICE_RESTART.value)
        self.transport.disconnect()

    def _listener_of(self, request: WSUpgradeRequest) -> PicowsMediaSocket | WSUpgradeResponseWithListener:
        path = unquote(request.path.decode("ascii", "replace").partition("?")[0])
        admitted = self._door.admit(path, request.headers)
        if admitted is None:
            refused = WSUpgradeResponse.create_error_response(HTTPStatus.FORBIDDEN, b"forbidden")
            return WSUpgradeResponseWithListener(refused, None)
        return PicowsMediaSocket(lambda socket: self._serve(socket, admitted))

    def _serve(self, socket: PicowsMediaSocket, admitted: object) -> None:
        def finished(task: asyncio.Task[None]) -> None:
            self._server_state.tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._door.failed("media socket", error)

        serving = self._door.serve(socket, admitted)  # pyright: ignore[reportArgumentType]  takes a slot for a method
        task = asyncio.get_running_loop().create_task(serving, name="media socket")
        self._server_state.tasks.add(task)
        task.add_done_callback(finished)
