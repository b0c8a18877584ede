"""A gateway that stands still for two seconds, as on a machine that has other work, and is asked at once for a call."""

import asyncio
import json
import signal

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
        # The system takes the question in; so it is there before the gateway goes on, however slow this process is.
        reader, writer = await asyncio.open_connection("127.0.0.1", town.gateway.port)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await writer.drain()
    finally:
        town.gateway.signal(signal.SIGCONT)
    answer = await asyncio.wait_for(reader.read(), ASKED_S)
    writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])["status"]


@pytest.mark.parametrize(("module", "state"), [(PATIENT, "ready"), (ORDINARY, "busy")])
async def test_only_the_patient_one_takes_calls_however_late_it_is(
    dynamo: SimulatedDynamo, token_function: LambdaRuntime, module: str, state: str
) -> None:
    plan = Plan(dynamo=dynamo, token_function=token_function, own_process=True, module=module)
    async with open_town(SimulatedModel.scripted(), plan) as town:
        assert await ready_after_standing_still(town) == state
