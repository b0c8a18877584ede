"""Everything that can happen to a call. Past tense; each class is one plain fact.

Audio is µ-law at 8 kHz throughout (8 bytes a millisecond). Times, where a field carries one, are milliseconds.
"""

from dataclasses import dataclass
from typing import Literal

Purpose = Literal["reply", "greeting", "transfer", "goodbye", "summary"]
"""What a model response is for. Everything the model starts by itself is a ``reply``."""


@dataclass(slots=True)
class Event:
    """Something that happened to a call."""


# --- The caller's line (Twilio Media Streams) -------------------------------------------------------------


@dataclass(slots=True)
class StreamStarted(Event):
    """The media stream is open, verified, and carries the caller's voice."""

    stream_sid: str


@dataclass(slots=True)
class CallerAudio(Event):
    """One frame of the caller's voice, exactly as Twilio sent it (usually 20 ms, 160 bytes)."""

    audio: bytes


@dataclass(slots=True)
class KeyPressed(Event):
    """The caller pressed one key (0-9, ``*`` or ``#``)."""

    digit: str


@dataclass(slots=True)
class PlaybackReached(Event):
    """A mark came back: all audio sent before it has been played, or has been cleared."""

    name: str


@dataclass(slots=True)
class StreamStopped(Event):
    """Twilio ended the stream: the caller hung up, or the call was moved from outside."""


@dataclass(slots=True)
class StreamLost(Event):
    """The media socket broke, fell silent, or stopped reading; no ``stop`` was received."""

    reason: str


# --- The model ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ModelConnected(Event):
    """The model's socket is open and its session exists, not yet configured."""


@dataclass(slots=True)
class ModelConfigured(Event):
    """The model confirmed its settings. The formats are the ones it will really use, e.g. ``audio/pcmu``."""

    input_format: str
    output_format: str


@dataclass(slots=True)
class ModelLost(Event):
    """The model cannot be reached, refused us, or went away. `permanent` means that trying again is useless."""

    reason: str
    permanent: bool = False


@dataclass(slots=True)
class CallerSpeechStarted(Event):
    """The model's turn detection heard the caller begin to speak."""

    item_id: str


@dataclass(slots=True)
class CallerSpeechStopped(Event):
    """The model's turn detection heard the caller fall silent."""

    item_id: str


@dataclass(slots=True)
class CallerStayedSilent(Event):
    """The idle time-out passed with nobody speaking; the model will say something by itself."""

    item_id: str


@dataclass(slots=True)
class CallerTranscribed(Event):
    """What the caller said in one turn, as text. Arrives whenever it is ready, in any order between turns."""

    item_id: str
    text: str


@dataclass(slots=True)
class CallerTranscriptionFailed(Event):
    """A turn of the caller's could not be written down."""

    item_id: str
    code: str


@dataclass(slots=True)
class ModelResponseStarted(Event):
    """The model began a response. `purpose` is ours if we asked for it, else ``reply``."""

    response_id: str
    purpose: Purpose


@dataclass(slots=True)
class ModelAudio(Event):
    """A piece of the model's voice for one item: µ-law bytes of any length, faster than real time."""

    response_id: str
    item_id: str
    audio: bytes


@dataclass(slots=True)
class ModelAudioFinished(Event):
    """No more audio will come for this item."""

    response_id: str
    item_id: str


@dataclass(slots=True)
class ModelSaid(Event):
    """A piece of the text of an item's speech; with `final`, the whole text instead of a piece."""

    response_id: str
    item_id: str
    text: str
    final: bool = False


@dataclass(slots=True)
class ModelToolCalled(Event):
    """The model finished asking for a tool. `arguments` is JSON text, complete but not yet trusted."""

    response_id: str
    item_id: str
    call_id: str
    name: str
    arguments: str


@dataclass(slots=True)
class ModelResponseFinished(Event):
    """A response ended. `text` is its written output, if it had any (the summary has)."""

    response_id: str
    purpose: Purpose
    status: Literal["completed", "cancelled", "failed", "incomplete"]
    code: str = ""
    """Why it failed, was cut short or was cancelled, as the service named it."""
    retry_after_ms: int | None = None
    text: str = ""
    permanent: bool = False
    """It failed in a way that every other response would, in this session and in any other."""


@dataclass(slots=True)
class ModelErred(Event):
    """The model refused one of our requests; the session goes on. `event_id` names the request when known."""

    code: str
    event_id: str | None = None


# --- Tools, people, the world around -------------------------------------------------------------------------


@dataclass(slots=True)
class ToolFinished(Event):
    """A registered tool returned. `output` is the text the model will read."""

    call_id: str
    output: str


@dataclass(slots=True)
class ToolFailed(Event):
    """A registered tool raised, or took too long."""

    call_id: str
    reason: str


@dataclass(slots=True)
class HandoverOrdered(Event):
    """This call is to go to a person: an operator wants it, or the process is `stopping` and cannot wait any longer."""

    stopping: bool = False


@dataclass(slots=True)
class MoveOrdered(Event):
    """This process is to stop: another instance must go on with the call, at its next turn boundary or `at_once`."""

    at_once: bool = False


@dataclass(slots=True)
class QueuesUnattended(Event):
    """From now on these of the contact centre's queues, by name, have nobody. Every other one is taken to have."""

    closed: frozenset[str] = frozenset()
    unstaffed: frozenset[str] = frozenset()


@dataclass(slots=True)
class ContactFound(Event):
    """The CRM knows the caller, perhaps only since a moment ago."""

    contact_id: str


@dataclass(slots=True)
class ContactNotFound(Event):
    """The CRM could not name the caller: withheld number, CRM off, or CRM in trouble."""

    reason: str


@dataclass(slots=True)
class TicketOpened(Event):
    """The CRM has the ticket. `url` opens it in an agent's browser; empty if not known."""

    ticket_id: str
    url: str = ""


@dataclass(slots=True)
class TicketNotOpened(Event):
    """The CRM did not take the ticket."""

    reason: str


@dataclass(slots=True)
class HandoverSaved(Event):
    """The record is stored and can be found once by this token (10 digits)."""

    token: str


@dataclass(slots=True)
class HandoverNotSaved(Event):
    """The record could not be stored; the caller will be taken to a person without it."""

    reason: str


@dataclass(slots=True)
class TimerFired(Event):
    """A timer that the call had set has come due."""

    name: str
