"""What is owed to the CRM, kept in the handover table until it has been delivered.

An entry a conversation (`outbox#{conversation_id}`), and a few index items that hold the conversations with an entry
as a set of strings. Both are changed in one transaction, so an entry that is kept is always found, without a scan and
without a second index of the table (docs/decisions/0014). An entry is leased by a conditional write.
"""

from typing import Final, TypeVar
from zlib import crc32

import msgspec

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.outbox_entry import Expired, NotDue, OutboxEntry
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.integrations.dynamo_client import (
    Change,
    ConditionNotMetError,
    DynamoClient,
    Item,
    StoreError,
    Value,
)

T = TypeVar("T")

_LEASABLE: Final = (
    "attribute_exists(#t) AND expires_at > :now AND due_at <= :now"
    " AND (attribute_not_exists(leased_until) OR leased_until <= :now)"
)
_OURS: Final = "leased_until = :lease"


class DynamoOutbox:
    """The outbox of a table. Every method raises `StoreError` when the table does not do it in time."""

    def __init__(self, client: DynamoClient) -> None:
        self._client = client

    async def keep(self, entry: OutboxEntry, *, wait_s: int) -> None:
        """Add to what is kept of this conversation; nobody is to work on it for `wait_s` seconds.

        Keeping the same again changes nothing. Raises `StoreError`: ``full`` when there is no more room.
        """
        try:
            await self._client.together(self._addition(entry, wait_s), _listing(entry.conversation_id))
        except ConditionNotMetError:
            raise StoreError("full") from None

    async def pending(self) -> frozenset[str]:
        """The conversations that something is kept of, by whichever instance."""
        shards = await self._client.get_all([_shard(number) for number in range(limits.OUTBOX_SHARDS)])
        return frozenset[str]().union(*(shard.texts("pending") for shard in shards.values()))

    async def lease(self, conversation_id: str) -> OutboxEntry | NotDue | Expired:
        """Take an entry to work on it for `OUTBOX_LEASE_S`; of several who ask at once, one gets it."""
        now = self._client.now()
        values = {":now": now, ":until": self._client.now(limits.OUTBOX_LEASE_S)}
        try:
            item = await self._client.updated(
                _key(conversation_id), "SET leased_until = :until", values, only_if=_LEASABLE
            )
        except ConditionNotMetError as refused:
            if refused.item.expired(now):
                return await self._forget(conversation_id)
            due = max(refused.item.number("due_at") or 0, refused.item.number("leased_until") or 0)
            return NotDue(due - now)
        return _read(conversation_id, item)

    async def delivered(self, entry: OutboxEntry) -> None:
        """Remove a leased entry. If something was added to it meanwhile it stays, and is due."""
        gone = Change(_key(entry.conversation_id), "", {":version": entry.version}, "version = :version")
        try:
            await self._client.together(gone, _unlisting(entry.conversation_id))
        except ConditionNotMetError:
            await self._release(entry)

    async def put_off(self, entry: OutboxEntry, *, wait_s: int) -> None:
        """Give a leased entry back for later, with its `refusals`. If something was added meanwhile it is due."""
        values = {
            ":due": self._client.now(wait_s),
            ":refusals": entry.refusals,
            ":version": entry.version,
            ":lease": entry.leased_until,
        }
        change = "SET due_at = :due, refusals = :refusals REMOVE leased_until"
        try:
            await self._client.update(
                _key(entry.conversation_id), change, values, only_if=f"version = :version AND {_OURS}"
            )
        except ConditionNotMetError:
            await self._release(entry)

    async def _release(self, entry: OutboxEntry) -> None:
        """End our lease, if it is still ours."""
        values = {":lease": entry.leased_until}
        try:
            await self._client.update(_key(entry.conversation_id), "REMOVE leased_until", values, only_if=_OURS)
        except ConditionNotMetError:
            return

    async def _forget(self, conversation_id: str) -> Expired | NotDue:
        """Remove what has expired, from the list too; unless somebody has just dealt with it."""
        over = "attribute_not_exists(#t) OR expires_at <= :now"
        gone = Change(_key(conversation_id), "", {":now": self._client.now()}, over)
        try:
            await self._client.together(gone, _unlisting(conversation_id))
        except ConditionNotMetError:
            return NotDue(0)
        return Expired()

    def _addition(self, entry: OutboxEntry, wait_s: int) -> Change:
        """The entry with this added to it. A set of notes holds each once."""
        values: dict[str, Value] = {
            ":now": self._client.now(),
            ":due": self._client.now(wait_s),
            ":until": self._client.now(limits.OUTBOX_TTL_S),
            ":one": 1,
        }
        change = "SET due_at = :due, expires_at = :until, created_at = if_not_exists(created_at, :now)"
        more, room = "ADD version :one", ""
        if entry.record is not None:
            values[":record"] = msgspec.json.encode(entry.record).decode()
            change += ", ticket = :record"
        if entry.notes:
            values[":notes"] = frozenset(msgspec.json.encode(note).decode() for note in entry.notes)
            values[":max"] = limits.OUTBOX_NOTES
            more += ", notes :notes"
            room = "attribute_not_exists(notes) OR size(notes) < :max"
        return Change(_key(entry.conversation_id), f"{change} {more}", values, room)


def _listing(conversation_id: str) -> Change:
    room = "attribute_not_exists(pending) OR size(pending) < :max OR contains(pending, :id)"
    values: dict[str, Value] = {
        ":ids": frozenset({conversation_id}),
        ":id": conversation_id,
        ":max": limits.OUTBOX_ENTRIES // limits.OUTBOX_SHARDS,
    }
    return Change(_shard_of(conversation_id), "ADD pending :ids", values, room)


def _unlisting(conversation_id: str) -> Change:
    values: dict[str, Value] = {":ids": frozenset({conversation_id}), ":id": conversation_id}
    return Change(_shard_of(conversation_id), "DELETE pending :ids", values, "contains(pending, :id)")


def _key(conversation_id: str) -> str:
    return f"outbox#{conversation_id}"


def _shard_of(conversation_id: str) -> str:
    """The same on every instance, and spread evenly."""
    return _shard(crc32(conversation_id.encode()) % limits.OUTBOX_SHARDS)


def _shard(number: int) -> str:
    return f"outbox-index#{number}"


def _read(conversation_id: str, item: Item) -> OutboxEntry:
    """The entry, without what an older or newer version wrote and is not understood here."""
    notes = [note for text in sorted(item.texts("notes")) if (note := _decoded(text, TicketNote))]
    return OutboxEntry(
        conversation_id=conversation_id,
        record=_decoded(item.text("ticket"), HandoverRecord),
        notes=tuple(notes),
        refusals=item.number("refusals") or 0,
        version=item.number("version") or 0,
        leased_until=item.number("leased_until") or 0,
    )


def _decoded(text: str, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError:
        return None
