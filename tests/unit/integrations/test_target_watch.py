"""Asking the load balancer whether this process is to go, against an API that holds requests against AWS's model."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.integrations import target_watch
from voice_openai_connect.integrations.dynamo_client import AwsKey
from voice_openai_connect.integrations.target_watch import OwnTarget, TargetWatch
from voice_openai_connect.simulator.ecs import METADATA_PATH, TARGET_GROUP, SimulatedEcs

DEADLINE_S = 30
PORT = 8000


@dataclass
class Told:
    """What a watch has said, and for how long it waited between its questions."""

    draining: int = 0
    troubles: list[str] = field(default_factory=list[str])
    waits: list[float] = field(default_factory=list[float])


async def watched(
    ecs: SimulatedEcs, *meanwhile: dict[str, Any], target_group: str = TARGET_GROUP, metadata: str | None = None
) -> Told:
    """Watch until the target goes, or nothing more happens. `meanwhile` is what changes after each question."""
    told, changes, over = Told(), iter(meanwhile), asyncio.Event()

    async def pause(seconds: float) -> None:
        told.waits.append(seconds)
        change = next(changes, None)
        if change is None:
            over.set()
            await asyncio.Event().wait()
        for name, value in (change or {}).items():
            setattr(ecs, name, value)

    def draining() -> None:
        told.draining += 1
        over.set()

    async with (
        ecs.serving() as address,
        TargetWatch(
            OwnTarget(target_group, PORT, f"{address}{METADATA_PATH}" if metadata is None else metadata),
            region="ap-southeast-2",
            on_draining=draining,
            on_trouble=told.troubles.append,
            endpoint_url=address,
            key=AwsKey("simulated", "simulated"),
            pause=pause,
        ),
    ):
        await asyncio.wait_for(over.wait(), DEADLINE_S)
    return told


async def test_the_drain_begins_as_soon_as_the_balancer_takes_the_target_out() -> None:
    ecs = SimulatedEcs(PORT)
    told = await watched(ecs, {}, {"state": "draining"}, {})

    assert told == Told(draining=1, waits=[limits.TARGET_ASK_S] * 2)
    assert ecs.asked == 3


@pytest.mark.parametrize("state", ["initial", "healthy", "unhealthy", "unused", "unavailable"])
async def test_no_other_state_means_that_the_process_is_to_go(state: str) -> None:
    assert (await watched(SimulatedEcs(PORT, state=state), {})).draining == 0


async def test_what_happens_to_another_target_of_the_group_does_not_matter() -> None:
    told = await watched(SimulatedEcs(PORT + 1, state="draining"), {})

    assert (told.draining, told.troubles) == (0, [])


async def test_the_address_is_asked_for_until_it_is_known_and_then_no_more() -> None:
    ecs = SimulatedEcs(PORT)
    await watched(ecs, {}, {})

    assert (ecs.metadata_asked, ecs.asked) == (1, 3)


async def test_outside_ecs_the_target_is_the_address_by_which_others_are_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(target_watch, "_FAR_AWAY", ("127.0.0.1", 9))
    ecs = SimulatedEcs(PORT, state="draining", address="127.0.0.1")

    assert (await watched(ecs, metadata="")).draining == 1
    assert ecs.metadata_asked == 0


async def test_trouble_is_told_once_until_there_is_an_answer_and_the_pauses_grow_to_a_bound() -> None:
    ecs = SimulatedEcs(PORT, denies="AccessDenied")
    told = await watched(ecs, {}, {}, {"denies": ""}, {"denies": "Throttling"})

    assert told.troubles == ["AccessDenied", "Throttling"]
    assert told.waits == [10, limits.TARGET_RETRY_MAX_S, limits.TARGET_RETRY_MAX_S, limits.TARGET_ASK_S, 10]


async def test_after_trouble_the_target_is_still_seen_to_go() -> None:
    told = await watched(SimulatedEcs(PORT, denies="Throttling"), {}, {"denies": "", "state": "draining"})

    assert (told.draining, told.troubles) == (1, ["Throttling"])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"target_group": TARGET_GROUP.replace("voice", "other")}, "TargetGroupNotFound"),
        ({"metadata": "http://127.0.0.1:9/v4/5a1b"}, "ConnectError"),
    ],
)
async def test_what_cannot_be_asked_has_a_reason_and_ends_nothing(wrong: dict[str, str], reason: str) -> None:
    assert (await watched(SimulatedEcs(PORT), {}, **wrong)).troubles == [reason]
