"""WebSockets for a few thousand messages a second: the sans-I/O protocol of `websockets` on an asyncio transport.

No queue, no task and no await for a message: what comes is handed on in the same instant, what is sent is written.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final, Literal, cast

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

Ending = Literal["closed", "dropped", "left"]
"""The other side sent a close; the connection broke; we closed it."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
HANDSHAKE_S: Final = 5.0
BACKLOG_BYTES: Final = 128 * 1024
"""More than this unsent means that the other side does not read: five seconds of media."""


class LightSocket(asyncio.Protocol):
    """One end of a WebSocket. `on_text` gets each text message as bytes, `on_end` how it ended, once.

    On the server's side, `on_request` may answer the handshake with something else than a welcome.
    """

    def __init__(self, protocol: ClientProtocol | ServerProtocol) -> None:
        self.on_text: Callable[[bytes], None] = _ignore
        self.on_end: Callable[[Ending], None] = _ignore
        self.on_open: Callable[[], None] = _nothing
        self.on_request: Callable[[Request], tuple[int, str] | None] = _welcome
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.request: Request | None = None
        self._ws = protocol
        self._left = False
        self._fragments: list[bytes] = []

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._ws.receive_data(data)
        self._handle()

    def eof_received(self) -> bool:
        """Called by asyncio. The connection is closed for us too."""
        self._ws.receive_eof()
        self._handle()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if not self.opened.done():
            self.opened.set_exception(self._ws.handshake_exc or exc or ConnectionResetError("before the handshake"))
            self.opened.exception()  # whoever waits for it is told; if nobody does, nobody needs to be warned
            return
        if self.opened.exception() is None:
            self.on_end("left" if self._left else "closed" if self._ws.close_rcvd is not None else "dropped")

    def _handle(self) -> None:
        for event in self._ws.events_received():
            if isinstance(event, Frame):
                self._take(event)
            elif isinstance(event, Request):
                self._accept(event)
            else:
                self._welcomed(event)
        self._flush()

    def _flush(self) -> None:
        for data in self._ws.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()  # the end of what we have to say

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.CONT:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                message = b"".join(self._fragments)
                self._fragments.clear()
                self.on_text(message)
        elif frame.opcode is Opcode.BINARY:
            self.on_text(b"")  # no message of either protocol is empty: it counts as a wrong one

    # --- handshakes

    def _accept(self, request: Request) -> None:
        server = cast("ServerProtocol", self._ws)
        self.request = request
        refusal = self.on_request(request)
        response = server.accept(request) if refusal is None else server.reject(*refusal)
        server.send_response(response)
        if self._ws.state is State.OPEN:
            self.opened.set_result(None)
            self._flush()
            self.on_open()

    def _welcomed(self, response: Response) -> None:
        if self.opened.done():
            return
        if self._ws.state is State.OPEN:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(self._ws.handshake_exc or InvalidStatus(response))
            self._transport.close()

    def ask(self, headers: dict[str, str]) -> None:
        """The client's handshake."""
        client = cast("ClientProtocol", self._ws)
        request = client.connect()
        request.headers.update(Headers(headers))
        client.send_request(request)
        self._flush()

    # --- our side

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self._ws.state is State.OPEN and not self._transport.is_closing()

    @property
    def backlog(self) -> int:
        """Bytes that the other side has not taken yet."""
        return self._transport.get_write_buffer_size()

    def send(self, text: bytes) -> None:
        """Send one text message; lost when the socket is not open."""
        if self.open:
            self._ws.send_text(text)
            self._flush()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake."""
        if self.open:
            self._left = True
            self._ws.send_close(code, reason)
            self._flush()

    def drop(self) -> None:
        """Break the connection off (RST), as a crash or a failing network does."""
        tcp = cast("socket.socket | None", self._transport.get_extra_info("socket"))
        if tcp is not None and not self._transport.is_closing():
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()


async def connect(host: str, port: int, *, url: str, headers: dict[str, str]) -> LightSocket:
    """Open a socket to `host` and `port`, asking for the public `url` (``wss`` over a plain connection is meant).

    Raises `OSError`, `TimeoutError` or websockets' `InvalidHandshake`.
    """
    loop = asyncio.get_running_loop()
    protocol = ClientProtocol(parse_uri(url), max_size=None)
    async with asyncio.timeout(HANDSHAKE_S):
        _, light = await loop.create_connection(lambda: LightSocket(protocol), host, port)
        light.ask(headers)
        try:
            await asyncio.shield(light.opened)
        except BaseException:
            light.drop()
            raise
    return light


def _ignore(_: object) -> None:
    """Nobody listens yet."""


def _nothing() -> None:
    """Nobody waits."""


def _welcome(_: Request) -> None:
    """Everybody is welcome."""


__all__ = ["BACKLOG_BYTES", "Ending", "InvalidHandshake", "LightSocket", "connect"]
