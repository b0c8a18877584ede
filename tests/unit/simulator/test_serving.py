import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from voice_openai_connect.simulator.serving import serving


async def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def test_an_application_is_served_from_the_first_moment_and_gone_after_the_block() -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        async with serving(Starlette(routes=[Route("/", hello)])) as base:
            assert (await client.get(base)).text == "hello"
        with pytest.raises(httpx2.ConnectError):
            await client.get(base)
