"""The media socket's way in, through a real uvicorn. What the socket itself does is in `test_media_socket`."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Mapping
from importlib import metadata

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voice_openai_connect.gateway.media_socket import MediaSocket
from voice_openai_connect.gateway.picows_media import MediaDoor, media_protocol
from voice_openai_connect.gateway.server import DrainingServer, server_config
from voice_openai_connect.picows_socket import SILENT
from voice_openai_connect.simulator.serving import serving

DEADLINE_S = 20


async def healthy(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


APP = Starlette(routes=[Route("/healthz", healthy)])


class Desk:
    """Lets a path in or not, and echoes."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.failures: list[BaseException] = []
        self.error: Exception | None = None
        self.served = 0
        self.socket: Callable[[], MediaSocket | None] = lambda: None
        """The latest one, if it is still there."""

    def admit(self, path: str, headers: Mapping[str, str]) -> str | None:
        self.asked.append((path, headers.get("x-twilio-signature")))
        return path if path.startswith("/twilio/stream/") else None

    async def serve(self, socket: MediaSocket, admitted: str) -> None:
        self.served += 1
        self.socket = weakref.ref(socket)
        if self.error is not None:
            raise self.error
        socket.send(admitted.encode())
        while (text := await socket.receive()) is not None:
            socket.send(text.encode())
        await socket.close()

    def failed(self, _: str, error: BaseException) -> None:
        self.failures.append(error)

    @property
    def door(self) -> MediaDoor[str]:
        return MediaDoor(self.admit, self.serve, self.failed)


def address(base: str, path: str) -> str:
    return base.replace("http", "ws", 1) + path


async def test_a_handshake_is_judged_by_its_path_and_headers_and_then_served() -> None:
    desk = Desk()
    async with (
        serving(APP, media_protocol(desk.door)) as base,
        connect(
            address(base, "/twilio/stream/a%2Db?x=1"), additional_headers={"X-Twilio-Signature": "signed"}
        ) as client,
    ):
        assert await client.recv() == "/twilio/stream/a-b"
        await client.send("hello")
        assert await client.recv() == "hello"
    assert desk.asked == [("/twilio/stream/a-b", "signed")]


async def test_a_socket_that_is_over_is_gone_without_being_collected() -> None:
    desk = Desk()
    gc.disable()
    try:
        async with serving(APP, media_protocol(desk.door)) as base:
            async with connect(address(base, "/twilio/stream/a")) as client:
                await client.recv()
            async with asyncio.timeout(DEADLINE_S):
                while desk.socket() is not None:  # noqa: ASYNC110 - nobody is told when memory is free
                    await asyncio.sleep(0.005)
    finally:
        gc.enable()


async def test_whoever_is_not_admitted_gets_403_and_is_not_served() -> None:
    desk = Desk()
    async with serving(APP, media_protocol(desk.door)) as base:
        with pytest.raises(InvalidStatus) as refused:
            await connect(address(base, "/elsewhere"))
        assert refused.value.response.status_code == 403
    assert desk.served == 0


async def test_http_on_the_same_port_stays_the_application_s() -> None:
    async with serving(APP, media_protocol(Desk().door)) as base, httpx2.AsyncClient() as web:
        assert (await web.get(base + "/healthz")).text == "ok"


async def test_a_mistake_in_serving_is_told_and_costs_nobody_else_anything() -> None:
    desk = Desk()
    async with serving(APP, media_protocol(desk.door)) as base:
        desk.error = LookupError("ours")
        async with connect(address(base, "/twilio/stream/1")):
            desk.error = None
            async with connect(address(base, "/twilio/stream/2")) as client:
                assert await client.recv() == "/twilio/stream/2"
    assert [type(error) for error in desk.failures] == [LookupError]


async def test_a_request_that_is_no_handshake_is_refused() -> None:
    desk = Desk()
    async with serving(APP, media_protocol(desk.door)) as base:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rpartition(":")[2]))
        writer.write(
            b"GET /twilio/stream/1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"  # and no key
        )
        answer = await asyncio.wait_for(reader.read(), DEADLINE_S)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    assert desk.served == 0


async def test_a_server_that_stops_closes_what_is_still_open_with_1012() -> None:
    desk = Desk()

    async def drain() -> None:
        return

    config = server_config(APP, host="127.0.0.1", port=0, media=media_protocol(desk.door))
    config.lifespan = "off"
    server = DrainingServer(config, drain, lambda: None)
    running = asyncio.create_task(server.serve_within())
    await asyncio.wait_for(server.until_started(), DEADLINE_S)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with connect(f"ws://127.0.0.1:{port}/twilio/stream/1") as client:
        await client.recv()
        server.should_exit = True
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), DEADLINE_S)
        assert client.close_code == 1012
    await asyncio.wait_for(running, DEADLINE_S)


async def test_nothing_of_a_connection_reaches_any_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(1)
    async with (
        serving(APP, media_protocol(Desk().door)) as base,
        connect(address(base, "/twilio/stream/s3cret"), logger=SILENT) as client,
    ):
        await client.recv()
        client.transport.write(b"\xff\xff\xff\xff")  # no frame at all
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), DEADLINE_S)
    told = "".join(record.getMessage() for record in caplog.records if record.name.startswith(("picows", "unheard")))
    assert told + "".join(capfd.readouterr()) == ""


def test_picows_is_the_version_whose_protocol_we_make_ourselves() -> None:
    """Its constructor is not public (docs/decisions/0017): another version needs this file's tests, and a look."""
    assert metadata.version("picows").startswith("2.3.")
