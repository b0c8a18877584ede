"""The simulated load balancer refuses what AWS's own service model does not have."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from voice_openai_connect.simulator.ecs import METADATA_PATH, TARGET_GROUP, SimulatedEcs

SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=k/20261122/ap-southeast-2/elasticloadbalancing/aws4_request"}
ASKED = {
    "Action": "DescribeTargetHealth",
    "Version": "2015-12-01",
    "TargetGroupArn": TARGET_GROUP,
    "Targets.member.1.Id": "10.0.12.34",
    "Targets.member.1.Port": "8000",
}


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with SimulatedEcs(8000).serving() as address, httpx2.AsyncClient(base_url=address) as client:
        yield client


async def test_a_task_is_told_its_address_and_its_state_as_a_target(http: httpx2.AsyncClient) -> None:
    task = (await http.get(f"{METADATA_PATH}/task")).json()
    health = await http.post("/", data=ASKED, headers=SIGNED)

    assert task["Containers"][0]["Networks"][0]["IPv4Addresses"] == ["10.0.12.34"]
    assert "<State>healthy</State>" in health.text


async def test_a_target_that_nobody_registered_is_unused(http: httpx2.AsyncClient) -> None:
    health = await http.post("/", data={**ASKED, "Targets.member.1.Port": "8001"}, headers=SIGNED)

    assert "<State>unused</State><Reason>Target.NotRegistered</Reason>" in health.text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Action": "DescribeTargets"}, "InvalidAction"),
        ({"Version": "2012-06-01"}, "InvalidAction"),
        ({"Targets.member.1.Address": "10.0.12.34"}, "ValidationError"),
        ({"Targets.member.1.Port": "0"}, "ValidationError"),
        ({"Targets.member.2.Port": "8000"}, "ValidationError"),
        ({"TargetGroupArn": f"{TARGET_GROUP}0"}, "TargetGroupNotFound"),
    ],
)
async def test_a_request_is_as_the_service_model_has_it(
    http: httpx2.AsyncClient, change: dict[str, str], code: str
) -> None:
    answer = await http.post("/", data={**ASKED, **change}, headers=SIGNED)

    assert (answer.status_code, f"<Code>{code}</Code>" in answer.text) == (400, True), answer.text


async def test_nobody_asks_unsigned(http: httpx2.AsyncClient) -> None:
    assert (await http.post("/", data=ASKED)).status_code == 403
