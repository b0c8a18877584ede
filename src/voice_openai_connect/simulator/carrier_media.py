"""One bidirectional Media Stream, from Twilio's side of the WebSocket.

Messages, field by field, as in Twilio's "WebSocket messages" page: numbers are strings except in `mediaFormat`,
`connected` has neither sequence number nor stream, `dtmf.track` is `inbound_track`, and from the gateway nothing but
`media`, `mark` and `clear` with exactly their fields is taken.
"""

import asyncio
import base64
import binascii
import random
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from voice_openai_connect.simulator.carrier_playout import Playout, SentMark
from voice_openai_connect.simulator.telephone import FRAME_MS, SILENCE, Pulse

MEDIA_FORMAT: Final = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
BACKLOG_FRAMES: Final = 250
"""Five seconds of the caller's voice. Twilio names no figure; beyond ours it is discarded with warning 31930."""
FAREWELL_S: Final = 2.0

Ending = Literal["closed", "dropped", "left"]
"""The gateway sent a close; the socket broke; we left it."""
Complain = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class MediaHabits:
    """What the network does to a stream. Marks never overtake each other."""

    mark_delay_ms: int = 0
    mark_jitter_ms: int = 0
    marks_lost: bool = False
    """No mark ever comes back, whether its audio was played or cleared."""
    seed: int = 1


@dataclass
class MediaStream:
    """A live stream. Its `exchange` is called every 20 ms and is the only clock it has.

    `now_ms` tells the call's own time, for the record. A test may unset `sending` (nothing more is sent: a half-open
    socket) or `playing` (the queue stands still), `pause_reading()` (a peer that does not read), or `drop()` it all.
    """

    socket: ClientConnection
    account_sid: str
    call_sid: str
    complain: Complain
    now_ms: Callable[[], int]
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    habits: MediaHabits = field(default_factory=MediaHabits)
    stream_sid: str = field(default_factory=lambda: "MZ" + secrets.token_hex(16))
    sending: bool = True
    playing: bool = True
    playout: Playout = field(default_factory=Playout)
    clears: int = 0
    ending: Ending | None = None
    taken: Pulse = field(default_factory=Pulse)
    """Beats after every message from the gateway."""

    def __post_init__(self) -> None:
        self._outbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._late_marks: deque[tuple[int, str]] = deque()
        self._marks_due: deque[int] = deque()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._random = random.Random(self.habits.seed)
        self._frames = 0
        self._sequence = 0
        self._behind = False
        self._unsent_frames = 0
        self.mark_delays: list[int] = []
        """How long each mark that has gone back was on its way to being sent, in ms."""

    @property
    def age_ms(self) -> int:
        """Stream time: 20 ms a frame."""
        return self._frames * FRAME_MS

    # --- The two ends of its life

    async def begin(self) -> None:
        """Send `connected` and `start`. Raises `ConnectionClosed`."""
        await self._send({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        start = {
            "accountSid": self.account_sid,
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": MEDIA_FORMAT,
            "customParameters": dict(self.parameters),
        }
        await self._send(self._numbered("start", start))

    async def run(self) -> Ending:
        """Carry messages both ways until the socket is closed. Cancelled, it takes its leave: `stop`, then a close."""
        writing = asyncio.create_task(self._write())
        try:
            self.ending = await self._read()
        except asyncio.CancelledError:
            self.ending = "left"
            await self._leave(writing)
            raise
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        return self.ending

    async def _leave(self, writing: asyncio.Task[None]) -> None:
        """Say `stop` and close. A gateway that does not read is not waited for."""
        self.playing = self.sending = False
        self._outbox.put_nowait(self._numbered("stop", {"accountSid": self.account_sid, "callSid": self.call_sid}))
        self._outbox.put_nowait(None)
        await asyncio.wait({writing}, timeout=FAREWELL_S)
        await self.socket.close()

    def drop(self) -> None:
        """Break the connection without a word."""
        self.socket.transport.abort()

    def pause_reading(self) -> None:
        """Take nothing more from the socket, so that the gateway's messages pile up."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Read on."""
        self._may_read.set()

    # --- Every 20 ms

    def exchange(self, said: bytes, keys: list[str]) -> bytes:
        """Take what the caller said and pressed during 20 ms; return what the caller hears meanwhile."""
        self._frames += 1
        if self.sending:
            for key in keys:
                self._post("dtmf", {"track": "inbound_track", "digit": key})
            self._post_media(said)
        heard = b""
        if self.playing:
            heard, marks = self.playout.next_frame(self.now_ms())
            self._return(marks)
        self._post_late_marks()
        return heard + SILENCE[len(heard) :]

    def _post_media(self, said: bytes) -> None:
        """`chunk` counts also what is discarded: a gap tells the gateway that audio was lost."""
        # Voice only: after a `clear` hundreds of marks may go back at once, and none of them is late.
        if self._unsent_frames >= BACKLOG_FRAMES:
            if not self._behind:
                self.complain(31930, "the gateway reads too slowly; the caller's audio is discarded")
            self._behind = True
            return
        media = {
            "track": "inbound",
            "chunk": str(self._frames),
            "timestamp": str(self.age_ms - FRAME_MS),
            "payload": base64.b64encode(said).decode("ascii"),
        }
        self._post("media", media)

    def _return(self, marks: list[SentMark]) -> None:
        """Send marks back, now or after the delay of this line; or never."""
        if self.habits.marks_lost:
            return
        for mark in marks:
            wait = self.habits.mark_delay_ms + self._random.randint(0, self.habits.mark_jitter_ms)
            self._late_marks.append((self.age_ms + wait, mark.name))
            self._marks_due.append(self.age_ms)
        self._post_late_marks()

    def _post_late_marks(self) -> None:
        """The first one holds up the others, as on any one connection."""
        while self._late_marks and self._late_marks[0][0] <= self.age_ms and self.sending:
            self._post("mark", {"name": self._late_marks.popleft()[1]})
            self.mark_delays.append(self.age_ms - self._marks_due.popleft())

    # --- To the gateway

    def _post(self, event: str, body: dict[str, Any]) -> None:
        self._unsent_frames += event == "media"
        self._outbox.put_nowait(self._numbered(event, body))

    def _numbered(self, event: str, body: dict[str, Any]) -> dict[str, Any]:
        self._sequence += 1
        return {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self.stream_sid, event: body}

    async def _write(self) -> None:
        try:
            while (message := await self._outbox.get()) is not None:
                await self._send(message)
                self._unsent_frames -= message["event"] == "media"
        except ConnectionClosed:
            return

    async def _send(self, message: dict[str, Any]) -> None:
        await self.socket.send(msgspec.json.encode(message), text=True)

    # --- From the gateway

    async def _read(self) -> Ending:
        try:
            while True:
                await self._may_read.wait()
                self._take(await self.socket.recv())
                self.taken.beat()
        except ConnectionClosed as closed:
            return "closed" if closed.rcvd is not None else "dropped"

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.complain(31950, f"a binary frame of {len(message)} bytes")
            return
        try:
            self._obey(_object(message))
        except ValueError as error:
            self.complain(31951, f"{error}: {message[:200]}")

    def _obey(self, message: dict[str, Any]) -> None:
        """Carry out one message. Raises `ValueError` for anything Twilio would not take."""
        event = message.get("event")
        if event not in {"media", "mark", "clear"}:
            raise ValueError(f"unknown event {event!r}")
        _exactly(message, {"event", "streamSid"} | ({event} - {"clear"}), "the message")
        if message["streamSid"] != self.stream_sid:
            raise ValueError("not the live streamSid")
        match event:
            case "media":
                self.playout.add(_audio(message["media"]), self.now_ms())
            case "mark":
                self._return(self.playout.mark(_mark_name(message["mark"]), self.now_ms()))
            case _:
                self.clears += 1
                self._return(self.playout.clear())


def _object(message: str) -> dict[str, Any]:
    try:
        decoded: object = msgspec.json.decode(message)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(decoded, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - all that is wrong with a message is one kind of wrong
    return cast("dict[str, Any]", decoded)


def _exactly(fields: object, names: set[str], what: str) -> dict[str, Any]:
    """The fields, if they are an object with exactly these names."""
    if not isinstance(fields, dict) or fields.keys() != names:
        raise ValueError(f"{what} has exactly {sorted(names)}")
    return cast("dict[str, Any]", fields)


def _audio(media: object) -> bytes:
    payload = _exactly(media, {"payload"}, "media")["payload"]
    if not isinstance(payload, str) or not payload:
        raise ValueError("media.payload is a string that is not empty")
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error as error:
        raise ValueError(f"media.payload is not base64 ({error})") from error


def _mark_name(mark: object) -> str:
    name = _exactly(mark, {"name"}, "mark")["name"]
    if not isinstance(name, str):
        raise ValueError("mark.name is a string")  # noqa: TRY004 - as above
    return name
