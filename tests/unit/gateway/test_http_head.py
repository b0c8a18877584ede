"""A request whose path, headers or trailers do not end costs its sender the connection, and nobody else anything."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn.server import ServerState
from websockets.asyncio.client import connect

from voice_openai_connect import limits
from voice_openai_connect.gateway.http_head import ShortHeads
from voice_openai_connect.gateway.server import server_config

Serving = Callable[..., AbstractAsyncContextManager[int]]
DEADLINE_S = 30
PIECE = b"a" * 1_000
TOO_LONG = limits.REQUEST_HEAD_BYTES // len(PIECE) + 1


async def size(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(str(len(await websocket.receive_text())))
    await websocket.close()


APP = Starlette(routes=[Route("/", size, methods=["POST"]), WebSocketRoute("/", echo)])


async def answer_to(port: int, *pieces: bytes) -> bytes:
    """Send the pieces one by one, each in a packet of its own; what comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "beginning",
    [b"POST /", b"POST / HTTP/1.1\r\nX-Long: ", b"POST / HTTP/1.1\r\nX-1: y\r\nX-"],
    ids=["the path", "a header", "a header's name"],
)
async def test_a_head_that_does_not_end_is_refused(serving: Serving, beginning: bytes) -> None:
    async with serving(APP) as port:
        answer = await answer_to(port, beginning, *[PIECE] * TOO_LONG)

    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_so_is_one_of_many_headers_and_one_of_a_second_request(serving: Serving) -> None:
    header = b"X-Another: " + b"b" * 80 + b"\r\n"
    # And not one more: what came after the answer would be answered by a reset.
    enough = (limits.REQUEST_HEAD_BYTES - 100) // len(header) + 1
    first = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    async with serving(APP) as port:
        answer = await answer_to(port, first, b"POST / HTTP/1.1\r\n", *[header] * enough)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 431 " in answer


async def test_a_body_may_be_longer_than_a_head(serving: Serving) -> None:
    body = PIECE * TOO_LONG
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(APP) as port:
        answer = await answer_to(port, head, *[PIECE] * TOO_LONG)

    assert answer.endswith(b"\r\n\r\n%d" % len(body))


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("before", [0, TOO_LONG], ids=["no body", "a long body"])
async def test_so_is_what_follows_a_body_and_does_not_end(serving: Serving, before: int) -> None:
    body = [b"%x\r\n%s\r\n" % (len(PIECE), PIECE)] * before
    async with serving(APP) as port:
        answer = await answer_to(port, CHUNKED, *body, b"0\r\nX-Sum: ", *[PIECE] * TOO_LONG)

    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_body_in_chunks_may_be_longer_too_and_have_something_follow_it(serving: Serving) -> None:
    body = [b"%x\r\n%s\r\n" % (len(PIECE), PIECE)] * TOO_LONG
    async with serving(APP) as port:
        answer = await answer_to(port, CHUNKED, *body, b"0\r\nX-Sum: ", PIECE, b"\r\n\r\n")

    assert answer.endswith(b"\r\n\r\n%d" % (len(PIECE) * TOO_LONG))


async def test_a_socket_that_was_a_request_once_may_say_as_much_as_it_likes(serving: Serving) -> None:
    async with serving(APP) as port, connect(f"ws://127.0.0.1:{port}/") as socket:
        await socket.send("c" * 3 * limits.REQUEST_HEAD_BYTES)
        assert await asyncio.wait_for(socket.recv(), DEADLINE_S) == str(3 * limits.REQUEST_HEAD_BYTES)


async def test_nonsense_is_answered_as_ever(serving: Serving) -> None:
    async with serving(APP) as port:
        assert (await answer_to(port, b"\x00\x01\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


# --- piece by piece


class Wire(asyncio.Transport):
    """A connection without a network: what was written to it, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """There are requests enough to answer."""


def connected(wire: Wire) -> ShortHeads:
    config = server_config(Starlette(), host="127.0.0.1", port=0)
    protocol = ShortHeads(config, ServerState(), {})
    protocol.connection_made(wire)
    return protocol


async def test_requests_on_one_connection_are_counted_each_by_itself() -> None:
    wire = Wire()
    protocol = connected(wire)
    for _ in range(TOO_LONG):
        protocol.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nX: " + PIECE)
        protocol.data_received(b"\r\nContent-Length: 0\r\n\r\n")

    assert not wire.closed


async def test_a_head_that_is_nonsense_and_too_long_gets_one_answer() -> None:
    wire = Wire()
    connected(wire).data_received(b"POST / HTTP/1.1\r\n" + b"\x00" + PIECE * TOO_LONG)

    assert wire.written.count(b"HTTP/1.1 ") == 1


async def test_a_request_that_has_come_whole_is_not_refused_as_well() -> None:
    wire = Wire()
    connected(wire).data_received(b"POST / HTTP/1.1\r\nHost: x\r\nX: " + PIECE * TOO_LONG + b"\r\n\r\n")

    assert not wire.closed
