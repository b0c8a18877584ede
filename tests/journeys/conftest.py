"""Whole calls through the town: real sockets, a real DynamoDB API, the real Lambda, real tones, real time.

Only the speaking is quick here: nobody in these calls listens to words, so nobody needs to say them slowly.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.gateway_process import PATIENT
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime
from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.model_mind import Reply
from voice_openai_connect.simulator.model_senses import ScriptedSenses
from voice_openai_connect.simulator.town import Plan, Town, Voices, open_town

MS_PER_LETTER = 12
OpenTown = Callable[..., AbstractAsyncContextManager[Town]]


def quickly(text: str, _: str = "") -> bytes:
    return sound.silence(20 * max(1, len(text) * MS_PER_LETTER // 20))


@pytest.fixture
def quick_town(dynamo: SimulatedDynamo, token_function: LambdaRuntime) -> OpenTown:
    """Opens a town: `quick_town([replies…], settings={…}, center={…}, …)`, the rest as in `Plan`.

    A gateway in a process of its own is a patient one.
    """

    def opening(replies: Sequence[Reply | str] = (), **plan: Any) -> AbstractAsyncContextManager[Town]:
        model = SimulatedModel.scripted(replies, **plan.pop("model", {}))
        assert isinstance(model.senses, ScriptedSenses)
        model.senses.ms_per_letter = MS_PER_LETTER
        center = {"accept_ms": 100, **plan.pop("center", {})}
        plan = {"module": PATIENT, **plan}
        return open_town(
            model,
            Plan(dynamo=dynamo, token_function=token_function, center=center, **plan),
            voices=Voices(quickly, quickly),
        )

    return opening


@pytest.fixture
async def town(quick_town: OpenTown) -> AsyncIterator[Town]:
    """An ordinary day in the town, with the gateway within this process."""
    async with quick_town(["What can I do for you?", "I see. Please tell me more about it."]) as opened:
        yield opened
