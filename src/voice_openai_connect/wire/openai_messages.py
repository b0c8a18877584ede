"""OpenAI Realtime (GA): the shapes of the messages it sends, as far as we use them.

Only the fields we need are typed, and those strictly; keys that are added later are passed over. Written from the
types in openai-python 3.54 and OpenAI's reference, both of November 2026.
"""

from typing import Any, Final, Literal, Union

import msgspec

from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.strict_json import decode, decode_known

WHAT: Final = "a message of the model"


class Message(msgspec.Struct, tag_field="type", gc=False):
    """One message; the tag says which."""


# --- Parts of messages ---------------------------------------------------------------------------------------


class Error(msgspec.Struct):
    """What the service says went wrong. `message` may quote the caller: it is read, never passed on."""

    type: str | None = None
    code: str | None = None
    message: str | None = None
    param: str | None = None
    event_id: str | None = None


class Format(msgspec.Struct):
    """An audio format. `rate` belongs to PCM only."""

    type: str = ""
    rate: int | None = None


class OneWay(msgspec.Struct):
    """One direction of a session's audio."""

    format: Format | None = None


class BothWays(msgspec.Struct):
    """A session's audio."""

    input: OneWay | None = None
    output: OneWay | None = None


class Session(msgspec.Struct):
    """A session as the service describes it. `expires_at` is epoch seconds."""

    audio: BothWays | None = None
    expires_at: int | float | None = None


class Content(msgspec.Struct):
    """A part of an item's content."""

    type: str = ""
    text: str | None = None


class Item(msgspec.Struct):
    """An item of the conversation: a message, a tool call."""

    type: str
    id: str | None = None
    status: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    content: list[Content] | None = None


class StartedResponse(msgspec.Struct):
    """A response that has just begun."""

    id: str
    metadata: dict[str, Any] | None = None


class StatusDetails(msgspec.Struct):
    """Why a response ended as it did."""

    reason: str | None = None
    error: Error | None = None


class FinishedResponse(msgspec.Struct):
    """A response that is over."""

    id: str
    status: Literal["completed", "cancelled", "failed", "incomplete"]
    status_details: StatusDetails | None = None
    metadata: dict[str, Any] | None = None
    output: list[Item] | None = None


# --- Messages ------------------------------------------------------------------------------------------------


class SessionCreated(Message, tag="session.created"):
    """The session exists, with the service's own defaults."""

    session: Session


class SessionUpdated(Message, tag="session.updated"):
    """The session has the configuration that is described."""

    session: Session


class Refusal(Message, tag="error"):
    """A request was refused, or the session is in trouble."""

    error: Error


class SpeechStarted(Message, tag="input_audio_buffer.speech_started"):
    """The caller began to speak."""

    item_id: str


class SpeechStopped(Message, tag="input_audio_buffer.speech_stopped"):
    """The caller fell silent."""

    item_id: str


class TimeoutTriggered(Message, tag="input_audio_buffer.timeout_triggered"):
    """Nobody spoke for the idle time-out."""

    item_id: str


class Transcribed(Message, tag="conversation.item.input_audio_transcription.completed"):
    """A turn of the caller's, written down."""

    item_id: str
    transcript: str


class NotTranscribed(Message, tag="conversation.item.input_audio_transcription.failed"):
    """A turn of the caller's that could not be written down."""

    item_id: str
    error: Error


class ResponseCreated(Message, tag="response.created"):
    """A response began."""

    response: StartedResponse


class ResponseDone(Message, tag="response.done"):
    """A response is over."""

    response: FinishedResponse


class RateLimits(Message, tag="rate_limits.updated"):
    """How much of the account's limits is left. Read by `limits_left`."""

    rate_limits: msgspec.Raw = msgspec.Raw(b"[]")


class AudioDelta(Message, tag="response.output_audio.delta"):
    """A piece of the model's voice; msgspec decodes the base64."""

    response_id: str
    item_id: str
    delta: bytes


class AudioDone(Message, tag="response.output_audio.done"):
    """No more audio for this item."""

    response_id: str
    item_id: str


class TranscriptDelta(Message, tag="response.output_audio_transcript.delta"):
    """A piece of what the model says, as text."""

    response_id: str
    item_id: str
    delta: str


class TranscriptDone(Message, tag="response.output_audio_transcript.done"):
    """All of what the model says in this item, as text."""

    response_id: str
    item_id: str
    transcript: str


class ItemDone(Message, tag="response.output_item.done"):
    """An item of a response is complete, or was cut short (its status says which)."""

    response_id: str
    item: Item


Used = (
    AudioDelta
    | TranscriptDelta
    | SpeechStarted
    | SpeechStopped
    | TimeoutTriggered
    | Transcribed
    | NotTranscribed
    | ResponseCreated
    | ResponseDone
    | AudioDone
    | TranscriptDone
    | ItemDone
    | RateLimits
    | SessionCreated
    | SessionUpdated
    | Refusal
)
USED: Final[frozenset[str]] = frozenset(str(shape.__struct_config__.tag) for shape in Used.__args__)

PASSED_OVER: Final = frozenset(
    {
        "conversation.created",
        "conversation.item.added",
        "conversation.item.created",
        "conversation.item.deleted",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.segment",
        "conversation.item.retrieved",
        "conversation.item.truncated",
        "input_audio_buffer.cleared",
        "input_audio_buffer.committed",
        "input_audio_buffer.dtmf_event_received",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "mcp_list_tools.in_progress",
        "output_audio_buffer.cleared",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        # Also sent for a cancelled response, with arguments cut short: only a finished item's are used.
        "response.function_call_arguments.done",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.output_item.added",
        "response.output_text.delta",
        "response.output_text.done",
    }
)
"""Documented types from which nothing follows for a call."""


class _Limit(msgspec.Struct):
    """As OpenAI's reference has it, where each of these may be missing."""

    name: str | None = None
    limit: float | None = None
    remaining: float | None = None


class _Head(msgspec.Struct, rename={"kind": "type"}):
    kind: str


class _PassedOver(Message):
    """A message of one of these types, of which nothing is read."""


# Nearly a third of all messages: as shapes of their own they cost less than half of what two refusals do.
_passed_over: Final = [msgspec.defstruct("_PassedOver", [], bases=(_PassedOver,), tag=kind) for kind in PASSED_OVER]
_documented: Final = msgspec.json.Decoder[Used | _PassedOver](Union[Used, *_passed_over])
_head: Final = msgspec.json.Decoder(_Head)
_limits: Final = msgspec.json.Decoder(list[_Limit])


def decode_message(text: str) -> Used | str:
    """The message, or the name of its type if it is not one that we use. Raises WireError if it cannot be read."""
    message = decode_known(_documented, _head, USED, text, WHAT)
    return str(message.__struct_config__.tag) if isinstance(message, _PassedOver) else message


def limits_left(message: RateLimits) -> dict[str, float]:
    """The share of each limit (`requests`, `tokens`) that is left: 0 to 1. Empty if it cannot be read: good to know is
    all it is, and a session does not end for that."""
    try:
        told = decode(_limits, bytes(message.rate_limits), WHAT)
    except WireError:
        return {}
    return {
        each.name: min(max(each.remaining / each.limit, 0.0), 1.0)
        for each in told
        if each.name and each.limit and each.remaining is not None
    }
