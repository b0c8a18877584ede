"""How a model's socket is opened, with either library. What a session does on it is in `test_openai_client`."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from voice_openai_connect.integrations.model_socket import (
    HandshakeRefusedError,
    OpenModelSocket,
    open_picows,
    open_websockets,
)

DEADLINE_S = 10


@pytest.fixture(params=[open_picows, open_websockets], ids=["picows", "websockets"])
def opening(request: pytest.FixtureRequest) -> OpenModelSocket:
    """One of the two."""
    return request.param


def url(server: asyncio.Server | Server) -> str:
    return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1/realtime?model=m"


@pytest.fixture
async def echo() -> AsyncIterator[Server]:
    async def peer(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(peer, "127.0.0.1", 0, close_timeout=1) as server:
        yield server


async def test_what_is_sent_comes_back_in_order_until_no_more_is_wanted(opening: OpenModelSocket, echo: Server) -> None:
    heard: list[str] = []

    def until_the_last(text: str) -> bool:
        heard.append(text)
        return text != "99"

    socket = await opening(url(echo), {}, None)
    assert all(socket.send(str(number).encode()) for number in range(100))
    assert await asyncio.wait_for(socket.deliver(until_the_last), DEADLINE_S) is None
    assert heard == [str(number) for number in range(100)]
    await socket.close()


async def test_a_handshake_that_is_answered_otherwise_says_by_which_status_and_no_redirect_is_followed(
    opening: OpenModelSocket,
) -> None:
    asked: list[str] = []

    async def elsewhere(socket: ServerConnection, request: Request) -> Response:
        asked.append(request.path)
        answer = socket.respond(HTTPStatus.FOUND, "")
        answer.headers["Location"] = "/v1/elsewhere"
        return answer

    async with serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=elsewhere) as server:
        with pytest.raises(HandshakeRefusedError) as refused:
            await opening(url(server), {}, None)
    assert refused.value.status == 302
    assert len(asked) == 1


async def test_a_server_that_speaks_something_else_is_an_os_error(opening: OpenModelSocket) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(OSError):  # noqa: PT011 - whatever it says
            await opening(url(server), {}, None)


async def test_the_environment_s_proxy_carries_wss_and_never_ws(
    opening: OpenModelSocket, echo: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: asyncio.Queue[bytes] = asyncio.Queue()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait(await reader.readline())
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for name in ("https_proxy", "wss_proxy", "http_proxy", "ws_proxy"):
            monkeypatch.setenv(name, address)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(OSError):  # noqa: PT011 - a proxy that hangs up
            await opening("wss://model.invalid/v1/realtime", {}, ssl.create_default_context())
        assert (await asyncio.wait_for(asked.get(), DEADLINE_S)).startswith(b"CONNECT model.invalid:443 ")
        await (await opening(url(echo), {}, None)).close()
        assert asked.empty()


async def test_opening_that_is_broken_off_leaves_no_connection_behind(opening: OpenModelSocket) -> None:
    asked, answer, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(socket: ServerConnection, _: Request) -> None:
        asked.set()
        await answer.wait()
        asyncio.get_running_loop().create_task(closed(socket))

    async def closed(socket: ServerConnection) -> None:
        await socket.wait_closed()
        gone.set()

    async def peer(_: ServerConnection) -> None:
        await gone.wait()

    async with asyncio.timeout(DEADLINE_S), serve(peer, "127.0.0.1", 0, process_request=slow) as server:
        waiting = asyncio.ensure_future(opening(url(server), {}, None))
        await asked.wait()
        waiting.cancel()
        await asyncio.wait({waiting})
        answer.set()
        await gone.wait()


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """An address that answers no attempt to connect: its queue is full, so the kernel drops what comes."""
    with contextlib.ExitStack() as open_:
        listening = open_.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            waiting = open_.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()


async def test_an_address_that_is_silent_does_not_keep_the_next_from_being_tried(
    echo: Server, silent: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With picows; uvloop cannot do it for websockets."""
    places = [silent, next(iter(echo.sockets)).getsockname()]

    async def two(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place) for place in places]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two)
    async with asyncio.timeout(DEADLINE_S):
        socket_ = await open_picows("ws://model.invalid/v1/realtime", {}, None)
    heard: list[str] = []
    socket_.send(b"hello")
    await asyncio.wait_for(socket_.deliver(lambda text: bool(heard.append(text))), DEADLINE_S)

    assert heard == ["hello"]
    await socket_.close()
