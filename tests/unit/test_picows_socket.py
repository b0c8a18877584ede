"""Messages out of frames, over real sockets: a client of picows against a server that sends frames by hand."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from picows import ws_connect  # pyright: ignore[reportUnknownVariableType]
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from voice_openai_connect.picows_socket import QUIET, PicowsSocket

DEADLINE_S = 10
BYTES = 1_000
Say = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def told(say: Say) -> AsyncGenerator[tuple[PicowsSocket, "asyncio.Queue[int | None]"]]:
    """A socket whose peer does `say` and then listens, and the code by which the peer saw it closed."""
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def peer(connection: ServerConnection) -> None:
        await say(connection)
        await connection.wait_closed()
        codes.put_nowait(connection.close_code)

    async with serve(peer, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        port = server.sockets[0].getsockname()[1]
        socket = PicowsSocket(BYTES)
        await ws_connect(lambda: socket, f"ws://127.0.0.1:{port}/", logger_name=QUIET, max_frame_size=BYTES)
        async with asyncio.timeout(DEADLINE_S):
            yield socket, codes
        socket.abort()


def frames(connection: ServerConnection, *parts: tuple[Opcode, bytes, bool]) -> None:
    """Write frames that no well-behaved library would."""
    for opcode, data, fin in parts:
        connection.transport.write(Frame(opcode, data, fin).serialize(mask=False))


async def test_a_message_in_fragments_is_one_message_also_with_a_ping_between_them() -> None:
    async def say(connection: ServerConnection) -> None:
        parts = (Opcode.TEXT, b"caf\xc3", False), (Opcode.PING, b"", True), (Opcode.CONT, b"\xa9", True)
        frames(connection, *parts, (Opcode.TEXT, b"next", True))

    async with told(say) as (socket, _):
        assert [await socket.receive(), await socket.receive()] == ["caf\u00e9", "next"]


async def test_a_binary_message_is_an_empty_text_whole_or_in_fragments() -> None:
    async def say(connection: ServerConnection) -> None:
        frames(
            connection, (Opcode.BINARY, b"\xff", True), (Opcode.BINARY, b"\xff", False), (Opcode.CONT, b"\xff", True)
        )

    async with told(say) as (socket, _):
        assert [await socket.receive(), await socket.receive()] == ["", ""]


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([(Opcode.TEXT, b"\xff", True)], 1007),
        ([(Opcode.TEXT, b"\xc3", False), (Opcode.CONT, b"x", True)], 1007),
        ([(Opcode.CONT, b"of what?", True)], 1002),
        ([(Opcode.TEXT, b"one", False), (Opcode.TEXT, b"two", True)], 1002),
        ([(Opcode.TEXT, b"x" * BYTES, False), (Opcode.CONT, b"x", True)], 1009),
        ([(Opcode.TEXT, b"x" * (BYTES + 1), True)], 1009),
    ],
    ids=["not UTF-8", "not UTF-8 in fragments", "a fragment of nothing", "a start in the middle", "too long", "frame"],
)
async def test_what_is_no_message_closes_the_socket(parts: list[tuple[Opcode, bytes, bool]], code: int) -> None:
    async def say(connection: ServerConnection) -> None:
        frames(connection, *parts)

    async with told(say) as (socket, codes):
        assert await socket.receive() is None
        assert await codes.get() == code
        assert socket.closed_by[0] == code


async def test_nothing_is_lost_between_receiving_and_listening_and_order_is_kept() -> None:
    heard: list[str] = []

    async def say(connection: ServerConnection) -> None:
        for number in range(100):
            await connection.send(str(number))

    def until_the_last(text: str) -> bool:
        heard.append(text)
        return text != "99"

    async with told(say) as (socket, _):
        heard.append(await socket.receive() or "")
        assert await socket.listen(until_the_last) is False
    assert heard == [str(number) for number in range(100)]


async def test_what_comes_after_listening_has_ended_waits_for_the_next_who_listens() -> None:
    async def say(connection: ServerConnection) -> None:
        frames(connection, *[(Opcode.TEXT, text, True) for text in (b"a", b"b", b"c")])

    async with told(say) as (socket, _):
        assert await socket.listen(lambda _: False) is False
        assert [await socket.receive(), await socket.receive()] == ["b", "c"]


async def test_the_end_of_the_connection_ends_listening_and_is_known_by_its_code() -> None:
    async def say(connection: ServerConnection) -> None:
        await connection.close(4000, "invalid_request_error.session_expired")

    async with told(say) as (socket, _):
        assert await socket.listen(lambda _: True) is True
        await socket.over
        assert socket.closed_by == (4000, "invalid_request_error.session_expired")
        assert await socket.receive() is None


async def test_a_connection_that_breaks_was_closed_by_nobody() -> None:
    async def say(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with told(say) as (socket, _):
        assert await socket.listen(lambda _: True) is True
        assert socket.closed_by == (1006, "")


async def test_what_the_listener_raises_is_raised_where_it_is_waited_for() -> None:
    async def say(connection: ServerConnection) -> None:
        await connection.send("hello")

    def fails(_: str) -> bool:
        raise LookupError("ours")

    async with told(say) as (socket, _):
        with pytest.raises(LookupError, match="ours"):
            await socket.listen(fails)


async def test_a_socket_that_was_let_go_while_it_was_being_opened_is_closed_as_soon_as_it_opens() -> None:
    async def say(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(say, "127.0.0.1", 0) as server:
        socket = PicowsSocket(BYTES)
        socket.abort()
        port = server.sockets[0].getsockname()[1]
        await ws_connect(lambda: socket, f"ws://127.0.0.1:{port}/", logger_name=QUIET)
        await asyncio.wait_for(socket.over, DEADLINE_S)


async def test_after_the_close_nothing_is_heard() -> None:
    async def say(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with told(say) as (socket, codes):
        await socket.shut(1000, DEADLINE_S)
        assert await codes.get() == 1000
        assert await socket.receive() is None
