"""Towns in which something fails. Whatever it is, nothing may be left behind when the callers have gone."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from voice_openai_connect.simulator import sound, witness
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.gateway_process import PATIENT
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime
from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.model_mind import Reply
from voice_openai_connect.simulator.model_senses import ScriptedSenses
from voice_openai_connect.simulator.town import Plan, Town, Voices, open_town

MS_PER_LETTER = 8
OpenTown = Callable[..., AbstractAsyncContextManager[Town]]


def quickly(text: str, _: str = "") -> bytes:
    return sound.silence(20 * max(1, len(text) * MS_PER_LETTER // 20))


@pytest.fixture
def quick_town(dynamo: SimulatedDynamo, token_function: LambdaRuntime) -> OpenTown:
    """Opens a town: `quick_town([replies…], proxied={"model"}, …)`, the rest as in `Plan`.

    A gateway in a process of its own is a patient one. When the block is left, every call is ended, and the test fails
    if anything of them is still there.
    """

    @asynccontextmanager
    async def opening(replies: Sequence[Reply | str] = (), **plan: Any) -> AsyncGenerator[Town, None]:
        model = SimulatedModel.scripted(replies, **plan.pop("model", {}))
        assert isinstance(model.senses, ScriptedSenses)
        model.senses.ms_per_letter = MS_PER_LETTER
        center = {"accept_ms": 100, **plan.pop("center", {})}
        proxied = frozenset(plan.pop("proxied", ()))
        plan = {"module": PATIENT, **plan}
        whole = Plan(dynamo=dynamo, token_function=token_function, center=center, proxied=proxied, **plan)
        async with open_town(model, whole, voices=Voices(quickly, quickly)) as town:
            yield town
            assert await witness.left_behind(town) == []

    return opening
