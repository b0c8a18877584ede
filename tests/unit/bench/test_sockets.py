import asyncio
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bench.load.sockets import Ending, LightSocket, connect

DEADLINE_S = 20
URL = "wss://voice.example.com/twilio/stream/ticket"


@pytest.fixture
async def server() -> AsyncIterator[tuple[int, "asyncio.Queue[ServerConnection]"]]:
    """Somebody else's WebSocket server; its connections stay open until closed."""
    arrived: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def hold(connection: ServerConnection) -> None:
        arrived.put_nowait(connection)
        await connection.wait_closed()

    async with serve(hold, "127.0.0.1", 0, compression=None) as listening:
        yield next(iter(listening.sockets)).getsockname()[1], arrived


def ended(light: LightSocket) -> "asyncio.Future[Ending]":
    future: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
    light.on_end = future.set_result
    return future


async def test_messages_go_both_ways_in_order_and_the_public_name_is_kept(
    server: tuple[int, "asyncio.Queue[ServerConnection]"],
):
    port, arrived = server
    light = await connect("127.0.0.1", port, url=URL, headers={"x-twilio-signature": "signed"})
    taken: asyncio.Queue[bytes] = asyncio.Queue()
    light.on_text = taken.put_nowait
    far = await arrived.get()
    assert far.request is not None
    assert (far.request.path, far.request.headers["Host"]) == ("/twilio/stream/ticket", "voice.example.com")
    assert far.request.headers["x-twilio-signature"] == "signed"

    for number in range(100):
        light.send(b"%d" % number)
        await far.send(str(number))
    assert [await far.recv() for _ in range(100)] == [str(number) for number in range(100)]
    assert [await taken.get() for _ in range(100)] == [b"%d" % number for number in range(100)]
    light.drop()


async def test_a_message_in_pieces_is_one_message(server: tuple[int, "asyncio.Queue[ServerConnection]"]):
    port, arrived = server
    light = await connect("127.0.0.1", port, url=URL, headers={})
    taken: asyncio.Queue[bytes] = asyncio.Queue()
    light.on_text = taken.put_nowait

    await (await arrived.get()).send(["one ", "piece ", "after another"])
    assert await taken.get() == b"one piece after another"
    light.drop()


@pytest.mark.parametrize("ending", ["closed", "dropped", "left"])
async def test_how_a_connection_ended_is_told_once(
    server: tuple[int, "asyncio.Queue[ServerConnection]"], ending: Ending
):
    port, arrived = server
    light = await connect("127.0.0.1", port, url=URL, headers={})
    future, far = ended(light), await arrived.get()
    if ending == "closed":
        await far.close()
    elif ending == "dropped":
        far.transport.abort()
    else:
        light.close()

    assert await asyncio.wait_for(future, DEADLINE_S) == ending
    assert not light.open


async def test_a_drop_of_ours_is_a_broken_connection_to_the_other_side(
    server: tuple[int, "asyncio.Queue[ServerConnection]"],
):
    port, arrived = server
    light = await connect("127.0.0.1", port, url=URL, headers={})
    far = await arrived.get()
    light.drop()

    with pytest.raises(ConnectionClosed) as closed:
        await far.recv()
    assert closed.value.rcvd is None


async def test_a_refused_handshake_says_its_status():
    loop = asyncio.get_running_loop()

    def refusing() -> LightSocket:
        from websockets.server import ServerProtocol

        light = LightSocket(ServerProtocol())
        light.on_request = lambda _: (503, "no room")
        return light

    async with await loop.create_server(refusing, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(InvalidStatus) as refused:
            await connect("127.0.0.1", port, url=URL, headers={})
    assert refused.value.response.status_code == 503
