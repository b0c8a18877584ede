"""Changes of several items go in one request, and each is told what became of it alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.integrations.dynamo_client import Change, ConditionNotMetError, DynamoClient, StoreError
from voice_openai_connect.integrations.gathered_writes import GatheredWrites
from voice_openai_connect.simulator.dynamo_table import OwnTable
from voice_openai_connect.simulator.scripted_http import HANGS, Answer, Asked, ScriptedHttp

KEYS: tuple[str, ...] = ("one", "two", "three")
NEVER_MET = "attribute_exists(never)"


@pytest.fixture(autouse=True)
def only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes by itself while a test lasts: `hasten` is the clock."""
    monkeypatch.setattr(limits, "CHECKPOINTS_GATHERED_MS", 3_600_000)
    monkeypatch.setattr(limits, "STEP_STORE_MS", 3_600_000)


@dataclass
class Desk:
    """Takes changes in, and knows what was asked of DynamoDB: each request as the keys that it is about."""

    gathered: GatheredWrites
    requests: list[list[str]] = field(default_factory=list[list[str]])

    async def takes(self, *changes: Change) -> list["asyncio.Task[None]"]:
        """All of them wait when this returns."""
        waiting = [asyncio.create_task(self.gathered.write(change)) for change in changes]
        await asyncio.sleep(0)
        return waiting

    async def writes(self, *changes: Change) -> list[BaseException | None]:
        """What became of each."""
        waiting = await self.takes(*changes)
        self.gathered.hasten()
        return await outcomes(waiting)

    def note(self, params: dict[str, Any], **_: object) -> None:
        self.requests.append(keys_in(params["body"]))


@pytest.fixture
async def client(table: OwnTable) -> AsyncIterator[DynamoClient]:
    async with table.client_at() as client:
        yield client


@pytest.fixture
def desk(client: DynamoClient) -> Desk:
    """With the real simulated DynamoDB behind it."""
    desk = Desk(GatheredWrites(client))
    client.raw.meta.events.register("before-call.dynamodb", desk.note)
    return desk


def keys_in(body: bytes | str) -> list[str]:
    asked = json.loads(body)
    parts = [part["Update"] for part in asked["TransactItems"]] if "TransactItems" in asked else [asked]
    return [part["Key"]["token"]["S"] for part in parts]


def keys_asked(asked: list[Asked]) -> list[list[str]]:
    return [keys_in(each.body) for each in asked]


def change(key: str, value: str = "x", only_if: str = "") -> Change:
    return Change(key, "SET a = :a", {":a": value}, only_if)


async def outcomes(waiting: list["asyncio.Task[None]"]) -> list[BaseException | None]:
    async with asyncio.timeout(30):
        return await asyncio.gather(*waiting, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - it happens in a server that tells nobody
            await asyncio.sleep(0.005)


def cancelled(*codes: str) -> Answer:
    """A transaction of so many changes, none of which was made."""
    reasons = ",".join(f'{{"Code":"{code}"}}' for code in codes)
    kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    return Answer(400, f'{{"__type":"{kind}","CancellationReasons":[{reasons}]}}'.encode())


# --- Together


async def test_changes_of_several_items_are_one_request(table: OwnTable, desk: Desk) -> None:
    assert await desk.writes(change("one"), change("two"), change("three")) == [None, None, None]

    assert desk.requests == [["one", "two", "three"]]
    assert await table.keys() == {"one", "two", "three"}


async def test_a_lone_change_is_no_transaction_which_would_cost_twice(
    table: OwnTable, client: DynamoClient, desk: Desk
) -> None:
    operations: list[str] = []
    client.raw.meta.events.register("before-call.dynamodb", lambda model, **_: operations.append(model.name))  # pyright: ignore[reportUnknownLambdaType, reportUnknownMemberType, reportUnknownArgumentType]

    assert await desk.writes(change("one")) == [None]
    assert operations == ["UpdateItem"]
    assert (await table.item("one"))["a"] == "x"


async def test_nothing_goes_before_its_time_and_then_by_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = await desk.takes(change("one"), change("two"))
    assert desk.requests == []
    for each in waiting:
        each.cancel()
    await outcomes(waiting)

    monkeypatch.setattr(limits, "CHECKPOINTS_GATHERED_MS", 1)
    assert await outcomes(await desk.takes(change("three"), change("four"))) == [None, None]
    assert desk.requests == [["three", "four"]]


async def test_what_is_wanted_at_once_takes_along_what_waits(desk: Desk) -> None:
    waiting = await desk.takes(change("one"))
    await desk.gathered.write(change("two"), at_once=True)

    assert await outcomes(waiting) == [None]
    assert desk.requests == [["one", "two"]]


async def test_only_so_many_go_in_one_transaction(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINTS_TOGETHER", 2)
    await desk.writes(*(change(key) for key in "abcde"))

    assert sorted(desk.requests) == [["a", "b"], ["c", "d"], ["e"]]


# --- The same item


async def test_of_two_changes_of_an_item_the_second_goes_after_the_first(table: OwnTable, desk: Desk) -> None:
    await desk.writes(change("one", "earlier"), change("two"), change("one", "later"))

    assert desk.requests == [["one", "two"], ["one"]]
    assert (await table.item("one"))["a"] == "later"


async def test_an_item_that_is_being_written_holds_nobody_else_up(table: OwnTable) -> None:
    script = ScriptedHttp([HANGS, Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        desk = Desk(GatheredWrites(client))
        hanging = await desk.takes(change("one"))
        desk.gathered.hasten()
        await until(lambda: len(script.asked) == 1)
        behind = await desk.takes(change("one", "later"))
        assert await desk.writes(change("two")) == [None]

        assert keys_asked(script.asked) == [["one"], ["two"]]
        for each in (*hanging, *behind):
            each.cancel()
        await outcomes([*hanging, *behind])


# --- What goes wrong with one of them


async def test_a_condition_that_does_not_hold_costs_nobody_else_their_change(table: OwnTable, desk: Desk) -> None:
    first, refused, last = await desk.writes(change("one"), change("two", only_if=NEVER_MET), change("three"))

    assert (first, last) == (None, None)
    assert isinstance(refused, ConditionNotMetError)
    assert desk.requests == [["one", "two", "three"], ["one", "three"]]
    assert await table.keys() == {"one", "three"}


async def test_all_that_is_refused_is_told_so_and_asked_for_once(table: OwnTable, desk: Desk) -> None:
    refused = await desk.writes(change("one", only_if=NEVER_MET), change("two", only_if=NEVER_MET))

    assert [type(each) for each in refused] == [ConditionNotMetError, ConditionNotMetError]
    assert len(desk.requests) == 1
    assert await table.keys() == set()


async def test_an_item_that_somebody_else_is_changing_is_written_by_itself(table: OwnTable) -> None:
    script = ScriptedHttp([cancelled("None", "TransactionConflict", "None"), Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        done = await Desk(GatheredWrites(client)).writes(change("one"), change("two"), change("three"))

    assert done == [None, None, None]
    assert keys_asked(script.asked) == [["one", "two", "three"], ["one", "three"], ["two"]]


@pytest.mark.parametrize("codes", [(), ("None", "None"), ("TransactionConflict",)], ids=["none", "nobody", "too few"])
async def test_where_nobody_can_be_blamed_each_is_written_by_itself(table: OwnTable, codes: tuple[str, ...]) -> None:
    script = ScriptedHttp([cancelled(*codes), Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        assert await Desk(GatheredWrites(client)).writes(change("one"), change("two")) == [None, None]

    assert keys_asked(script.asked) == [["one", "two"], ["one"], ["two"]]


async def test_by_itself_each_has_its_own_fate(table: OwnTable) -> None:
    refusal = Answer(400, b'{"__type":"com.amazonaws.dynamodb.v20120810#ValidationException"}')
    script = ScriptedHttp([cancelled("None", "None"), refusal, Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        one, two = await Desk(GatheredWrites(client)).writes(change("one"), change("two"))

    assert (str(one), two) == ("DynamoDB: refused", None)


# --- What goes wrong with all of them


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (cancelled("None", "ThrottlingError"), "throttled"),
        (cancelled("TransactionConflict", "ProvisionedThroughputExceeded"), "throttled"),
        (Answer(400, b'{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException"}'), "denied"),
    ],
)
async def test_what_is_no_change_s_fault_is_told_to_all_and_not_made_worse(
    table: OwnTable, answer: Answer, reason: str
) -> None:
    script = ScriptedHttp([answer])
    async with script.serving() as url, table.client_at(url) as client:
        told = await Desk(GatheredWrites(client)).writes(change("one"), change("two"))

    assert [each.reason for each in told if isinstance(each, StoreError)] == [reason, reason]
    assert len(script.asked) == 1


async def test_a_table_that_does_not_answer_is_given_up_and_asked_again_by_the_next_change(
    table: OwnTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ScriptedHttp([HANGS, Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        desk = Desk(GatheredWrites(client))
        monkeypatch.setattr(limits, "SAVE_MS", 3_600_000)
        monkeypatch.setattr(limits, "DYNAMODB_READ_S", 3_600)
        monkeypatch.setattr(limits, "STEP_STORE_MS", 200)
        earlier = await desk.takes(change("one"), change("two"))
        desk.gathered.hasten()
        await until(lambda: len(script.asked) == 1)
        monkeypatch.setattr(limits, "STEP_STORE_MS", 3_600_000)
        later = await desk.takes(change("one", "later"))
        told = await outcomes(earlier)

        assert [each.reason for each in told if isinstance(each, StoreError)] == ["timeout", "timeout"]
        assert await outcomes(later) == [None]
    assert keys_asked(script.asked) == [["one", "two"], ["one"]]


async def test_nobody_is_left_waiting_by_a_fault_of_our_own(table: OwnTable) -> None:
    never_opened = Desk(GatheredWrites(table.client_at()))
    told = await never_opened.writes(change("one"), change("two"))

    assert [each.reason for each in told if isinstance(each, StoreError)] == ["failed", "failed"]


# --- Who no longer waits


async def test_what_nobody_waits_for_any_more_is_not_sent(table: OwnTable, desk: Desk) -> None:
    gone, *others = await desk.takes(change("one"), change("two"), change("three"))
    gone.cancel()
    desk.gathered.hasten()

    assert await outcomes(others) == [None, None]
    assert desk.requests == [["two", "three"]]
    assert await table.keys() == {"two", "three"}


async def test_one_who_leaves_while_the_request_is_under_way_takes_nobody_along(table: OwnTable, desk: Desk) -> None:
    gone, *others = await desk.takes(change("one"), change("two"))
    desk.gathered.hasten()
    await until(lambda: bool(desk.requests))
    gone.cancel()

    assert await outcomes(others) == [None]
    assert (await table.item("two"))["a"] == "x"


@pytest.mark.parametrize(
    ("leaves", "asked"),
    [("one", [["three"], ["two"]]), ("two", [["one", "three"]]), ("three", [["one"], ["two"]])],
)
async def test_one_who_leaves_during_the_first_try_is_not_in_the_second(
    table: OwnTable, leaves: str, asked: list[list[str]]
) -> None:
    late_refusal = replace(cancelled("None", "TransactionConflict", "None"), hangs=True)
    script = ScriptedHttp([late_refusal, Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        desk = Desk(GatheredWrites(client))
        waiting = dict(zip(KEYS, await desk.takes(*map(change, KEYS)), strict=True))
        desk.gathered.hasten()
        await until(lambda: len(script.asked) == 1)
        waiting.pop(leaves).cancel()
        script.go_on()

        assert await outcomes([*waiting.values()]) == [None, None]
    assert keys_asked(script.asked) == [list(KEYS), *asked]


async def test_there_is_neither_a_task_nor_a_timer_while_nothing_waits(desk: Desk) -> None:
    before = asyncio.all_tasks()
    desk.gathered.hasten()
    assert asyncio.all_tasks() == before

    waiting = await desk.takes(change("one"))
    assert desk.gathered._timer is not None  # pyright: ignore[reportPrivateUsage]
    waiting[0].cancel()
    await outcomes(waiting)
    assert desk.gathered._timer is None  # pyright: ignore[reportPrivateUsage]
    await desk.writes(change("two"))
    assert desk.gathered._timer is None  # pyright: ignore[reportPrivateUsage]
    assert desk.requests == [["two"]]


# --- The end


async def test_what_waits_at_the_end_is_written_first(table: OwnTable, desk: Desk) -> None:
    waiting = await desk.takes(change("one", "earlier"), change("two"), change("one", "later"))
    async with asyncio.timeout(30):
        await desk.gathered.close()

    assert await outcomes(waiting) == [None, None, None]
    assert desk.requests == [["one", "two"], ["one"]]
    assert (await table.item("one"))["a"] == "later"


async def test_a_table_that_does_not_answer_holds_the_end_up_for_so_long_only(
    table: OwnTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SAVE_MS", 3_600_000)  # a request that nothing else ends
    monkeypatch.setattr(limits, "DYNAMODB_READ_S", 3_600)
    script = ScriptedHttp([HANGS])
    async with script.serving() as url, table.client_at(url) as client:
        desk = Desk(GatheredWrites(client))
        waiting = await desk.takes(change("one"), change("two"), change("one", "later"))
        desk.gathered.hasten()
        await until(lambda: len(script.asked) == 1)
        monkeypatch.setattr(limits, "SAVE_MS", 50)
        async with asyncio.timeout(30):
            await desk.gathered.close()

        told = await outcomes(waiting)
    assert [type(each) for each in told] == [StoreError, StoreError, StoreError]
    assert len(script.asked) == 1


async def test_closing_what_was_never_used_is_nothing(desk: Desk) -> None:
    await desk.gathered.close()

    assert desk.requests == []
