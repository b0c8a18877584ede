"""OpenAI Realtime (GA): what we send. What it sends is read by `RealtimeReader` (`wire.openai_events`).

The service refuses a whole `session.update` for one key it does not know, and then goes on with its defaults, which
are 24 kHz PCM: noise on a telephone. So every value is stated here, and nothing is sent that a model may not take.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from voice_openai_connect import limits
from voice_openai_connect.call import commands
from voice_openai_connect.call.commands import ModelCommand
from voice_openai_connect.call.events import Purpose
from voice_openai_connect.call.model_settings import ModelSettings, ToolSpec, TurnDetection
from voice_openai_connect.wire.openai_events import (
    CONFIGURE_EVENT_ID,
    RealtimeReader,
    handshake_refused,
    session_closed,
)
from voice_openai_connect.wire.openai_models import (
    DEAD_MODELS,
    DEAD_VOICES,
    SHUTDOWN_DATES,
    VOICES,
    speaks_reasoning,
)

__all__ = [
    "CONFIGURE_EVENT_ID",
    "DEAD_MODELS",
    "DEAD_VOICES",
    "SHUTDOWN_DATES",
    "VOICES",
    "RealtimeReader",
    "encode",
    "encode_audio",
    "handshake_refused",
    "session_closed",
    "session_update",
    "speaks_reasoning",
]

PCM_RATE: Final = 24_000
"""The only rate the service speaks PCM at."""
KEYWORD_MODELS: Final = frozenset({"gpt-transcribe"})
"""Transcription models that take `languages` and `keywords`; the others take one `language`."""

Json = dict[str, Any]


def session_update(settings: ModelSettings) -> bytes:
    """The whole configuration of a session as UTF-8, every value explicit.

    Its event id is `CONFIGURE_EVENT_ID`, by which the reader knows an error that refuses it.
    """
    session: Json = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": settings.instructions,
        "max_output_tokens": settings.max_output_tokens,
        "audio": {"input": _audio_input(settings), "output": _audio_output(settings)},
        "tools": [_tool(tool) for tool in settings.tools],
        "tool_choice": "auto",
        "truncation": {
            "type": "retention_ratio",
            "retention_ratio": settings.retention_ratio,
            "token_limits": {"post_instructions": settings.post_instruction_tokens},
        },
        "tracing": None,
    }
    if settings.reasoning_effort is not None:
        session["reasoning"] = {"effort": settings.reasoning_effort}
    if speaks_reasoning(settings.model):
        session["parallel_tool_calls"] = False
    return _json({"type": "session.update", "event_id": CONFIGURE_EVENT_ID, "session": session})


def _audio_input(settings: ModelSettings) -> Json:
    return {
        "format": _format(settings.audio_format),
        "noise_reduction": {"type": settings.noise_reduction} if settings.noise_reduction else None,
        "transcription": _transcription(settings),
        "turn_detection": _turn_detection(settings.turn_detection),
    }


def _audio_output(settings: ModelSettings) -> Json:
    return {"format": _format(settings.audio_format), "voice": settings.voice, "speed": settings.speed}


def _format(name: str) -> Json:
    # The rate is required for PCM and refused for G.711.
    return {"type": name, "rate": PCM_RATE} if name == "audio/pcm" else {"type": name}


def _transcription(settings: ModelSettings) -> Json:
    model = settings.transcription_model
    if model in KEYWORD_MODELS:
        keywords = [word for word in settings.keywords if _may_be_keyword(word)]
        return {"model": model, "languages": list(settings.languages), "keywords": keywords}
    if len(settings.languages) == 1:
        return {"model": model, "language": settings.languages[0]}
    # One `language` out of several would turn the others into nonsense; without it the model finds out by itself.
    return {"model": model}


def _may_be_keyword(word: str) -> bool:
    """One line, no angle brackets: the service refuses the whole configuration for one such word."""
    return bool(word.strip()) and not set(word) & set("<>\r\n")


def _turn_detection(turns: TurnDetection) -> Json:
    common: Json = {"create_response": True, "interrupt_response": turns.interrupt_response}
    if turns.kind == "semantic_vad":
        return {"type": "semantic_vad", "eagerness": turns.eagerness, **common}
    return {
        "type": "server_vad",
        "threshold": turns.threshold,
        "prefix_padding_ms": turns.prefix_padding_ms,
        "silence_duration_ms": turns.silence_ms,
        "idle_timeout_ms": turns.idle_timeout_ms,
        **common,
    }


def _tool(tool: ToolSpec) -> Json:
    return {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}


# --- Commands ------------------------------------------------------------------------------------------------


class _Append(msgspec.Struct, tag_field="type", tag="input_audio_buffer.append", gc=False):
    audio: bytes


def encode(command: ModelCommand, *, event_id: str = "") -> bytes:
    """The message that carries out `command`, as UTF-8; an error about it will name `event_id`, if given.

    Caller audio never has an id: there are fifty a second. Raises TypeError for the commands that are not a
    message of their own (connect, configure, disconnect).
    """
    if isinstance(command, commands.SendCallerAudio):
        return encode_audio(command.audio)
    message = _message(command)
    if event_id:
        message["event_id"] = event_id
    return _json(message)


def encode_audio(audio: bytes) -> bytes:
    """The message for one frame of the caller's: the one that goes fifty times a second."""
    return _encoder.encode(_Append(audio))


def _message(command: ModelCommand) -> Json:
    match command:
        case commands.RequestResponse():
            return {"type": "response.create", "response": _response(command.purpose, command.instructions)}
        case commands.RequestSummary():
            return {"type": "response.create", "response": _summary(command.instructions)}
        case commands.CancelResponse():
            return {"type": "response.cancel", "response_id": command.response_id}
        case commands.TruncateItem():
            return {
                "type": "conversation.item.truncate",
                "item_id": command.item_id,
                "content_index": 0,
                "audio_end_ms": command.audio_end_ms,
            }
        case commands.DeleteItem():
            return {"type": "conversation.item.delete", "item_id": command.item_id}
        case commands.AddText():
            role, kind = _TEXT_ROLES[command.who]
            return _item({"type": "message", "role": role, "content": [{"type": kind, "text": command.text}]})
        case commands.AnswerTool():
            return _item({"type": "function_call_output", "call_id": command.call_id, "output": command.output})
        case _:
            raise TypeError(f"{type(command).__name__} is not a message of its own")


_TEXT_ROLES: Final[Mapping[str, tuple[str, str]]] = {
    "caller": ("user", "input_text"),
    "assistant": ("assistant", "output_text"),
    "system": ("system", "input_text"),
}
"""Who said it → role and type of content. The assistant's sound cannot be put back, its words can."""


def _item(item: Json) -> Json:
    return {"type": "conversation.item.create", "item": item}


def _response(purpose: Purpose, instructions: str) -> Json:
    response: Json = {"metadata": {"purpose": purpose}}
    if instructions:
        response |= {"instructions": instructions, "tool_choice": "none"}
    return response


def _summary(instructions: str) -> Json:
    """Beside the conversation: it reads the whole of it, adds nothing to it, and turn detection cannot cancel it."""
    purpose: Purpose = "summary"
    return {
        "conversation": "none",
        "output_modalities": ["text"],
        "metadata": {"purpose": purpose},
        "instructions": instructions,
        "tools": [],
        "tool_choice": "none",
        "max_output_tokens": limits.SUMMARY_TOKENS,
    }


def _plain(value: Any) -> Any:
    """A tool's schema may be any mapping, e.g. a read-only one."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


_encoder: Final = msgspec.json.Encoder(enc_hook=_plain)


def _json(message: Json) -> bytes:
    return _encoder.encode(message)
