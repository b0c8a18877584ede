"""Several items go in one request, and each is told what became of it alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.integrations.dynamo_client import DynamoClient, StoreError, Whole
from voice_openai_connect.integrations.gathered_writes import GatheredWrites
from voice_openai_connect.simulator.dynamo_table import OwnTable
from voice_openai_connect.simulator.scripted_http import HANGS, Answer, Asked, ScriptedHttp

KEYS: tuple[str, ...] = ("one", "two", "three")


@pytest.fixture(autouse=True)
def only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes by itself while a test lasts: `hasten` is the clock."""
    monkeypatch.setattr(limits, "DYNAMODB_LEFT_OUT_WAIT_S", 0)
    monkeypatch.setattr(limits, "CHECKPOINTS_GATHERED_MS", 3_600_000)
    monkeypatch.setattr(limits, "STEP_STORE_MS", 3_600_000)


@dataclass
class Desk:
    """Takes items in, and knows what was asked of DynamoDB: each request as the keys that it is about."""

    gathered: GatheredWrites
    requests: list[list[str]] = field(default_factory=list[list[str]])

    def takes(self, *items: Whole) -> list["asyncio.Future[None]"]:
        """All of them wait when this returns."""
        return [self.gathered.put(item) for item in items]

    async def writes(self, *items: Whole) -> list[BaseException | None]:
        """What became of each."""
        waiting = self.takes(*items)
        self.gathered.hasten()
        return await outcomes(waiting)


@pytest.fixture
async def client(table: OwnTable) -> AsyncIterator[DynamoClient]:
    async with table.client_at() as client:
        yield client


@pytest.fixture
def desk(client: DynamoClient, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """With the real simulated DynamoDB behind it."""
    desk = Desk(GatheredWrites(client))
    write_all = client.write_all

    async def noted(items: Sequence[Whole]) -> frozenset[str]:
        desk.requests.append([item.key for item in items])
        return await write_all(items)

    monkeypatch.setattr(client, "write_all", noted)
    return desk


def keys_in(body: bytes | str) -> list[str]:
    (requests,) = json.loads(body)["RequestItems"].values()
    return [(each.get("PutRequest", {}).get("Item") or each["DeleteRequest"]["Key"])["token"]["S"] for each in requests]


def keys_asked(asked: list[Asked]) -> list[list[str]]:
    return [keys_in(each.body) for each in asked]


def item(key: str, value: str = "x") -> Whole:
    return Whole(key, {"a": value})


async def outcomes(waiting: list["asyncio.Future[None]"]) -> list[BaseException | None]:
    async with asyncio.timeout(30):
        return await asyncio.gather(*waiting, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - it happens in a server that tells nobody
            await asyncio.sleep(0.005)


def left_out(table: OwnTable, *keys: str, removed: str = "") -> Answer:
    """Everything was done but these."""
    undone: list[Any] = [{"PutRequest": {"Item": {"token": {"S": key}}}} for key in keys]
    undone += [{"DeleteRequest": {"Key": {"token": {"S": removed}}}}] if removed else []
    return Answer(200, json.dumps({"UnprocessedItems": {table.name: undone}}).encode())


# --- Together


async def test_items_of_many_calls_are_one_request(table: OwnTable, desk: Desk) -> None:
    assert await desk.writes(item("one"), item("two"), item("three")) == [None, None, None]

    assert desk.requests == [["one", "two", "three"]]
    assert await table.keys() == {"one", "two", "three"}


async def test_an_item_is_written_whole_and_instead_of_what_was_there(table: OwnTable, desk: Desk) -> None:
    await table.write("one", b="earlier")

    assert await desk.writes(item("one")) == [None]
    assert await table.item("one") == {"token": "one", "a": "x"}


async def test_items_are_removed_together_with_others_being_put(table: OwnTable, desk: Desk) -> None:
    await table.write("one")

    assert await desk.writes(Whole("one"), item("two"), Whole("never there")) == [None, None, None]
    assert desk.requests == [["one", "two", "never there"]]
    assert await table.keys() == {"two"}


async def test_nothing_goes_before_its_time_and_then_by_itself(desk: Desk, let_pass: Callable[[int], None]) -> None:
    waiting = desk.takes(item("one"), item("two"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert desk.requests == []

    let_pass(3_601)
    assert await outcomes(waiting) == [None, None]
    assert desk.requests == [["one", "two"]]


async def test_what_is_wanted_at_once_takes_along_what_waits(desk: Desk) -> None:
    waiting = desk.takes(item("one"))
    await desk.gathered.put(item("two"), at_once=True)

    assert await outcomes(waiting) == [None]
    assert desk.requests == [["one", "two"]]


async def test_only_so_many_go_in_one_request(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINTS_TOGETHER", 2)
    await desk.writes(*(item(key) for key in "abcde"))

    assert sorted(desk.requests) == [["a", "b"], ["c", "d"], ["e"]]


# --- The same item


async def test_the_same_item_again_goes_after_the_first(table: OwnTable, desk: Desk) -> None:
    await desk.writes(item("one", "earlier"), item("two"), item("one", "later"))

    assert desk.requests == [["one", "two"], ["one"]]
    assert (await table.item("one"))["a"] == "later"


async def test_what_is_removed_while_it_is_being_put_is_removed_after_that(table: OwnTable, desk: Desk) -> None:
    putting = desk.takes(item("one"))
    desk.gathered.hasten()
    await until(lambda: bool(desk.requests))
    putting[0].cancel()

    assert await desk.writes(Whole("one")) == [None]
    assert desk.requests == [["one"], ["one"]]
    assert await table.keys() == set()


async def test_an_item_that_is_being_written_holds_nobody_else_up(table: OwnTable) -> None:
    script = ScriptedHttp([HANGS, Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        desk = Desk(GatheredWrites(client))
        hanging = desk.takes(item("one"))
        desk.gathered.hasten()
        await until(lambda: len(script.asked) == 1)
        behind = desk.takes(item("one", "later"))
        assert await desk.writes(item("two")) == [None]

        assert keys_asked(script.asked) == [["one"], ["two"]]
        for each in (*hanging, *behind):
            each.cancel()
        await outcomes([*hanging, *behind])


# --- What the table leaves out


async def test_what_the_table_leaves_out_is_tried_again(table: OwnTable) -> None:
    script = ScriptedHttp([left_out(table, "two", removed="four"), Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        done = await Desk(GatheredWrites(client)).writes(*map(item, KEYS), Whole("four"))

    assert done == [None, None, None, None]
    assert keys_asked(script.asked) == [[*KEYS, "four"], ["two", "four"]]


async def test_what_is_left_out_twice_is_told_to_its_own_callers_only(table: OwnTable) -> None:
    throttles: list[None] = []
    script = ScriptedHttp([left_out(table, "two", "three"), left_out(table, "three"), Answer()])
    async with (
        script.serving() as url,
        table.client_at(url, on_throttle=lambda: throttles.append(None)) as client,
    ):
        one, two, three = await Desk(GatheredWrites(client)).writes(*map(item, KEYS))

    assert (one, two, str(three)) == (None, None, "DynamoDB: throttled")
    assert keys_asked(script.asked) == [list(KEYS), ["two", "three"]]
    assert len(throttles) == 2


async def test_what_goes_wrong_with_the_second_try_is_not_told_to_those_who_were_kept(table: OwnTable) -> None:
    denied = Answer(400, b'{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException"}')
    async with (
        ScriptedHttp([left_out(table, "two"), denied]).serving() as url,
        table.client_at(url) as client,
    ):
        one, two = await Desk(GatheredWrites(client)).writes(item("one"), item("two"))

    assert (one, str(two)) == (None, "DynamoDB: denied")


# --- What goes wrong with all of them


async def test_what_is_no_item_s_fault_is_told_to_all_and_not_made_worse(table: OwnTable) -> None:
    script = ScriptedHttp([Answer(400, b'{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException"}')])
    async with script.serving() as url, table.client_at(url) as client:
        told = await Desk(GatheredWrites(client)).writes(item("one"), item("two"))

    assert [str(each) for each in told] == ["DynamoDB: denied", "DynamoDB: denied"]
    assert len(script.asked) == 1


async def test_a_request_of_which_nothing_was_done_for_want_of_capacity_is_throttled(table: OwnTable) -> None:
    kind = b"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
    script = ScriptedHttp([Answer(400, b'{"__type":"' + kind + b'"}')])
    async with script.serving() as url, table.client_at(url) as client:
        told = await Desk(GatheredWrites(client)).writes(item("one"), item("two"))

    assert [str(each) for each in told] == ["DynamoDB: throttled", "DynamoDB: throttled"]
    assert len(script.asked) == limits.DYNAMODB_ATTEMPTS


async def test_a_table_that_does_not_answer_is_given_up_and_asked_again_by_the_next_item(
    table: OwnTable, monkeypatch: pytest.MonkeyPatch, let_pass: Callable[[int], None]
) -> None:
    script = ScriptedHttp([HANGS, Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        desk = Desk(GatheredWrites(client))
        monkeypatch.setattr(limits, "SAVE_MS", 3_600_000)
        monkeypatch.setattr(limits, "DYNAMODB_READ_S", 3_600)
        monkeypatch.setattr(limits, "STEP_STORE_MS", 600_000)
        earlier = desk.takes(item("one"), item("two"))
        desk.gathered.hasten()
        await until(lambda: len(script.asked) == 1)
        later = desk.takes(item("one", "later"))
        let_pass(601)
        told = await outcomes(earlier)

        assert [each.reason for each in told if isinstance(each, StoreError)] == ["timeout", "timeout"]
        assert await outcomes(later) == [None]
    assert keys_asked(script.asked) == [["one", "two"], ["one"]]


async def test_nobody_is_left_waiting_by_a_fault_of_our_own(table: OwnTable) -> None:
    never_opened = Desk(GatheredWrites(table.client_at()))
    told = await never_opened.writes(item("one"), item("two"))

    assert [each.reason for each in told if isinstance(each, StoreError)] == ["failed", "failed"]


# --- Who no longer waits


async def test_what_nobody_waits_for_any_more_is_not_sent(table: OwnTable, desk: Desk) -> None:
    gone, *others = desk.takes(item("one"), item("two"), item("three"))
    gone.cancel()
    desk.gathered.hasten()

    assert await outcomes(others) == [None, None]
    assert desk.requests == [["two", "three"]]
    assert await table.keys() == {"two", "three"}


async def test_one_who_leaves_while_the_request_is_under_way_takes_nobody_along(table: OwnTable, desk: Desk) -> None:
    gone, *others = desk.takes(item("one"), item("two"))
    desk.gathered.hasten()
    await until(lambda: bool(desk.requests))
    gone.cancel()

    assert await outcomes(others) == [None]
    assert (await table.item("two"))["a"] == "x"


@pytest.mark.parametrize(("leaves", "again"), [("one", [["three"]]), ("three", [])])
async def test_one_who_leaves_during_the_first_try_is_not_in_the_second(
    table: OwnTable, leaves: str, again: list[list[str]]
) -> None:
    late = replace(left_out(table, "three", *(["one"] if leaves == "one" else [])), hangs=True)
    script = ScriptedHttp([late, Answer()])
    async with script.serving() as url, table.client_at(url) as client:
        desk = Desk(GatheredWrites(client))
        waiting = dict(zip(KEYS, desk.takes(*map(item, KEYS)), strict=True))
        desk.gathered.hasten()
        await until(lambda: len(script.asked) == 1)
        waiting.pop(leaves).cancel()
        script.go_on()

        assert await outcomes([*waiting.values()]) == [None, None]
        await desk.gathered.close()
    assert keys_asked(script.asked) == [list(KEYS), *again]


async def test_of_an_item_that_was_taken_back_nothing_is_left_when_its_time_has_come(desk: Desk) -> None:
    before = asyncio.all_tasks()
    (waiting,) = desk.takes(item("one"))
    waiting.cancel()
    desk.gathered.hasten()

    assert asyncio.all_tasks() == before
    assert desk.gathered._timer is None  # pyright: ignore[reportPrivateUsage]
    assert desk.requests == []


async def test_there_is_neither_a_task_nor_a_timer_while_nothing_waits(desk: Desk) -> None:
    before = asyncio.all_tasks()
    desk.gathered.hasten()
    assert asyncio.all_tasks() == before

    await desk.writes(item("two"))
    assert desk.gathered._timer is None  # pyright: ignore[reportPrivateUsage]
    assert desk.requests == [["two"]]


# --- The end


async def test_what_waits_at_the_end_is_written_first(table: OwnTable, desk: Desk) -> None:
    waiting = desk.takes(item("one", "earlier"), item("two"), item("one", "later"))
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
        waiting = desk.takes(item("one"), item("two"), item("one", "later"))
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
