import base64
import json
from typing import Any

import pytest

from voice_openai_connect.call.events import KeyPressed, PlaybackReached, StreamStopped
from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.twilio_media import MediaReader, MediaWriter, StreamStart, media_format_is_ulaw

STREAM = "MZ18ad3ab5a668481ce02b83e7395059f0"
CALL = "CA" + "0123456789abcdef" * 2
ACCOUNT = "AC" + "f" * 32
AUDIO = b"\xff" * 160
FRAME = base64.b64encode(AUDIO).decode()

CONNECTED: dict[str, Any] = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
START: dict[str, Any] = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": STREAM,
    "start": {
        "streamSid": STREAM,
        "accountSid": ACCOUNT,
        "callSid": CALL,
        "tracks": ["inbound"],
        "customParameters": {"conversation": "c-1"},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    },
}


def media(chunk: str | int = "1", payload: Any = FRAME, track: str = "inbound") -> str:
    body = {"track": track, "chunk": chunk, "timestamp": "5", "payload": payload}
    return json.dumps({"event": "media", "sequenceNumber": "2", "media": body, "streamSid": STREAM})


@pytest.fixture
def started() -> MediaReader:
    reader = MediaReader()
    reader.read(json.dumps(CONNECTED))
    reader.read(json.dumps(START))
    return reader


class TestReading:
    def test_the_first_message_is_connected_and_says_nothing_to_the_call(self) -> None:
        reader = MediaReader()
        assert not reader.connected
        assert reader.read(json.dumps(CONNECTED)) is None
        assert reader.connected

    def test_a_socket_that_begins_otherwise_is_not_connected(self) -> None:
        reader = MediaReader()
        reader.read(json.dumps(START))
        assert not reader.connected

    def test_start_says_everything_about_the_stream(self) -> None:
        start = MediaReader().read(json.dumps(START))
        assert start == StreamStart(STREAM, CALL, ACCOUNT, {"conversation": "c-1"}, "audio/x-mulaw", 8000, 1)

    def test_numbers_may_come_as_strings(self) -> None:
        message = json.loads(json.dumps(START))
        message["start"]["mediaFormat"] |= {"sampleRate": "8000", "channels": "1"}
        start = MediaReader().read(json.dumps(message))
        assert isinstance(start, StreamStart)
        assert media_format_is_ulaw(start)

    @pytest.mark.parametrize(
        "other", [{"encoding": "audio/L16"}, {"sampleRate": 16000}, {"channels": 2}, {"sampleRate": "8 kHz"}]
    )
    def test_any_other_format_is_not_ulaw(self, other: dict[str, Any]) -> None:
        message = json.loads(json.dumps(START))
        message["start"]["mediaFormat"] |= other
        start = MediaReader().read(json.dumps(message))
        assert isinstance(start, StreamStart)
        assert not media_format_is_ulaw(start)

    def test_a_second_start_is_passed_over(self, started: MediaReader) -> None:
        assert started.read(json.dumps(START)) is None

    def test_the_callers_voice_is_its_bytes(self, started: MediaReader) -> None:
        assert started.read(media()) == AUDIO
        assert started.frames == 1

    def test_audio_of_any_length_is_passed_on(self, started: MediaReader) -> None:
        assert started.read(media(payload="/w==")) == b"\xff"

    def test_the_other_track_is_not_the_caller(self, started: MediaReader) -> None:
        assert started.read(media(track="outbound")) is None
        assert started.frames == 0

    def test_nothing_counts_before_start(self) -> None:
        reader = MediaReader()
        assert reader.read(media()) is None
        assert reader.read(json.dumps({"event": "stop", "stop": {}})) is None
        assert reader.frames == 0

    @pytest.mark.parametrize("digit", list("0123456789*#"))
    def test_every_key_is_read(self, started: MediaReader, digit: str) -> None:
        key = {"event": "dtmf", "streamSid": STREAM, "dtmf": {"track": "inbound_track", "digit": digit}}
        assert started.read(json.dumps(key)) == KeyPressed(digit)

    def test_a_tone_without_a_key_is_passed_over(self, started: MediaReader) -> None:
        assert started.read(json.dumps({"event": "dtmf", "dtmf": {"digit": "A"}})) is None

    @pytest.mark.parametrize("digit", ["", "12", "x", "٣"])
    def test_a_key_that_does_not_exist_is_refused(self, started: MediaReader, digit: str) -> None:
        with pytest.raises(WireError):
            started.read(json.dumps({"event": "dtmf", "dtmf": {"digit": digit}}))

    def test_a_mark_comes_back_by_name(self, started: MediaReader) -> None:
        mark = {"event": "mark", "sequenceNumber": "9", "streamSid": STREAM, "mark": {"name": "3.item.200"}}
        assert started.read(json.dumps(mark)) == PlaybackReached("3.item.200")

    def test_stop_ends_the_stream(self, started: MediaReader) -> None:
        stop = {"event": "stop", "streamSid": STREAM, "stop": {"accountSid": ACCOUNT, "callSid": CALL}}
        assert started.read(json.dumps(stop)) == StreamStopped()

    def test_events_that_twilio_adds_later_are_passed_over(self, started: MediaReader) -> None:
        assert started.read('{"event":"weather","weather":{"sky":1}}') is None

    def test_fields_that_twilio_adds_later_are_passed_over(self, started: MediaReader) -> None:
        message = json.loads(media()) | {"mood": {"good": [True]}}
        assert started.read(json.dumps(message)) == AUDIO

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "hello",
            "[]",
            "{}",
            '{"event":7}',
            '{"event":"media"}',
            '{"event":"media","media":{}}',
            '{"event":"mark","mark":{"name":null}}',
            '{"event":"start","start":{"streamSid":"MZ1"}}',
            "[" * 60_000,
            '{"event":"media","deep":' + "[" * 60_000,
            media(payload=7),
            media(payload=None),
            media(payload=""),
            media(payload="!!!!"),
            media(payload="AA=A"),
            media(payload="/w="),
            media(payload="_-_-"),
            media(payload="AAAA\nAAAA"),
            media(payload="ÄÄÄÄ"),
        ],
    )
    def test_what_cannot_be_read_is_refused_and_the_next_message_is_fine(self, started: MediaReader, text: str) -> None:
        with pytest.raises(WireError):
            started.read(text)
        assert started.frames == 0
        assert started.read(media()) == AUDIO

    def test_errors_do_not_repeat_what_was_sent(self, started: MediaReader) -> None:
        with pytest.raises(WireError) as error:
            started.read(media(payload="my secret!"))
        assert "secret" not in str(error.value)


class TestLostFrames:
    def test_a_gap_in_the_numbers_is_lost_audio(self, started: MediaReader) -> None:
        for chunk in ("1", "2", "5", 6, "9"):
            started.read(media(chunk))
        assert (started.frames, started.frames_lost) == (5, 4)

    def test_a_repeat_or_a_number_that_is_none_loses_nothing(self, started: MediaReader) -> None:
        for chunk in ("1", "2", "2", "1", "", "many", "-7", -7, "9" * 5_000, 10**40, "3"):
            started.read(media(chunk))
        assert started.frames_lost == 0


class TestWriting:
    """Exactly the three documented messages: of an extra field Twilio warns once, and never again."""

    def test_media(self) -> None:
        text = MediaWriter(STREAM).media(b"\x00\xff\x7f")
        assert json.loads(text) == {"event": "media", "streamSid": STREAM, "media": {"payload": "AP9/"}}

    def test_mark(self) -> None:
        text = MediaWriter(STREAM).mark('a "quoted" name')
        assert json.loads(text) == {"event": "mark", "streamSid": STREAM, "mark": {"name": 'a "quoted" name'}}

    def test_clear(self) -> None:
        assert json.loads(MediaWriter(STREAM).clear()) == {"event": "clear", "streamSid": STREAM}
