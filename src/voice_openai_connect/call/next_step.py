"""What the caller's line may do next. `call.transfer` decides which; `wire.twiml` writes it down for Twilio."""

from dataclasses import dataclass
from typing import Final


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

    nobody_came: str = ""
    """A `DialOutcome` when the caller comes back from a transfer that reached nobody; an `Absence` when there was none
    to make; else empty."""


@dataclass(frozen=True, slots=True)
class AskAgain(NextStep):
    """Wait a second and ask the same question once more: it may reach an instance that has room."""

    asked: int
    """How many times it will have been asked before."""


FAIL_OPEN: Final = DialPerson(announce=True)
"""When nothing else is known about a caller: a person is always right."""
