import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from voice_openai_connect import __version__, limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.next_step import HangUp
from voice_openai_connect.integrations.dynamo_client import (
    AwsKey,
    Change,
    ConditionNotMetError,
    DynamoClient,
    Item,
    StoreError,
)
from voice_openai_connect.simulator.dynamo_table import OwnTable
from voice_openai_connect.simulator.scripted_http import HANGS, Answer, ScriptedHttp

THROTTLED = Answer(
    400,
    b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}',
)


@pytest.fixture
async def client(table: OwnTable) -> AsyncIterator[DynamoClient]:
    async with table.client_at() as client:
        yield client


# --- Trouble


async def test_a_missing_table_is_named_as_such(table: OwnTable, record: HandoverRecord) -> None:
    table.name = "NotThere"
    async with table.repository() as repository:
        with pytest.raises(StoreError, match="missing_table"):
            await repository.save(record)


async def test_a_throttled_save_is_tried_again_counted_and_reported(table: OwnTable, record: HandoverRecord) -> None:
    throttles: list[None] = []
    script = ScriptedHttp([THROTTLED])
    async with (
        script.serving() as url,
        table.repository(at=url, on_throttle=lambda: throttles.append(None), draw=lambda: 77) as repository,
    ):
        with pytest.raises(StoreError) as caught:
            await repository.save(record)
    assert caught.value.reason == "throttled"
    assert len(script.asked) == len(throttles) == limits.DYNAMODB_ATTEMPTS
    assert "0000000077" not in str(caught.value)


async def test_a_throttle_that_a_retry_made_good_is_counted(table: OwnTable) -> None:
    throttles: list[None] = []
    async with (
        ScriptedHttp([THROTTLED, Answer()]).serving() as url,
        table.repository(at=url, on_throttle=lambda: throttles.append(None)) as repository,
    ):
        await repository.remember_step("CA1", HangUp())
    assert len(throttles) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AccessDeniedException", "denied"),
        ("UnrecognizedClientException", "denied"),
        ("ValidationException", "refused"),
        ("SomethingNew", "failed"),
    ],
)
async def test_a_refusal_is_one_of_a_few_reasons(
    table: OwnTable, record: HandoverRecord, code: str, reason: str
) -> None:
    refusal = Answer(400, b'{"__type":"com.amazonaws.dynamodb.v20120810#%s"}' % code.encode())
    async with ScriptedHttp([refusal]).serving() as url, table.repository(at=url) as repository:
        with pytest.raises(StoreError) as caught:
            await repository.save(record)
    assert caught.value.reason == reason


async def test_a_server_that_never_answers_costs_no_more_than_the_budget(
    table: OwnTable, record: HandoverRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SAVE_MS", 200)
    monkeypatch.setattr(limits, "DYNAMODB_READ_S", 3_600)
    async with asyncio.timeout(30), ScriptedHttp([HANGS]).serving() as url, table.repository(at=url) as repository:
        with pytest.raises(StoreError, match="timeout"):
            await repository.save(record)


async def test_nobody_listening_is_unreachable(table: OwnTable, record: HandoverRecord) -> None:
    async with table.repository(at="http://127.0.0.1:9") as repository:
        with pytest.raises(StoreError, match="unreachable"):
            await repository.save(record)


async def test_requests_say_who_asks(table: OwnTable) -> None:
    script = ScriptedHttp([Answer()])
    async with script.serving() as url, table.repository(at=url) as repository:
        await repository.recall_call("CA1")

    assert all(asked.headers["user-agent"].startswith(f"voice-openai-connect/{__version__}") for asked in script.asked)


def test_a_key_does_not_show_its_secrets() -> None:
    assert "hidden" not in repr(AwsKey("AKIA", "hidden", "hidden"))


# --- Several changes at once


def clash(*codes: str) -> Answer:
    reasons = ",".join(f'{{"Code":"{code}"}}' for code in codes)
    kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    return Answer(400, f'{{"__type":"{kind}","CancellationReasons":[{reasons}]}}'.encode())


ONE = Change("one", "SET a = :a", {":a": 1})
TWO = Change("two", "ADD b :b", {":b": frozenset({"x"})}, "attribute_not_exists(#t)")


async def test_changes_are_made_together(table: OwnTable, client: DynamoClient) -> None:
    await client.together(ONE, TWO)

    assert await table.item("one") == {"token": "one", "a": "1"}
    assert await table.item("two") == {"token": "two", "b": ["x"]}


async def test_or_not_at_all(table: OwnTable, client: DynamoClient) -> None:
    await client.together(TWO)
    with pytest.raises(ConditionNotMetError):
        await client.together(ONE, TWO)

    assert await table.item("one") == {}


async def test_a_change_without_words_removes_its_item(table: OwnTable, client: DynamoClient) -> None:
    await client.together(ONE)
    await client.together(Change("one", "", {":a": 1}, "a = :a"), TWO)

    assert await table.keys() == {"two"}


@pytest.mark.parametrize("codes", [("TransactionConflict", "None"), ("None", "TransactionConflict")])
async def test_a_clash_with_another_transaction_is_tried_again(
    table: OwnTable, monkeypatch: pytest.MonkeyPatch, codes: tuple[str, ...]
) -> None:
    monkeypatch.setattr(limits, "DYNAMODB_CLASH_WAIT_S", 0)
    script = ScriptedHttp([clash(*codes), Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        await client.together(ONE, TWO)

    assert len(script.asked) == 2


async def test_a_clash_without_end_is_reported(table: OwnTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DYNAMODB_CLASH_WAIT_S", 0)
    script = ScriptedHttp([clash("TransactionConflict")])
    async with script.serving() as url, table.client_at(url) as client:
        with pytest.raises(StoreError, match="conflict"):
            await client.together(ONE)

    assert len(script.asked) == limits.DYNAMODB_CLASH_TRIES


@pytest.mark.parametrize(("code", "reason"), [("ThrottlingError", "throttled"), ("SomethingNew", "failed")])
async def test_a_transaction_that_fails_says_why(table: OwnTable, code: str, reason: str) -> None:
    async with ScriptedHttp([clash("None", code)]).serving() as url, table.client_at(url) as client:
        with pytest.raises(StoreError, match=reason):
            await client.together(ONE, TWO)


# --- Many at once


def found(table: OwnTable, keys: list[str], *, left_out: list[str] | None = None) -> Answer:
    """Of what was asked for, these items, and those keys not looked at."""
    items = [{"token": {"S": key}} for key in keys]
    rest = (
        {table.name: {"Keys": [{"token": {"S": key}} for key in left_out], "ConsistentRead": True}} if left_out else {}
    )
    return Answer(200, json.dumps({"Responses": {table.name: items}, "UnprocessedKeys": rest}).encode())


async def test_of_several_items_those_that_there_are_are_read(table: OwnTable, client: DynamoClient) -> None:
    await table.write("one", a="x")
    await table.write("three", a="z")
    read = await client.get_all(["three", "two", "one"])

    assert {key: item.text("a") for key, item in read.items()} == {"one": "x", "three": "z"}


async def test_items_that_the_table_left_out_are_asked_for_again(
    table: OwnTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DYNAMODB_LEFT_OUT_WAIT_S", 0)
    throttles: list[None] = []
    script = ScriptedHttp([found(table, ["one"], left_out=["two", "three"]), found(table, ["three"])])
    async with (
        script.serving() as url,
        table.client_at(url, on_throttle=lambda: throttles.append(None)) as client,
    ):
        assert set(await client.get_all(["one", "two", "three"])) == {"one", "three"}

    first, second = (json.loads(asked.body)["RequestItems"][table.name] for asked in script.asked)
    assert [key["token"]["S"] for key in second["Keys"]] == ["two", "three"]
    assert first["ConsistentRead"] is second["ConsistentRead"] is True
    assert len(throttles) == 1


async def test_items_that_are_left_out_again_and_again_are_not_said_to_be_none(
    table: OwnTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DYNAMODB_LEFT_OUT_WAIT_S", 0)
    script = ScriptedHttp([found(table, ["one"], left_out=["two"])])
    async with script.serving() as url, table.client_at(url) as client:
        with pytest.raises(StoreError, match="throttled"):
            await client.get_all(["one", "two"])

    assert len(script.asked) == limits.DYNAMODB_ATTEMPTS


# --- Items


def test_an_item_is_read_as_what_it_should_be_or_not_at_all() -> None:
    item = Item({"text": {"S": "x"}, "number": {"N": "-7"}, "half": {"N": "0.5"}, "set": {"SS": ["a", "b"]}})

    assert (item.text("text"), item.text("number"), item.text("none")) == ("x", "", "")
    assert (item.number("number"), item.number("half"), item.number("text")) == (-7, None, None)
    assert (item.texts("set"), item.texts("text")) == ({"a", "b"}, frozenset())


def test_an_item_whose_second_has_come_is_over() -> None:
    item = Item({"expires_at": {"N": "100"}})

    assert [item.expired(now) for now in (99, 100)] == [False, True]
    assert Item(None).expired(0)
