"""How things ended: a dial to the contact centre, and a whole call. And why a dial was not even made."""

from enum import StrEnum


class DialOutcome(StrEnum):
    """How one dial to the contact centre ended, for the caller."""

    CONNECTED = "connected"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    CANCELED = "canceled"
    UNBRIDGED = "unbridged"
    """Answered, but the caller was never connected with it."""
    TOO_SHORT = "too_short"
    """Answered and over again before anybody can have said a word."""
    CALLER_LEFT = "caller_left"
    """The caller hung up before anybody could answer them."""


class Absence(StrEnum):
    """Why it is known before a dial that nobody will answer."""

    CLOSED = "closed"
    """The queue is outside its opening hours."""
    UNSTAFFED = "unstaffed"
    """The queue is open, and nobody who serves it is at work."""


class Outcome(StrEnum):
    """How a call ended."""

    CONTAINED = "contained"
    """The assistant and the caller said goodbye; nobody else was needed."""
    CALLER_LEFT = "caller_left"
    """The caller hung up, or said goodbye after a transfer that reached nobody, and left no message."""
    CONNECTED_WITH_CONTEXT = "connected_with_context"
    """The contact centre answered and redeemed the token: an agent who takes the call will see what it is about."""
    CONNECTED_WITHOUT_CONTEXT = "connected_without_context"
    """The contact centre answered and redeemed none. Whether an agent took the call, it alone knows, here as above."""
    CALLED_BACK = "called_back"
    """A message was taken for a call back, or a call back was promised."""
