import pytest

from bench.load.flaky_dynamo import FlakyDynamo
from bench.load.trouble import Trouble
from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository, StoreError
from voice_openai_connect.simulator.dynamo import SimulatedDynamo


def repository(dynamo: SimulatedDynamo, endpoint: str, throttles: list[None]) -> DynamoRepository:
    key = AwsKey(dynamo.access_key_id, dynamo.secret_access_key)
    return DynamoRepository(
        "flaky", region=dynamo.region, endpoint_url=endpoint, key=key, on_throttle=lambda: throttles.append(None)
    )


async def test_what_is_not_throttled_reaches_the_table(dynamo: SimulatedDynamo):
    throttles: list[None] = []
    async with (
        FlakyDynamo(dynamo.endpoint_url, Trouble()) as road,
        repository(dynamo, road.endpoint_url, throttles) as table,
    ):
        await table.setup_table()
        await table.recall_call("CA" + "1" * 32)

    assert throttles == []


async def test_a_throttle_is_one_to_the_real_client(dynamo: SimulatedDynamo):
    throttles: list[None] = []
    trouble = Trouble(1.0)
    async with (
        FlakyDynamo(dynamo.endpoint_url, trouble) as road,
        repository(dynamo, road.endpoint_url, throttles) as table,
    ):
        with pytest.raises(StoreError):
            await table.recall_call("CA" + "1" * 32)

    assert throttles
    assert trouble.injected["dynamo_throttled"] == 2
