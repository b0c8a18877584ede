import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from aiobotocore.session import get_session

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint, Turn
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.next_step import DialPerson, HangUp, NextStep, PromiseCallBack
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository, StoreError
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.scripted_http import HANGS, Answer, ScriptedHttp

THROTTLED = Answer(
    400,
    b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}',
)
_numbers = count(1)


@dataclass
class Table:
    """A table of one's own, looked at and changed behind the repository's back; and a clock to move."""

    server: SimulatedDynamo
    client: Any
    name: str
    now: float = 1_800_000_000.0

    def repository(
        self,
        *,
        at: str = "",
        draw: Callable[[], int] | None = None,
        on_throttle: Callable[[], None] = lambda: None,
    ) -> DynamoRepository:
        more = {"draw": draw} if draw else {}
        return DynamoRepository(
            self.name,
            region=self.server.region,
            endpoint_url=at or self.server.endpoint_url,
            key=AwsKey(self.server.access_key_id, self.server.secret_access_key),
            clock=lambda: self.now,
            on_throttle=on_throttle,
            **more,
        )

    async def item(self, key: str) -> dict[str, str]:
        found = await self.client.get_item(TableName=self.name, Key={"token": {"S": key}}, ConsistentRead=True)
        return {name: next(iter(value.values())) for name, value in found.get("Item", {}).items()}

    async def consume(self, token: str) -> None:
        """What the contact centre does when it takes a record."""
        await self.client.update_item(
            TableName=self.name,
            Key={"token": {"S": token}},
            UpdateExpression="SET consumed_by = :c",
            ExpressionAttributeValues={":c": {"S": "contact-1"}},
        )


@pytest.fixture
async def table(dynamo: SimulatedDynamo) -> AsyncIterator[Table]:
    client = cast("Any", get_session()).create_client(
        "dynamodb",
        region_name=dynamo.region,
        endpoint_url=dynamo.endpoint_url,
        aws_access_key_id=dynamo.access_key_id,
        aws_secret_access_key=dynamo.secret_access_key,
    )
    async with client as opened:
        table = Table(dynamo, opened, f"Handovers{next(_numbers)}")
        async with table.repository() as repository:
            await repository.setup_table()
        yield table


@pytest.fixture
async def repository(table: Table) -> AsyncIterator[DynamoRepository]:
    async with table.repository() as repository:
        yield repository


def draws(*numbers: int) -> Callable[[], int]:
    left = iter(numbers)
    return lambda: next(left)


@asynccontextmanager
async def losing_replies(table: Table, lost: list[bytes], *, hang: bool = False) -> AsyncGenerator[str, None]:
    """DynamoDB behind a line that carries out the first PutItem and loses its reply: cut off, or never coming."""
    upstream = urlsplit(table.server.endpoint_url)
    over = asyncio.Event()
    busy: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy.add(cast("asyncio.Task[None]", asyncio.current_task()))
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        request = head + await reader.readexactly(int(lengths[0].split(b":")[1]))
        replies, requests = await asyncio.open_connection(upstream.hostname, upstream.port)
        requests.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        reply = await replies.read()
        requests.close()
        if b"PutItem" in request and not lost:
            lost.append(reply)
            if hang:
                await over.wait()
        else:
            writer.write(reply)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        over.set()
        server.close()
        await asyncio.gather(*busy, return_exceptions=True)


# --- Saving


async def test_a_saved_record_has_every_field_the_contact_centre_reads(
    table: Table, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    assert len(token) == 10
    assert token.isdecimal()
    assert await table.item(token) == {
        "token": token,
        "handover_id": "handover-1",
        "conversation_id": "conversation-1",
        "call_sid": record.call_sid,
        "caller_phone": "+61412345678",
        "summary": record.summary,
        "intent": "login",
        "priority": "high",
        "escalation_reason": "caller asked for a person",
        "route_to_queue": "Support",
        "hubspot_contact_id": "101",
        "hubspot_ticket_id": "",
        "hubspot_ticket_url": "",
        "created_at": str(int(table.now)),
        "expires_at": str(int(table.now) + limits.TOKEN_TTL_S),
    }


async def test_leading_zeros_of_a_token_are_kept(table: Table, record: HandoverRecord) -> None:
    async with table.repository(draw=draws(7)) as repository:
        assert await repository.save(record) == "0000000007"


async def test_saving_the_same_handover_again_gives_the_same_token(
    repository: DynamoRepository, record: HandoverRecord
) -> None:
    assert await repository.save(record) == await repository.save(record)


async def test_a_token_in_use_is_drawn_again(table: Table, record: HandoverRecord) -> None:
    async with table.repository(draw=draws(5, 5, 6)) as repository:
        await repository.save(record)
        assert await repository.save(replace(record, handover_id="handover-2")) == "0000000006"
    assert (await table.item("0000000005"))["handover_id"] == "handover-1"


async def test_after_a_few_tokens_in_use_the_collision_is_reported(table: Table, record: HandoverRecord) -> None:
    async with table.repository(draw=lambda: 5) as repository:
        await repository.save(record)
        with pytest.raises(StoreError) as caught:
            await repository.save(replace(record, handover_id="handover-2"))
    assert caught.value.reason == "collision"


async def test_an_expired_token_may_be_drawn_again(table: Table, record: HandoverRecord) -> None:
    async with table.repository(draw=lambda: 5) as repository:
        await repository.save(record)
        table.now += limits.TOKEN_TTL_S + 1
        assert await repository.save(replace(record, handover_id="handover-2")) == "0000000005"
    assert (await table.item("0000000005"))["handover_id"] == "handover-2"


async def test_a_record_that_has_been_read_is_never_made_unread_by_a_repeat(
    table: Table, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    await table.consume(token)
    assert await repository.save(record) == token
    assert (await table.item(token))["consumed_by"] == "contact-1"


async def test_a_lost_reply_is_not_a_collision(table: Table, record: HandoverRecord) -> None:
    lost: list[bytes] = []
    async with losing_replies(table, lost) as url, table.repository(at=url, draw=draws(5, 6, 7)) as repository:
        assert await repository.save(record) == "0000000005"
    assert lost[0].startswith(b"HTTP/1.1 200")
    assert (await table.item("0000000005"))["handover_id"] == "handover-1"


async def test_after_a_timeout_the_repeat_uses_the_token_that_was_stored(
    table: Table, record: HandoverRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[bytes] = []
    async with (
        losing_replies(table, lost, hang=True) as url,
        table.repository(at=url, draw=draws(5, 6)) as repository,
    ):
        monkeypatch.setattr(limits, "SAVE_MS", 300)
        with pytest.raises(StoreError, match="timeout"):
            await repository.save(record)
        monkeypatch.undo()
        assert await repository.save(record) == "0000000005"


async def test_only_so_many_tokens_are_remembered(
    table: Table, record: HandoverRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOKENS_REMEMBERED", 2)
    async with table.repository(draw=draws(0, 1, 2, 3)) as repository:
        for number in range(3):
            await repository.save(replace(record, handover_id=f"handover-{number}"))
        assert await repository.save(replace(record, handover_id="handover-2")) == "0000000002"
        assert await repository.save(replace(record, handover_id="handover-0")) == "0000000003"


# --- A ticket that comes late


async def test_a_late_ticket_is_added_to_an_unread_record(
    table: Table, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    assert await repository.attach_ticket(token, "202", "303", "https://app.example/303")
    item = await table.item(token)
    assert (item["hubspot_contact_id"], item["hubspot_ticket_id"]) == ("202", "303")
    assert item["hubspot_ticket_url"] == "https://app.example/303"


async def test_a_late_ticket_without_a_contact_keeps_the_contact_of_the_record(
    table: Table, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    assert await repository.attach_ticket(token, "", "303", "")
    assert (await table.item(token))["hubspot_contact_id"] == "101"


async def test_a_late_ticket_is_not_added_to_a_record_that_has_been_read(
    table: Table, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    await table.consume(token)
    assert not await repository.attach_ticket(token, "202", "303", "")
    assert (await table.item(token))["hubspot_ticket_id"] == ""


async def test_a_late_ticket_makes_no_record_where_there_is_none(table: Table, repository: DynamoRepository) -> None:
    assert not await repository.attach_ticket("0000000042", "202", "303", "")
    assert await table.item("0000000042") == {}


async def test_a_late_ticket_is_not_added_to_an_expired_record(
    table: Table, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    table.now += limits.TOKEN_TTL_S
    assert not await repository.attach_ticket(token, "202", "303", "")


async def test_a_late_ticket_that_is_no_ticket_changes_nothing(
    table: Table, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    before = await table.item(token)
    assert not await repository.attach_ticket(token, "", "", "")
    assert await table.item(token) == before


# --- What a call does next


@pytest.mark.parametrize(
    "step",
    [
        DialPerson(token="0123456789", announce=True),
        DialPerson(attempt=2, apologise=True),
        HangUp(),
        PromiseCallBack(),
    ],
)
async def test_another_instance_recalls_the_step_of_a_call(
    table: Table, repository: DynamoRepository, step: NextStep
) -> None:
    await repository.remember_step("CA1", step)
    async with table.repository() as other:
        assert await other.recall_call("CA1") == CallItem(step)


async def test_a_later_step_replaces_an_earlier_one(repository: DynamoRepository) -> None:
    await repository.remember_step("CA1", DialPerson(token="0123456789"))
    await repository.remember_step("CA1", HangUp())
    assert await repository.recall_call("CA1") == CallItem(HangUp())


async def test_a_call_nobody_remembers_has_no_step(repository: DynamoRepository) -> None:
    assert await repository.recall_call("CA1") == CallItem()


async def test_an_expired_step_is_not_recalled_although_the_table_still_has_it(
    table: Table, repository: DynamoRepository
) -> None:
    await repository.remember_step("CA1", HangUp())
    table.now += limits.CALL_ITEM_TTL_S
    assert await repository.recall_call("CA1") == CallItem()
    assert await table.item("call#CA1")


@pytest.mark.parametrize("written", ['{"step":"fly"}', "[]", "", '{"step":"dial","attempt":"x"}', '{"step":[]}'])
async def test_a_step_that_another_version_wrote_is_no_step(
    table: Table, repository: DynamoRepository, written: str
) -> None:
    item = {"token": {"S": "call#CA1"}, "next_step": {"S": written}, "expires_at": {"N": "1900000000"}}
    await table.client.put_item(TableName=table.name, Item=item)
    assert await repository.recall_call("CA1") == CallItem()


# --- Checkpoints

CHECKPOINT = Checkpoint((Turn("caller", "My order, the blue “one”, never came"), Turn("assistant", "Sorry!")), 2)


async def test_another_instance_recalls_where_a_conversation_was(table: Table, repository: DynamoRepository) -> None:
    await repository.save_checkpoint("CA1", Checkpoint())
    await repository.save_checkpoint("CA1", CHECKPOINT)
    async with table.repository() as other:
        assert await other.recall_call("CA1") == CallItem(checkpoint=CHECKPOINT)


async def test_a_step_takes_the_place_of_a_checkpoint_and_leaves_no_words_behind(
    table: Table, repository: DynamoRepository
) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.remember_step("CA1", HangUp())

    assert await repository.recall_call("CA1") == CallItem(HangUp())
    assert "blue" not in str(await table.item("call#CA1"))


async def test_a_forgotten_call_leaves_nothing_behind(table: Table, repository: DynamoRepository) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.close_call("CA1", Outcome.CONTAINED)
    await repository.close_call("CA1", Outcome.CONTAINED)

    assert not await table.item("call#CA1")


async def test_a_checkpoint_that_is_too_old_is_not_gone_on_from(table: Table, repository: DynamoRepository) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    table.now += limits.CHECKPOINT_TTL_S

    assert await repository.recall_call("CA1") == CallItem()


@pytest.mark.parametrize("written", ["", "[]", "{", '{"turns": 7}', '{"turns": [["caller"]]}'])
async def test_a_checkpoint_that_another_version_wrote_is_no_checkpoint(
    table: Table, repository: DynamoRepository, written: str
) -> None:
    item = {"token": {"S": "call#CA1"}, "checkpoint": {"S": written}, "expires_at": {"N": "1900000000"}}
    await table.client.put_item(TableName=table.name, Item=item)

    assert await repository.recall_call("CA1") == CallItem()


# --- Trouble


async def test_a_missing_table_is_named_as_such(table: Table, record: HandoverRecord) -> None:
    table.name = "NotThere"
    async with table.repository() as repository:
        with pytest.raises(StoreError, match="missing_table"):
            await repository.save(record)


async def test_a_throttled_save_is_tried_again_counted_and_reported(table: Table, record: HandoverRecord) -> None:
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


async def test_a_throttle_that_a_retry_made_good_is_counted(table: Table) -> None:
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
async def test_a_refusal_is_one_of_a_few_reasons(table: Table, record: HandoverRecord, code: str, reason: str) -> None:
    refusal = Answer(400, b'{"__type":"com.amazonaws.dynamodb.v20120810#%s"}' % code.encode())
    async with ScriptedHttp([refusal]).serving() as url, table.repository(at=url) as repository:
        with pytest.raises(StoreError) as caught:
            await repository.save(record)
    assert caught.value.reason == reason


async def test_a_server_that_never_answers_costs_no_more_than_the_budget(
    table: Table, record: HandoverRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SAVE_MS", 200)
    monkeypatch.setattr(limits, "DYNAMODB_READ_S", 3_600)
    async with asyncio.timeout(30), ScriptedHttp([HANGS]).serving() as url, table.repository(at=url) as repository:
        with pytest.raises(StoreError, match="timeout"):
            await repository.save(record)


async def test_nobody_listening_is_unreachable(table: Table, record: HandoverRecord) -> None:
    async with table.repository(at="http://127.0.0.1:9") as repository:
        with pytest.raises(StoreError, match="unreachable"):
            await repository.save(record)


async def test_a_repository_that_is_not_open_says_so(record: HandoverRecord) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await DynamoRepository("Handovers").save(record)


def test_a_key_does_not_show_its_secrets() -> None:
    assert "hidden" not in repr(AwsKey("AKIA", "hidden", "hidden"))
