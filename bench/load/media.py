"""Media Streams messages as the load generator writes and reads them: exact fields, numbers as strings.

What is written follows Twilio's "WebSocket messages" page, like the strict simulator in
`voice_openai_connect.simulator.carrier_media`; what is read may have these fields and no other.
"""

from typing import Any, Final

import msgspec

from voice_openai_connect.limits import FRAME_BYTES

FRAME_MS: Final = 20
MEDIA_FORMAT: Final = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}


class FromGateway(msgspec.Struct, tag_field="event", forbid_unknown_fields=True, rename={"stream_sid": "streamSid"}):
    """A message from the gateway."""

    stream_sid: str


class Payload(msgspec.Struct, forbid_unknown_fields=True):
    """Sound; msgspec decodes the base64."""

    payload: bytes


class Name(msgspec.Struct, forbid_unknown_fields=True):
    """Of a mark."""

    name: str


class Media(FromGateway, tag="media"):
    """Sound for the caller."""

    media: Payload


class Mark(FromGateway, tag="mark"):
    """To be returned when everything before it has been played."""

    mark: Name


class Clear(FromGateway, tag="clear"):
    """Stop playing."""


_decoder: Final = msgspec.json.Decoder(Media | Mark | Clear)


def read(text: bytes, stream_sid: str) -> Media | Mark | Clear:
    """A message from the gateway for this stream. Raises `ValueError` for anything Twilio would not take."""
    message = _decoder.decode(text)
    if message.stream_sid != stream_sid:
        raise ValueError(f"not the live streamSid but {message.stream_sid}")
    return message


class _Frame(msgspec.Struct):
    track: str
    chunk: str
    timestamp: str
    payload: bytes


class _MediaOut(msgspec.Struct, rename={"sequence": "sequenceNumber", "stream_sid": "streamSid"}):
    event: str
    sequence: str
    stream_sid: str
    media: _Frame


class Writer:
    """Writes what Twilio sends in one stream. `sequenceNumber` counts everything from `start` on, `chunk` the media."""

    def __init__(self, stream_sid: str, call_sid: str, account_sid: str) -> None:
        self._stream_sid = stream_sid
        self._call_sid = call_sid
        self._account_sid = account_sid
        self._sequence = 0
        self._chunk = 0
        self._encode = msgspec.json.Encoder().encode

    def connected(self) -> bytes:
        """The first message."""
        return self._encode({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self, parameters: dict[str, str]) -> bytes:
        """The second."""
        body = {"accountSid": self._account_sid, "streamSid": self._stream_sid, "callSid": self._call_sid}
        more = {"tracks": ["inbound"], "mediaFormat": MEDIA_FORMAT, "customParameters": parameters}
        return self._numbered("start", {**body, **more})

    def media(self, audio: bytes) -> bytes:
        """20 ms of the caller."""
        if len(audio) != FRAME_BYTES:
            raise ValueError(f"a frame has {FRAME_BYTES} bytes, not {len(audio)}")
        self._sequence += 1
        self._chunk += 1
        frame = _Frame("inbound", str(self._chunk), str((self._chunk - 1) * FRAME_MS), audio)
        return self._encode(_MediaOut("media", str(self._sequence), self._stream_sid, frame))

    def mark(self, name: str) -> bytes:
        """A mark goes back."""
        return self._numbered("mark", {"name": name})

    def dtmf(self, digit: str) -> bytes:
        """A key was pressed."""
        return self._numbered("dtmf", {"track": "inbound_track", "digit": digit})

    def stop(self) -> bytes:
        """The caller has gone."""
        return self._numbered("stop", {"accountSid": self._account_sid, "callSid": self._call_sid})

    def _numbered(self, event: str, body: dict[str, Any]) -> bytes:
        self._sequence += 1
        head = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self._stream_sid}
        return self._encode({**head, event: body})
