"""The server as a process, told to stop by real signals."""

import asyncio
import os
import select
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from websockets.asyncio.client import connect

from voice_openai_connect.gateway.server import (
    CannotListenError,
    DrainingServer,
    listening_socket,
    reserved_port,
    server_config,
)
from voice_openai_connect.simulator.ports import free_port

DEADLINE_S = 30
CONNECTIONS_MAX = 60
"""The kernel chooses the socket: that so many all go to the same one happens to nobody."""
CHILD = '''
"""A server around a trivial application: `/go` and `/drained` begin and end the drain, a WebSocket says all twice."""
import asyncio, logging, sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from voice_openai_connect.gateway.server import DrainingServer, listening_socket, server_config

async def main(ending):
    drained = asyncio.Event()
    async def drain():
        print("draining", flush=True)
        if ending == "broken":
            raise ZeroDivisionError
        if ending in {"waits", "hastens"}:
            await drained.wait()
    def hasten():
        print("hastened", flush=True)
        if ending == "hastens":
            drained.set()
    async def go(request):
        server.drain()
        return PlainTextResponse("ok")
    async def finish(request):
        drained.set()
        return PlainTextResponse("ok")
    async def echo(websocket):
        await websocket.accept()
        try:
            while True:
                text = await websocket.receive_text()
                await websocket.send_text(text + text)
        except Exception:
            print("socket closed", flush=True)
    socket = WebSocketRoute("/twilio/stream/{ticket}", echo)
    app = Starlette(routes=[Route("/go", go), Route("/drained", finish), socket])
    with listening_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        server = DrainingServer(server_config(app, host="127.0.0.1", port=port), drain, hasten)
        serving = asyncio.create_task(server.serve([listening]))
        await server.until_started()
        print(port, flush=True)
        await serving

logging.basicConfig(level=logging.INFO, stream=sys.stdout)
asyncio.run(main(sys.argv[1]))
'''


@dataclass
class Child:
    process: asyncio.subprocess.Process
    port: int
    lines: list[str]

    async def says(self, line: str) -> None:
        """Return when the child has printed this line."""
        while line not in self.lines:
            assert await self._read(), self.lines

    async def status(self) -> int:
        """The exit status, once it has ended and everything it said has been read."""
        while await self._read():
            pass
        return await self.process.wait()

    async def _read(self) -> bool:
        assert self.process.stdout is not None
        raw = await asyncio.wait_for(self.process.stdout.readline(), DEADLINE_S)
        self.lines.append(raw.decode().rstrip())
        return bool(raw)


@asynccontextmanager
async def child(tmp_path: Path, ending: str = "at once") -> AsyncGenerator[Child]:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, ending, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=os.environ
    )
    started = Child(process, 0, [])
    try:
        while not (started.lines and started.lines[-1].isdigit()):
            assert await started._read(), started.lines  # pyright: ignore[reportPrivateUsage]
        started.port = int(started.lines[-1])
        yield started
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# --- signals


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_with_nothing_to_drain_it_ends_at_once_and_in_peace(tmp_path: Path, how: signal.Signals) -> None:
    async with child(tmp_path) as server:
        server.process.send_signal(how)

        assert await server.status() == 0
        assert "draining" in server.lines


async def test_while_it_drains_sockets_stay_open_and_requests_are_answered(tmp_path: Path) -> None:
    async with child(tmp_path, "waits") as server:
        url = f"127.0.0.1:{server.port}"
        async with connect(f"ws://{url}/twilio/stream/secret-ticket") as socket:
            server.process.send_signal(signal.SIGTERM)
            await server.says("draining")
            await socket.send("still there? ")
            assert await asyncio.wait_for(socket.recv(), DEADLINE_S) == "still there? still there? "
            async with httpx2.AsyncClient(trust_env=False) as client:
                assert (await client.get(f"http://{url}/drained")).text == "ok"
            await server.says("socket closed")

        assert await server.status() == 0


async def test_a_second_signal_hastens_the_drain_and_cuts_nobody_off(tmp_path: Path) -> None:
    async with child(tmp_path, "waits") as server:
        url = f"127.0.0.1:{server.port}"
        async with connect(f"ws://{url}/twilio/stream/secret-ticket") as socket:
            server.process.send_signal(signal.SIGTERM)
            await server.says("draining")
            server.process.send_signal(signal.SIGTERM)
            await server.says("hastened")
            await socket.send("still there? ")
            assert await asyncio.wait_for(socket.recv(), DEADLINE_S) == "still there? still there? "
            async with httpx2.AsyncClient(trust_env=False) as client:
                await client.get(f"http://{url}/drained")

        assert await server.status() == 0


async def test_a_drain_that_was_hastened_ends_in_peace(tmp_path: Path) -> None:
    async with child(tmp_path, "hastens") as server:
        server.process.send_signal(signal.SIGTERM)
        await server.says("draining")
        server.process.send_signal(signal.SIGTERM)

        assert await server.status() == 0


async def test_a_third_signal_ends_it_in_the_middle_of_a_drain(tmp_path: Path) -> None:
    async with child(tmp_path, "waits") as server:
        for said in ("draining", "hastened", ""):
            server.process.send_signal(signal.SIGTERM)
            if said:
                await server.says(said)

        assert await server.status() in {0, -signal.SIGTERM}


async def test_a_drain_that_breaks_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    async with child(tmp_path, "broken") as server:
        server.process.send_signal(signal.SIGTERM)

        assert await server.status() == 0


# --- a drain before any signal


async def get(server: Child, path: str) -> str:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://127.0.0.1:{server.port}{path}")).text


async def test_a_drain_before_any_signal_ends_nothing_and_the_signal_then_ends_it_at_once(tmp_path: Path) -> None:
    async with child(tmp_path) as server:
        await get(server, "/go")
        await server.says("draining")
        assert await get(server, "/go") == "ok"
        assert server.process.returncode is None
        server.process.send_signal(signal.SIGTERM)

        assert await server.status() == 0
        assert server.lines.count("draining") == 1


async def test_a_signal_during_such_a_drain_waits_for_its_end(tmp_path: Path) -> None:
    async with child(tmp_path, "waits") as server:
        async with connect(f"ws://127.0.0.1:{server.port}/twilio/stream/secret-ticket") as socket:
            await get(server, "/go")
            await server.says("draining")
            server.process.send_signal(signal.SIGTERM)
            await socket.send("still there? ")
            assert await asyncio.wait_for(socket.recv(), DEADLINE_S) == "still there? still there? "
            assert await get(server, "/drained") == "ok"

        assert await server.status() == 0
        assert server.lines.count("draining") == 1


async def test_a_second_signal_during_such_a_drain_hastens_it(tmp_path: Path) -> None:
    async with child(tmp_path, "hastens") as server:
        await get(server, "/go")
        await server.says("draining")
        server.process.send_signal(signal.SIGTERM)
        await get(server, "/go")  # answered after the first signal, so that the two do not become one
        server.process.send_signal(signal.SIGTERM)

        assert await server.status() == 0
        assert "hastened" in server.lines


async def test_no_line_about_sockets_is_ever_written_because_a_ticket_would_be_in_it(tmp_path: Path) -> None:
    async with child(tmp_path) as server:
        async with connect(f"ws://127.0.0.1:{server.port}/twilio/stream/secret-ticket") as socket:
            await socket.send("hello")
            await socket.recv()
        server.process.send_signal(signal.SIGTERM)
        await server.status()

    assert not any("ticket" in line or line.startswith("INFO") for line in server.lines), server.lines


# --- within another process's loop


async def test_on_somebody_else_s_loop_it_leaves_the_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    drained: list[str] = []

    async def drain() -> None:
        drained.append("drained")

    config = server_config(Starlette(), host="127.0.0.1", port=free_port())
    server = DrainingServer(config, drain, drained.clear)
    serving = asyncio.create_task(server.serve_within())
    await asyncio.wait_for(server.until_started(), DEADLINE_S)

    assert signal.getsignal(signal.SIGTERM) is before
    server.should_exit = True
    await asyncio.wait_for(serving, DEADLINE_S)
    assert drained == []


def test_what_is_written_to_a_connection_is_sent_at_once_whichever_loop_serves_it() -> None:
    with listening_socket("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_taken_is_said_in_one_sentence_with_what_to_do() -> None:
    with listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListenError, match=rf"127\.0\.0\.1:{port}: address already in use\. Stop"):
            listening_socket("127.0.0.1", port)


# --- a port that is shared


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one of the sockets gets them all")
def test_several_sockets_on_a_port_that_is_shared_each_get_connections() -> None:
    with (
        reserved_port("127.0.0.1", 0) as port,
        listening_socket("127.0.0.1", port, shared=True) as one,
        listening_socket("127.0.0.1", port, shared=True) as other,
    ):
        accepted: set[socket.socket] = set()
        for each in (one, other):
            each.setblocking(False)
        for _ in range(CONNECTIONS_MAX):
            with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S):
                ready, _, _ = select.select([one, other], [], [], DEADLINE_S)
                accepted.update(ready)
                for each in ready:
                    each.accept()[0].close()
            if len(accepted) == 2:
                break

    assert accepted == {one, other}


def test_a_port_that_is_reserved_is_not_given_to_anybody_who_does_not_share_it() -> None:
    with (
        reserved_port("127.0.0.1", 0) as port,
        listening_socket("127.0.0.1", port, shared=True),
        pytest.raises(CannotListenError, match="address already in use"),
    ):
        listening_socket("127.0.0.1", port)


def test_a_second_gateway_of_the_same_user_does_not_slip_in_beside_the_first() -> None:
    with (
        reserved_port("127.0.0.1", 0) as port,
        listening_socket("127.0.0.1", port, shared=True),
        pytest.raises(CannotListenError, match="address already in use"),
        reserved_port("127.0.0.1", port),
    ):
        pass


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6 beside IPv4")
def test_all_addresses_are_those_of_both_kinds() -> None:
    def is_reached(listening: socket.socket) -> None:
        for host in ("::1", "127.0.0.1"):
            with socket.create_connection((host, listening.getsockname()[1]), timeout=DEADLINE_S):
                pass

    with listening_socket("::", 0) as alone:
        is_reached(alone)
    with reserved_port("::", 0) as port, listening_socket("::", port, shared=True) as with_others:
        is_reached(with_others)
