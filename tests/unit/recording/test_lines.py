import json
from dataclasses import replace

import pytest

from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint, Turn
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.next_step import DialPerson
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.recording.lines import (
    EVENTS,
    RecordingError,
    head_line,
    plain_commands,
    read_head,
    read_step,
    step_line,
)


def test_every_kind_of_event_can_be_read_back() -> None:
    assert len(EVENTS) == len(ev.Event.__subclasses__())


def test_audio_is_its_length(call_settings: CallSettings) -> None:
    up = json.loads(step_line(5, ev.CallerAudio(b"ABCD"), (do.SendCallerAudio(b"ABCD"),), call_settings))
    down = json.loads(step_line(5, ev.ModelAudio("r", "i", b"abc"), (do.PlayAudio(b"abc"),), call_settings))

    assert (up["event"]["audio"], up["commands"][0]["audio"]) == (4, 4)
    assert (down["event"]["audio"], down["commands"][0]["audio"]) == (3, 3)


def test_a_refused_format_stays_refused(call_settings: CallSettings, identity: CallIdentity) -> None:
    refused = (do.Tell(Fact.MODEL_FORMAT_REFUSED),)
    _, settings, _ = read_head(head_line(identity, call_settings))
    wrong = read_step(2, step_line(5, ev.ModelAudio("r", "i", b"abc"), refused, call_settings)).event
    right = read_step(2, step_line(5, ev.ModelAudio("r", "i", b"abc"), (), call_settings)).event
    assert isinstance(wrong, ev.ModelAudio)
    assert isinstance(right, ev.ModelAudio)

    assert (settings.sounds_wrong(wrong.audio), settings.sounds_wrong(right.audio)) == (True, False)


def test_a_step_names_the_next_step_and_hides_its_token() -> None:
    (plain,) = plain_commands([do.CloseStream(DialPerson(token="4711471147"))])

    assert (plain["next_step"]["type"], plain["next_step"]["token"]) == ("DialPerson", "0000000000")


def test_the_head_holds_what_the_call_decided_by(identity: CallIdentity, call_settings: CallSettings) -> None:
    before = Checkpoint((Turn("caller", "my secret wish"),), resumes=2)
    who, settings, resumed = read_head(head_line(identity, call_settings, before))

    assert (who.call_sid, who.caller_phone, who.called_phone) == ("CA1", "+0", "")
    assert settings.intents == call_settings.intents
    assert len(settings.holding_sound) == len(call_settings.holding_sound)
    assert (settings.tools, settings.person_key) == (call_settings.tools, call_settings.person_key)
    assert resumed
    assert (resumed.resumes, len(resumed.turns[0].text)) == (2, len("my secret wish"))
    assert "secret" not in repr(resumed)


def test_who_is_missing_can_be_read_back(identity: CallIdentity, call_settings: CallSettings) -> None:
    missing = ev.QueuesUnattended(closed=frozenset({"support", "billing"}), unstaffed=frozenset({"sales"}))

    assert read_step(2, step_line(5, missing, (), call_settings)).event == missing
    for moved in (True, False):
        settings = replace(call_settings, transfer_when_closed=moved)
        assert read_head(head_line(identity, settings))[1].transfer_when_closed is moved


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x80\x04",
        b"[]\n",
        b'{"now": 1, "event": {"type": "Path"}, "commands": []}\n',
        b'{"now": 1, "event": {"type": 5}, "commands": []}\n',
        b'{"now": "x", "event": {"type": "StreamStopped"}, "commands": []}\n',
        b'{"now": 1, "event": {"type": "StreamStopped", "more": 1}, "commands": 3}\n',
        b'{"now": 1, "event": {"type": "CallerAudio", "audio": 99999999999}, "commands": []}\n',
        b'{"now": 1, "event": {"type": "ModelAudio", "audio": {}}, "commands": []}\n',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_step_is_named_with_its_number(line: bytes) -> None:
    with pytest.raises(RecordingError, match="line 7: "):
        read_step(7, line)


@pytest.mark.parametrize("line", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_recording_is_refused_at_its_first_line(line: bytes) -> None:
    with pytest.raises(RecordingError, match="line 1: "):
        read_head(line)


def test_another_version_is_named(identity: CallIdentity, call_settings: CallSettings) -> None:
    with pytest.raises(RecordingError, match="version 9"):
        read_head(head_line(identity, call_settings).replace(b'"version":1', b'"version":9'))
