"""The bad line, between real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import pytest

from voice_openai_connect.simulator.faults import FaultProxy
from voice_openai_connect.simulator.ports import free_port

DEADLINE_S = 10
Result = TypeVar("Result")
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """Sends back what it gets, and remembers in which pieces it came."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.received = asyncio.Event()
        self.ended: asyncio.Queue[str] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.pieces.append(data)
                self.received.set()
                writer.write(data)
            self.ended.put_nowait("end")
        except ConnectionResetError:
            self.ended.put_nowait("reset")
        finally:
            writer.close()

    @property
    def heard(self) -> bytes:
        return b"".join(self.pieces)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[FaultProxy]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as running:
        yield running
    server.close()


async def connected(proxy: FaultProxy) -> Connection:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def soon(work: Awaitable[Result]) -> Result:
    return await asyncio.wait_for(work, DEADLINE_S)


async def test_without_faults_everything_passes_both_ways_and_is_counted(proxy: FaultProxy) -> None:
    reader, writer = await connected(proxy)
    writer.write(b"x" * 100_000)
    assert await soon(reader.readexactly(100_000)) == b"x" * 100_000

    assert (proxy.accepted, proxy.open) == (1, 1)
    assert proxy.there.carried == proxy.back.carried == 100_000
    writer.close()


async def test_an_end_is_passed_on_and_the_other_direction_may_finish(proxy: FaultProxy, echo: Echo) -> None:
    reader, writer = await connected(proxy)
    writer.write(b"last words")
    writer.write_eof()

    assert await soon(reader.read()) == b"last words"
    assert await soon(echo.ended.get()) == "end"
    writer.close()


async def test_what_is_delayed_arrives_later_and_in_order(proxy: FaultProxy) -> None:
    loop = asyncio.get_running_loop()
    proxy.there.latency_ms, proxy.there.jitter_ms = 150, 50
    reader, writer = await connected(proxy)
    began = loop.time()
    for number in range(20):
        writer.write(bytes([number]))
        await asyncio.sleep(0)
    first = await soon(reader.readexactly(1))
    took_s = loop.time() - began

    assert first + await soon(reader.readexactly(19)) == bytes(range(20))
    assert took_s >= 0.15
    writer.close()


async def test_a_narrow_line_lets_a_message_through_bit_by_bit(proxy: FaultProxy) -> None:
    loop = asyncio.get_running_loop()
    proxy.there.bytes_per_s, proxy.there.piece_bytes = 1_000, 50
    reader, writer = await connected(proxy)
    began = loop.time()
    writer.write(b"x" * 200)

    assert await soon(reader.readexactly(200)) == b"x" * 200
    assert loop.time() - began >= 0.15  # the pause after the last piece is nobody's concern
    writer.close()


async def test_a_message_is_sliced_and_loses_nothing(proxy: FaultProxy, echo: Echo) -> None:
    proxy.there.piece_bytes = 3
    proxy.there.bytes_per_s = 3_000  # so that the pieces are not read together again
    reader, writer = await connected(proxy)
    writer.write(b"a whole sentence")

    assert await soon(reader.readexactly(16)) == b"a whole sentence"
    assert len(echo.pieces) > 1
    writer.close()


async def test_what_is_stalled_one_way_is_held_while_the_other_way_goes_on(proxy: FaultProxy, echo: Echo) -> None:
    reader, writer = await connected(proxy)
    proxy.back.stalled = True
    writer.write(b"question")
    await soon(echo.received.wait())
    assert proxy.back.carried == 0

    proxy.back.stalled = False
    assert await soon(reader.readexactly(8)) == b"question"
    writer.close()


async def test_what_is_stalled_on_its_way_there_reaches_nobody_until_it_goes_on(proxy: FaultProxy, echo: Echo) -> None:
    reader, writer = await connected(proxy)
    proxy.there.stalled = True
    writer.write(b"one")
    other_reader, other_writer = await connected(proxy)
    other_writer.write(b"two")
    assert (proxy.there.carried, echo.pieces) == (0, [])
    proxy.there.stalled = False

    assert await soon(reader.readexactly(3)) == b"one"
    assert await soon(other_reader.readexactly(3)) == b"two"
    assert sorted(echo.pieces) == [b"one", b"two"]
    writer.close()
    other_writer.close()


async def test_a_stranded_connection_is_dead_for_good_and_a_new_one_works(proxy: FaultProxy, echo: Echo) -> None:
    reader, writer = await connected(proxy)
    writer.write(b"heard")
    await soon(reader.readexactly(5))
    proxy.strand()
    writer.write(b"lost")
    new_reader, new_writer = await connected(proxy)
    new_writer.write(b"again")

    assert await soon(new_reader.readexactly(5)) == b"again"
    assert echo.heard == b"heardagain"
    assert proxy.open == 2
    writer.close()
    new_writer.close()


async def test_a_reset_breaks_both_sides_off(proxy: FaultProxy, echo: Echo) -> None:
    reader, writer = await connected(proxy)
    writer.write(b"hello")
    await soon(reader.readexactly(5))
    proxy.reset()

    with pytest.raises(ConnectionResetError):
        await soon(reader.read())
    assert await soon(echo.ended.get()) == "reset"
    writer.close()


@pytest.mark.parametrize("allowed", [0, 4])
async def test_a_connection_is_closed_after_so_many_bytes_and_the_next_is_well(
    proxy: FaultProxy, echo: Echo, allowed: int
) -> None:
    proxy.back.close_after = allowed
    reader, writer = await connected(proxy)
    writer.write(b"question")

    assert await soon(reader.read()) == b"question"[:allowed]
    assert echo.heard == b"question"  # it was the answer that was lost
    writer.close()
    reader, writer = await connected(proxy)
    writer.write(b"again")
    assert await soon(reader.readexactly(5)) == b"again"
    writer.close()


async def test_a_proxy_that_has_gone_away_refuses_and_comes_back_at_the_same_port(proxy: FaultProxy) -> None:
    reader, writer = await connected(proxy)
    writer.write(b"hello")
    await soon(reader.readexactly(5))
    port = proxy.port
    await proxy.go_away()
    with pytest.raises(ConnectionRefusedError):
        await connected(proxy)
    with pytest.raises(ConnectionResetError):
        await soon(reader.read())
    writer.close()

    await proxy.come_back()
    assert proxy.port == port
    reader, writer = await connected(proxy)
    writer.write(b"hello")
    assert await soon(reader.readexactly(5)) == b"hello"
    writer.close()


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_that_is_only_being_made_is_gone_with_the_proxy(
    echo: Echo, proxy: FaultProxy, turns: int
) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        for _ in range(turns):  # of the loop: accepted, served, connected on
            await asyncio.sleep(0)
        await proxy.go_away()
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.send(b"is anyone there?")
        with contextlib.suppress(ConnectionResetError):
            assert await soon(asyncio.get_running_loop().sock_recv(client, 100)) == b""
    assert echo.heard == b""


async def test_nobody_else_is_given_the_port_of_a_proxy_that_has_gone_away(proxy: FaultProxy) -> None:
    await proxy.go_away()
    with socket.socket() as somebody_else, pytest.raises(OSError, match="in use"):
        somebody_else.bind(("127.0.0.1", proxy.port))


async def test_the_connections_of_your_choice_are_turned_away(proxy: FaultProxy) -> None:
    proxy.turned_away = {2}
    for number in (1, 2, 3):
        reader, writer = await connected(proxy)
        writer.write(b"x")
        if number == 2:
            with pytest.raises(ConnectionResetError):
                await soon(reader.readexactly(1))
        else:
            assert await soon(reader.readexactly(1)) == b"x"
        writer.close()
    assert proxy.accepted == 3


async def test_a_server_that_is_not_there_looks_to_the_client_like_a_reset() -> None:
    async with FaultProxy("127.0.0.1", free_port()) as proxy:
        reader, writer = await connected(proxy)
        with pytest.raises(ConnectionResetError):
            await soon(reader.read())
        writer.close()
