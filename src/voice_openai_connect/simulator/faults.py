"""A bad line on request: a TCP proxy in front of a server, which delays, thins, holds, slices, cuts and refuses.

    async with FaultProxy("127.0.0.1", port) as proxy:
        ...  # point a client at proxy.address
        proxy.back.stalled = True  # answers are held from now on
        proxy.reset()  # and now the connections are gone

It knows nothing of what it carries. Everything may be changed while it runs, and holds for open connections as well.
"""

import asyncio
import random
import socket
import struct
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

READ_BYTES: Final = 16_384
PIECES_HELD: Final = 512
"""On their way in one direction of one connection; beyond it the sender is made to wait, as by any network."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Way:
    """One direction: `there` is from the client to the server, `back` from the server to the client.

    `latency_ms` and `jitter_ms` delay; what was sent first still arrives first. `bytes_per_s` bounds the rate.
    `piece_bytes` slices: no more than so many are written at once. `close_after` is a trap for one connection: so
    many more bytes are carried this way, the connection with the next one is closed, and then all is well again.
    """

    def __init__(self) -> None:
        self.latency_ms = 0
        self.jitter_ms = 0
        self.bytes_per_s: int | None = None
        self.piece_bytes: int | None = None
        self.close_after: int | None = None
        self.carried = 0
        """Bytes that have been passed on."""
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def stalled(self) -> bool:
        """Held: nothing gets through, nothing is lost, nobody is told. Set it to False and everything goes on."""
        return not self._flowing.is_set()

    @stalled.setter
    def stalled(self, held: bool) -> None:
        if held:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def until_flowing(self) -> None:
        """Return when nothing holds this direction."""
        await self._flowing.wait()

    def pieces(self, data: bytes) -> list[bytes]:
        """What is read at once, as it will be written."""
        size = self.piece_bytes or len(data)
        return [data[start : start + size] for start in range(0, len(data), size)]

    def allowed(self, size: int) -> int | None:
        """How many of so many bytes get through before the trap closes; None if it does not close on them."""
        if self.close_after is None:
            return None
        if size <= self.close_after:
            self.close_after -= size
            return None
        allowed, self.close_after = self.close_after, None
        return allowed


@dataclass(eq=False)
class _Link:
    """A client's connection and ours to the server."""

    socket: socket.socket
    """The client's, from the moment it is accepted."""
    client: asyncio.StreamWriter | None = None
    server: asyncio.StreamWriter | None = None
    stranded: bool = False
    broken_off: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def reset(self) -> None:
        """Break both off, so that each side is told by an RST."""
        self.broken_off = True
        if self.socket.fileno() >= 0:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        for writer in (self.client, self.server):
            if writer is not None:
                _reset(writer)


class FaultProxy:
    """Listens on 127.0.0.1 at a port of its own and passes on to `host` and `port`. An async context manager."""

    def __init__(self, host: str, port: int, *, seed: int = 1) -> None:
        self.there, self.back = Way(), Way()
        self.port = 0
        self.accepted = 0
        """Connections so far, those turned away included."""
        self.turned_away: set[int] = set()
        """Numbers of connections, counted from 1 as they come, that are reset as soon as they are accepted."""
        self._target = host, port
        self._random = random.Random(seed)
        self._links: set[_Link] = set()
        self._socket: socket.socket | None = None
        """Bound all the time: another process that were given the port would answer in our place."""
        self._listening = False

    @property
    def address(self) -> str:
        """Where clients connect to, as host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.go_away()
        if self._socket is not None:
            self._socket.close()

    # --- The whole of it

    async def go_away(self) -> None:
        """Refuse connections, and reset those there are. The port stays ours."""
        if self._socket is None or not self._listening:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        self._listening = False
        links = list(self._links)
        self.reset()
        for task in (tasks := [task for link in links for task in link.tasks]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in links:
            link.socket.close()
        self._links.clear()
        self._socket.close()
        self._socket = self._bound()

    async def come_back(self) -> None:
        """Listen, at the same port as before."""
        if not self._listening:
            self._socket = self._socket or self._bound()
            self._socket.listen()
            self.port = self._socket.getsockname()[1]
            asyncio.get_running_loop().add_reader(self._socket, self._accept, self._socket)
            self._listening = True

    def _bound(self) -> socket.socket:
        """Has the port and does not listen: whoever connects is refused."""
        bound = socket.socket()
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before do not matter
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets it only where it made the socket
        bound.bind(("127.0.0.1", self.port))
        return bound

    def reset(self) -> None:
        """Break off every connection there is (RST)."""
        for link in list(self._links):
            link.reset()

    def strand(self) -> None:
        """Leave every connection there is half open for good: nothing is carried, nobody is told. New ones work."""
        for link in self._links:
            link.stranded = True

    # --- One connection

    def _accept(self, listening: socket.socket) -> None:
        client, _ = listening.accept()
        client.setblocking(False)
        self.accepted += 1
        link = _Link(client)
        self._links.add(link)
        link.tasks.append(asyncio.create_task(self._serve(link, self.accepted)))

    async def _serve(self, link: _Link, number: int) -> None:
        try:
            reader, link.client = await asyncio.open_connection(sock=link.socket)
            if number in self.turned_away:
                return link.reset()
            server_reader, link.server = await asyncio.open_connection(*self._target)
            if link.broken_off:  # while we were connecting
                return link.reset()
            ways = [
                asyncio.create_task(self._carry(link, reader, link.server, self.there)),
                asyncio.create_task(self._carry(link, server_reader, link.client, self.back)),
            ]
            link.tasks += ways
            await asyncio.wait(ways)
        except OSError:
            link.reset()
        finally:
            self._links.discard(link)
            for end in (link.client, link.server):
                if end is not None:
                    end.close()

    async def _carry(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        """Read as it comes, write when it is due, until the sender has no more; then tell the receiver so."""
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES_HELD)
        writing = asyncio.create_task(self._write(link, due, writer, way))
        link.tasks.append(writing)
        try:
            while data := await reader.read(READ_BYTES):
                for piece in way.pieces(data):
                    await due.put((self._due(way), piece))
            await due.put((self._due(way), b""))
        except OSError:
            link.reset()  # one side was broken off, so the other is
            writing.cancel()
        await asyncio.wait({writing})

    async def _write(
        self, link: _Link, due: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, way: Way
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                at, piece = await due.get()
                await asyncio.sleep(max(0.0, at - loop.time()))
                await way.until_flowing()
                if link.stranded:
                    continue
                if not piece:
                    return writer.write_eof()
                if (allowed := way.allowed(len(piece))) is not None:
                    return self._close(link, writer, piece[:allowed], way)
                writer.write(piece)
                await writer.drain()
                way.carried += len(piece)
                if way.bytes_per_s:
                    await asyncio.sleep(len(piece) / way.bytes_per_s)
        except OSError:
            link.reset()

    @staticmethod
    def _close(link: _Link, writer: asyncio.StreamWriter, last: bytes, way: Way) -> None:
        """The trap: the last bytes that get through, then an ordinary close in both directions."""
        writer.write(last)
        way.carried += len(last)
        for end in (link.client, link.server):
            if end is not None:
                end.close()

    def _due(self, way: Way) -> float:
        delay_ms = way.latency_ms + self._random.randint(0, way.jitter_ms)
        return asyncio.get_running_loop().time() + delay_ms / 1_000


def _reset(writer: asyncio.StreamWriter) -> None:
    tcp: socket.socket | None = writer.get_extra_info("socket")
    if tcp is not None and tcp.fileno() >= 0:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
