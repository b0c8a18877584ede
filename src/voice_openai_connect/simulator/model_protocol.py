"""What the Realtime service accepts from a client, and how it refuses the rest.

Two layers. The official `openai` types are applied strictly; they know shapes. The rules below know what the types let
through and the service does not: unknown parameters at any depth, dead voices, formats with the wrong `rate`, bounds.
Error codes and messages follow what has been seen from the service; where none has been seen, the code follows the
pattern of its neighbours, so a client should not depend on the exact code of a mistake it can avoid making.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final, cast, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

Json = dict[str, Any]

VOICES: Final = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
REASONING_MODELS: Final = frozenset({"gpt-realtime-2", "gpt-realtime-2.1", "gpt-realtime-2.1-mini"})
MODELS: Final[Mapping[str, str | None]] = {
    "gpt-realtime-2.1": None,
    "gpt-realtime-2.1-mini": None,
    "gpt-realtime-2": None,
    "gpt-realtime-1.5": None,
    "gpt-realtime": "2027-01-20",
    "gpt-realtime-2025-08-28": "2027-01-20",
    "gpt-realtime-mini": "2027-01-20",
    "gpt-realtime-mini-2025-12-15": "2027-01-20",
}
"""Models that answer, with the day on which they will not (None: not announced)."""
KEYWORD_TRANSCRIBERS: Final = frozenset({"gpt-transcribe", "gpt-live-transcribe"})
TRANSCRIBERS: Final[Mapping[str, str | None]] = {
    "gpt-transcribe": None,
    "gpt-live-transcribe": None,
    "gpt-realtime-whisper": None,
    "whisper-1": "2027-02-26",
    "gpt-4o-transcribe": "2027-02-26",
    "gpt-4o-mini-transcribe": "2027-02-26",
    "gpt-4o-mini-transcribe-2025-12-15": "2027-02-26",
    "gpt-4o-transcribe-diarize": "2027-02-26",
}
_LANGUAGE_CODES: Final = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha he hi hr ht hu hy id is it "
    "ja jv ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl "
    "sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh"
)
LANGUAGES: Final = frozenset(_LANGUAGE_CODES.split())
APPEND_BYTES: Final = 15 * 1_048_576
EVENT_ID_CHARS: Final = 512
ITEM_ID_CHARS: Final = 32
COMMIT_MS: Final = 100

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "max_output_tokens": (1, 4_096),
    "audio.output.speed": (0.25, 1.5),
    "audio.input.turn_detection.threshold": (0, 1),
    "audio.input.turn_detection.prefix_padding_ms": (0, 10_000),
    "audio.input.turn_detection.silence_duration_ms": (0, 10_000),
    "audio.input.turn_detection.idle_timeout_ms": (5_000, 30_000),
    "truncation.retention_ratio": (0, 1),
}


@dataclass
class RefusedError(Exception):
    """A client event the service does not carry out. The session goes on."""

    message: str
    code: str | None = None
    param: str | None = None

    def __str__(self) -> str:
        return self.message


def dig(data: Any, path: str) -> Any:
    """The value at a dotted path, or None where the path ends early."""
    for key in path.split("."):
        if not isinstance(data, Mapping):
            return None
        data = cast("Mapping[str, Any]", data).get(key)
    return data


# --- Shapes ---------------------------------------------------------------------------------------------------


@cache
def _shapes() -> dict[str, TypeAdapter[BaseModel]]:
    """The official type of each client event, by its `type`."""
    try:
        realtime = import_module("openai.types.realtime")
    except ImportError as error:
        raise RuntimeError("the simulated model needs the extra `demo`: run `make demo`") from error
    union = get_args(realtime.RealtimeClientEvent)[0]
    return {get_args(model.model_fields["type"].annotation)[0]: TypeAdapter(model) for model in get_args(union)}


def load() -> None:
    """Read the official types now (some 3 s) and not when the first event comes. Blocks."""
    _shapes()


def read_event(message: str | bytes) -> Json:
    """One client event, of a known shape and with no unknown parameter. Raises `RefusedError`."""
    event = _parse(message)
    kind = event.get("type")
    if kind is None:
        raise RefusedError("Missing required parameter: 'type'.", "missing_required_parameter", "type")
    if not isinstance(kind, str) or kind not in _shapes():
        supported = ", ".join(f"'{name}'" for name in sorted(_shapes()))
        raise RefusedError(f"Invalid value: '{kind}'. Supported values are: {supported}.", "invalid_value", "type")
    _check_session_type(event)
    _check_shape(kind, event)
    if len(event.get("event_id") or "") > EVENT_ID_CHARS:
        raise RefusedError("Invalid 'event_id': string too long.", "string_above_max_length", "event_id")
    return event


def _parse(message: str | bytes) -> Json:
    if isinstance(message, bytes):
        raise RefusedError("Expected a text message, but got a binary one.", "invalid_event")
    try:
        event: Any = json.loads(message)
    except ValueError as error:
        raise RefusedError(f"Could not parse the message as JSON: {error}", "invalid_json") from error
    if not isinstance(event, dict):
        raise RefusedError("Expected a JSON object.", "invalid_event")
    return cast("Json", event)


def _check_session_type(event: Json) -> None:
    if event["type"] != "session.update" or not isinstance(event.get("session"), dict):
        return
    kind = event["session"].get("type")
    if kind is None:
        raise RefusedError("Missing required parameter: 'session.type'.", "missing_required_parameter", "session.type")
    if kind != "realtime":
        raise RefusedError(
            f"Invalid value: '{kind}'. This session is of type 'realtime'.", "invalid_value", "session.type"
        )


def _check_shape(kind: str, event: Json) -> None:
    try:
        shaped = _shapes()[kind].validate_python(_without_references(event), strict=True)
    except ValidationError as error:
        raise _refusal(error) from error
    for param in _unknown_parameters(shaped):
        raise RefusedError(f"Unknown parameter: '{param}'.", "unknown_parameter", param)


def _without_references(event: Json) -> Json:
    """The event without `item_reference` inputs, which the official type of a response lacks."""
    inputs = dig(event, "response.input")
    if not isinstance(inputs, list):
        return event
    kept = [item for item in cast("list[Any]", inputs) if dig(item, "type") != "item_reference"]
    return {**event, "response": {**event["response"], "input": kept}}


def _unknown_parameters(value: Any, path: str = "") -> Iterator[str]:
    """Every key that the official types did not expect."""
    if isinstance(value, BaseModel):
        yield from (f"{path}{key}" for key in value.model_extra or ())
        for name in type(value).model_fields:
            yield from _unknown_parameters(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, list):
        for i, part in enumerate(cast("list[Any]", value)):
            yield from _unknown_parameters(part, f"{path.removesuffix('.')}[{i}].")


_UNION_BRANCH: Final = re.compile(r"[A-Z]|.*\W|(str|int|float|bool)$")


def _refusal(error: ValidationError) -> RefusedError:
    """The mistake of the union branch that fits best, in the service's words."""
    branches: dict[tuple[Any, ...], list[Any]] = {}
    for mistake in error.errors(include_url=False, include_context=False):
        branch = tuple(part for part in mistake["loc"] if isinstance(part, str) and _UNION_BRANCH.match(part))
        branches.setdefault(branch, []).append(mistake)
    mistake = min(branches.values(), key=len)[0]
    names = [part for part in mistake["loc"] if not (isinstance(part, str) and _UNION_BRANCH.match(part))]
    param = ".".join(map(str, names))
    if mistake["type"] == "missing":
        return RefusedError(f"Missing required parameter: '{param}'.", "missing_required_parameter", param)
    if mistake["type"] == "literal_error":
        return RefusedError(f"Invalid value for '{param}': {mistake['msg']}.", "invalid_value", param)
    return RefusedError(f"Invalid type for '{param}': {mistake['msg']}.", "invalid_type", param)


# --- Rules ----------------------------------------------------------------------------------------------------


def check_session(session: Json, *, model: str, tools: Sequence[Json], current_voice: Any, has_spoken: bool) -> None:
    """Refuse a `session.update` that the service would refuse.

    `tools` and `current_voice` are what the session has; `has_spoken`: the voice has been heard already.
    """
    _check_common(session, "session", model, tools)
    for path in BOUNDS:
        _check_bounds(session, path)
    _check_format(dig(session, "audio.input.format"), "session.audio.input.format")
    _check_transcription(session)
    voice = dig(session, "audio.output.voice")
    if has_spoken and voice is not None and voice != current_voice:
        raise RefusedError(
            "Cannot update a conversation's voice if assistant audio is present.",
            "cannot_update_voice",
            "session.voice",
        )
    if session.get("model", model) != model:
        raise RefusedError("Cannot change the model of a running session.", "invalid_value", "session.model")
    turns = dig(session, "audio.input.turn_detection")
    if turns is not None and dig(session, "audio.input.transcription.model") == "gpt-live-transcribe":
        raise RefusedError(
            "Turn detection is not supported for this transcription model.",
            "invalid_value",
            "session.audio.input.turn_detection",
        )


def check_response(response: Json, *, model: str, tools: Sequence[Json]) -> None:
    """Refuse a `response.create` that the service would refuse. `tools`: those of the session."""
    _check_common(response, "response", model, tools)
    _check_bounds(response, "max_output_tokens", "response")
    if response.get("conversation", "auto") not in {"auto", "none"}:
        raise RefusedError(
            f"Invalid value: '{response['conversation']}'. Supported values are: 'auto' and 'none'.",
            "invalid_value",
            "response.conversation",
        )
    _check_metadata(response.get("metadata") or {})


def check_new_item(item: Json) -> None:
    """Refuse an item a client may not write: assistant audio, content of another role, an id that is too long."""
    if len(item.get("id") or "") > ITEM_ID_CHARS:
        raise RefusedError(
            f"Invalid 'item.id': string too long. Expected a string with maximum length {ITEM_ID_CHARS}.",
            "string_above_max_length",
            "item.id",
        )
    if item["type"] not in {"message", "function_call", "function_call_output"}:
        raise RefusedError(f"Invalid value: '{item['type']}'.", "invalid_value", "item.type")
    allowed = {"user": {"input_text", "input_audio", "input_image"}, "system": {"input_text"}}.get(
        item.get("role", ""), {"output_text"}
    )
    for i, part in enumerate(item.get("content") or ()):
        if part.get("type") not in allowed:
            names = ", ".join(f"'{name}'" for name in sorted(allowed))
            raise RefusedError(
                f"Invalid value: '{part.get('type')}'. Supported values are: {names}.",
                "invalid_value",
                f"item.content[{i}].type",
            )


def decode_audio(text: str, param: str = "audio") -> bytes:
    """Base64 audio as bytes. Raises `RefusedError` for anything else, and for more than 15 MiB."""
    if len(text) > APPEND_BYTES * 4 // 3:
        raise RefusedError("The audio is too large: at most 15 MiB.", "string_above_max_length", param)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise RefusedError(
            f"Invalid '{param}'. Expected base64-encoded audio bytes: {error}.", "invalid_value", param
        ) from error


def _check_common(settings: Json, name: str, model: str, tools: Sequence[Json] = ()) -> None:
    """What holds for a session and for a single response."""
    if len(settings.get("output_modalities") or ("one",)) != 1:
        raise RefusedError(
            "Invalid value: choose either ['audio'] or ['text'].", "invalid_value", f"{name}.output_modalities"
        )
    _check_format(dig(settings, "audio.output.format"), f"{name}.audio.output.format")
    _check_voice(dig(settings, "audio.output.voice"), f"{name}.audio.output.voice")
    _check_tools(settings, name, settings.get("tools") or tools)
    for key in ("reasoning", "parallel_tool_calls"):
        if settings.get(key) is not None and model not in REASONING_MODELS:
            raise RefusedError(
                f"Unsupported parameter: '{name}.{key}' is not supported with {model}.",
                "unsupported_parameter",
                f"{name}.{key}",
            )


def _check_format(audio_format: Json | None, param: str) -> None:
    """PCM needs its rate; G.711 must not have one (that is an unknown parameter, which the types find)."""
    if audio_format is None:
        return
    if audio_format.get("type") is None:
        raise RefusedError(
            f"Missing required parameter: '{param}.type'.", "missing_required_parameter", f"{param}.type"
        )
    if audio_format["type"] == "audio/pcm" and audio_format.get("rate") is None:
        raise RefusedError(
            f"Missing required parameter: '{param}.rate'.", "missing_required_parameter", f"{param}.rate"
        )
    if audio_format["type"] == "audio/pcma":
        raise RefusedError(
            "This simulated model does not speak A-law: use audio/pcmu.", "invalid_value", f"{param}.type"
        )


def _check_voice(voice: Any, param: str) -> None:
    if isinstance(voice, str) and voice not in VOICES:
        supported = ", ".join(f"'{name}'" for name in VOICES)
        raise RefusedError(f"Invalid value: '{voice}'. Supported values are: {supported}.", "invalid_value", param)


def _check_tools(settings: Json, name: str, tools: Sequence[Json]) -> None:
    for i, tool in enumerate(settings.get("tools") or ()):
        for key in ("type", "name"):
            if tool.get("type") != "mcp" and not tool.get(key):
                param = f"{name}.tools[{i}].{key}"
                raise RefusedError(f"Missing required parameter: '{param}'.", "missing_required_parameter", param)
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool.get("name", "mcp")):
            param = f"{name}.tools[{i}].name"
            raise RefusedError(f"Invalid '{param}': string does not match the pattern.", "invalid_value", param)
    choice = settings.get("tool_choice")
    if dig(choice, "type") == "function" and dig(choice, "name") not in {tool.get("name") for tool in tools}:
        raise RefusedError(
            f"Tool choice '{dig(choice, 'name')}' not found in 'tools'.", "invalid_value", f"{name}.tool_choice"
        )


def _check_bounds(settings: Json, path: str, name: str = "session") -> None:
    value = dig(settings, path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = BOUNDS[path]
    kind = "integer" if isinstance(value, int) else "decimal"
    if value < low:
        raise RefusedError(
            f"Invalid '{name}.{path}': {kind} below minimum value. Expected a value >= {low}, but got {value}.",
            f"{kind}_below_min_value",
            f"{name}.{path}",
        )
    if value > high:
        raise RefusedError(
            f"Invalid '{name}.{path}': {kind} above maximum value. Expected a value <= {high}, but got {value}.",
            f"{kind}_above_max_value",
            f"{name}.{path}",
        )


def _check_transcription(session: Json) -> None:
    param = "session.audio.input.transcription"
    wanted: Json = dig(session, "audio.input.transcription") or {}
    model = wanted.get("model")
    if model is not None and model not in TRANSCRIBERS:
        raise RefusedError(f"Invalid value: '{model}'.", "invalid_value", f"{param}.model")
    for key in _unsupported_by(model).intersection(key for key, value in wanted.items() if value is not None):
        raise RefusedError(
            f"Unsupported parameter: '{param}.{key}' is not supported with {model}.",
            "unsupported_parameter",
            f"{param}.{key}",
        )
    for i, keyword in enumerate(wanted.get("keywords") or ()):
        if not keyword.strip() or re.search(r"[<>\r\n]", keyword):
            raise RefusedError(
                "Keywords must be one line each, without angle brackets.", "invalid_value", f"{param}.keywords[{i}]"
            )
    spoken = [*(wanted.get("languages") or ()), *([wanted["language"]] if wanted.get("language") else ())]
    for language in spoken:
        if language not in LANGUAGES:
            raise RefusedError(f"Invalid language '{language}'.", "invalid_value", f"{param}.languages")


def _unsupported_by(model: str | None) -> set[str]:
    """What a transcription model does not take. Only two know keywords, only one knows delay."""
    if model in KEYWORD_TRANSCRIBERS:
        return {"language", "delay"}
    return (
        {"keywords", "languages", "prompt"} if model == "gpt-realtime-whisper" else {"keywords", "languages", "delay"}
    )


def _check_metadata(metadata: Mapping[str, str]) -> None:
    """16 pairs, keys of 64 characters, values of 512."""
    if len(metadata) > 16:
        raise RefusedError(
            "Invalid 'response.metadata': too many properties. Expected at most 16.",
            "object_above_max_properties",
            "response.metadata",
        )
    for key, value in metadata.items():
        if len(key) > 64 or len(value) > 512:
            raise RefusedError(
                f"Invalid 'response.metadata.{key[:64]}': string too long.",
                "string_above_max_length",
                "response.metadata",
            )
