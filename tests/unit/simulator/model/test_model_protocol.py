import base64
import json
from typing import Any

import pytest

from voice_openai_connect.simulator.model_protocol import (
    RefusedError,
    check_new_item,
    check_response,
    check_session,
    decode_audio,
    dig,
    read_event,
)

MODEL = "gpt-realtime-2.1"
BOT: dict[str, Any] = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "Be kind.",
    "max_output_tokens": 1024,
    "reasoning": {"effort": "low"},
    "parallel_tool_calls": False,
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "noise_reduction": {"type": "near_field"},
            "transcription": {"model": "gpt-transcribe", "languages": ["en"], "keywords": ["human", "agent"]},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 500,
                "create_response": True,
                "interrupt_response": True,
                "idle_timeout_ms": 10_000,
            },
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0},
    },
    "tools": [{"type": "function", "name": "end_call", "description": "…", "parameters": {"type": "object"}}],
    "tool_choice": "auto",
    "truncation": {"type": "retention_ratio", "retention_ratio": 0.8, "token_limits": {"post_instructions": 8000}},
    "tracing": None,
}


def bot_with(path: str, value: Any) -> dict[str, Any]:
    """The session above with one thing changed."""
    session = json.loads(json.dumps(BOT))
    *way, last = path.split(".")
    inner = session
    for key in way:
        inner = inner[key]
    inner[last] = value
    return session


def submit(session: dict[str, Any], *, model: str = MODEL, has_spoken: bool = False) -> None:
    read_event(json.dumps({"type": "session.update", "session": session}))
    check_session(session, model=model, tools=(), current_voice="marin", has_spoken=has_spoken)


def refusal_of(session: dict[str, Any], *, model: str = MODEL, has_spoken: bool = False) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        submit(session, model=model, has_spoken=has_spoken)
    return refused.value


def test_a_session_for_a_telephone_bot_is_accepted() -> None:
    read_event(json.dumps({"type": "session.update", "event_id": "cfg_1", "session": BOT}))
    submit(BOT)


@pytest.mark.parametrize(
    ("path", "value", "code", "param"),
    [
        ("temperature", 0.8, "unknown_parameter", "session.temperature"),
        ("modalities", ["audio", "text"], "unknown_parameter", "session.modalities"),
        ("voice", "marin", "unknown_parameter", "session.voice"),
        ("input_audio_format", "g711_ulaw", "unknown_parameter", "session.input_audio_format"),
        ("audio.input.format.rate", 8000, "unknown_parameter", "session.audio.input.format.rate"),
        ("audio.output.format.rate", 8000, "unknown_parameter", "session.audio.output.format.rate"),
        (
            "audio.output.format",
            {"type": "audio/pcm"},
            "missing_required_parameter",
            "session.audio.output.format.rate",
        ),
        ("audio.input.format", {}, "missing_required_parameter", "session.audio.input.format.type"),
        (
            "audio.input.turn_detection.silence_ms",
            500,
            "unknown_parameter",
            "session.audio.input.turn_detection.silence_ms",
        ),
        ("audio.output.voice", "fable", "invalid_value", "session.audio.output.voice"),
        ("audio.output.voice", "onyx", "invalid_value", "session.audio.output.voice"),
        ("audio.output.speed", 1.6, "decimal_above_max_value", "session.audio.output.speed"),
        ("audio.input.turn_detection.idle_timeout_ms", 4_999, "integer_below_min_value", None),
        ("audio.input.turn_detection.idle_timeout_ms", 30_001, "integer_above_max_value", None),
        ("audio.input.turn_detection.threshold", 1.5, "decimal_above_max_value", None),
        ("output_modalities", ["audio", "text"], "invalid_value", "session.output_modalities"),
        ("max_output_tokens", 0, "integer_below_min_value", "session.max_output_tokens"),
        ("max_output_tokens", "many", "invalid_type", "session.max_output_tokens"),
        ("audio.input.transcription.keywords", ["two\nlines"], "invalid_value", None),
        ("audio.input.transcription.keywords", ["<b>"], "invalid_value", None),
        ("audio.input.transcription.languages", ["xx"], "invalid_value", None),
        ("audio.input.transcription.language", "en", "unsupported_parameter", None),
        ("audio.input.transcription.model", "whisper-9", "invalid_value", None),
        ("audio.input.transcription", {"model": "whisper-1", "keywords": ["human"]}, "unsupported_parameter", None),
        ("audio.input.transcription", {"model": "gpt-live-transcribe"}, "invalid_value", None),
        ("tools", [{"name": "end_call"}], "missing_required_parameter", "session.tools[0].type"),
        ("tools", [{"type": "function", "name": "end call"}], "invalid_value", "session.tools[0].name"),
        ("tool_choice", {"type": "function", "name": "missing"}, "invalid_value", "session.tool_choice"),
        ("truncation.retention_ratio", 1.5, "decimal_above_max_value", "session.truncation.retention_ratio"),
        ("instructions", 7, "invalid_type", "session.instructions"),
        ("model", "gpt-realtime-2", "invalid_value", "session.model"),
    ],
)
def test_a_session_with_one_mistake_is_refused_and_the_mistake_named(
    path: str, value: Any, code: str, param: str | None
) -> None:
    refusal = refusal_of(bot_with(path, value))
    assert refusal.code == code, refusal
    assert param is None or refusal.param == param


def test_a_session_must_say_its_type() -> None:
    refusal = refusal_of({"instructions": "Be kind."})
    assert (refusal.code, refusal.param) == ("missing_required_parameter", "session.type")


def test_a_refused_voice_is_answered_with_the_ten_that_exist() -> None:
    refusal = refusal_of(bot_with("audio.output.voice", "nova"))
    assert refusal.message.count("'") == 2 * 11
    assert "'marin', 'cedar'" in refusal.message


def test_a_model_that_does_not_reason_refuses_reasoning() -> None:
    assert refusal_of(BOT, model="gpt-realtime-1.5").param == "session.reasoning"
    quiet = bot_with("reasoning", None)
    quiet["parallel_tool_calls"] = None
    submit(quiet, model="gpt-realtime-1.5")


def test_the_voice_is_fixed_once_it_has_been_heard() -> None:
    other = bot_with("audio.output.voice", "cedar")
    submit(other)
    submit(BOT, has_spoken=True)
    assert refusal_of(other, has_spoken=True).code == "cannot_update_voice"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_event"),
        (b"\x00", "invalid_event"),
        ("{}", "missing_required_parameter"),
        ('{"type": "response.audio.delta"}', "invalid_value"),
        ('{"type": "transcription_session.update", "session": {}}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter"),
        ('{"type": "input_audio_buffer.append", "audio": "", "rate": 8000}', "unknown_parameter"),
        (
            '{"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 1.5}',
            "invalid_type",
        ),
        (
            '{"type": "conversation.item.create", "item": {"type": "message", "role": "user"}}',
            "missing_required_parameter",
        ),
        ('{"type": "response.create", "response": {"voice": "marin"}}', "unknown_parameter"),
        (json.dumps({"type": "input_audio_buffer.clear", "event_id": "x" * 513}), "string_above_max_length"),
    ],
)
def test_an_event_of_the_wrong_shape_is_refused(message: str | bytes, code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read_event(message)
    assert refused.value.code == code, refused.value


def test_an_unknown_parameter_is_found_inside_a_list() -> None:
    tool = {"type": "function", "name": "a", "strict": True}
    assert refusal_of(bot_with("tools", [tool])).param == "session.tools[0].strict"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ({"conversation": "other"}, "invalid_value"),
        ({"metadata": {f"key{i}": "" for i in range(17)}}, "object_above_max_properties"),
        ({"metadata": {"k" * 65: ""}}, "string_above_max_length"),
        ({"metadata": {"k": "v" * 513}}, "string_above_max_length"),
        ({"output_modalities": ["text", "audio"]}, "invalid_value"),
        ({"audio": {"output": {"voice": "nova"}}}, "invalid_value"),
        ({"max_output_tokens": 5_000}, "integer_above_max_value"),
        ({"tool_choice": {"type": "function", "name": "missing"}}, "invalid_value"),
    ],
)
def test_a_response_with_one_mistake_is_refused(response: dict[str, Any], code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_response(response, model=MODEL, tools=BOT["tools"])
    assert refused.value.code == code


def test_a_tool_choice_may_name_a_tool_the_session_already_has() -> None:
    choice = {"type": "realtime", "tool_choice": {"type": "function", "name": "end_call"}}
    check_session(choice, model=MODEL, tools=BOT["tools"], current_voice="marin", has_spoken=False)
    assert refusal_of(choice).param == "session.tool_choice"


def test_a_response_may_refer_to_items_and_to_the_sessions_tools() -> None:
    response = {
        "conversation": "none",
        "input": [{"type": "item_reference", "id": "item_1"}],
        "output_modalities": ["text"],
        "metadata": {"topic": "summary"},
        "tool_choice": {"type": "function", "name": "end_call"},
    }
    read_event(json.dumps({"type": "response.create", "response": response}))
    check_response(response, model=MODEL, tools=BOT["tools"])


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "role": "assistant", "content": [{"type": "output_audio"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "beta"}]},
        {"type": "message", "role": "user", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "message", "role": "system", "content": [{"type": "input_audio"}]},
        {"type": "message", "role": "user", "content": [], "id": "x" * 33},
    ],
)
def test_a_client_cannot_put_words_of_the_wrong_kind_into_a_conversation(item: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        check_new_item(item)


def test_audio_must_be_base64() -> None:
    assert decode_audio(base64.b64encode(b"\xff" * 160).decode()) == b"\xff" * 160
    with pytest.raises(RefusedError, match="base64"):
        decode_audio("not base64!")


def test_digging_ends_where_the_path_does() -> None:
    assert dig({"a": {"b": 1}}, "a.b") == 1
    assert dig({"a": None}, "a.b") is None
