import asyncio

import httpx2
import pytest

from voice_openai_connect.simulator.scripted_http import DRIPS, HANGS, Answer, ScriptedHttp


async def test_answers_come_in_order_and_the_last_for_ever() -> None:
    script = ScriptedHttp([Answer(503), Answer(200, b'"done"', {"X-Name": "value"})])
    async with script.serving() as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        answers = [await client.post("/a/b?c=d", content=b"body") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 200, 200]
    assert answers[1].headers["X-Name"] == "value"
    first = script.asked[0]
    assert (first.method, first.path, first.query, first.body) == ("POST", "/a/b", "c=d", b"body")


async def test_a_hanging_answer_never_comes_and_does_not_hold_up_the_end() -> None:
    script = ScriptedHttp([HANGS])
    async with (
        asyncio.timeout(20),
        script.serving() as url,
        httpx2.AsyncClient(base_url=url, trust_env=False, timeout=httpx2.Timeout(20, read=0.1)) as client,
    ):
        with pytest.raises(httpx2.ReadTimeout):
            await client.get("/")


async def test_a_hanging_answer_comes_when_it_is_let() -> None:
    script = ScriptedHttp([Answer(400, hangs=True)])
    async with (
        asyncio.timeout(20),
        script.serving() as url,
        httpx2.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        asking = asyncio.create_task(client.get("/"))
        while not script.asked:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.005)
        assert not asking.done()
        script.go_on()
        assert (await asking).status_code == 400


async def test_a_dripping_body_has_no_end() -> None:
    script = ScriptedHttp([DRIPS])
    async with (
        script.serving() as url,
        httpx2.AsyncClient(base_url=url, trust_env=False) as client,
        client.stream("GET", "/") as response,
    ):
        drops = response.aiter_bytes()
        assert b" " in await anext(drops) + await anext(drops)
