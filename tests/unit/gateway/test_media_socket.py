"""The media socket over a real server's WebSocket, with a real client at the other end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect

from voice_openai_connect import limits
from voice_openai_connect.gateway.media_socket import MediaSocket, StarletteMediaSocket
from voice_openai_connect.simulator.serving import serving

DEADLINE_S = 20
Use = Callable[[StarletteMediaSocket], Awaitable[None]]


@asynccontextmanager
async def open_line(
    use: Use, on_stuck: Callable[[], None] = lambda: None
) -> AsyncGenerator[tuple[ClientConnection, asyncio.Future[None]], None]:
    """A client's end of a socket that `use` has the server's end of, and the outcome of `use`."""
    done = asyncio.get_running_loop().create_future()

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await asyncio.wait_for(use(StarletteMediaSocket(websocket, on_stuck)), DEADLINE_S)
        except BaseException as error:  # noqa: BLE001 - it is the test that must fail, not the server
            done.set_exception(error)
        else:
            done.set_result(None)

    app = Starlette(routes=[WebSocketRoute("/", endpoint)])
    async with serving(app) as base, connect(base.replace("http", "ws", 1), compression=None, max_queue=1) as client:
        yield client, done


async def all_messages(client: ClientConnection) -> list[str]:
    return [str(message) async for message in client]


async def test_messages_leave_in_order_and_a_close_sends_what_is_queued_first() -> None:
    async def use(socket: StarletteMediaSocket) -> None:
        for number in range(1_000):
            socket.send(str(number))
        await socket.close()

    async with open_line(use) as (client, done):
        assert await all_messages(client) == [str(number) for number in range(1_000)]
        assert client.close_code == 1000
        await done


async def test_what_the_peer_says_is_received_in_order_and_binary_comes_as_nothing() -> None:
    heard: list[str | None] = []

    async def use(socket: MediaSocket) -> None:
        while (text := await socket.receive()) is not None:
            heard.append(text)

    async with open_line(use) as (client, done):
        for message in ("one", b"\x00\x01", "two"):
            await client.send(message)
        await client.close()
        await done
    assert heard == ["one", "", "two"]


async def test_a_peer_that_is_gone_says_nothing_ever_again_and_can_still_be_closed() -> None:
    async def use(socket: StarletteMediaSocket) -> None:
        assert await socket.receive() is None
        assert await socket.receive() is None
        socket.send("to nobody")
        await socket.close()
        await socket.close()

    async with open_line(use) as (client, done):
        client.transport.abort()
        await done


async def test_after_our_close_nothing_is_sent_and_nothing_is_received() -> None:
    async def use(socket: StarletteMediaSocket) -> None:
        await socket.close()
        socket.send("too late")
        assert await socket.receive() is None
        await socket.close()

    async with open_line(use) as (client, done):
        assert await all_messages(client) == []
        await done


async def test_a_peer_that_does_not_read_is_reported_once_and_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUTBOX_MESSAGES", 20)
    monkeypatch.setattr(limits, "SOCKET_CLOSE_S", 0.05)
    stuck: list[str] = []

    async def use(socket: StarletteMediaSocket) -> None:
        while not stuck:
            socket.send("x" * 60_000)
            await asyncio.sleep(0)
        for _ in range(100):
            socket.send("more")
        await socket.close()

    async with open_line(use, lambda: stuck.append("not reading")) as (client, done):
        await done
        assert stuck == ["not reading"]
        client.transport.abort()


async def test_the_writer_s_task_ends_with_the_socket() -> None:
    writers: list[asyncio.Task[None]] = []

    async def use(socket: StarletteMediaSocket) -> None:
        writers.append(next(task for task in asyncio.all_tasks() if task.get_name() == "media socket writer"))
        socket.send("hello")
        await socket.close()

    async with open_line(use) as (client, done):
        await all_messages(client)
        await done
    assert writers[0].done()
