import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import pytest
from aiobotocore.session import get_session
from aws.connect_lambda import handler

from voice_openai_connect.integrations import dynamo_setup
from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.scripted_http import Answer, ScriptedHttp

KEY = AwsKey("simulated", "simulated")
THROUGHPUT = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
_numbers = count(1)


@dataclass
class Account:
    """A repository whose table is not there yet, and a client to make and look at tables with."""

    repository: DynamoRepository
    client: Any
    table: str

    async def make_table(self, *, key: str, **more: Any) -> None:
        await self.client.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            **{
                "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
                **more,
            },
        )

    async def index(self) -> dict[str, Any]:
        (index,) = (await self.client.describe_table(TableName=self.table))["Table"]["GlobalSecondaryIndexes"]
        return index

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


def described(index_status: str = "") -> Answer:
    """Our table, with or without its index."""
    key = [{"AttributeName": "phone_key", "KeyType": "HASH"}, {"AttributeName": "created_at", "KeyType": "RANGE"}]
    index = {"IndexName": "by_phone", "IndexStatus": index_status, "KeySchema": key}
    table: dict[str, object] = {
        "TableStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "token", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "token", "AttributeType": "S"}],
        "GlobalSecondaryIndexes": [index] if index_status else [],
    }
    return Answer(200, json.dumps({"Table": table}).encode())


async def test_an_expiry_that_was_changed_within_the_hour_is_told_not_raised() -> None:
    script = ScriptedHttp(
        [
            refusal("ResourceInUseException"),
            described("ACTIVE"),
            described("ACTIVE"),
            described("ACTIVE"),
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


@pytest.mark.parametrize(("lacking", "before"), [("BatchGetItem", 1), ("BatchWriteItem", 2)])
async def test_a_role_that_was_made_before_checkpoints_were_items_is_told_what_it_lacks(
    lacking: str, before: int
) -> None:
    denied = refusal("AccessDeniedException")
    async with ScriptedHttp([denied, *[Answer()] * before, denied]).serving() as url, at(url) as repository:
        (finding,) = await repository.check()
    assert finding.state == "wrong"
    assert f"dynamodb:{lacking} " in finding.remedy


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

    index = await account.index()
    assert index["IndexName"] == handler.PHONE_INDEX == "by_phone"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["phone_key", "created_at"]
    assert index["Projection"]["NonKeyAttributes"] == ["consumed_by"]


@pytest.mark.parametrize("billing", [{}, {"BillingMode": "PROVISIONED", "ProvisionedThroughput": THROUGHPUT}])
async def test_a_table_that_was_there_gets_the_index_once_and_keeps_what_is_in_it(
    account: Account, billing: dict[str, Any]
) -> None:
    await account.make_table(key="token", **billing)
    item = {"token": {"S": "0123456789"}, "phone_key": {"S": "+61491570006"}, "created_at": {"N": "1"}}
    await account.client.put_item(TableName=account.table, Item=item)

    added = f"Index by_phone was added to {account.table}."
    assert added in await account.repository.setup_table()
    assert added not in await account.repository.setup_table()

    assert [key["AttributeName"] for key in (await account.index())["KeySchema"]] == ["phone_key", "created_at"]
    found = await account.client.query(
        TableName=account.table,
        IndexName="by_phone",
        KeyConditionExpression="phone_key = :phone",
        ExpressionAttributeValues={":phone": {"S": "+61491570006"}},
    )
    assert [each["token"]["S"] for each in found["Items"]] == ["0123456789"]


async def test_an_index_of_that_name_with_another_key_is_left_alone_and_told(account: Account) -> None:
    names = [{"AttributeName": name, "AttributeType": "S"} for name in ("token", "phone_key")]
    key = [{"AttributeName": "phone_key", "KeyType": "HASH"}]
    index = {"IndexName": "by_phone", "KeySchema": key, "Projection": {"ProjectionType": "ALL"}}
    await account.make_table(key="token", AttributeDefinitions=names, GlobalSecondaryIndexes=[index])
    sentences = await account.repository.setup_table()

    assert "delete the index, then run this again" in sentences[1]
    assert (await account.index())["KeySchema"] == key


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (["", "CREATING", "ACTIVE"], "was added"),
        (["CREATING", "CREATING", "ACTIVE"], "was added"),
        (["", "CREATING", "CREATING"], "still being added"),
    ],
    ids=["added", "somebody else began", "slow"],
)
async def test_an_index_is_waited_for_until_it_can_be_used(
    seen: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamo_setup, "WAIT_STEP_S", 0)
    monkeypatch.setattr(dynamo_setup, "WAIT_STEPS", 2)
    before, *after = [described(status) for status in seen]
    update = [] if seen[0] else [Answer(200, b"{}")]
    expiry = Answer(200, b'{"TimeToLiveDescription":{"TimeToLiveStatus":"ENABLED","AttributeName":"expires_at"}}')
    script = ScriptedHttp(
        [refusal("ResourceInUseException"), described(), described(), before, *update, *after, expiry]
    )
    async with script.serving() as url, at(url) as repository:
        sentences = await repository.setup_table()

    assert told in sentences[1]
    assert sentences[2] == "Items already expire by `expires_at`."
