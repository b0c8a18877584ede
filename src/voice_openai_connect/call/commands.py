"""Everything a call can ask for. Imperative; carried out in the order given.

`ANSWERS` pairs each command that has an answer with the events that may answer it: one success, one failure.
"""

from dataclasses import dataclass
from typing import Final, Literal

from voice_openai_connect.call import events
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.events import Purpose
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.next_step import NextStep
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.call.ticket_note import TicketNote


@dataclass(slots=True)
class Command:
    """Something a call asks for."""


# --- The caller's line ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class PlayAudio(Command):
    """Play µ-law bytes to the caller, after everything sent before. Always whole 160-byte frames."""

    audio: bytes


@dataclass(slots=True)
class MarkPlayback(Command):
    """Ask to be told when everything sent so far has been played. Names are never used twice in a call."""

    name: str


@dataclass(slots=True)
class ClearPlayback(Command):
    """Drop at once whatever the caller has not heard yet."""


@dataclass(slots=True)
class CloseStream(Command):
    """Close the media socket on purpose; Twilio then asks what is next, and `next_step` is the answer."""

    next_step: NextStep


# --- The model -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ModelCommand(Command):
    """A command for the model's side of the call."""


@dataclass(slots=True)
class ConnectModel(ModelCommand):
    """Open the model's socket."""


@dataclass(slots=True)
class ConfigureModel(ModelCommand):
    """Send the whole session configuration, nothing left to the service's defaults."""


@dataclass(slots=True)
class SendCallerAudio(ModelCommand):
    """Pass one frame of the caller's voice on, unchanged."""

    audio: bytes


@dataclass(slots=True)
class RequestResponse(ModelCommand):
    """Ask the model to speak. With `instructions`, it follows them for this response and calls no tool."""

    purpose: Purpose
    instructions: str = ""


@dataclass(slots=True)
class RequestSummary(ModelCommand):
    """Ask for a written summary beside the conversation: not spoken, not remembered."""

    instructions: str


@dataclass(slots=True)
class CancelResponse(ModelCommand):
    """Stop a response that is still being made."""

    response_id: str


@dataclass(slots=True)
class TruncateItem(ModelCommand):
    """Tell the model that only the first `audio_end_ms` of this item were heard. Always more than 0."""

    item_id: str
    audio_end_ms: int


@dataclass(slots=True)
class DeleteItem(ModelCommand):
    """Take an item that nobody heard out of the model's memory."""

    item_id: str


@dataclass(slots=True)
class AddText(ModelCommand):
    """Add a turn to the model's memory as text: what the caller keyed, what was said before the model was lost."""

    who: Literal["caller", "assistant", "system"]
    text: str


@dataclass(slots=True)
class AnswerTool(ModelCommand):
    """Give the model the result of a tool it called. Does not by itself make the model speak."""

    call_id: str
    output: str


@dataclass(slots=True)
class DisconnectModel(ModelCommand):
    """Close the model's socket; nothing more will be asked of it."""


# --- Tools, CRM, records -------------------------------------------------------------------------------------


@dataclass(slots=True)
class RunTool(Command):
    """Run a registered tool, or `take_message`, beside the conversation. `arguments` is JSON, an object, checked."""

    call_id: str
    name: str
    arguments: str


@dataclass(slots=True)
class KeepNote(Command):
    """Keep something that people must read on the ticket. Has no answer."""

    note: TicketNote


@dataclass(slots=True)
class FindContact(Command):
    """Find the caller in the CRM, or make a contact for the number."""

    caller_phone: str


@dataclass(slots=True)
class OpenTicket(Command):
    """Open the ticket of this conversation, or find it if it is already there."""

    record: HandoverRecord


@dataclass(slots=True)
class DeliverTicketLater(Command):
    """The CRM did not take the ticket in time: keep what it is made from until it does. Has no answer."""

    record: HandoverRecord


@dataclass(slots=True)
class SaveHandover(Command):
    """Store the record under a new single-use token."""

    record: HandoverRecord


@dataclass(slots=True)
class AttachTicket(Command):
    """Add a ticket that came late to a stored record, if nobody has read it yet. Has no answer."""

    token: str
    contact_id: str
    ticket_id: str
    ticket_url: str = ""


@dataclass(slots=True)
class RevokeToken(Command):
    """Make a stored record unreadable: its caller has left. Has no answer."""

    token: str


# --- Going on elsewhere


@dataclass(slots=True)
class SaveCheckpoint(Command):
    """Keep this for whichever instance goes on if the stream breaks. The latest counts. Has no answer."""

    checkpoint: Checkpoint


@dataclass(slots=True)
class NoteOutcome(Command):
    """The call is over, and so it ended: no word of it is to be kept any longer. Has no answer."""

    outcome: Outcome


@dataclass(slots=True)
class MoveStream(Command):
    """Keep this, then close the stream; Twilio asks what is next, and another instance goes on from here."""

    checkpoint: Checkpoint


# --- Time and facts ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SetTimer(Command):
    """Fire `TimerFired(name)` at `at` (ms on the call's clock). A second timer of the same name replaces it."""

    name: str
    at: int


@dataclass(slots=True)
class CancelTimer(Command):
    """Forget a timer; forgetting one that is not set is fine."""

    name: str


@dataclass(slots=True)
class Tell(Command):
    """State a fact for the log and the metrics. Never carries words, digits or audio of the conversation."""

    fact: Fact
    label: str = ""
    """From a small fixed set (a reason, a status): it becomes a metric label."""
    value_ms: int | None = None


ANSWERS: Final[dict[type[Command], tuple[type[events.Event], type[events.Event]]]] = {
    ConnectModel: (events.ModelConnected, events.ModelLost),
    ConfigureModel: (events.ModelConfigured, events.ModelLost),
    RunTool: (events.ToolFinished, events.ToolFailed),
    FindContact: (events.ContactFound, events.ContactNotFound),
    OpenTicket: (events.TicketOpened, events.TicketNotOpened),
    SaveHandover: (events.HandoverSaved, events.HandoverNotSaved),
}
"""Command → (success, failure). Whoever carries out the command posts exactly one of the two."""
