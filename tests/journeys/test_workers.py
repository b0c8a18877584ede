"""One port, two processes: calls land on both, and whichever is asked answers for both."""

import asyncio
import re
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2

from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.gateway_process import GatewayProcess
from voice_openai_connect.simulator.town import Town
from voice_openai_connect.simulator.witness import END_S, greeted, over, ring

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
WORKERS = {"WORKERS": "2", "CONSOLE_TOKEN": "for-operators-only"}
OPERATOR = {"authorization": f"Bearer {WORKERS['CONSOLE_TOKEN']}"}
CALLS_MAX = 30
"""The kernel chooses the worker: that so many calls all go to the same one happens to nobody."""
ASKED = 4
"""Each on a connection of its own, so that both workers get some of the questions."""


def workers_with_calls(gateway: GatewayProcess) -> set[int]:
    return {line["worker"] for line in gateway.log if line["message"] == "call_started"}


async def asked(gateway: GatewayProcess, path: str) -> list[httpx2.Response]:
    async def ask() -> httpx2.Response:
        async with httpx2.AsyncClient(trust_env=False, headers=OPERATOR) as client:
            return await client.get(f"{gateway.base_url}{path}")

    return [await ask() for _ in range(ASKED)]


async def all_say(gateway: GatewayProcess, path: str, right: Callable[[Any], bool]) -> None:
    """Return when every answer is right. On a busy machine a worker may take longer than its sibling waits for it."""
    async with asyncio.timeout(END_S):
        while not all(right(answer.json()) for answer in await asked(gateway, path)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def number(metric: str, answer: httpx2.Response) -> float:
    found = re.search(rf"^voice_connect_{metric} (\S+)$", answer.text, re.MULTILINE)
    assert found, answer.text
    return float(found[1])


async def test_two_workers_are_one_gateway_to_everybody_outside(quick_town: OpenTown) -> None:
    async with quick_town(own_process=True, settings=WORKERS) as town:
        gateway = town.gateway
        assert gateway is not None
        calls: list[CarriedCall] = []
        while len(workers_with_calls(gateway)) < 2:
            assert len(calls) < CALLS_MAX
            calls.append(await ring(town))
            await greeted(town, calls[-1])

        for answer in await asked(gateway, "/metrics"):
            assert number("active_calls", answer) == number("calls_started_total", answer) == len(calls)
        await all_say(gateway, "/readyz", lambda said: said == {"status": "ready"})
        sids = {call.sid for call in calls}
        await all_say(gateway, "/console/calls", lambda said: {call["call_sid"] for call in said["calls"]} == sids)

        assert await gateway.stop(signal.SIGTERM, within_s=END_S) == 0
        for call in calls:
            await asyncio.wait_for(call.until(lambda c: bool(c.dials)), END_S)
            call.complete()
            await over(call)
        ended = [line for line in gateway.log if line["message"] == "call_ended"]
        assert [line["label"] for line in ended] == ["moved"] * len(calls)
        assert {line["worker"] for line in ended} == {0, 1}
        assert [line for line in gateway.log if line["level"] == "error"] == []
        assert gateway.other_output == []
