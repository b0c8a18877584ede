"""What the CRM must still get about one conversation, because it could not take it when it was due."""

from dataclasses import dataclass
from typing import Final

from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.ticket_note import TicketNote

FOR_A_PERSON: Final = frozenset({"unauthorized", "forbidden", "not_set_up", "daily_limit"})
"""Refusals that have nothing to do with what is delivered, and that only a person, or the next day, can end."""


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One conversation's: first its ticket, then the notes on it."""

    conversation_id: str
    record: HandoverRecord | None = None
    """What the ticket is made from; None when only notes are owed."""
    notes: tuple[TicketNote, ...] = ()
    refusals: int = 0
    """How often the CRM has refused it for what it is, rather than for being in trouble itself."""
    version: int = 0
    """Grows with everything that is added, so that nothing is taken for delivered that came meanwhile."""
    leased_until: int = 0
    """Until then it is worked on by whoever leased it, and by nobody else: seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class NotDue:
    """An entry that nobody may work on for so many seconds: it waits, or somebody else works on it."""

    wait_s: int


@dataclass(frozen=True, slots=True)
class Expired:
    """An entry whose time was over before the CRM took it. Nothing is kept of it any more."""
