"""Something that people must read on a conversation's ticket."""

from dataclasses import dataclass
from typing import Literal

NoteKind = Literal["call_back", "nobody_reached", "context_not_delivered", "caller_left"]


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
