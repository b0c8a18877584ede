"""The socket under a model's session: text in, text out. Two libraries carry it, and a setting chooses.

`picows` costs a fraction of `websockets` for each message (docs/performance.md); both pass the same tests. Neither
compresses, for base64 audio hardly shrinks; neither follows a redirect, which would carry the call to another server.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from picows import WSError, WSHandshakeError, WSMsgType, ws_connect  # pyright: ignore[reportUnknownVariableType]
from python_socks import ProxyError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from voice_openai_connect import __version__, limits
from voice_openai_connect.picows_socket import QUIET, SILENT, Heard, PicowsSocket

_USER_AGENT = f"voice-openai-connect/{__version__}"


class HandshakeRefusedError(Exception):
    """The server answered with something else than a WebSocket."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the handshake was answered with {status}")
        self.status = status


class ModelSocket(Protocol):
    """One open socket to a model."""

    def send(self, message: bytes) -> bool:
        """Queue a text message; messages leave in order. False if the model has stopped reading: too much waits."""
        ...

    async def deliver(self, heard: Heard) -> tuple[int, str] | None:
        """Hand over every message as it comes, until the socket is closed: by which code (1006 without a close) and
        reason. None if `heard` wanted no more. What `heard` raises is raised here."""
        ...

    def abort(self) -> None:
        """Let go of the connection as it is."""
        ...

    async def close(self) -> None:
        """Close, with a closing handshake of `MODEL_CLOSE_S` at the longest."""
        ...


class OpenModelSocket(Protocol):
    """How a model's socket is opened. Raises HandshakeRefusedError, and OSError for whatever else prevents it."""

    async def __call__(self, url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> ModelSocket:
        """`tls` is for wss; None stands for the system's own trust."""
        ...


# --- picows


class PicowsModelSocket(PicowsSocket):
    """`ModelSocket` on picows."""

    __slots__ = ("_backlogged",)

    def __init__(self) -> None:
        super().__init__(limits.MODEL_MESSAGE_BYTES)
        self._backlogged = False

    def send(self, message: bytes) -> bool:
        """Send a text message."""
        if self._closing or self._transport is None:
            return True
        self._transport.send(WSMsgType.TEXT, message)
        return not self._backlogged or self.backlog_bytes <= limits.OUTBOX_BYTES

    def pause_writing(self) -> None:
        """More waits than a moment's congestion explains."""
        self._backlogged = True

    def resume_writing(self) -> None:
        """The model reads again."""
        self._backlogged = False

    async def deliver(self, heard: Heard) -> tuple[int, str] | None:
        """Hand over every message as it comes; how the socket was closed, if it was."""
        return self.closed_by if await self.listen(heard) else None

    async def close(self) -> None:
        """Close, with a closing handshake."""
        await self.shut(1000, limits.MODEL_CLOSE_S)


async def open_picows(url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> ModelSocket:
    """Open a model's socket with picows. Its pings find a connection that is dead without having been closed.

    Where the host has several addresses, the next is tried beside one that is slow to answer.
    """
    socket = PicowsModelSocket()
    try:
        await ws_connect(
            lambda: socket,
            url,
            ssl_context=tls,
            websocket_handshake_timeout=limits.MODEL_CONNECT_MS / 1_000,
            logger_name=QUIET,
            enable_auto_ping=True,
            auto_ping_idle_timeout=limits.MODEL_PING_S,
            auto_ping_reply_timeout=limits.MODEL_PING_S,
            max_frame_size=limits.MODEL_MESSAGE_BYTES,
            extra_headers={"User-Agent": _USER_AGENT, **headers},
            max_redirects=0,
            proxy=_proxy(url),
            read_buffer_init_size=limits.SOCKET_BUFFER_BYTES,
            happy_eyeballs_delay=limits.MODEL_NEXT_ADDRESS_S,
        )
    except WSHandshakeError as refused:
        if refused.response is None:
            raise OSError("the handshake failed") from refused
        raise HandshakeRefusedError(refused.response.status) from refused
    except (WSError, ProxyError) as failed:
        raise OSError("no WebSocket could be opened") from failed
    except asyncio.CancelledError:
        socket.abort()  # if the server answers after all, nobody would be there
        raise
    return socket


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for this address. Plain ws is loopback, which no proxy reaches."""
    return get_proxy(parse_uri(url)) if url.startswith("wss:") else None


# --- websockets


class WebsocketsModelSocket:
    """`ModelSocket` on websockets: one task writes, out of a bounded queue."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._outbox_bytes = 0
        self._writer = asyncio.get_running_loop().create_task(self._write(), name="model writer")

    def send(self, message: bytes) -> bool:
        """Queue a text message."""
        self._outbox_bytes += len(message)
        self._outbox.put_nowait(message)
        return self._outbox_bytes <= limits.OUTBOX_BYTES

    async def deliver(self, heard: Heard) -> tuple[int, str] | None:
        """Hand over every message as it comes."""
        try:
            while heard(_text(await self._connection.recv())):
                pass
        except ConnectionClosed as closed:
            frame = closed.rcvd or closed.sent
            return (frame.code, frame.reason) if frame else (1006, "")
        return None

    def abort(self) -> None:
        """Let go of the connection as it is."""
        self._writer.cancel()
        self._connection.transport.abort()

    async def close(self) -> None:
        """Close, with a closing handshake."""
        self._writer.cancel()
        try:
            await self._connection.close()
        finally:
            self.abort()

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):  # the reading side meets it too, and says why
            while True:
                message = await self._outbox.get()
                await self._connection.send(message, text=True)
                self._outbox_bytes -= len(message)


def _text(message: str | bytes) -> str:
    return message if isinstance(message, str) else ""


async def open_websockets(url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> ModelSocket:
    """Open a model's socket with websockets."""
    opening = partial(
        _NoRedirects,
        url,
        additional_headers=headers,
        user_agent_header=_USER_AGENT,
        compression=None,
        proxy=_proxy(url),
        open_timeout=None,  # the deadline of the caller covers more than the handshake
        ping_interval=limits.MODEL_PING_S,
        ping_timeout=limits.MODEL_PING_S,
        close_timeout=limits.MODEL_CLOSE_S,
        max_size=limits.MODEL_MESSAGE_BYTES,
        max_queue=limits.MODEL_MESSAGES_HELD,
        logger=SILENT,
    )
    try:
        connection = await (opening(ssl=tls) if tls else opening())
    except InvalidStatus as refused:
        raise HandshakeRefusedError(refused.response.status_code) from refused
    except WebSocketException as failed:
        raise OSError("no WebSocket could be opened") from failed
    return WebsocketsModelSocket(connection)


class _NoRedirects(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        """No redirect is ever followed."""
        return exc
