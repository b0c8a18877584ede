"""The media socket over a real server's WebSocket, with a real client at the other end."""

import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from voice_openai_connect import limits
from voice_openai_connect.gateway.media_socket import MediaSocket, StarletteMediaSocket
from voice_openai_connect.gateway.picows_media import MediaDoor, media_protocol
from voice_openai_connect.simulator.serving import serving

DEADLINE_S = 20
Use = Callable[[MediaSocket], Awaitable[None]]
Line = tuple[ClientConnection, "asyncio.Future[None]"]


class OpenLine(Protocol):
    def __call__(self, use: Use, on_trouble: Callable[[str], None] = ...) -> AbstractAsyncContextManager[Line]: ...


@pytest.fixture(params=["starlette", "picows"])
def open_line(request: pytest.FixtureRequest) -> OpenLine:
    """Makes a client's end of a socket that `use` has the server's end of, and the outcome of `use`."""

    @asynccontextmanager
    async def open_line(use: Use, on_trouble: Callable[[str], None] = lambda _: None) -> AsyncGenerator[Line]:
        done = asyncio.get_running_loop().create_future()

        async def served(socket: MediaSocket, _: object = None) -> None:
            socket.on_trouble = on_trouble
            try:
                await asyncio.wait_for(use(socket), DEADLINE_S)
            except BaseException as error:  # noqa: BLE001 - it is the test that must fail, not the server
                done.set_exception(error)
            else:
                done.set_result(None)

        async def endpoint(websocket: WebSocket) -> None:
            await websocket.accept()
            await served(StarletteMediaSocket(websocket))

        app = Starlette(routes=[WebSocketRoute("/", endpoint)])
        door = MediaDoor(lambda _path, _headers: True, served, lambda _what, _error: None)
        media = media_protocol(door) if request.param == "picows" else None
        async with (
            serving(app, media) as base,
            connect(base.replace("http", "ws", 1), compression=None, max_queue=1) as client,
        ):
            yield client, done

    return open_line


async def all_messages(client: ClientConnection) -> list[str]:
    return [str(message) async for message in client]


async def test_messages_leave_in_order_and_a_close_sends_what_is_queued_first(open_line: OpenLine) -> None:
    async def use(socket: MediaSocket) -> None:
        for number in range(1_000):
            socket.send(str(number).encode())
        await socket.close()

    async with open_line(use) as (client, done):
        assert await all_messages(client) == [str(number) for number in range(1_000)]
        assert client.close_code == 1000
        await done


async def test_what_the_peer_says_is_received_in_order_and_binary_comes_as_nothing(open_line: OpenLine) -> None:
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


async def test_a_peer_that_is_gone_says_nothing_ever_again_and_can_still_be_closed(open_line: OpenLine) -> None:
    async def use(socket: MediaSocket) -> None:
        assert await socket.receive() is None
        assert await socket.receive() is None
        socket.send(b"to nobody")
        await socket.close()
        await socket.close()

    async with open_line(use) as (client, done):
        client.transport.abort()
        await done


async def test_after_our_close_nothing_is_sent_and_nothing_is_received(open_line: OpenLine) -> None:
    async def use(socket: MediaSocket) -> None:
        await socket.close()
        socket.send(b"too late")
        assert await socket.receive() is None
        await socket.close()

    async with open_line(use) as (client, done):
        assert await all_messages(client) == []
        await done


async def test_a_peer_that_does_not_read_is_reported_once_and_holds_nobody(
    open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_BYTES", 1_200_000)
    monkeypatch.setattr(limits, "SOCKET_CLOSE_S", 0.05)
    stuck: list[str] = []

    async def use(socket: MediaSocket) -> None:
        while not stuck:
            socket.send(b"x" * 8_000)
            await asyncio.sleep(0)
        for _ in range(100):
            socket.send(b"more")
        await socket.close()

    async with open_line(use, stuck.append) as (client, done):
        await done
        assert stuck == ["not_reading"]
        client.transport.abort()


async def test_what_waits_for_a_peer_that_does_not_read_is_bounded_and_let_go(
    open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_BYTES", 1_200_000)
    monkeypatch.setattr(limits, "SOCKET_CLOSE_S", 0.05)
    sent = 0
    stuck: list[str] = []

    async def use(socket: MediaSocket) -> None:
        nonlocal sent
        while not stuck:
            socket.send(b"x" * 8_000)
            sent += 8_000
            await asyncio.sleep(0)
        await socket.close()

    async with open_line(use, stuck.append) as (client, done):
        tracemalloc.start()
        try:
            await done
            gc.collect()
            left, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        client.transport.abort()

    assert most < limits.OUTBOX_BYTES * 1.5 < sent  # the system took some before it was stuck
    assert left < limits.OUTBOX_BYTES / 2


async def test_a_peer_that_has_stopped_reading_is_given_up_after_a_while(
    open_line: OpenLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEND_STALLED_S", 0.05)
    monkeypatch.setattr(limits, "OUTBOX_BYTES", 1_000_000_000)
    monkeypatch.setattr(limits, "SOCKET_CLOSE_S", 0.05)
    stuck = asyncio.Event()

    async def use(socket: MediaSocket) -> None:
        while not stuck.is_set():
            for _ in range(30):
                socket.send(b"x" * 8_000)
            await asyncio.sleep(0.02)
        await socket.close()

    async with open_line(use, lambda _: stuck.set()) as (client, done):
        await done
        client.transport.abort()


# --- a peer that sends too much


async def received(client: ClientConnection, heard: asyncio.Queue[str | None], messages: int) -> list[str | None]:
    """What arrives of so many messages sent at once."""
    for number in range(messages):
        await client.send(str(number))
    return [await asyncio.wait_for(heard.get(), DEADLINE_S) for _ in range(messages)]


async def test_what_a_line_sends_after_a_stall_is_heard(open_line: OpenLine) -> None:
    heard: asyncio.Queue[str | None] = asyncio.Queue()

    async def use(socket: MediaSocket) -> None:
        while (text := await socket.receive()) is not None:
            heard.put_nowait(text)

    async with open_line(use) as (client, done):
        burst = limits.STREAM_MESSAGES_BURST
        assert await received(client, heard, burst) == [str(number) for number in range(burst)]
        await client.close()
        await done


async def test_a_flood_is_not_listened_to_and_the_socket_closed_for_it(open_line: OpenLine) -> None:
    heard: list[str] = []
    told: list[str] = []

    async def use(socket: MediaSocket) -> None:
        while (text := await socket.receive()) is not None:
            heard.append(text)
        await socket.close()

    async with open_line(use, told.append) as (client, done):
        with contextlib.suppress(ConnectionClosed):
            for number in range(limits.STREAM_MESSAGES_BURST * 20):
                await client.send(str(number))
        await client.wait_closed()
        await done

    assert client.close_code == 1008
    assert told == ["flood"]
    assert limits.STREAM_MESSAGES_BURST <= len(heard) < limits.STREAM_MESSAGES_BURST * 20


async def test_the_writer_s_task_ends_with_the_socket(open_line: OpenLine) -> None:
    writers: list[asyncio.Task[None]] = []

    async def use(socket: MediaSocket) -> None:
        writers.extend(task for task in asyncio.all_tasks() if task.get_name() == "media socket writer")
        socket.send(b"hello")
        await socket.close()

    async with open_line(use) as (client, done):
        await all_messages(client)
        await done
    assert all(writer.done() for writer in writers)
