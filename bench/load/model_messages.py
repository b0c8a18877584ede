"""What the load generator's model accepts: the few client events that the gateway has a reason to send, and no other.

Shapes are exact (GA names, November 2026); a key too many is as wrong as one too few. The strict simulator in
`voice_openai_connect.simulator.model_protocol` knows the whole protocol; this knows our part of it and costs little.
"""

from typing import Any, Final, Literal

import msgspec

VOICES: Final = frozenset({"alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"})
PCMU: Final = {"type": "audio/pcmu"}
_SESSION_KEYS: Final = frozenset(
    {"type", "output_modalities", "instructions", "max_output_tokens", "audio", "tools", "tool_choice", "truncation"}
    | {"tracing", "reasoning", "parallel_tool_calls"}
)


class Event(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """One client event."""

    event_id: str | None = None


class Append(Event, tag="input_audio_buffer.append", kw_only=True):
    """The caller's audio; msgspec decodes the base64."""

    audio: bytes


class Update(Event, tag="session.update", kw_only=True):
    """The session's settings."""

    session: dict[str, Any]


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """The response that is asked for."""

    metadata: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    instructions: str = ""
    conversation: Literal["auto", "none"] = "auto"
    output_modalities: list[Literal["audio", "text"]] = msgspec.field(default_factory=lambda: ["audio"])
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none"] = "auto"
    max_output_tokens: int | None = None


class Create(Event, tag="response.create", kw_only=True):
    """Ask for a response."""

    response: Wanted


class Cancel(Event, tag="response.cancel", kw_only=True):
    """Stop a response."""

    response_id: str


class Truncate(Event, tag="conversation.item.truncate", kw_only=True):
    """Only so much was heard."""

    item_id: str
    content_index: Literal[0]
    audio_end_ms: int


class Delete(Event, tag="conversation.item.delete", kw_only=True):
    """Nothing of it was heard."""

    item_id: str


class Content(msgspec.Struct, forbid_unknown_fields=True):
    """Text in an item."""

    type: Literal["input_text", "output_text"]
    text: str


class Message(msgspec.Struct, tag_field="type", tag="message", forbid_unknown_fields=True):
    """A turn, given to a session as text."""

    role: Literal["user", "assistant", "system"]
    content: list[Content]


class CallOutput(msgspec.Struct, tag_field="type", tag="function_call_output", forbid_unknown_fields=True):
    """What a tool returned."""

    call_id: str
    output: str


class NewItem(Event, tag="conversation.item.create", kw_only=True):
    """Add an item to the conversation."""

    item: Message | CallOutput


ClientEvent = Append | Update | Create | Cancel | Truncate | Delete | NewItem
_decoder: Final = msgspec.json.Decoder(ClientEvent)


def read(text: bytes) -> ClientEvent:
    """One client event. Raises `ValueError`, which says what is wrong with it."""
    event = _decoder.decode(text)
    if isinstance(event, Update):
        check_session(event.session)
    if isinstance(event, NewItem) and isinstance(event.item, Message):
        _check_message(event.item)
    return event


def check_session(session: dict[str, Any]) -> None:
    """Raises `ValueError` unless these are the whole settings of a telephone session."""
    if unknown := session.keys() - _SESSION_KEYS:
        raise ValueError(f"session.update with the unknown {sorted(unknown)}")
    audio: dict[str, Any] = session.get("audio", {})
    incoming: dict[str, Any] = audio.get("input", {})
    outgoing: dict[str, Any] = audio.get("output", {})
    turns: dict[str, Any] = incoming.get("turn_detection") or {}
    expected: tuple[tuple[str, object, object], ...] = (
        ("type", session.get("type"), "realtime"),
        ("output_modalities", session.get("output_modalities"), ["audio"]),
        ("audio.input.format", incoming.get("format"), PCMU),
        ("audio.output.format", outgoing.get("format"), PCMU),
        ("turn_detection.create_response", turns.get("create_response"), True),
        ("a voice that exists", outgoing.get("voice") in VOICES, True),
    )
    for name, given, wanted in expected:
        if given != wanted:
            raise ValueError(f"session.update: {name} is {given!r}, not {wanted!r}")


def _check_message(message: Message) -> None:
    """The assistant's words go back as output, everybody else's as input."""
    wanted = "output_text" if message.role == "assistant" else "input_text"
    if [part.type for part in message.content] != [wanted]:
        raise ValueError(f"an item of the role {message.role} has one part of {wanted}")
