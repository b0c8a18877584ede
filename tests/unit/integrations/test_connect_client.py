"""Asking Amazon Connect about its queues, against an instance that holds requests against AWS's own service model."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.integrations.connect_client import RIGHTS, STAFFED, ConnectClient, ConnectError
from voice_openai_connect.integrations.dynamo_client import AwsKey
from voice_openai_connect.simulator.connect_api import SimulatedConnectApi, SimulatedQueue

INSTANCE = "11111111-2222-3333-4444-555555555555"
FIRST, LAST = date(2026, 11, 22), date(2026, 11, 24)


@pytest.fixture
def api() -> SimulatedConnectApi:
    """An instance with more queues than one page has."""
    return SimulatedConnectApi(
        INSTANCE,
        queues=[
            SimulatedQueue("BasicQueue"),
            SimulatedQueue("escalation", staffed=0, hours={"2026-11-23": [("09:00", "17:00")]}),
            SimulatedQueue("Priority", staffed=3),
            SimulatedQueue("night", staffed=None, time_zone="Europe/Berlin"),
        ],
    )


@pytest.fixture
async def address(api: SimulatedConnectApi) -> AsyncIterator[str]:
    async with api.serving() as served_at:
        yield served_at


def client(address: str, instance: str = INSTANCE, **names: str) -> AbstractAsyncContextManager[ConnectClient]:
    key = AwsKey("simulated", "simulated")
    return ConnectClient(instance, region="ap-southeast-2", names=names, endpoint_url=address, key=key)


async def test_queues_are_found_by_name_in_whatever_case_over_all_pages(address: str) -> None:
    async with client(address) as connect:
        assert await connect.find_queues(frozenset({"escalation", "priority", "night"})) == {
            "escalation": "queue-1",
            "priority": "queue-2",
            "night": "queue-3",
        }


@pytest.mark.parametrize(
    "there",
    ["BasicQueue", "queue-0", f"arn:aws:connect:ap-southeast-2:123456789012:instance/{INSTANCE}/queue/queue-0"],
)
async def test_a_queue_may_have_another_name_there_or_be_named_by_id_or_arn(address: str, there: str) -> None:
    async with client(address, support=there) as connect:
        assert await connect.find_queues(frozenset({"support"})) == {"support": "queue-0"}


async def test_a_queue_that_is_not_there_is_left_out(address: str) -> None:
    async with client(address, escalation="Gone") as connect:
        assert await connect.find_queues(frozenset({"escalation", "sales"})) == {}


async def test_opening_hours_come_in_the_time_zone_of_the_queue(address: str) -> None:
    async with client(address) as connect:
        hours = await connect.opening_hours("queue-1", FIRST, LAST)

    assert hours is not None
    assert hours.open_at(datetime(2026, 11, 22, 22, 30, tzinfo=UTC)) is True  # half past nine in Sydney
    assert hours.open_at(datetime(2026, 11, 23, 6, 30, tzinfo=UTC)) is False


async def test_all_queues_are_counted_with_one_question_and_one_without_figures_is_left_out(
    api: SimulatedConnectApi, address: str
) -> None:
    async with client(address) as connect:
        staffed = await connect.staffed([f"queue-{number}" for number in range(4)])

    assert staffed == {"queue-0": 1, "queue-1": 0, "queue-2": 3}
    assert api.asked["GetCurrentMetricData"] == 1


async def test_more_queues_than_one_question_takes_are_asked_about_in_several(
    api: SimulatedConnectApi, address: str
) -> None:
    api.queues = [SimulatedQueue(f"q{number}") for number in range(limits.CONNECT_API_QUEUES + 1)]
    async with client(address) as connect:
        staffed = await connect.staffed([f"queue-{number}" for number in range(len(api.queues))])

    assert len(staffed) == len(api.queues)
    assert api.asked["GetCurrentMetricData"] == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AccessDeniedException", "denied"),
        ("ThrottlingException", "throttled"),
        ("TooManyRequestsException", "throttled"),
        ("InternalServiceException", "failed"),
        ("InvalidParameterException", "refused"),
    ],
)
async def test_a_refusal_has_a_short_reason_and_is_not_asked_twice(
    api: SimulatedConnectApi, address: str, code: str, reason: str
) -> None:
    api.denies = code
    async with client(address) as connect:
        with pytest.raises(ConnectError) as refused:
            await connect.staffed(["queue-0"])

    assert refused.value.reason == reason
    assert api.asked["GetCurrentMetricData"] == 1


async def test_another_instance_is_not_found(address: str) -> None:
    async with client(address, INSTANCE.replace("1", "9")) as connect:
        with pytest.raises(ConnectError, match="not_found"):
            await connect.find_queues(frozenset({"escalation"}))


async def test_nobody_at_the_address_is_unreachable() -> None:
    async with client("http://127.0.0.1:9") as connect:
        with pytest.raises(ConnectError, match="unreachable"):
            await connect.staffed(["queue-0"])


async def test_a_time_zone_that_nobody_knows_is_unreadable(api: SimulatedConnectApi, address: str) -> None:
    api.queues[1].time_zone = "Atlantis/Capital"
    async with client(address) as connect:
        with pytest.raises(ConnectError, match="unreadable"):
            await connect.opening_hours("queue-1", FIRST, LAST)


# --- the doctor


async def check(address: str, *names: str, instance: str = INSTANCE, **there: str) -> list[Any]:
    async with client(address, instance, **there) as connect:
        return await connect.check(frozenset(names))


async def test_the_doctor_says_of_each_queue_what_is_known(address: str) -> None:
    (found,) = await check(address, "priority", "night")

    assert found.state == "ok"
    assert found.detail == "night: open, an unknown number of agents; priority: open, 3 agents"


async def test_the_doctor_names_a_queue_that_the_instance_does_not_have(address: str) -> None:
    known, missing = await check(address, "priority", "sales")

    assert (known.state, missing.state) == ("ok", "warning")
    assert "sales is not a queue" in missing.detail
    assert "CONNECT_QUEUES" in missing.remedy


async def test_the_doctor_lists_the_rights_that_are_missing(api: SimulatedConnectApi, address: str) -> None:
    api.denies = "AccessDeniedException"
    (found,) = await check(address, "priority")

    assert found.state == "wrong"
    assert all(right in found.remedy for right in RIGHTS)


async def test_the_doctor_doubts_the_instance_id(address: str) -> None:
    (found,) = await check(address, "priority", instance=INSTANCE.replace("1", "9"))

    assert "CONNECT_INSTANCE_ID" in found.remedy


async def test_the_rights_are_those_of_the_operations_that_are_asked_for(
    api: SimulatedConnectApi, address: str
) -> None:
    await check(address, "priority")

    assert {f"connect:{operation}" for operation in api.asked} == set(RIGHTS)
    assert STAFFED == "AGENTS_STAFFED"
