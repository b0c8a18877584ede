"""Who gets to know what came on a media socket."""

import json
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.gateway.stream_listener import StreamListener
from voice_openai_connect.wire.twilio_media import MediaReader

FRAME = bytes([0x7F]) * 3
START = {
    "streamSid": "MZ1",
    "callSid": "CA1",
    "accountSid": "AC1",
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
}


def message(event: str, **fields: Any) -> str:
    return json.dumps({"event": event, "streamSid": "MZ1", **fields})


VOICE = message("media", media={"payload": "f39/"})
KEY = message("dtmf", dtmf={"digit": "1"})
OF_THE_FUTURE = message("hologram")


class Stage:
    """A listener whose call and model note what they are given."""

    def __init__(self) -> None:
        self.happened: list[ev.Event] = []
        self.wants_more = True
        self.failures: list[Exception] = []
        reader = MediaReader()
        reader.read(message("start", start=START))
        self.listener = StreamListener(reader, self.happens, self.failures.append)

    def happens(self, event: ev.Event) -> bool:
        self.happened.append(event)
        return self.wants_more


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_frame_goes_to_the_call_while_it_wants_to_be_asked(stage: Stage) -> None:
    assert stage.listener.hear(VOICE)
    assert stage.happened == [ev.CallerAudio(FRAME)]


def test_a_frame_that_would_only_be_passed_on_is_passed_on_and_the_call_is_not_asked(stage: Stage) -> None:
    passed: list[bytes] = []
    stage.listener.pass_on = passed.append

    assert stage.listener.hear(VOICE)
    assert (passed, stage.happened) == ([FRAME], [])


def test_everything_but_frames_goes_to_the_call_in_any_case(stage: Stage) -> None:
    passed: list[bytes] = []
    stage.listener.pass_on = passed.append

    assert stage.listener.hear(KEY)
    assert (passed, stage.happened) == ([], [ev.KeyPressed("1")])


def test_a_frame_that_cannot_be_passed_on_is_told_and_the_next_one_is_heard(stage: Stage) -> None:
    error = LookupError()

    def fails(_: bytes) -> None:
        raise error

    stage.listener.pass_on = fails

    assert stage.listener.hear(VOICE)
    assert stage.failures == [error]


def test_what_twilio_may_add_one_day_is_passed_over(stage: Stage) -> None:
    assert stage.listener.hear(OF_THE_FUTURE)
    assert stage.happened == []


@pytest.mark.parametrize("text", [VOICE, KEY])
def test_the_call_says_when_the_stream_is_not_worth_listening_to_any_longer(stage: Stage, text: str) -> None:
    stage.wants_more = False

    assert not stage.listener.hear(text)


def test_garbage_is_borne_for_a_while_and_then_the_stream_counts_as_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BAD_MESSAGES_MAX", 2)
    stage.wants_more = False

    assert stage.listener.hear("{not json")
    assert stage.listener.hear("")
    assert stage.happened == []
    assert not stage.listener.hear("")
    assert stage.happened == [ev.StreamLost("garbage")]


# --- silence


def test_looks_are_quiet_from_the_second_one_on_if_nothing_comes(stage: Stage) -> None:
    assert [stage.listener.quiet_looks() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("text", [VOICE, KEY, OF_THE_FUTURE], ids=["a frame", "a key", "something unknown"])
def test_anything_readable_ends_the_quiet(stage: Stage, text: str) -> None:
    for _ in range(3):
        stage.listener.quiet_looks()
    stage.listener.hear(text)

    assert [stage.listener.quiet_looks() for _ in range(3)] == [0, 1, 2]


def test_garbage_is_no_sign_of_life(stage: Stage) -> None:
    stage.listener.quiet_looks()
    stage.listener.hear("{not json")

    assert stage.listener.quiet_looks() == 1
