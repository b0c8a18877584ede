"""One simulated Twilio media stream: a frame every 20 ms, marks returned when they would have been played."""

import asyncio
import time
from collections import deque
from typing import Final

import msgspec

from bench.audio.lines import Ending, Line
from bench.audio.sound import Downward, Upward
from bench.audio.tally import Tally
from bench.load import media
from voice_openai_connect.limits import BYTES_PER_MS

ACCOUNT_SID: Final = "AC" + "5" * 32
BACKLOG_BYTES: Final = 128 * 1_024
"""More than this unsent means that the other side does not read (Twilio's warning 31930): five seconds of media."""
_MEDIA: Final = (
    b'{"event":"media","sequenceNumber":"%%d","media":{"track":"inbound","chunk":"%%d","timestamp":"%%d",'
    b'"payload":"%%b"},"streamSid":"%b"}'
)


class Caller:
    """The caller's end of an open line. What it hears is checked; `ended` says how the stream was over."""

    def __init__(
        self, line: Line, *, number: int, call_sid: str, stream_sid: str, up: Upward, down: Downward, tally: Tally
    ) -> None:
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.interrupted_at: float | None = None
        """When the model heard this caller interrupt it, until the `clear` that follows."""
        self._line = line
        self._writer = media.Writer(stream_sid, call_sid, ACCOUNT_SID)
        self._number = number
        self._call_sid = call_sid
        self._stream_sid = stream_sid
        self._template = _MEDIA % stream_sid.encode()
        self._sequence = 0
        self._up, self._down = up, down
        self._tally = tally
        self._dry_at = 0.0
        self._marks: deque[tuple[float, str]] = deque()
        line.on_text = self._receive
        line.on_end = self._over

    def begin(self, parameters: dict[str, str]) -> None:
        """`connected` and `start`."""
        self._line.begin()
        self._line.send(self._writer.connected())
        self._line.send(self._writer.start(parameters))
        self._sequence = 1

    def step(self, now: float) -> None:
        """20 ms have passed: return the marks that have been played, and send a frame."""
        while self._marks and self._marks[0][0] <= now:
            self._return_mark(self._marks.popleft()[1])
        number = self._up.number
        payload = self._up.next(now)
        self._sequence += 1
        self._line.send(self._template % (self._sequence, number + 1, number * media.FRAME_MS, payload))
        if self._line.backlog > BACKLOG_BYTES:
            self._tally.complain("31930", f"call {self._number} is not read")

    def is_playing(self, now: float) -> bool:
        """Whether the caller hears something at this moment."""
        return now < self._dry_at

    def press(self, key: str) -> None:
        """One key of the telephone."""
        self._send_numbered(b'"event":"dtmf","dtmf":{"track":"inbound_track","digit":"%b"}' % key.encode())

    def leave(self) -> None:
        """Hang up."""
        sids = (ACCOUNT_SID.encode(), self._call_sid.encode())
        self._send_numbered(b'"event":"stop","stop":{"accountSid":"%b","callSid":"%b"}' % sids)
        self._line.close()

    def drop(self) -> None:
        """Break off."""
        self._line.drop()

    def _return_mark(self, name: str) -> None:
        self._send_numbered(b'"event":"mark","mark":{"name":%b}' % msgspec.json.encode(name))

    def _send_numbered(self, body: bytes) -> None:
        self._sequence += 1
        self._line.send(
            b'{%b,"sequenceNumber":"%d","streamSid":"%b"}' % (body, self._sequence, self._stream_sid.encode())
        )

    def _over(self, ending: Ending) -> None:
        if not self.ended.done():
            self.ended.set_result(ending)

    def _receive(self, text: bytes, now: float) -> None:
        try:
            message = media.read(text, self._stream_sid)
        except ValueError as error:
            self._tally.complain("31951", f"call {self._number}: {error}: {text[:120]!r}")
            return
        if isinstance(message, media.Media):
            audio = message.media.payload
            self._dry_at = max(self._dry_at, now) + len(audio) / BYTES_PER_MS / 1_000
            self._down.arrived(audio, now)
        elif isinstance(message, media.Mark):
            if self._dry_at <= now:
                self._return_mark(message.mark.name)
            else:
                self._marks.append((self._dry_at, message.mark.name))
        else:
            self._clear(now)

    def _clear(self, now: float) -> None:
        if self.interrupted_at is not None:
            self._tally.clear.append((now - self.interrupted_at) * 1_000)
            self.interrupted_at = None
        self._dry_at = time.monotonic()
        self._down.cleared()
        while self._marks:
            self._return_mark(self._marks.popleft()[1])
