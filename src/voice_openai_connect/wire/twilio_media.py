"""Twilio Media Streams: the JSON messages of one media socket, both ways.

Field names and rules are those of Twilio's "WebSocket messages" page. Twilio writes most numbers as strings; both
forms are read. What Twilio may add later, fields or events, is passed over.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from voice_openai_connect.call.events import Event, KeyPressed, PlaybackReached, StreamStopped
from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.strict_json import decode_known

KEYS: Final = frozenset("0123456789*#")
OTHER_TONES: Final = frozenset("ABCD")
"""The fourth column of DTMF: no telephone has the keys, but a line may carry the tones."""
NUMBER_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class StreamStart:
    """What Twilio says about a stream when it begins."""

    stream_sid: str
    call_sid: str
    account_sid: str
    parameters: dict[str, str]
    """The `<Parameter>`s of the TwiML."""
    encoding: str
    sample_rate: int
    """0 if it was not a number."""
    channels: int


def media_format_is_ulaw(start: StreamStart) -> bool:
    """True for the one format Twilio documents: µ-law, 8 kHz, one channel. Anything else would be noise."""
    return (start.encoding, start.sample_rate, start.channels) == ("audio/x-mulaw", 8_000, 1)


# --- From Twilio ---------------------------------------------------------------------------------------------


class _Message(msgspec.Struct, tag_field="event", rename="camel", gc=False):
    """One message; the tag says which."""


class _MediaFormat(msgspec.Struct, rename="camel"):
    encoding: str
    sample_rate: str | int
    channels: str | int


class _StartBody(msgspec.Struct, rename="camel"):
    stream_sid: str
    call_sid: str
    account_sid: str
    media_format: _MediaFormat
    custom_parameters: dict[str, str] = {}


class _MediaBody(msgspec.Struct, gc=False):
    payload: bytes
    """msgspec decodes the base64, strictly and in a fifth of the time that `binascii` takes."""
    track: str = "inbound"
    chunk: str | int = ""


class _DtmfBody(msgspec.Struct, gc=False):
    digit: str


class _MarkBody(msgspec.Struct, gc=False):
    name: str


class _Connected(_Message, tag="connected"):
    pass


class _Start(_Message, tag="start"):
    start: _StartBody


class _Media(_Message, tag="media"):
    media: _MediaBody


class _Dtmf(_Message, tag="dtmf"):
    dtmf: _DtmfBody


class _Mark(_Message, tag="mark"):
    mark: _MarkBody


class _Stop(_Message, tag="stop"):
    pass


_Known = _Connected | _Start | _Media | _Dtmf | _Mark | _Stop
_KNOWN_EVENTS: Final = frozenset({"connected", "start", "media", "dtmf", "mark", "stop"})


class _Head(msgspec.Struct, rename={"kind": "event"}):
    kind: str


_known: Final = msgspec.json.Decoder(_Known)
_head: Final = msgspec.json.Decoder(_Head)


class MediaReader:
    """Reads the messages of one media socket, in the order they came."""

    __slots__ = ("_last_chunk", "_started", "connected", "frames")

    def __init__(self) -> None:
        self.connected = False
        """True once `connected` was read. Twilio sends it first, so a socket that begins otherwise is not Twilio's."""
        self.frames = 0
        """Frames of the caller's voice that were read."""
        self._started = False
        self._last_chunk: str | int = ""

    @property
    def frames_lost(self) -> int:
        """Frames that Twilio numbered but did not send: it drops audio when it is read too slowly (warning 31930)."""
        return max(0, _number(self._last_chunk) - self.frames)

    def read(self, text: str) -> bytes | Event | StreamStart | None:
        """What one message means: an event of the call, the start of the stream, or None if nothing follows from it.

        A frame of the caller's voice is its µ-law bytes as they are: fifty a second, and mostly only passed on.
        None stands for `connected`, events and tracks we do not use, a repeated `start`, and whatever comes before
        `start`. Raises WireError for malformed JSON, missing or wrongly typed fields, audio that is empty or not
        base64, and keys that do not exist.
        """
        try:
            message = _known.decode(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):  # once more, to learn what it is, or to say so
            message = decode_known(_known, _head, _KNOWN_EVENTS, text, "a media stream message")
        if type(message) is _Media:
            media = message.media
            if not self._started or media.track != "inbound":
                return None
            if not media.payload:
                raise WireError("a frame of the caller's audio is empty")
            self.frames += 1
            self._last_chunk = media.chunk
            return media.payload
        if isinstance(message, _Connected):
            self.connected = True
            return None
        if isinstance(message, _Start):
            return self._stream_start(message.start)
        return _rare_event(message) if self._started else None

    def _stream_start(self, start: _StartBody) -> StreamStart | None:
        if self._started:
            return None
        self._started = True
        return StreamStart(
            stream_sid=start.stream_sid,
            call_sid=start.call_sid,
            account_sid=start.account_sid,
            parameters=start.custom_parameters,
            encoding=start.media_format.encoding,
            sample_rate=_number(start.media_format.sample_rate),
            channels=_number(start.media_format.channels),
        )


def _rare_event(message: _Dtmf | _Mark | _Stop | str) -> Event | None:
    match message:
        case _Mark():
            return PlaybackReached(message.mark.name)
        case _Dtmf():
            return _key_pressed(message.dtmf.digit)
        case _Stop():
            return StreamStopped()
        case str():
            return None


def _key_pressed(digit: str) -> KeyPressed | None:
    if digit in KEYS:
        return KeyPressed(digit)
    if digit in OTHER_TONES:
        return None
    raise WireError("a pressed key is not one that a telephone has")


def _number(value: str | int) -> int:
    """A count that came as a number or as a string; 0 if it is neither, or too long to be honest."""
    if isinstance(value, int):
        return value if 0 <= value < 10**NUMBER_DIGITS else 0
    return int(value) if value.isascii() and value.isdigit() and len(value) <= NUMBER_DIGITS else 0


# --- To Twilio -----------------------------------------------------------------------------------------------
# Exactly these fields: Twilio logs one warning (31951) for an unexpected one, and is silent about all later ones.


class _Out(msgspec.Struct, tag_field="event", rename="camel", gc=False):
    stream_sid: str


class _OutPayload(msgspec.Struct, gc=False):
    payload: bytes


class _OutMedia(_Out, tag="media"):
    media: _OutPayload


class _OutMark(_Out, tag="mark"):
    mark: _MarkBody


class _OutClear(_Out, tag="clear"):
    pass


_encoder: Final = msgspec.json.Encoder()


class MediaWriter:
    """Writes the three messages Twilio accepts, as UTF-8, for one stream. Valid only while that stream is live."""

    def __init__(self, stream_sid: str) -> None:
        self._stream_sid = stream_sid

    def media(self, audio: bytes) -> bytes:
        """Play µ-law bytes after everything sent before; any length, without a file header."""
        return _encoder.encode(_OutMedia(self._stream_sid, _OutPayload(audio)))

    def mark(self, name: str) -> bytes:
        """Ask for `name` back once everything sent so far has been played or cleared."""
        return _encoder.encode(_OutMark(self._stream_sid, _MarkBody(name)))

    def clear(self) -> bytes:
        """Drop what has not been played; every mark still out comes back at once."""
        return _encoder.encode(_OutClear(self._stream_sid))
