import asyncio
import os
from urllib.parse import urlsplit

import pytest

from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository
from voice_openai_connect.simulator.dynamo import SimulatedDynamo


def repository(server: SimulatedDynamo) -> DynamoRepository:
    key = AwsKey(server.access_key_id, server.secret_access_key)
    return DynamoRepository("Handovers", region=server.region, endpoint_url=server.endpoint_url, key=key)


async def test_two_servers_share_nothing_and_end_with_their_block() -> None:
    aws = {name for name in os.environ if name.startswith("AWS")}
    async with SimulatedDynamo() as one:
        with SimulatedDynamo() as two:
            async with repository(one) as store:
                await store.setup_table()
            async with repository(two) as store:
                (finding,) = await store.check()
                assert "there is no table" in finding.detail
    assert {name for name in os.environ if name.startswith("AWS")} == aws
    for server in (one, two):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", urlsplit(server.endpoint_url).port)


def test_a_server_that_cannot_start_gives_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_port(*_: object) -> dict[str, str]:
        return {"GATEWAY_PORT": "not-a-port"}

    monkeypatch.setattr(SimulatedDynamo, "_environment", no_port)
    with pytest.raises(RuntimeError, match="not-a-port"):
        SimulatedDynamo().start()


def test_stopping_twice_is_stopping_once() -> None:
    server = SimulatedDynamo()
    server.start()
    server.stop()
    server.stop()
