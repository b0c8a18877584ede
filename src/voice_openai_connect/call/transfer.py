"""What Twilio should do with the caller next: after the stream has closed, and after each dial.

These are decisions about the conversation, so they live here; `wire.twilio_webhooks` writes them as TwiML.
"""

from typing import Final, Literal

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.next_step import FAIL_OPEN, DialPerson, HangUp, NextStep, PromiseCallBack, ResumeStream

DialStatus = Literal["completed", "answered", "busy", "no-answer", "failed", "canceled"]
DIAL_STATUSES: Final[frozenset[str]] = frozenset({"completed", "answered", "busy", "no-answer", "failed", "canceled"})


def after_stream(item: CallItem, *, caller_left: bool) -> NextStep:
    """Decide what follows a stream that has ended.

    What the call had decided; else, if it broke off, the conversation from its checkpoint; else a person.
    """
    if caller_left:
        return HangUp()
    if item.step is None and item.checkpoint is not None and item.checkpoint.resumable:
        return ResumeStream()
    return item.step or FAIL_OPEN


def after_dial(status: str, *, attempt: int, duration_s: int | None, bridged: bool | None) -> NextStep:
    """Decide what follows a dial, from what Twilio posted to its `action`.

    `status` is `DialCallStatus`, `duration_s` is `DialCallDuration` when sent, `bridged` is `DialBridged` when
    sent. An unknown status counts as failed. Deterministic, so a repeated webhook gets the same answer.
    """
    spoke = status in {"completed", "answered"} and bridged is not False
    if spoke and (duration_s is None or duration_s >= limits.DIAL_TOO_SHORT_S):
        return HangUp()
    if attempt < limits.DIAL_ATTEMPTS:
        return DialPerson(attempt=attempt + 1, apologise=True)
    return PromiseCallBack()
