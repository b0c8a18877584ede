"""What Twilio should do with the caller next: after the stream has closed, and after each dial.

These are decisions about the conversation, so they live here; `wire.twilio_webhooks` writes them as TwiML.
"""

from dataclasses import dataclass
from typing import Final, Literal

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import Checkpoint

DialStatus = Literal["completed", "answered", "busy", "no-answer", "failed", "canceled"]
DIAL_STATUSES: Final[frozenset[str]] = frozenset({"completed", "answered", "busy", "no-answer", "failed", "canceled"})


@dataclass(frozen=True, slots=True)
class NextStep:
    """What the caller's line does next."""


@dataclass(frozen=True, slots=True)
class DialPerson(NextStep):
    """Dial the contact centre; with a token its digits are sent once it answers.

    `announce` is true when the transfer sentence still has to be said (the model could not say it);
    `apologise` when this is a second try.
    """

    token: str = ""
    attempt: int = 1
    announce: bool = False
    apologise: bool = False


@dataclass(frozen=True, slots=True)
class HangUp(NextStep):
    """End the call. `farewell` is true when the goodbye still has to be said (the model could not say it)."""

    farewell: bool = False


@dataclass(frozen=True, slots=True)
class PromiseCallBack(NextStep):
    """Say that nobody could be reached and that a person will call back, then end the call."""


@dataclass(frozen=True, slots=True)
class ResumeStream(NextStep):
    """Open a new stream and go on with the conversation from its checkpoint."""


FAIL_OPEN: Final = DialPerson(announce=True)
"""When nothing else is known about a caller: a person is always right."""


def after_stream(step: NextStep | None, checkpoint: Checkpoint | None = None, *, caller_left: bool) -> NextStep:
    """Decide what follows a stream that has ended.

    What the call had decided; else, if it broke off, the conversation from its checkpoint; else a person.
    """
    if caller_left:
        return HangUp()
    if step is None and checkpoint is not None and checkpoint.resumable:
        return ResumeStream()
    return step or FAIL_OPEN


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
