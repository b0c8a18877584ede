"""`voice-connect reconcile`: whether we know of every caller how their call ended, by Twilio's own list of calls.

Twilio knows who rang; the table knows what became of them. A call that Twilio says is over, and whose end is not in
the table, is a caller that somebody should think of.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.next_step import DialPerson, HangUp, PromiseCallBack
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.call.ticket_note import HOW_IT_ENDED
from voice_openai_connect.clients import dynamo_repository, twilio_client
from voice_openai_connect.config import ConfigError, Settings, load_settings
from voice_openai_connect.integrations.aws_keys import REMEDY
from voice_openai_connect.integrations.dynamo_client import StoreError
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.integrations.twilio_client import CallRecord, TwilioError
from voice_openai_connect.logs import configure_logging
from voice_openai_connect.redaction import mask_phone

LOST: Final = 1
"""The exit status when there are callers whose end is not known."""
COULD_NOT_LOOK: Final = 2
"""The exit status when it could not be found out."""
NEVER_ANSWERED: Final = frozenset({"busy", "failed", "no-answer", "canceled"})

_TWILIO: Final = {
    "denied": "Check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN; they differ from region to region.",
    "refused": "Check TWILIO_ACCOUNT_SID and TWILIO_PHONE_NUMBER.",
    "too_many": "Look back at fewer hours with --hours.",
}
_TABLE: Final = {
    "missing_table": "Check DYNAMODB_TABLE_NAME and AWS_REGION; `voice-connect setup table` makes the table.",
    "denied": "Give this process AWS credentials that may read the table (dynamodb:GetItem, BatchGetItem).",
    "no_credentials": REMEDY,
}
_ELSEWHERE: Final = "Check the network path, then the service's status page; `voice-connect doctor` says more."


@dataclass(frozen=True, slots=True)
class Unaccounted:
    """A call that is over, and of which it is not known how it ended."""

    call: CallRecord
    likely: str
    """The most likely explanation, in words."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the calls since a moment. A call that ended just now counts as still going on."""

    number: str
    since: datetime
    outcomes: Mapping[Outcome, int]
    going_on: int
    unaccounted: Sequence[Unaccounted]

    @property
    def calls(self) -> int:
        """All of them."""
        return sum(self.outcomes.values()) + self.going_on + len(self.unaccounted)


class CannotLookError(Exception):
    """It could not be found out; the text says why and what to do."""


def run_reconcile(
    write: Callable[[str], None],
    complain: Callable[[str], None],
    *,
    hours: int,
    env: Mapping[str, str] | None = None,
    env_file: Path | str = ".env",
) -> int:
    """Look back, write what was found, and return the exit status: 0, `LOST` or `COULD_NOT_LOOK`."""
    configure_logging("ERROR", stream=sys.stderr.buffer)  # what was tried again is not for this table
    try:
        report = asyncio.run(reconcile(load_settings(env, env_file), hours=hours, now=datetime.now(UTC)))
    except (ConfigError, CannotLookError) as error:
        complain(str(error))
        return COULD_NOT_LOOK
    write(written(report))
    return LOST if report.unaccounted else 0


async def reconcile(settings: Settings, *, hours: int, now: datetime) -> Report:
    """Compare every call of the last hours with what the table knows of it. Raises `CannotLookError`."""
    number, since = settings.twilio_phone_number, now - timedelta(hours=hours)
    if not number:
        raise CannotLookError("TWILIO_PHONE_NUMBER: is not set. Set it to the number that callers dial, in E.164")
    try:
        async with twilio_client(settings) as twilio:
            calls = await twilio.calls_to(number, since)
        async with dynamo_repository(settings) as table:
            items = await _items(table, calls)
    except TwilioError as error:
        raise CannotLookError(f"{error}. {_TWILIO.get(error.reason, _ELSEWHERE)}") from None
    except StoreError as error:
        raise CannotLookError(f"{error}. {_TABLE.get(error.reason, _ELSEWHERE)}") from None
    found = list(zip(calls, items, strict=True))
    over = [(call, item) for call, item in found if item.outcome or _should_be_known(call, now)]
    return Report(
        number=number,
        since=since,
        outcomes=Counter(item.outcome for _, item in over if item.outcome),
        going_on=len(found) - len(over),
        unaccounted=[Unaccounted(call, likely(call, item)) for call, item in over if item.outcome is None],
    )


def _should_be_known(call: CallRecord, now: datetime) -> bool:
    """Whether the call has been over for so long that its end has been written down, if it ever will be."""
    ended_at = call.started_at + timedelta(seconds=call.duration_s)
    return call.over and ended_at + timedelta(seconds=limits.RECONCILE_GRACE_S) <= now


async def _items(table: DynamoRepository, calls: Sequence[CallRecord]) -> list[CallItem]:
    places = asyncio.Semaphore(limits.CALLS_LOOKED_UP_AT_ONCE)

    async def item_of(call: CallRecord) -> CallItem:
        async with places:
            return await table.recall_call(call.sid)

    return await asyncio.gather(*map(item_of, calls))


def likely(call: CallRecord, item: CallItem) -> str:
    """What most likely became of a caller of whom the table knows this and no end."""
    if item == CallItem():
        return _nothing_known(call)
    if item.dials:
        how = HOW_IT_ENDED[item.dials[max(item.dials)]]
        return f"the last dial to a person was told ({how}), and the process stopped before it had noted the end"
    if item.step is None:
        return _broken_off(item)
    return _after_step(item)


def _nothing_known(call: CallRecord) -> str:
    if call.status in NEVER_ANSWERED:
        return f"it was never answered (Twilio: {call.status}): the caller left while it rang, or our webhook failed"
    if call.duration_s < limits.DIAL_TOO_SHORT_S:
        return "the caller left at once, or our webhook could not be reached: see the call in Twilio's Debugger"
    return "our webhook or table could not be reached, and Twilio's fallback took the call: see Twilio's Debugger"


def _broken_off(item: CallItem) -> str:
    if item.stopped_stream and item.asked_at is None:
        return "the caller hung up in the moment in which the line broke; only the note of it is missing"
    if item.asked_at is None:
        return "the line broke or the process stopped, and Twilio asked nobody what is next: the caller was cut off"
    return "the conversation broke off, Twilio asked what is next, and no new stream came: the caller may have left"


def _after_step(item: CallItem) -> str:
    asked = "" if item.asked_at else ", which Twilio never asked for"
    match item.step:
        case DialPerson():
            return f"a person was to be dialled{asked}; how that ended, we were never told"
        case PromiseCallBack():
            return f"nobody was reached and a call back was promised{asked}: make sure that somebody calls"
        case HangUp():
            return f"the goodbye was said and the call was to end{asked}; only the note of it is missing"
        case _:
            return "something was decided that this version does not know"


# --- for a terminal


def written(report: Report) -> str:
    """The report as text: counts by outcome, then each caller that is not accounted for. Numbers are masked."""
    title = f"Calls to {mask_phone(report.number)} since {report.since:%Y-%m-%d %H:%M} UTC: {report.calls}"
    if not report.calls:
        remedy = "If there should be some: check TWILIO_PHONE_NUMBER, TWILIO_API_BASE_URL (each region has its own"
        return f"{title}\n{remedy} records), and --hours."
    rows = [(outcome.value.replace("_", " "), report.outcomes.get(outcome, 0)) for outcome in Outcome]
    rows += [("still going on", report.going_on), ("not accounted for", len(report.unaccounted))]
    width = max(len(name) for name, _ in rows)
    counts = [f"  {name.ljust(width)}  {count:>5}" for name, count in rows]
    return "\n".join([title, *counts, *_lost(report.unaccounted)])


def _lost(unaccounted: Sequence[Unaccounted]) -> list[str]:
    if not unaccounted:
        return ["Every caller is accounted for."]
    return ["", *(_line(each) for each in unaccounted)]


def _line(each: Unaccounted) -> str:
    call = each.call
    when, caller = f"{call.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC", mask_phone(call.caller) or "withheld"
    return f"{call.sid}  {when}  {call.duration_s} s  from {caller}\n    {each.likely}"
