"""A gateway that stands still for two seconds, as on a machine that has other work, and is asked at once for a call."""

import asyncio
import signal

import httpx2
import pytest

from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.gateway_process import ORDINARY, PATIENT
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime
from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.town import Plan, Town, open_town

STILL_S = 2
ASKED_S = 60


async def ready_after_standing_still(town: Town) -> str:
    """What `/readyz` says to somebody who has asked while it stood still."""
    assert town.gateway is not None
    town.gateway.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(STILL_S)
        async with httpx2.AsyncClient(timeout=ASKED_S) as client:
            asked = asyncio.create_task(client.get(f"{town.gateway.base_url}/readyz"))
            await asyncio.sleep(0)
            town.gateway.signal(signal.SIGCONT)
            return (await asked).json()["status"]
    finally:
        town.gateway.signal(signal.SIGCONT)


@pytest.mark.parametrize(("module", "state"), [(PATIENT, "ready"), (ORDINARY, "busy")])
async def test_only_the_patient_one_takes_calls_however_late_it_is(
    dynamo: SimulatedDynamo, token_function: LambdaRuntime, module: str, state: str
) -> None:
    plan = Plan(dynamo=dynamo, token_function=token_function, own_process=True, module=module)
    async with open_town(SimulatedModel.scripted(), plan) as town:
        assert await ready_after_standing_still(town) == state
