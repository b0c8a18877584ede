import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bench.load import webhook
from voice_openai_connect.simulator.serving import serving


async def echo(request: Request) -> Response:
    body = (await request.body()).decode()
    return PlainTextResponse(f"{request.method} {request.url.path} {request.headers['x-name']} {body}", status_code=201)


async def test_a_request_is_answered_by_a_real_server():
    async with serving(Starlette(routes=[Route("/ask", echo, methods=["POST"])])) as address:
        port = int(address.rpartition(":")[2])
        answer = await webhook.request(
            "POST", "127.0.0.1", port, "/ask", headers={"Host": "x", "X-Name": "us"}, body=b"who?", seconds=5
        )

    assert (answer.status, answer.body) == (201, b"POST /ask us who?")
    assert answer.content_type.startswith("text/plain")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_half_an_answer_is_a_broken_connection(said: bytes):
    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionResetError):
            await webhook.request("GET", "127.0.0.1", port, "/", headers={}, seconds=5)
