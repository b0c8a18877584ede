import pytest

from voice_openai_connect.integrations.dynamo_repository import DynamoRepository


@pytest.fixture
async def repository(table):
    async with DynamoRepository(table.name, clock=table.clock, **table.reach) as repository:
        yield repository


async def test_setup_makes_the_table_and_switches_its_expiry_on(repository, table):
    assert await repository.setup_table() == [
        f"Table {table.name} was created.",
        "Items now expire by `expires_at`.",
    ]


async def test_setup_may_be_run_twice(repository, table):
    await repository.setup_table()
    assert await repository.setup_table() == [
        f"Table {table.name} was there already.",
        "Items already expire by `expires_at`.",
    ]


async def test_setup_refuses_a_table_with_another_key(repository, table):
    await make_table(repository, table, key="pk")
    sentences = await repository.setup_table()
    assert "choose another table name" in sentences[-1]


async def test_a_table_as_it_should_be_has_nothing_to_complain_about(repository):
    await repository.setup_table()
    findings = await repository.check()
    assert [f.subject for f in findings] == ["DynamoDB table", "DynamoDB expiry", "DynamoDB write"]
    assert {f.state for f in findings} == {"ok"}


async def test_the_check_leaves_nothing_behind(repository, table):
    await repository.setup_table()
    await repository.check()
    assert (await repository._dynamodb.scan(TableName=table.name))["Items"] == []


async def test_a_missing_table_is_found_with_the_command_that_makes_it(repository):
    (finding,) = await repository.check()
    assert finding.state == "wrong"
    assert "voice-connect setup dynamodb" in finding.remedy


async def test_a_table_without_expiry_is_a_warning(repository, table):
    await make_table(repository, table, key="token")
    states = {f.subject: f.state for f in await repository.check()}
    assert states == {"DynamoDB table": "ok", "DynamoDB expiry": "warning", "DynamoDB write": "ok"}


async def test_a_table_with_another_key_is_wrong(repository, table):
    await make_table(repository, table, key="pk")
    (finding,) = await repository.check()
    assert "key" in finding.detail


async def test_an_unreachable_service_is_a_finding_not_an_error(table):
    async with DynamoRepository(table.name, **{**table.reach, "endpoint_url": "http://127.0.0.1:9"}) as repository:
        (finding,) = await repository.check()
    assert finding.state == "wrong"
    assert "unreachable" in finding.detail


async def make_table(repository, table, *, key):
    await repository._dynamodb.create_table(
        TableName=table.name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
