"""Handshakes of the generator's WebSockets, both ends; and the model's line behind TLS, which C cannot serve."""

import asyncio
import base64
import hashlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Final

from bench.audio.engine import Ending, Engine, EngineLine
from bench.audio.frames import CLOSE, PING, PONG, TEXT, FrameError, FrameReader, frame

_READ_BYTES: Final = 262_144
_HEAD_BYTES: Final = 65_536
_LATER: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE_NORMAL: Final = b"\x03\xe8"
HANDSHAKE_S: Final = 10.0


class HandshakeRefusedError(ConnectionError):
    """The answer to a handshake was not 101."""


class TlsLine:
    """The server's end of one WebSocket behind TLS, with the same methods as the engine's lines."""

    def __init__(self, sock: ssl.SSLSocket, held: bytes) -> None:
        self.on_text: Callable[[bytes, float], None] = _ignore
        self.on_end: Callable[[Ending], None] = _ignore_ending
        self.open = True
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()
        self._frames = FrameReader(masked=True)
        self._held = held
        self._unsent = b""

    def begin(self) -> None:
        """Hand on what comes from now on."""
        self._loop.add_reader(self._fd, self._readable)
        if self._held:
            self._loop.call_soon(self._received, self._held)

    def send(self, text: bytes) -> None:
        """Send a text message."""
        self._write(frame(text))

    def close(self) -> None:
        """Send a close, and end the connection."""
        if self.open:
            self._write(frame(_CLOSE_NORMAL, opcode=CLOSE))
            self._end("left")

    def drop(self) -> None:
        """End the connection without a word."""
        self._end("left")

    def _write(self, data: bytes) -> None:
        if not self.open:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._sock.send(data)
        except _LATER:
            sent = 0
        except OSError:
            self._end("dropped")
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except _LATER:
            return
        except OSError:
            self._end("dropped")
            return
        if not self._unsent:
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        while self.open:
            try:
                data = self._sock.recv(_READ_BYTES)
            except _LATER:
                return
            except OSError:
                data = b""
            self._received(data)

    def _received(self, data: bytes) -> None:
        if not data:
            self._end("dropped")
            return
        now = time.monotonic()
        try:
            for opcode, body in self._frames.feed(data):
                if opcode == TEXT:
                    self.on_text(body, now)
                elif opcode == PING:
                    self._write(frame(body, opcode=PONG))
                elif opcode == CLOSE:
                    self._write(frame(body[:2], opcode=CLOSE))
                    self._end("closed")
        except FrameError:
            self._end("dropped")

    def _end(self, how: Ending) -> None:
        if not self.open:
            return
        self.open = False
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._sock.close()
        self.on_end(how)


# --- handshakes


Line = EngineLine | TlsLine


async def connect(engine: Engine, port: int, path: str, headers: Mapping[str, str]) -> EngineLine:
    """Open a WebSocket on this machine, as a client. Raises `OSError` or `TimeoutError`."""
    loop = asyncio.get_running_loop()
    sock = _socket()
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            await loop.sock_connect(sock, ("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines = [f"GET {path} HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
            lines += [f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            sock.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
            first, _, held = await _read_head(sock)
    except BaseException:
        sock.close()
        raise
    if " 101 " not in first:
        sock.close()
        raise HandshakeRefusedError(f"the handshake was answered with {first}")
    return engine.line(sock.detach(), client=True, held=held)


class Listener:
    """Accepts WebSockets on a free port of this machine, with TLS where `tls` is given.

    `welcome` gets the path and the headers of a handshake; it returns what to do with the open line, or the status
    line of a refusal.
    """

    def __init__(
        self,
        engine: Engine,
        welcome: Callable[[str, Mapping[str, str]], Callable[[Line], None] | str],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._engine = engine
        self._welcome = welcome
        self._tls = tls
        self._sock = _socket()
        self._sock.bind(("127.0.0.1", 0))
        self._sock.listen(4_096)
        self.port = int(self._sock.getsockname()[1])
        self._tasks: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more."""
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._sock.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.get_running_loop().create_task(self._shake_hands(sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, sock: socket.socket) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                if self._tls is not None:
                    sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                    await _shake_tls(sock)
                first, headers, held = await _read_head(sock)
        except (OSError, TimeoutError):
            sock.close()
            return
        answer = self._welcome(first.split(" ")[1], headers)
        if isinstance(answer, str):
            sock.send(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            sock.close()
            return
        digest = hashlib.sha1(headers["sec-websocket-key"].encode() + _GUID).digest()  # noqa: S324 - RFC 6455
        accept = base64.b64encode(digest).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        sock.send("\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}", "", ""]).encode())
        if isinstance(sock, ssl.SSLSocket):
            answer(TlsLine(sock, held))
        else:
            answer(self._engine.line(sock.detach(), client=False, held=held))


def _socket() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    return sock


async def _shake_tls(sock: ssl.SSLSocket) -> None:
    while True:
        try:
            return sock.do_handshake()
        except ssl.SSLWantReadError:
            await _readable(sock)


async def _read_head(sock: socket.socket) -> tuple[str, dict[str, str], bytes]:
    """The first line of a message, its fields with their names in lower case, and what came after the head."""
    raw = b""
    while (end := raw.find(b"\r\n\r\n")) < 0:
        if len(raw) > _HEAD_BYTES:
            raise ConnectionError("the head of a message is too long")
        try:
            data = sock.recv(_HEAD_BYTES)
        except _LATER:
            await _readable(sock)
            continue
        if not data:
            raise ConnectionResetError("the connection ended in a handshake")
        raw += data
    first, *lines = raw[:end].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}, raw[end + 4 :]


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock.fileno(), lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sock.fileno())


def _ignore(_: bytes, __: float) -> None:
    """Until somebody listens."""


def _ignore_ending(_: Ending) -> None:
    """Nobody waits for the end."""
