import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from http import HTTPStatus
from typing import Protocol, cast

import pytest
from twilio.request_validator import RequestValidator  # pyright: ignore[reportMissingTypeStubs] - it has none
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from voice_openai_connect.simulator.carrier_connect import NO_STREAM, Handshake, StreamLeg
from voice_openai_connect.simulator.carrier_media import MediaStream
from voice_openai_connect.simulator.carrier_twiml import Stream
from voice_openai_connect.simulator.carrier_webhooks import Routes, signer
from voice_openai_connect.simulator.ports import free_port

DEADLINE_S = 20
URL = "wss://voice.example.com/twilio/stream/t1"


class Validates(Protocol):
    def validate(self, uri: str, params: Mapping[str, str], signature: str) -> bool: ...


class Door:
    """A media server that lets in or refuses, and then does what `behave` says."""

    def __init__(self) -> None:
        self.refuse = 0
        self.requests: list[Request] = []
        self.base = ""

    async def behave(self, socket: ServerConnection) -> None:
        await socket.recv()
        await socket.recv()

    def check(self, socket: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        return socket.respond(HTTPStatus(self.refuse), "no") if self.refuse else None


@pytest.fixture
async def door() -> AsyncGenerator[Door]:
    door = Door()

    async def handle(socket: ServerConnection) -> None:
        await door.behave(socket)

    async with serve(handle, "127.0.0.1", 0, process_request=door.check, close_timeout=1) as server:
        door.base = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield door


class Visit:
    """One try at a stream, and everything that was noted about it."""

    def __init__(self, base: str, *, callback: str = "/stream-status") -> None:
        self.codes: list[int] = []
        self.told: list[Mapping[str, str]] = []
        routes = Routes({"https://voice.example.com": base})
        handshake = Handshake(routes.real, signer("12345"))
        wanted = Stream(URL, {}, status_callback=callback)
        self.leg = StreamLeg(
            wanted, handshake, lambda code, _: self.codes.append(code), lambda _, posted: self.told.append(posted)
        )

    def make(self, socket: ClientConnection) -> MediaStream:
        return MediaStream(socket, "AC1", "CA1", lambda code, _: self.codes.append(code), lambda: 0)

    async def run(self, *, entered: Callable[[], None] = lambda: None) -> str:
        return await asyncio.wait_for(self.leg.run(self.make, lambda _: entered()), DEADLINE_S)

    @property
    def events(self) -> list[str]:
        return [posted["StreamEvent"] for posted in self.told]


async def test_the_handshake_is_signed_over_the_public_address(door: Door) -> None:
    await Visit(door.base).run()
    request = door.requests[0]
    signature = request.headers["x-twilio-signature"]
    validator = cast("Validates", RequestValidator("12345"))
    assert validator.validate(URL, {}, signature)
    assert not validator.validate(URL + "/", {}, signature)
    assert (request.path, request.headers["host"]) == ("/twilio/stream/t1", "voice.example.com")
    assert "sec-websocket-extensions" not in request.headers


async def test_a_close_by_the_gateway_is_logged_as_such_and_reported_as_stopped(door: Door) -> None:
    visit = Visit(door.base)
    assert await visit.run() == "closed"
    assert visit.codes == [31921]
    assert visit.events == ["stream-started", "stream-stopped"]
    assert visit.told[0]["StreamSid"] == visit.told[1]["StreamSid"] != NO_STREAM


async def test_a_broken_connection_is_reported_as_an_error(door: Door) -> None:
    async def break_off(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.abort()

    door.behave = break_off
    visit = Visit(door.base)
    assert await visit.run() == "dropped"
    assert visit.codes == [31903]
    assert visit.events == ["stream-started", "stream-error"]


async def test_a_refused_handshake_is_no_stream(door: Door) -> None:
    door.refuse = 403
    visit = Visit(door.base)
    assert await visit.run() == "dropped"
    assert visit.codes == [31920]
    assert visit.events == ["stream-error"]
    assert "403" in visit.told[0]["StreamError"]


async def test_a_gateway_that_is_not_there_is_no_stream() -> None:
    visit = Visit(f"http://127.0.0.1:{free_port()}", callback="")
    assert await visit.run() == "dropped"
    assert visit.codes == [31902]
    assert visit.told == []


async def test_a_stream_that_is_left_is_reported_as_stopped(door: Door) -> None:
    async def listen(socket: ServerConnection) -> None:
        async for _ in socket:
            pass

    door.behave = listen
    visit, entered = Visit(door.base), asyncio.Event()
    running = asyncio.create_task(visit.run(entered=entered.set))
    await asyncio.wait_for(entered.wait(), DEADLINE_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert visit.events == ["stream-started", "stream-stopped"]
