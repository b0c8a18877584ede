"""The gateway is told to stop while somebody is on the line."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest

from voice_openai_connect.simulator import gateway_process
from voice_openai_connect.simulator.caller import Caller, Wait, WaitForPerson
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.gateway_process import GatewayProcess
from voice_openai_connect.simulator.model_session import ModelSession
from voice_openai_connect.simulator.town import CALLER, CONNECT_NUMBER, Town

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
END_S = 60
OTHER_CALLER = "+61491570007"


async def readiness(gateway: GatewayProcess) -> tuple[int, str]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{gateway.base_url}/readyz")
        return answer.status_code, answer.json()["status"]


async def until_draining(gateway: GatewayProcess) -> None:
    async with asyncio.timeout(END_S):
        while await readiness(gateway) != (503, "draining"):  # noqa: ASYNC110 - another process tells it in no other way
            await asyncio.sleep(0.01)


async def greeted(town: Town, call: CarriedCall) -> ModelSession:
    session = await town.model.next_session()
    await session.until(lambda s: bool(s.sent("response.done")))
    await call.until(lambda c: bool(c.heard) and c.stream.playout.queued_ms == 0)
    return session


async def test_calls_go_on_until_a_person_has_them_new_ones_go_straight_there_and_then_it_ends_in_peace(
    quick_town: OpenTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_process, "STOP_S", END_S)
    async with quick_town(own_process=True) as town:
        assert town.gateway is not None
        call = await town.carrier.place_call(Caller([WaitForPerson(), Wait(60_000)]), from_=CALLER)
        session = await greeted(town, call)
        stopped = asyncio.create_task(town.gateway.stop(signal.SIGTERM))
        await until_draining(town.gateway)

        late = await town.carrier.place_call(Caller([WaitForPerson(), Wait(60_000)]), from_=OTHER_CALLER)
        await late.until(lambda c: bool(c.dials), within_s=END_S)
        assert (late.streams, late.dials[0].number) == ([], CONNECT_NUMBER)

        heard = len(session.caller_audio)
        await session.until(lambda s: len(s.caller_audio) > heard)
        assert not stopped.done()
        session.caller_said("Let me speak to a person, please.")
        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert call.dials[0].digits
        assert await asyncio.wait_for(stopped, END_S) == 0
        assert [line for line in town.gateway.log if line["level"] == "error"] == []
        assert town.gateway.other_output == []
        call.complete()
        late.complete()
