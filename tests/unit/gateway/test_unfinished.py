"""Whoever opens a connection and does not finish a request loses it; everybody else keeps theirs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from voice_openai_connect import limits
from voice_openai_connect.gateway.server import DrainingServer, server_config
from voice_openai_connect.gateway.unfinished import Unfinished
from voice_openai_connect.simulator.ports import free_port

LONGEST_S = 10.0
DEADLINE_S = 30


@dataclass(eq=False)
class Connection:
    """As uvicorn has them."""

    cycle: Any = None
    aborted: bool = False
    transport: Any = field(init=False)

    def __post_init__(self) -> None:
        self.transport = SimpleNamespace(abort=self._abort)

    def _abort(self) -> None:
        self.aborted = True

    def begins(self) -> None:
        """A request's head has come."""
        self.cycle = SimpleNamespace(more_body=True, response_complete=False)

    def is_answered(self) -> None:
        """The whole request has come, and the answer has been sent."""
        self.cycle = SimpleNamespace(more_body=False, response_complete=True)


def watch(connection: object, *, seconds: int, begin_s: int = 0, unfinished: Unfinished | None = None) -> Unfinished:
    """Look once a second, from `begin_s` on."""
    unfinished = unfinished or Unfinished(LONGEST_S)
    for now in range(begin_s, begin_s + seconds):
        unfinished.look([connection], now)
    return unfinished


@pytest.mark.parametrize("begun", [False, True], ids=["nothing", "a head without its body"])
def test_a_request_that_does_not_come_ends_its_connection_when_its_time_is_over(*, begun: bool) -> None:
    connection = Connection()
    if begun:
        connection.begins()
    unfinished = watch(connection, seconds=11)
    assert not connection.aborted

    watch(connection, seconds=1, begin_s=11, unfinished=unfinished)
    assert connection.aborted


def test_a_second_request_that_does_not_come_ends_its_connection_too() -> None:
    connection = Connection()
    connection.is_answered()
    watch(connection, seconds=12)

    assert connection.aborted


def test_time_that_an_answer_takes_is_ours() -> None:
    connection = Connection()
    connection.begins()
    connection.cycle.more_body = False
    watch(connection, seconds=100)

    assert not connection.aborted


def test_a_connection_with_one_request_after_another_has_each_time_anew() -> None:
    connection, unfinished = Connection(), Unfinished(LONGEST_S)
    for begin_s in range(0, 100, 10):
        connection.is_answered()
        watch(connection, seconds=10, begin_s=begin_s, unfinished=unfinished)

    assert not connection.aborted


def test_what_does_not_speak_http_is_left_alone() -> None:
    socket = SimpleNamespace(transport=Connection().transport)
    watch(socket, seconds=100)


def test_uvicorn_itself_closes_what_is_idle_after_an_answer() -> None:
    assert server_config(Starlette(), host="127.0.0.1", port=0).timeout_keep_alive < limits.REQUEST_S


# --- with real sockets


async def read_all(request: Request) -> Response:
    with suppress(ClientDisconnect):
        await request.body()
    return PlainTextResponse("ok")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


@asynccontextmanager
async def serving(*, request_s: float) -> AsyncGenerator[int]:
    app = Starlette(routes=[Route("/", read_all, methods=["POST"]), WebSocketRoute("/socket", echo)])
    port = free_port()
    config = server_config(app, host="127.0.0.1", port=port)

    async def drain() -> None:
        return

    server = DrainingServer(config, drain, lambda: None, request_s=request_s)
    task = asyncio.create_task(server.serve_within())
    await server.until_started()
    try:
        yield port
    finally:
        server.should_exit = True
        await task


async def test_peers_that_send_only_so_much_are_cut_off_and_an_open_socket_stays() -> None:
    body = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"
    async with serving(request_s=0.5) as port, connect(f"ws://127.0.0.1:{port}/socket") as socket:
        peers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for (_, writer), sent in zip(peers, (b"", b"POST / HT", body), strict=True):
            writer.write(sent)
        for reader, writer in peers:
            with suppress(ConnectionResetError):  # the same end, said the hard way
                assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
            writer.close()

        await socket.send("still here")
        assert await asyncio.wait_for(socket.recv(), DEADLINE_S) == "still here"
