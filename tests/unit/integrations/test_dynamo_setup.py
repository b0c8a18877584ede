from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import pytest
from aiobotocore.session import get_session
from aws.connect_lambda import handler

from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.scripted_http import Answer, ScriptedHttp

KEY = AwsKey("simulated", "simulated")
_numbers = count(1)


@dataclass
class Account:
    """A repository whose table is not there yet, and a client to make and look at tables with."""

    repository: DynamoRepository
    client: Any
    table: str

    async def make_table(self, *, key: str) -> None:
        await self.client.create_table(
            TableName=self.table,
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )

    async def states(self) -> dict[str, str]:
        return {finding.subject: finding.state for finding in await self.repository.check()}


@pytest.fixture
async def account(dynamo: SimulatedDynamo) -> AsyncIterator[Account]:
    name = f"Setup{next(_numbers)}"
    where = {"region_name": dynamo.region, "endpoint_url": dynamo.endpoint_url}
    key = {"aws_access_key_id": dynamo.access_key_id, "aws_secret_access_key": dynamo.secret_access_key}
    async with (
        cast("Any", get_session()).create_client("dynamodb", **where, **key) as client,
        DynamoRepository(name, region=dynamo.region, endpoint_url=dynamo.endpoint_url, key=KEY) as repository,
    ):
        yield Account(repository, client, name)


def at(url: str) -> DynamoRepository:
    return DynamoRepository("Handovers", region="us-east-1", endpoint_url=url, key=KEY)


def refusal(code: str) -> Answer:
    return Answer(400, b'{"__type":"com.amazonaws.dynamodb.v20120810#%s"}' % code.encode())


async def test_setup_makes_the_table_and_switches_its_expiry_on(account: Account) -> None:
    assert await account.repository.setup_table() == [
        f"Table {account.table} was created.",
        "Items now expire by `expires_at`.",
    ]


async def test_setup_may_be_run_twice(account: Account) -> None:
    await account.repository.setup_table()
    assert await account.repository.setup_table() == [
        f"Table {account.table} was there already.",
        "Items already expire by `expires_at`.",
    ]


async def test_setup_refuses_a_table_with_another_key(account: Account) -> None:
    await account.make_table(key="pk")
    sentences = await account.repository.setup_table()
    assert "choose another table name" in sentences[-1]


async def test_an_expiry_that_was_changed_within_the_hour_is_told_not_raised() -> None:
    described = b'{"Table":{"TableStatus":"ACTIVE","KeySchema":[{"AttributeName":"token","KeyType":"HASH"}],'
    described += b'"AttributeDefinitions":[{"AttributeName":"token","AttributeType":"S"}]}}'
    script = ScriptedHttp(
        [
            refusal("ResourceInUseException"),
            Answer(200, described),
            Answer(200, described),
            Answer(200, b'{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}'),
            refusal("ValidationException"),
        ]
    )
    async with script.serving() as url, at(url) as repository:
        sentences = await repository.setup_table()
    assert "one change an hour" in sentences[-1]


async def test_a_table_as_it_should_be_has_nothing_to_complain_about(account: Account) -> None:
    await account.repository.setup_table()
    assert await account.states() == {"DynamoDB table": "ok", "DynamoDB expiry": "ok", "DynamoDB write": "ok"}


async def test_the_check_leaves_nothing_behind(account: Account) -> None:
    await account.repository.setup_table()
    await account.repository.check()
    assert (await account.client.scan(TableName=account.table))["Items"] == []


async def test_a_missing_table_is_found_with_the_command_that_makes_it(account: Account) -> None:
    (finding,) = await account.repository.check()
    assert finding.state == "wrong"
    assert "voice-connect setup table" in finding.remedy


async def test_a_table_without_expiry_is_a_warning(account: Account) -> None:
    await account.make_table(key="token")
    assert await account.states() == {"DynamoDB table": "ok", "DynamoDB expiry": "warning", "DynamoDB write": "ok"}


async def test_a_table_with_another_key_is_wrong(account: Account) -> None:
    await account.make_table(key="pk")
    assert await account.states() == {"DynamoDB table": "wrong"}


async def test_a_role_that_may_only_write_is_proved_by_writing() -> None:
    async with ScriptedHttp([refusal("AccessDeniedException"), Answer()]).serving() as url, at(url) as repository:
        findings = await repository.check()
    assert [(finding.subject, finding.state) for finding in findings] == [("DynamoDB write", "ok")]


async def test_a_role_that_may_do_nothing_is_told_what_it_needs() -> None:
    async with ScriptedHttp([refusal("AccessDeniedException")]).serving() as url, at(url) as repository:
        (finding,) = await repository.check()
    assert finding.state == "wrong"
    assert "dynamodb:PutItem" in finding.remedy


async def test_a_key_that_aws_does_not_know_is_a_finding_with_a_remedy() -> None:
    async with ScriptedHttp([refusal("UnrecognizedClientException")]).serving() as url, at(url) as repository:
        (finding,) = await repository.check()
    assert "denied" in finding.detail
    assert "credentials" in finding.remedy


async def test_an_unreachable_service_is_a_finding_not_an_error() -> None:
    async with at("http://127.0.0.1:9") as repository:
        (finding,) = await repository.check()
    assert finding.state == "wrong"
    assert "unreachable" in finding.detail


async def test_a_new_table_has_the_index_that_the_lambda_looks_in(account: Account) -> None:
    await account.repository.setup_table()

    (index,) = (await account.client.describe_table(TableName=account.table))["Table"]["GlobalSecondaryIndexes"]
    assert index["IndexName"] == handler.PHONE_INDEX == "by_phone"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["phone_key", "created_at"]
    assert index["Projection"]["NonKeyAttributes"] == ["consumed_by"]
