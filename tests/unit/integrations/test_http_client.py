import logging
import subprocess
import sys
from typing import Any, cast

import httpx2
import pytest

from voice_openai_connect.integrations.http_client import TooLargeError, ask, open_client
from voice_openai_connect.simulator.scripted_http import DRIPS, HANGS, Answer, ScriptedHttp


async def get(script: ScriptedHttp, *, deadline_s: float = 20, read_s: float = 20) -> tuple[int, bytes]:
    async with script.serving() as url, open_client(url, connect_s=5, read_s=read_s) as client:
        request = client.build_request("GET", "/people/%2B61412345678", headers={"Authorization": "Bearer secret"})
        answer = await ask(client, request, deadline_s=deadline_s, max_bytes=1_000)
        return answer.status, answer.content


async def test_an_answer_is_read_whole() -> None:
    assert await get(ScriptedHttp([Answer(404, b"x" * 1_000)])) == (404, b"x" * 1_000)


async def test_a_body_over_the_bound_is_not_read_to_its_end() -> None:
    with pytest.raises(TooLargeError):
        await get(ScriptedHttp([Answer(200, b"x" * 1_001)]))


FIRST_REQUEST = """
import asyncio, sys
from voice_openai_connect.integrations.http_client import ask, load_all, open_client

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    async with open_client(url, connect_s=5, read_s=5) as client:
        await load_all()
        before = set(sys.modules)
        await ask(client, client.build_request("GET", "/"), deadline_s=5, max_bytes=1_000)
        print(sorted(set(sys.modules) - before))

asyncio.run(main())
"""


def test_a_first_request_loads_nothing_more() -> None:
    """Loading is done in one go, and no call is served meanwhile."""
    told = subprocess.run([sys.executable, "-c", FIRST_REQUEST], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[]"


async def test_redirects_are_not_followed() -> None:
    script = ScriptedHttp([Answer(302, b"", {"Location": "/elsewhere"})])
    assert (await get(script))[0] == 302
    assert len(script.asked) == 1


async def test_a_silent_server_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await get(ScriptedHttp([HANGS]), read_s=0.1)


async def test_a_body_that_drips_is_given_up_at_the_deadline_although_every_read_succeeds() -> None:
    with pytest.raises(TimeoutError):
        await get(ScriptedHttp([DRIPS]), deadline_s=0.3)


async def test_nobody_listening_is_an_error_of_the_connection() -> None:
    async with open_client("http://127.0.0.1:9", connect_s=5, read_s=5) as client:
        with pytest.raises(httpx2.ConnectError):
            await ask(client, client.build_request("GET", "/"), deadline_s=20, max_bytes=10)


async def test_the_library_writes_neither_urls_nor_keys_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await get(ScriptedHttp([Answer()]))
    assert "61412345678" not in caplog.text
    assert "secret" not in caplog.text


def trusted(client: httpx2.AsyncClient) -> int:
    """How many authorities the client would believe."""
    return cast("Any", client)._transport._pool._ssl_context.cert_store_stats()["x509_ca"]


@pytest.mark.parametrize("url", ["https://api.hubapi.com", "https://127.0.0.1:8443", "http://crm.example.com"])
async def test_certificates_are_checked_wherever_tls_may_be_spoken(url: str) -> None:
    async with open_client(url, connect_s=5, read_s=5) as client:
        assert trusted(client) > 0


async def test_without_tls_no_authority_is_believed() -> None:
    async with open_client("http://127.0.0.1:8080", connect_s=5, read_s=5) as client:
        assert trusted(client) == 0
