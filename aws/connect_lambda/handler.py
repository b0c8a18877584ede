"""Redeems the ten-digit token a caller's line has just sent as tones: Amazon Connect asks, DynamoDB knows.

Connect invokes `lambda_handler` with the token in `Details.Parameters.token` and reads a flat map of strings (response
validation STRING_MAP: one value that is not a string and the whole answer is thrown away). Whatever happens, the answer
has the same keys and arrives within five seconds: a caller is waiting in silence, and Connect gives up after eight.

When no digits came, Connect asks with `match` = ``phone`` instead. Then, and only if MATCH_BY_PHONE is ``true``, the
one handover that is waiting for this caller's number is redeemed, and the answer says so: a number can be forged, so
the agent must ask who is calling. Two that wait are none.

A token works for one contact. Connect repeats an invocation up to three times when an answer is late or lost, so the
same contact may ask again and gets the same answer. This file needs nothing but boto3, which the Lambda runtime has.
"""

import contextlib
import functools
import json
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any, Final, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

RECORD_KEYS: Final = {
    "conversation_id": 128,
    "caller_phone": 32,
    "hubspot_contact_id": 64,
    "hubspot_ticket_id": 64,
    "hubspot_ticket_url": 512,
    "summary": 5_000,
    "intent": 128,
    "priority": 16,
    "escalation_reason": 1_000,
    "route_to_queue": 64,
}
"""What an agent is told, and the bytes of UTF-8 each may take. Together they stay under 8 KB: Connect reads 32 KB,
and gives a contact 32 KB for all its attributes."""

CONTACT_ID_CHARS: Final = 256
CONNECT_S: Final = 1.0
READ_S: Final = 1.5
ANOTHER_TRY_BEFORE_S: Final = 2.0
"""A second attempt takes at most `CONNECT_S + READ_S`, so it may start until here and still end within 5 s."""

KEPT_S: Final = 4 * 3_600
"""How long it is known that a token was redeemed, and by whom. The gateway looks when the caller hangs up, and Twilio
ends a call after four hours at the latest; a token that nobody redeems expires in its ten minutes."""
PHONE_INDEX: Final = "by_phone"
"""Of the table: handovers by the caller's number (`phone_key`) and their time, with who has redeemed them."""
PENDING_S: Final = 120
"""How young a handover must be to be found by number: it is dialled within seconds, and rings half a minute at most.
The shorter, the less use is a forged number."""

_NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_TOKEN: Final = re.compile(r"[0-9]{10}", re.ASCII)
_UNSPEAKABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_USABLE: Final = (
    "attribute_exists(#t) AND expires_at > :now AND (attribute_not_exists(consumed_by) OR consumed_by = :contact)"
)
"""All of it in the write itself: DynamoDB removes expired items days late, and two contacts may ask at once."""

Item = dict[str, dict[str, Any]]


class _Refused(Exception):  # noqa: N818 - an answer, not an error
    """The token buys nothing. The reason is for the log; a caller who types tokens learns only whether to retype."""

    def __init__(self, outcome: str, *, retry: bool = False) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.retry = retry


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, str]:  # noqa: ARG001 - Lambda's signature
    """Answer Amazon Connect: `success`, `retry`, `matched_by` and the keys of `RECORD_KEYS`, all strings. Never raises.

    `matched_by` is ``token``, ``phone``, or empty when nothing was found.
    """
    started = time.monotonic()
    contact_id = _text_at(event, "Details", "ContactData", "ContactId")[:CONTACT_ID_CHARS]
    matched_by = "phone" if _text_at(event, "Details", "Parameters", "match") == "phone" else "token"
    record, outcome, retry, error = {}, "redeemed", False, ""
    try:
        record = _record(_redeem_by_phone(event, contact_id) if matched_by == "phone" else _redeem(event, contact_id))
    except _Refused as refused:
        outcome, retry = refused.outcome, refused.retry
    except Exception as failure:  # noqa: BLE001 - an exception would cost the caller Connect's own retries, in silence
        outcome, error = "unavailable", type(failure).__name__
    took_ms = round(1_000 * (time.monotonic() - started))
    _log(outcome=outcome, asked_by=matched_by, contact_id=contact_id, error=error, ms=took_ms)
    found = outcome == "redeemed"
    return {
        "success": _flag(found),
        "retry": _flag(retry),
        "matched_by": matched_by if found else "",
        **dict.fromkeys(RECORD_KEYS, ""),
        **record,
    }


def _redeem(event: dict[str, Any], contact_id: str) -> Item:
    """Consume the token for this contact and return its item. Raises `_Refused` when it buys nothing."""
    token = _text_at(event, "Details", "Parameters", "token")
    if not _TOKEN.fullmatch(token):
        raise _Refused("bad_format", retry=True)
    if not contact_id:
        raise _Refused("no_contact_id")
    return _tried_twice(lambda: _consume(token, contact_id), time.monotonic())


def _redeem_by_phone(event: dict[str, Any], contact_id: str) -> Item:
    """Consume the only handover that waits for this caller's number. Raises `_Refused` when there is not exactly one.

    The number is the one Connect shows, never a parameter. The index may lag behind the table, so the item is consumed
    on the same condition as by its token.
    """
    if os.environ.get("MATCH_BY_PHONE") != "true":
        raise _Refused("phone_not_matched")
    number = _text_at(event, "Details", "ContactData", "CustomerEndpoint", "Address")
    if not _NUMBER.fullmatch(number):
        raise _Refused("number_withheld")
    if not contact_id:
        raise _Refused("no_contact_id")
    started = time.monotonic()
    tokens = _waiting_for(number, contact_id)
    if len(tokens) != 1:
        raise _Refused("ambiguous" if tokens else "not_found")
    return _tried_twice(lambda: _consume(tokens[0], contact_id), started)


def _tried_twice(work: Callable[[], Item], started: float) -> Item:
    """Once more if it fails early. Not botocore's own retries: their pauses follow the server's wishes, and the
    caller's time is bounded."""
    try:
        return work()
    except (BotoCoreError, ClientError):
        if time.monotonic() - started > ANOTHER_TRY_BEFORE_S:
            raise
        return work()


def _waiting_for(number: str, contact_id: str) -> list[str]:
    """The tokens of this caller's latest handovers that nobody else has redeemed: Connect may ask for one again."""
    answer = _dynamodb().query(
        TableName=os.environ["DYNAMODB_TABLE_NAME"],
        IndexName=PHONE_INDEX,
        KeyConditionExpression="phone_key = :number AND created_at > :since",
        FilterExpression="attribute_not_exists(consumed_by) OR consumed_by = :contact",
        ExpressionAttributeValues={
            ":number": {"S": number},
            ":since": {"N": str(int(time.time()) - PENDING_S)},
            ":contact": {"S": contact_id},
        },
    )
    return [token for item in answer["Items"] if _TOKEN.fullmatch(token := _text(item.get("token")))]


def _consume(token: str, contact_id: str) -> Item:
    now = int(time.time())
    try:
        answer = _dynamodb().update_item(
            TableName=os.environ["DYNAMODB_TABLE_NAME"],
            Key={"token": {"S": token}},
            UpdateExpression=(
                "SET consumed_by = :contact, consumed_at = if_not_exists(consumed_at, :now), expires_at = :kept_until"
            ),
            ConditionExpression=_USABLE,
            ExpressionAttributeNames={"#t": "token"},
            ExpressionAttributeValues={
                ":contact": {"S": contact_id},
                ":now": {"N": str(now)},
                ":kept_until": {"N": str(now + KEPT_S)},
            },
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as failure:
        if failure.response.get("Error", {}).get("Code") != "ConditionalCheckFailedException":
            raise
        raise _refusal(cast("Item", failure.response.get("Item", {})), contact_id) from None
    return cast("Item", answer["Attributes"])


def _refusal(item: Item, contact_id: str) -> _Refused:
    """Why the condition failed, from the item as it was."""
    if not item:
        return _Refused("not_found", retry=True)
    consumed_by = _text(item.get("consumed_by"))
    return _Refused("already_used" if consumed_by not in {"", contact_id} else "expired")


@functools.cache
def _dynamodb() -> Any:
    """One client for the life of the process."""
    config = Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"total_max_attempts": 1})
    return cast("Any", boto3).client("dynamodb", config=config)  # boto3 is untyped


def _record(item: Item) -> dict[str, str]:
    return {key: _plain(_text(item.get(key)), max_bytes) for key, max_bytes in RECORD_KEYS.items()}


def _text(value: dict[str, Any] | None) -> str:
    """A DynamoDB value as text: strings and numbers as they are, booleans in lower case, anything else as nothing."""
    match value:
        case {"S": str(text)} | {"N": str(text)}:
            return text
        case {"BOOL": bool(truth)}:
            return _flag(truth)
        case _:
            return ""


def _plain(text: str, max_bytes: int) -> str:
    """On one line, without control characters, and cut to that many bytes between two characters."""
    line = _UNSPEAKABLE.sub(" ", text).strip()
    return line.encode()[:max_bytes].decode(errors="ignore")


def _text_at(event: object, *path: str) -> str:
    """The string at that path of an event, or empty: nothing in an event is certain to be there."""
    for key in path:
        event = cast("dict[str, object]", event).get(key) if isinstance(event, dict) else None
    return event if isinstance(event, str) else ""


def _flag(truth: bool) -> str:
    return "true" if truth else "false"


def _log(**facts: object) -> None:
    """One JSON line per invocation. Never the token, the caller's number or the summary."""
    sys.stdout.write(json.dumps({"event": "token_redemption", **facts}) + "\n")


# Making a client takes most of a second on a small function, and before the first event Lambda gives a whole core.
# Should it fail, the event that needs it tries again and answers that it failed.
with contextlib.suppress(Exception):
    _dynamodb()
