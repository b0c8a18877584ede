import json

import pytest

from bench.load import media

SID = "MZ" + "1" * 32
CALL, ACCOUNT = "CA" + "2" * 32, "AC" + "3" * 32


def written(*messages: bytes) -> list[dict[str, object]]:
    return [json.loads(message) for message in messages]


def test_a_stream_s_messages_have_twilio_s_fields_and_one_counter():
    writer = media.Writer(SID, CALL, ACCOUNT)
    connected, start, first, mark, second = written(
        writer.connected(),
        writer.start({"caller": "+61491570006"}),
        writer.media(b"\xff" * 160),
        writer.mark("m1"),
        writer.media(b"\xff" * 160),
    )

    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start["start"] == {
        "accountSid": ACCOUNT,
        "streamSid": SID,
        "callSid": CALL,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"caller": "+61491570006"},
    }
    assert [each["sequenceNumber"] for each in (start, first, mark, second)] == ["1", "2", "3", "4"]
    assert first["media"] == {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": "/" * 213 + "w=="}
    assert second["media"] == {"track": "inbound", "chunk": "2", "timestamp": "20", "payload": "/" * 213 + "w=="}


def test_keys_and_the_end_have_twilio_s_fields():
    writer = media.Writer(SID, CALL, ACCOUNT)
    key, stop = written(writer.dtmf("0"), writer.stop())

    assert key["dtmf"] == {"track": "inbound_track", "digit": "0"}
    assert stop["stop"] == {"accountSid": ACCOUNT, "callSid": CALL}


def test_a_frame_of_another_length_is_not_sent():
    with pytest.raises(ValueError, match="160"):
        media.Writer(SID, CALL, ACCOUNT).media(b"\xff")


def test_the_gateway_s_three_messages_are_read():
    sent = media.read(json.dumps({"event": "media", "streamSid": SID, "media": {"payload": "/w=="}}).encode(), SID)
    mark = media.read(json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": "m1"}}).encode(), SID)
    clear = media.read(json.dumps({"event": "clear", "streamSid": SID}).encode(), SID)

    assert isinstance(sent, media.Media)
    assert sent.media.payload == b"\xff"
    assert isinstance(mark, media.Mark)
    assert mark.mark.name == "m1"
    assert isinstance(clear, media.Clear)


@pytest.mark.parametrize(
    "message",
    [
        {"event": "media", "streamSid": "MZ other", "media": {"payload": "/w=="}},
        {"event": "media", "streamSid": SID, "media": {"payload": "/w==", "track": "outbound"}},
        {"event": "media", "streamSid": SID, "media": {"payload": "not base64"}},
        {"event": "media", "streamSid": SID},
        {"event": "mark", "streamSid": SID, "mark": {}},
        {"event": "clear", "streamSid": SID, "sequenceNumber": "1"},
        {"event": "stop", "streamSid": SID},
        [],
    ],
)
def test_whatever_twilio_would_not_take_is_refused(message: object):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        media.read(json.dumps(message).encode(), SID)


def test_a_binary_message_is_refused():
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        media.read(b"", SID)
