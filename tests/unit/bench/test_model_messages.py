import copy
import json
from typing import Any

import pytest

from bench.load import model_messages
from voice_openai_connect.call import commands as do
from voice_openai_connect.config import load_settings
from voice_openai_connect.profile import load_profiles
from voice_openai_connect.wire.openai_realtime import encode, session_update

ENVIRONMENT = {
    "PUBLIC_HOST": "voice.example.com",
    "TWILIO_ACCOUNT_SID": "AC" + "5" * 32,
    "TWILIO_AUTH_TOKEN": "a-token",
    "OPENAI_API_KEY": "sk-test",
    "AWS_REGION": "ap-southeast-2",
    "DYNAMODB_TABLE_NAME": "handovers",
    "CONNECT_PHONE_NUMBER": "+61255505678",
}


@pytest.fixture(scope="module")
def update() -> dict[str, Any]:
    """What the gateway really sends to configure a session."""
    settings = load_settings(ENVIRONMENT, None)
    profile = load_profiles(settings.agent_profile).default
    return json.loads(session_update(profile.model_settings(settings, ())))


def read(event: object) -> model_messages.ClientEvent:
    return model_messages.read(json.dumps(event).encode())


def test_the_gateway_s_own_configuration_is_taken(update: dict[str, Any]):
    assert isinstance(read(update), model_messages.Update)


@pytest.mark.parametrize(
    "command",
    [
        do.SendCallerAudio(b"\xff"),
        do.RequestResponse("greeting", "Say hello."),
        do.RequestResponse("reply"),
        do.RequestSummary("Write a note."),
        do.CancelResponse("resp_1"),
        do.TruncateItem("item_1", 400),
        do.DeleteItem("item_1"),
        do.AddText("caller", "Hello."),
        do.AddText("assistant", "Hello."),
        do.AddText("system", "Go on."),
        do.AnswerTool("call_1", "done"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_every_message_of_the_gateway_is_taken(command: Any):
    model_messages.read(encode(command, event_id="one"))


def changed(update: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    copied: dict[str, Any] = copy.deepcopy(update)
    place: dict[str, Any] = copied["session"]
    *way, last = path.split(".")
    for key in way:
        place = place[key]
    place[last] = value
    return copied


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "transcription"),
        ("modalities", ["audio", "text"]),
        ("audio.input.format", {"type": "audio/pcmu", "rate": 8_000}),
        ("audio.output.format", {"type": "audio/pcm", "rate": 24_000}),
        ("audio.output.voice", "fable"),
        ("audio.input.turn_detection.create_response", False),
    ],
)
def test_a_configuration_that_the_service_would_refuse_is_refused(update: dict[str, Any], path: str, value: object):
    with pytest.raises(ValueError, match=r"session\.update"):
        read(changed(update, path, value))


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.create", "response": {"modalities": ["audio"]}},
        {"type": "response.create"},
        {"type": "input_audio_buffer.append", "audio": "not base64!"},
        {"type": "input_audio_buffer.commit"},
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 1, "audio_end_ms": 1},
        {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": []}},
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "user", "content": [{"type": "output_text", "text": "x"}]},
        },
    ],
    ids=["beta", "no response", "base64", "not ours", "content index", "no content", "wrong side"],
)
def test_a_wrong_message_is_refused(event: object):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        read(event)
