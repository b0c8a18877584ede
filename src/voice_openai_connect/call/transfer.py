"""The transfer ladder: what Twilio should do with the caller next, after the stream has closed and after each dial.

    the dial with the token ──► one more without it ──► back to the assistant, who takes a message
                                                   └──► or, if that cannot be, a spoken promise to call back

Nobody is dialled a third time in a call. These are decisions about the conversation, so they live here;
`wire.twiml` writes them down for Twilio.
"""

from typing import Final, Literal

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.next_step import (
    FAIL_OPEN,
    AskAgain,
    DialPerson,
    HangUp,
    NextStep,
    PromiseCallBack,
    ResumeStream,
)
from voice_openai_connect.call.outcome import DialOutcome, Outcome

DialStatus = Literal["completed", "answered", "busy", "no-answer", "failed", "canceled"]
DIAL_STATUSES: Final[frozenset[str]] = frozenset({"completed", "answered", "busy", "no-answer", "failed", "canceled"})

_UNANSWERED: Final = {
    "busy": DialOutcome.BUSY,
    "no-answer": DialOutcome.NO_ANSWER,
    "canceled": DialOutcome.CANCELED,
}


def after_stream(item: CallItem, *, caller_left: bool) -> NextStep:
    """Decide what follows a stream that has ended.

    What the call had decided; else, if it broke off, the conversation from its checkpoint; else a person.
    """
    if caller_left:
        return HangUp()
    if item.step is None and item.checkpoint is not None and item.checkpoint.resumable:
        return ResumeStream(item.checkpoint.nobody_came)
    said_goodbye = item.outcome in {Outcome.CONTAINED, Outcome.CALLED_BACK}
    step = item.step or (HangUp() if said_goodbye else to_a_person(item))
    return to_a_person(item) if isinstance(step, DialPerson) and not item.may_dial else step


def to_a_person(item: CallItem) -> NextStep:
    """The way out when nothing else is left: a person, or their call back where both dials have been made."""
    return FAIL_OPEN if item.may_dial else PromiseCallBack()


def no_room(item: CallItem, *, asked: int) -> NextStep:
    """Decide what follows where a conversation cannot go on, because this instance is full or about to stop.

    A balancer may take a moment to send Twilio elsewhere, so the question is put off; `asked` is how often it was.
    """
    return AskAgain(asked + 1) if asked < limits.ASKED_AGAIN else to_a_person(item)


def dial_outcome(status: str, *, duration_s: int | None, bridged: bool | None, caller_left: bool) -> DialOutcome:
    """How a dial ended, from what Twilio posted to its `action`.

    `status` is `DialCallStatus`; an unknown one counts as failed. `duration_s` is `DialCallDuration` and `bridged` is
    `DialBridged`, each when sent. `caller_left`: `CallStatus` says that the call is over, so nobody waits any more.
    """
    answered = status in {"completed", "answered"}
    long_enough = duration_s is None or duration_s >= limits.DIAL_TOO_SHORT_S
    if answered and bridged is not False and long_enough:
        return DialOutcome.CONNECTED
    if caller_left:
        return DialOutcome.CALLER_LEFT
    if answered:
        return DialOutcome.UNBRIDGED if bridged is False else DialOutcome.TOO_SHORT
    return _UNANSWERED.get(status, DialOutcome.FAILED)


def is_suspicious(outcome: DialOutcome, duration_s: int | None) -> bool:
    """Whether a connected dial was over so soon that somebody should look. It is not made again for that."""
    return outcome is DialOutcome.CONNECTED and duration_s is not None and duration_s < limits.DIAL_SUSPICIOUS_S


def after_dial(outcome: DialOutcome, item: CallItem, *, attempt: int, may_resume: bool) -> NextStep:
    """Decide what follows a dial. `may_resume` says whether there is room for a stream, and a model to talk.

    Deterministic, so a webhook that comes again gets the same answer: a call that has gone back to the assistant
    already goes there again, whatever has become of the model since.
    """
    if outcome in {DialOutcome.CONNECTED, DialOutcome.CALLER_LEFT}:
        return HangUp()
    if attempt < limits.DIAL_ATTEMPTS:
        return DialPerson(attempt=attempt + 1, apologise=True)
    if item.checkpoint is None:
        return PromiseCallBack()
    back = item.checkpoint.brought_back(outcome)
    may_resume = may_resume or bool(item.checkpoint.nobody_came)
    return ResumeStream(back.nobody_came) if back.resumable and may_resume else PromiseCallBack()
