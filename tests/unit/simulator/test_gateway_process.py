import asyncio
import signal
import socket

import httpx2
import pytest

from voice_openai_connect.simulator.gateway_process import GatewayProcess, LogLine
from voice_openai_connect.simulator.ports import free_port

USUAL = {
    "HOST": "127.0.0.1",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "the-auth-token",
    "OPENAI_API_KEY": "the-api-key",
    "AWS_REGION": "ap-southeast-2",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9",
    "DYNAMODB_TABLE_NAME": "handovers",
    "CONNECT_PHONE_NUMBER": "+61255501234",
}


def gateway(**changes: str) -> GatewayProcess:
    port = free_port()
    return GatewayProcess({**USUAL, "PUBLIC_HOST": f"http://127.0.0.1:{port}", "PORT": str(port), **changes}, port)


async def test_inside_it_is_ready_and_afterwards_nobody_listens() -> None:
    lines: list[LogLine] = []
    process = gateway()
    process.on_line = lines.append
    async with process, httpx2.AsyncClient() as client:
        assert (await client.get(f"{process.base_url}/readyz")).is_success
        assert "voice_connect_active_calls 0.0" in await process.metrics()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", process.port))
    assert process.other_output == []
    assert process.log == lines
    assert {"serving", "crm_off"} <= {line["message"] for line in process.log}


async def test_a_signal_ends_it_and_its_exit_status_says_how() -> None:
    async with gateway() as process:
        assert await process.stop(signal.SIGKILL) == -signal.SIGKILL
        assert await process.stop(signal.SIGTERM) == -signal.SIGKILL


async def test_told_to_stop_it_stops_in_order() -> None:
    async with gateway() as process:
        assert await process.stop(signal.SIGTERM) == 0


async def test_a_refusal_to_start_is_raised_in_its_own_words() -> None:
    process = gateway(OPENAI_API_KEY="")
    with pytest.raises(RuntimeError, match=r"(?s)did not start.*OPENAI_API_KEY: is not set"):
        async with process:
            pass

    assert await process.stop(signal.SIGTERM) == 2


async def test_nothing_of_this_process_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-outside")
    environment = {name: value for name, value in gateway().environment.items() if name != "OPENAI_API_KEY"}
    with pytest.raises(RuntimeError, match="OPENAI_API_KEY: is not set"):
        async with GatewayProcess(environment, free_port()):
            pass


async def test_what_breaks_while_a_line_is_told_is_not_lost() -> None:
    def breaks(_: LogLine) -> None:
        raise LookupError("the listener")

    process = gateway()
    process.on_line = breaks
    with pytest.raises(LookupError, match="the listener"):
        async with asyncio.timeout(60), process:
            pass
