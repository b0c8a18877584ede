import os
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.simulator.dynamo import SimulatedDynamo


def repository(server, name="Handovers"):
    return DynamoRepository(
        name,
        region=server.region,
        endpoint_url=server.endpoint_url,
        access_key_id=server.access_key_id,
        secret_access_key=server.secret_access_key,
    )


async def test_two_servers_share_nothing_and_end_with_their_block():
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
        with pytest.raises(URLError):
            urlopen(server.endpoint_url, timeout=1)


def test_a_server_that_cannot_start_gives_its_last_words(monkeypatch):
    monkeypatch.setattr(SimulatedDynamo, "_environment", lambda *_: {"GATEWAY_PORT": "not-a-port"})
    with pytest.raises(RuntimeError, match="not-a-port"):
        SimulatedDynamo().start()
