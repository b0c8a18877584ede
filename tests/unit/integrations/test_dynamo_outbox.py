import asyncio
from dataclasses import replace

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.outbox_entry import Expired, NotDue, OutboxEntry
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.integrations.dynamo_client import StoreError
from voice_openai_connect.integrations.dynamo_outbox import DynamoOutbox
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.simulator.dynamo_table import OwnTable
from voice_openai_connect.simulator.scripted_http import Answer, ScriptedHttp

CONV = "conversation-1"
NOTE = TicketNote(CONV, "+61412345678", "call_back", "Please call back.", urgent=True)
OTHER = replace(NOTE, kind="caller_left", text="The caller left.", urgent=False)


@pytest.fixture
def outbox(repository: DynamoRepository) -> DynamoOutbox:
    return repository.outbox


async def leased(outbox: DynamoOutbox, conversation_id: str = CONV) -> OutboxEntry:
    entry = await outbox.lease(conversation_id)
    assert isinstance(entry, OutboxEntry)
    return entry


# --- Keeping


async def test_what_one_instance_keeps_another_finds(table: OwnTable, record: HandoverRecord) -> None:
    async with table.repository() as one:
        await one.outbox.keep(OutboxEntry(CONV, record, (NOTE,)), wait_s=0)
    async with table.repository() as other:
        assert await other.outbox.pending() == {CONV}
        entry = await leased(other.outbox)

    assert (entry.conversation_id, entry.record, entry.notes, entry.refusals) == (CONV, record, (NOTE,), 0)


async def test_looking_for_what_is_kept_is_one_request(table: OwnTable) -> None:
    script = ScriptedHttp([Answer()])
    async with script.serving() as url, table.repository(at=url) as repository:
        assert await repository.outbox.pending() == frozenset()

    assert len(script.asked) == 1


async def test_what_is_kept_expires_and_says_no_more_than_the_ticket_will(
    table: OwnTable, outbox: DynamoOutbox, record: HandoverRecord
) -> None:
    await outbox.keep(OutboxEntry(CONV, record), wait_s=0)

    item = await table.item(f"outbox#{CONV}")
    assert int(item["expires_at"]) == table.now + limits.OUTBOX_TTL_S
    assert item.keys() == {"token", "ticket", "version", "due_at", "expires_at", "created_at"}


async def test_keeping_the_same_again_is_keeping_it_once(outbox: DynamoOutbox, record: HandoverRecord) -> None:
    for _ in range(3):
        await outbox.keep(OutboxEntry(CONV, record, (NOTE,)), wait_s=0)

    entry = await leased(outbox)
    assert (await outbox.pending(), entry.record, entry.notes) == ({CONV}, record, (NOTE,))


async def test_a_ticket_and_its_notes_come_together_in_whatever_order(
    outbox: DynamoOutbox, record: HandoverRecord
) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(OTHER,)), wait_s=0)
    await outbox.keep(OutboxEntry(CONV, record), wait_s=0)
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)

    entry = await leased(outbox)
    assert (entry.record, set(entry.notes)) == (record, {NOTE, OTHER})


async def test_the_shelf_holds_only_so_many_conversations_and_nothing_that_is_not_listed(
    table: OwnTable, outbox: DynamoOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_ENTRIES", limits.OUTBOX_SHARDS)  # one in each
    refused: list[str] = []
    names = [f"conversation-{number}" for number in range(60)]
    for name in names:
        try:
            await outbox.keep(OutboxEntry(name, notes=(NOTE,)), wait_s=0)
        except StoreError as error:
            refused.append(error.reason)
    kept = await outbox.pending()

    assert len(kept) == limits.OUTBOX_SHARDS
    assert refused == ["full"] * (60 - limits.OUTBOX_SHARDS)
    assert {key for key in await table.keys() if key.startswith("outbox#")} == {f"outbox#{name}" for name in kept}
    await outbox.keep(OutboxEntry(min(kept), notes=(OTHER,)), wait_s=0)  # there is always room for more of the same


async def test_a_conversation_has_only_so_many_notes(outbox: DynamoOutbox) -> None:
    for number in range(limits.OUTBOX_NOTES):
        await outbox.keep(OutboxEntry(CONV, notes=(replace(NOTE, text=f"{number}"),)), wait_s=0)
    with pytest.raises(StoreError, match="full"):
        await outbox.keep(OutboxEntry(CONV, notes=(replace(NOTE, text="one more"),)), wait_s=0)


async def test_a_reply_that_was_lost_leaves_one_entry(table: OwnTable, record: HandoverRecord) -> None:
    async with table.losing_reply() as url, table.repository(at=url) as repository:
        await repository.outbox.keep(OutboxEntry(CONV, record), wait_s=0)
        entry = await leased(repository.outbox)

    assert entry.version == 1


# --- Leases


async def test_of_many_instances_one_gets_the_entry(table: OwnTable, outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)
    async with table.repository() as other:
        got = await asyncio.gather(*(each.lease(CONV) for each in (outbox, other.outbox) for _ in range(8)))

    assert [type(answer) for answer in got].count(OutboxEntry) == 1
    assert {answer for answer in got if not isinstance(answer, OutboxEntry)} == {NotDue(limits.OUTBOX_LEASE_S)}


async def test_an_entry_of_an_instance_that_died_is_free_after_its_lease(table: OwnTable, outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)
    await leased(outbox)
    table.now += limits.OUTBOX_LEASE_S - 1
    assert await outbox.lease(CONV) == NotDue(1)
    table.now += 1

    assert (await leased(outbox)).notes == (NOTE,)


async def test_nobody_gets_an_entry_before_its_time(table: OwnTable, outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=30)
    assert await outbox.lease(CONV) == NotDue(30)
    table.now += 30

    await leased(outbox)


# --- After a try


async def test_what_was_delivered_is_gone(table: OwnTable, outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)
    await outbox.delivered(await leased(outbox))

    assert await outbox.pending() == set()
    assert await table.item(f"outbox#{CONV}") == {}


async def test_what_came_during_a_delivery_is_not_taken_for_delivered(outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)
    entry = await leased(outbox)
    await outbox.keep(OutboxEntry(CONV, notes=(OTHER,)), wait_s=0)
    assert await outbox.lease(CONV) == NotDue(limits.OUTBOX_LEASE_S)  # still one at a time
    await outbox.delivered(entry)

    assert await outbox.pending() == {CONV}
    assert set((await leased(outbox)).notes) == {NOTE, OTHER}


async def test_an_entry_put_off_waits_and_remembers_its_refusals(table: OwnTable, outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)
    await outbox.put_off(replace(await leased(outbox), refusals=2), wait_s=90)
    assert await outbox.lease(CONV) == NotDue(90)
    table.now += 90

    assert (await leased(outbox)).refusals == 2


async def test_an_entry_put_off_is_due_at_once_for_what_came_meanwhile(outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)
    entry = await leased(outbox)
    await outbox.keep(OutboxEntry(CONV, notes=(OTHER,)), wait_s=0)
    await outbox.put_off(entry, wait_s=90)

    await leased(outbox)


async def test_whoever_was_too_slow_does_not_disturb_the_next(table: OwnTable, outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)
    slow = await leased(outbox)
    table.now += limits.OUTBOX_LEASE_S
    await leased(outbox)
    await outbox.put_off(slow, wait_s=0)

    assert await outbox.lease(CONV) == NotDue(limits.OUTBOX_LEASE_S)


async def test_what_two_delivered_one_after_the_other_is_gone_for_both(table: OwnTable, outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)
    slow = await leased(outbox)
    table.now += limits.OUTBOX_LEASE_S
    await outbox.delivered(await leased(outbox))
    await outbox.delivered(slow)
    await outbox.put_off(slow, wait_s=0)

    assert await outbox.pending() == set()
    assert await table.item(f"outbox#{CONV}") == {}


# --- Too late


async def test_an_entry_whose_time_is_over_is_told_once_and_forgotten(table: OwnTable, outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)
    table.now += limits.OUTBOX_TTL_S
    async with table.repository() as other:
        told = await asyncio.gather(outbox.lease(CONV), other.outbox.lease(CONV))

    assert sorted(type(answer).__name__ for answer in told) == ["Expired", "NotDue"]
    assert await outbox.pending() == set()
    assert await table.item(f"outbox#{CONV}") == {}


async def test_an_entry_that_dynamodb_has_removed_is_told_of_too(table: OwnTable, outbox: DynamoOutbox) -> None:
    await outbox.keep(OutboxEntry(CONV, notes=(NOTE,)), wait_s=0)
    await table.client.delete_item(TableName=table.name, Key={"token": {"S": f"outbox#{CONV}"}})

    assert await outbox.lease(CONV) == Expired()
    assert await outbox.pending() == set()


async def test_an_entry_that_was_never_there_is_nobody_s(outbox: DynamoOutbox) -> None:
    assert await outbox.lease(CONV) == NotDue(0)


async def test_what_another_version_kept_and_is_not_understood_is_left_out(
    table: OwnTable, outbox: DynamoOutbox, record: HandoverRecord
) -> None:
    await outbox.keep(OutboxEntry(CONV, record, (NOTE,)), wait_s=0)
    await table.client.update_item(
        TableName=table.name,
        Key={"token": {"S": f"outbox#{CONV}"}},
        UpdateExpression="SET ticket = :t ADD notes :n",
        ExpressionAttributeValues={":t": {"S": '{"shape": "new"}'}, ":n": {"SS": ["[]"]}},
    )

    entry = await leased(outbox)
    assert (entry.record, entry.notes) == (None, (NOTE,))
