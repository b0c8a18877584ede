"""Something that people must read on a conversation's ticket, and how it is worded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import Turn
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.handover import plain_text
from voice_openai_connect.call.outcome import Absence, DialOutcome

NoteKind = Literal["call_back", "nobody_reached", "context_not_delivered", "caller_left", "handover_lost"]

HOW_IT_ENDED: Final[Mapping[str, str]] = {
    DialOutcome.CONNECTED: "the caller was connected",
    DialOutcome.BUSY: "the line was busy",
    DialOutcome.NO_ANSWER: "nobody answered",
    DialOutcome.FAILED: "the number could not be reached",
    DialOutcome.CANCELED: "the dial was cancelled",
    DialOutcome.UNBRIDGED: "it was answered, but the caller was not connected",
    DialOutcome.TOO_SHORT: "it was answered and cut off at once",
    DialOutcome.CALLER_LEFT: "the caller hung up before anybody answered",
}
"""A dial's outcome in words that follow "the transfer failed: "."""

WHO_IS_MISSING: Final[Mapping[str, str]] = {
    Absence.CLOSED: "was closed",
    Absence.UNSTAFFED: "was open, and nobody who serves it was at work",
}
"""An absence in words that follow "the queue"."""


@dataclass(frozen=True, slots=True)
class TicketNote:
    """One note. The same note kept twice is one note."""

    conversation_id: str
    caller_phone: str
    """E.164, or empty when the caller withheld it."""
    kind: NoteKind
    text: str
    """Plain (see `call.handover.plain_text`) and at most `limits.NOTE_CHARS` long."""
    urgent: bool
    """Raises the ticket's priority to high."""


@dataclass(slots=True)
class Notes:
    """Words the notes of one conversation."""

    conversation_id: str
    caller_phone: str
    nobody_came: str = ""
    """A `DialOutcome` if the caller is back from a transfer that reached nobody; an `Absence` if none was tried."""

    def message(self, message: str) -> TicketNote:
        """The caller left a message."""
        return self._urgent("call_back", f"Please call back{self._at}.{self._why} The caller's message: {message}")

    def promised(self) -> TicketNote:
        """The caller was told that a person will call back."""
        return self._urgent(
            "call_back", f"Please call back{self._at}: the caller was promised it, and left no message.{self._why}"
        )

    def nobody_there(self, queue: str, absence: Absence) -> TicketNote:
        """The caller asked for a person, and was told that none is there."""
        text = f"The caller asked for a person and was not transferred: the queue {queue} {WHO_IS_MISSING[absence]}."
        return self._urgent("nobody_reached", text)

    def nobody_reached(self, dials: Mapping[int, DialOutcome]) -> TicketNote:
        """Every dial to the contact centre failed."""
        how = "; ".join(f"dial {attempt}: {HOW_IT_ENDED[dials[attempt]]}" for attempt in sorted(dials))
        return self._urgent("nobody_reached", f"The caller was to be transferred and reached nobody. {how}.")

    def context_not_delivered(self) -> TicketNote:
        """The contact centre answered and never asked for the record."""
        text = "The caller was connected to the contact centre, which never fetched this call's notes: the agent may "
        return self._note("context_not_delivered", text + "have known nothing of what was said before.", urgent=False)

    def caller_left(self) -> TicketNote:
        """The caller hung up on the way to a person."""
        text = "The caller asked for a person and left before anybody answered: caller left during the transfer."
        return self._note("caller_left", text, urgent=False)

    def handover_lost(self, turns: Iterable[Turn]) -> TicketNote:
        """The line or the process broke on the way to a person, before everything was known to be kept."""
        conversation = Conversation()
        conversation.resume(turns)
        why = "The transfer to a person was interrupted, and the agent may have known nothing of what was said before."
        return self._note("handover_lost", conversation.summary(why), urgent=False)

    @property
    def _why(self) -> str:
        """Why the caller did not get a person, if they needed one."""
        if self.nobody_came in WHO_IS_MISSING:
            return f" They were not transferred: the queue {WHO_IS_MISSING[self.nobody_came]}."
        return f" The transfer had reached nobody: {HOW_IT_ENDED[self.nobody_came]}." if self.nobody_came else ""

    @property
    def _at(self) -> str:
        return f" {self.caller_phone}" if self.caller_phone else " (the caller withheld their number)"

    def _urgent(self, kind: NoteKind, text: str) -> TicketNote:
        return self._note(kind, text, urgent=True)

    def _note(self, kind: NoteKind, text: str, *, urgent: bool) -> TicketNote:
        return TicketNote(self.conversation_id, self.caller_phone, kind, plain_text(text, limits.NOTE_CHARS), urgent)
