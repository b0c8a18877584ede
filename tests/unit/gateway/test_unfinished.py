"""Whoever opens a connection and does not finish a request loses it; everybody else keeps theirs."""

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
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
from voice_openai_connect.gateway.server import server_config
from voice_openai_connect.gateway.unfinished import Unfinished

Serving = Callable[..., AbstractAsyncContextManager[int]]
LONGEST_S = 10.0
DEADLINE_S = 30


@dataclass(eq=False)
class Exchange:
    """As uvicorn has them."""

    more_body: bool = False
    response_complete: bool = False


@dataclass(eq=False)
class Connection:
    """As uvicorn has them."""

    cycle: Any = None
    timeout_keep_alive_task: Any = None
    aborted: bool = False
    transport: Any = field(init=False)

    def __post_init__(self) -> None:
        self.transport = SimpleNamespace(abort=self._abort)

    def _abort(self) -> None:
        self.aborted = True

    def begins(self) -> None:
        """A request's head has come."""
        self.cycle = Exchange(more_body=True)
        self.timeout_keep_alive_task = None

    def is_answered(self) -> None:
        """The whole request has come, and the answer has been sent."""
        self.cycle = Exchange(response_complete=True)
        self.timeout_keep_alive_task = object()

    def begins_another(self) -> None:
        """The first byte of one more request has come."""
        self.timeout_keep_alive_task = None


def watch(*connections: object, seconds: int, begin_s: int = 0, unfinished: Unfinished | None = None) -> Unfinished:
    """Look once a second, from `begin_s` on."""
    unfinished = unfinished or Unfinished(LONGEST_S)
    for now in range(begin_s, begin_s + seconds):
        unfinished.look(connections, now)
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
    unfinished = watch(connection, seconds=100)
    connection.begins_another()
    watch(connection, seconds=11, begin_s=100, unfinished=unfinished)
    assert not connection.aborted, "its time begins with its first byte"

    watch(connection, seconds=1, begin_s=111, unfinished=unfinished)
    assert connection.aborted


def test_a_connection_that_is_idle_after_an_answer_is_left_to_uvicorn() -> None:
    connection = Connection()
    connection.is_answered()
    watch(connection, seconds=200)

    assert not connection.aborted


def test_of_too_many_idle_connections_none_is_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IDLE_CONNECTIONS", 2)
    crowd, busy = [Connection(), Connection(), Connection()], Connection()
    for connection in crowd:
        connection.is_answered()
    unfinished = watch(*crowd[:2], seconds=200)
    assert not any(connection.aborted for connection in crowd)

    busy.begins()
    busy.cycle.more_body = False
    watch(*crowd, busy, seconds=1, begin_s=200, unfinished=unfinished)
    assert [connection.aborted for connection in (*crowd, busy)] == [True, True, False, False]


def test_of_too_many_requests_on_their_way_the_oldest_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNFINISHED_CONNECTIONS", 2)
    young, old, older, idle = Connection(), Connection(), Connection(), Connection()
    idle.is_answered()
    unfinished = watch(older, idle, seconds=2)
    watch(old, older, idle, seconds=2, begin_s=2, unfinished=unfinished)
    assert not older.aborted

    watch(young, old, older, idle, seconds=1, begin_s=4, unfinished=unfinished)
    assert [connection.aborted for connection in (young, old, older, idle)] == [False, False, True, False]


def test_time_that_an_answer_takes_is_ours() -> None:
    connection = Connection()
    connection.begins()
    connection.cycle.more_body = False
    watch(connection, seconds=100)

    assert not connection.aborted


def test_a_connection_with_one_request_after_another_has_each_time_anew() -> None:
    connection, unfinished = Connection(), Unfinished(LONGEST_S)
    for begin_s in range(0, 100, 10):
        connection.begins()
        watch(connection, seconds=10, begin_s=begin_s, unfinished=unfinished)

    assert not connection.aborted


def test_what_does_not_speak_http_is_left_alone() -> None:
    socket = SimpleNamespace(transport=Connection().transport)
    watch(socket, seconds=100)


def test_uvicorn_keeps_an_idle_connection_for_longer_than_our_balancer_does() -> None:
    template = (Path(__file__).parents[3] / "aws" / "templates" / "gateway.yaml").read_text(encoding="utf-8")
    idle = re.search(r'idle_timeout.timeout_seconds, Value: "(\d+)"', template)

    assert idle
    assert server_config(Starlette(), host="127.0.0.1", port=0).timeout_keep_alive > int(idle[1])


# --- with real sockets


async def read_all(request: Request) -> Response:
    with suppress(ClientDisconnect):
        await request.body()
    return PlainTextResponse("ok")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


APP = Starlette(routes=[Route("/", read_all, methods=["POST"]), WebSocketRoute("/socket", echo)])


async def test_peers_that_send_only_so_much_are_cut_off_and_an_open_socket_stays(serving: Serving) -> None:
    body = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"
    async with serving(APP, request_s=0.5) as port, connect(f"ws://127.0.0.1:{port}/socket") as socket:
        peers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for (_, writer), sent in zip(peers, (b"", b"POST / HT", body), strict=True):
            writer.write(sent)
        for reader, writer in peers:
            with suppress(ConnectionResetError):  # the same end, said the hard way
                assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
            writer.close()

        await socket.send("still here")
        assert await asyncio.wait_for(socket.recv(), DEADLINE_S) == "still here"


async def test_an_idle_connection_takes_another_request_long_after_the_first(serving: Serving) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    async with serving(APP, request_s=0.5) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await asyncio.wait_for(reader.readuntil(b"ok"), DEADLINE_S)
        silent, its_writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):  # once it is cut off, the first has been idle for as long
            await asyncio.wait_for(silent.read(), DEADLINE_S)
        its_writer.close()

        writer.write(request)
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), DEADLINE_S)).startswith(b"HTTP/1.1 200")
        writer.close()
