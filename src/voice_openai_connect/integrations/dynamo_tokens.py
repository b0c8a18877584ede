"""Where handovers wait for the contact centre: an item per ten-digit token, which is redeemed once, or revoked."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.handover import PRIORITIES, HandoverRecord, Redemption
from voice_openai_connect.integrations.dynamo_client import ConditionNotMetError, DynamoClient, Item, StoreError
from voice_openai_connect.integrations.dynamo_setup import EXPIRY, PHONE_KEY

_UNREAD: Final = "attribute_exists(#t) AND attribute_not_exists(consumed_by) AND expires_at > :now"
_FREE_OR_OURS: Final = (
    "attribute_not_exists(#t) OR expires_at < :now OR (handover_id = :hid AND attribute_not_exists(consumed_by))"
)


class DynamoTokens:
    """The handover items of a table. `draw` gives a number below 10**10, for a new token."""

    def __init__(self, client: DynamoClient, draw: Callable[[], int]) -> None:
        self._client = client
        self._draw = draw
        self._drawn: OrderedDict[str, str] = OrderedDict()

    async def save(self, record: HandoverRecord) -> str:
        """Store the record under a fresh token, or find the token that it has. Raises `StoreError`."""
        try:
            async with asyncio.timeout(limits.SAVE_MS / 1_000):  # all draws together
                token = self._drawn.get(record.handover_id) or self._new_token(record)
                for _ in range(limits.TOKEN_DRAWS):
                    if await self._put(token, record):
                        return token
                    token = self._new_token(record)
        except TimeoutError:
            raise StoreError("timeout") from None
        raise StoreError("collision")

    async def attach_ticket(self, token: str, contact_id: str, ticket_id: str, ticket_url: str) -> bool:
        """Add what is not empty to a record that nobody has read yet. False if there is no such record."""
        late = {"hubspot_contact_id": contact_id, "hubspot_ticket_id": ticket_id, "hubspot_ticket_url": ticket_url}
        late = {name: value for name, value in late.items() if value}
        if not late:
            return False
        change = "SET " + ", ".join(f"{name} = :{name}" for name in late)
        values = {":now": self._client.now(), **{f":{name}": value for name, value in late.items()}}
        try:
            await self._client.update(token, change, values, only_if=_UNREAD)
        except ConditionNotMetError:
            return False
        return True

    async def redemption(self, token: str) -> Redemption | None:
        """What became of a record, for as long as the table has it: also when its token can no longer be used."""
        item = await self._client.get(token)
        if not item:
            return None
        return Redemption(
            record=_record(item),
            redeemed_by=item.text("consumed_by"),
            redeemed_at=item.number("consumed_at"),
            created_at=item.number("created_at") or 0,
        )

    async def revoke(self, token: str) -> bool:
        """Remove a record that nobody has read. False if somebody has, or if it is gone or expired."""
        try:
            await self._client.delete(token, only_if=_UNREAD, given={":now": self._client.now()})
        except ConditionNotMetError:
            return False
        return True

    def _new_token(self, record: HandoverRecord) -> str:
        """Draw a token and remember it before it is written: after a lost answer, the repeat must use the same one."""
        token = f"{self._draw():0{limits.TOKEN_DIGITS}}"
        self._drawn[record.handover_id] = token
        if len(self._drawn) > limits.TOKENS_REMEMBERED:
            self._drawn.popitem(last=False)
        return token

    async def _put(self, token: str, record: HandoverRecord) -> bool:
        """Write the item unless the token is somebody else's. An item that has been read is never made unread again."""
        now, expires = self._client.now(), self._client.now(limits.TOKEN_TTL_S)
        values = {**asdict(record), "created_at": now, EXPIRY: expires}
        if record.caller_phone:  # an index takes no empty text
            values[PHONE_KEY] = record.caller_phone
        given = {":now": now, ":hid": record.handover_id}
        try:
            await self._client.put(token, values, only_if=_FREE_OR_OURS, given=given)
        except ConditionNotMetError as refused:
            return refused.item.text("handover_id") == record.handover_id
        return True


def _record(item: Item) -> HandoverRecord:
    texts = {field.name: item.text(field.name) for field in fields(HandoverRecord)}
    priority = texts.pop("priority")
    return HandoverRecord(priority=priority if priority in PRIORITIES else "normal", **texts)
