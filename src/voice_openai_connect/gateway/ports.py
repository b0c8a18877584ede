"""What the gateway needs from the outside world. Integrations fit these shapes without importing them."""

from asyncio import Future
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import TracebackType
from typing import Any, Protocol

from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.commands import ModelCommand, Tell
from voice_openai_connect.call.events import Event
from voice_openai_connect.call.handover import HandoverRecord, Redemption
from voice_openai_connect.call.next_step import NextStep
from voice_openai_connect.call.outbox_entry import Expired, NotDue, OutboxEntry
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.wire.opening_hours import OpeningHours

Post = Callable[[Event], None]
"""Hands an event to the call. Never blocks, never raises."""


class ModelLeg(Protocol):
    """The model's side of one call. Another kind of model is another class of this shape."""

    async def run(self, post: Post) -> None:
        """Connect, then post events until the session is over. Posts `ModelConnected` or `ModelLost` first, and
        `ModelLost` exactly once if the session ends in any way other than `close`. Raises nothing but cancellation."""
        ...

    def send(self, command: ModelCommand) -> None:
        """Carry out a command. Never blocks; before the socket is open and after it is closed it does nothing."""
        ...

    def send_audio(self, audio: bytes) -> None:
        """Carry out `SendCallerAudio(audio)`, which comes fifty times a second and needs no command for it."""
        ...

    async def close(self) -> None:
        """Close the socket and end `run`. May be called twice."""
        ...


class HandoverStore(Protocol):
    """Where records lie until the contact centre takes them, and what any instance must know about a call."""

    async def save(self, record: HandoverRecord) -> str:
        """Store the record under a fresh token and return the token (10 digits). Saving the same `handover_id`
        again after a lost answer returns normally. Raises `Exception` of its own kind when it cannot."""
        ...

    async def attach_ticket(self, token: str, contact_id: str, ticket_id: str, ticket_url: str) -> bool:
        """Add a late ticket to an unread record. False if it has been read or is gone."""
        ...

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        """Keep what Twilio is to be told next about this call, so that any instance can answer. Keeps all the rest."""
        ...

    def save_checkpoint(self, call_sid: str, checkpoint: Checkpoint, *, at_once: bool = False) -> Future[None]:
        """Keep where the conversation is, for some minutes. Keeps all the rest. It is done when that is kept; whoever
        cancels it takes back what has not been sent.

        Unless it is wanted `at_once`, it may wait up to `CHECKPOINTS_GATHERED_MS` for other calls' to be written with.
        It waits from now on, not from when it is awaited: a `hasten` right after this means it too."""
        ...

    async def bring_back(self, call_sid: str, checkpoint: Checkpoint) -> None:
        """Keep, at once, that the caller goes back to the conversation as it is here: no earlier step counts."""
        ...

    def hasten(self) -> None:
        """What waits to be written with others is written now. Returns before it is."""
        ...

    async def recall_call(self, call_sid: str) -> CallItem:
        """Everything that is kept about a call; an empty item if it is unknown or its time is over."""
        ...

    async def take_over(self, call_sid: str) -> CallItem:
        """As `recall_call`, for a stream that goes on with the call: no step that was kept before counts any more. An
        instance may still hold an earlier stream half open: its steps are quietly dropped from now on, and its
        checkpoints do not count once the new stream has kept one."""
        ...

    async def note_asked(self, call_sid: str) -> None:
        """Keep that Twilio asked just now what is next for this call. Keeps all the rest."""
        ...

    async def note_stopped(self, call_sid: str, stream_sid: str) -> None:
        """Keep that this stream has ended in good order, as Twilio says. Keeps all the rest."""
        ...

    async def note_dial(self, call_sid: str, attempt: int, outcome: DialOutcome) -> bool:
        """Keep how a dial ended. True only the first time for this attempt, on whichever instance."""
        ...

    async def close_call(self, call_sid: str, outcome: Outcome, *, words_kept: bool = True) -> None:
        """The call is over: keep how, and no word of the conversation. The step, the dials and `asked_at` stay.

        The latest outcome counts, and whatever is kept afterwards does not shorten the time that it is kept for.
        Without `words_kept` no checkpoint of this call has ever been kept. Removing them may wait up to
        `CHECKPOINTS_GATHERED_MS` for others to be written with.
        """
        ...

    async def redemption(self, token: str) -> Redemption | None:
        """What became of a stored record; None when it is gone."""
        ...

    async def revoke(self, token: str) -> bool:
        """Make a token worthless. False if it has been redeemed already or is gone."""
        ...


class CallObserver(Protocol):
    """Where the facts of one call go: the log and the metrics."""

    def tell(self, fact: Tell) -> None:
        """A fact the call states about itself."""
        ...

    def stream_started(self, stream_sid: str) -> None:
        """From now on this stream is the one being talked about."""
        ...

    def cleared(self, took_ms: float) -> None:
        """From the arrival of the caller's first sound to the `clear` on its way, ms."""
        ...

    def frames(self, *, received: int, lost: int) -> None:
        """At the end of a stream: the caller's frames that arrived, and those that Twilio dropped on the way."""
        ...

    def failed(self, what: str, error: BaseException) -> None:
        """Something broke that should not: an error of ours, or of a service that could not be understood."""
        ...


class Crm(Protocol):
    """The customer records. Every method may be repeated: a repeat finds what the first one made."""

    async def find_contact(self, caller_phone: str) -> str:
        """The contact's id; made if the number is new. Raises when the CRM cannot say."""
        ...

    async def open_ticket(self, record: HandoverRecord) -> tuple[str, str]:
        """`(ticket_id, ticket_url)` of this conversation's ticket; made if there is none. Raises when it cannot."""
        ...

    async def note(self, note: TicketNote) -> None:
        """Add the text to the conversation's ticket, once; a small ticket is made if there is none.

        An urgent note raises the ticket's priority to high. Raises when it cannot.
        """
        ...


class Outbox(Protocol):
    """What the CRM must get, however long it is out of reach: kept durably, delivered soon or later, exactly once."""

    async def keep_ticket(self, record: HandoverRecord) -> None:
        """This conversation is to have a ticket. Raises when it could not be kept."""
        ...

    async def keep_note(self, note: TicketNote) -> None:
        """This note is to be on the conversation's ticket. Raises when it could not be kept."""
        ...


class OutboxShelf(Protocol):
    """Where the outbox keeps what is owed to the CRM, so that every instance finds it. Every method may raise."""

    async def keep(self, entry: OutboxEntry, *, wait_s: int) -> None:
        """Add to what is kept of this conversation; nobody is to work on it for so many seconds."""
        ...

    async def pending(self) -> frozenset[str]:
        """The conversations that something is kept of, by whichever instance."""
        ...

    async def lease(self, conversation_id: str) -> OutboxEntry | NotDue | Expired:
        """Take an entry to work on it; of several who ask, one gets it, for longer than a delivery may take."""
        ...

    async def delivered(self, entry: OutboxEntry) -> None:
        """Remove a leased entry. If something was added to it meanwhile it stays, and is due."""
        ...

    async def put_off(self, entry: OutboxEntry, *, wait_s: int) -> None:
        """Give a leased entry back for later, with its `refusals`. If something was added meanwhile it is due."""
        ...


class ContactCenter(Protocol):
    """Whether the contact centre can take callers. Asked within `async with`; every method may raise."""

    async def __aenter__(self) -> object:
        """Open the way there."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> object:
        """Close it."""
        ...

    async def find_queues(self, names: frozenset[str]) -> Mapping[str, str]:
        """The ids of these queues, by name; a name that is not known there is left out."""
        ...

    async def opening_hours(self, queue_id: str, first: date, last: date) -> OpeningHours | None:
        """When a queue is open on these days, both included; None if that is not known."""
        ...

    async def staffed(self, queue_ids: Sequence[str]) -> Mapping[str, int]:
        """How many people are at work for each queue; one of which that is not known is left out."""
        ...


Tool = Callable[[Mapping[str, Any], "ToolContext"], Awaitable[str]]
"""A user's tool: the model's arguments in, text for the model out."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a user's tool may know about the call it runs in."""

    call_sid: str
    conversation_id: str
    caller_phone: str
