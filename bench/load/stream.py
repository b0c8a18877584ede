"""One live media stream of the load generator: exact 20 ms, both ways, held against the ledger."""

import asyncio
from collections.abc import Callable
from typing import Final

from bench.load import blocks, media
from bench.load.ledger import CallBook, Ledger, ModelTrack
from bench.load.person import Person
from bench.load.playout import Playout
from bench.load.sockets import BACKLOG_BYTES, Ending, LightSocket
from bench.load.spread import Spread
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.limits import FRAME_BYTES

FRAME_S: Final = media.FRAME_MS / 1_000
_SOUND: Final = holding_sound()
HOLDING: Final = frozenset(_SOUND[start : start + FRAME_BYTES] for start in range(0, len(_SOUND), FRAME_BYTES))
"""The gateway's own sound: the only audio that a caller may hear which the model has not made."""


class Line:
    """What lasts as long as the call, over all its streams: the caller's frame counter, silences, the pacing."""

    def __init__(self, pacing: Spread, silences: Spread) -> None:
        self.frames = 0
        self.pacing = pacing
        """How late each frame was sent."""
        self.silences = silences
        """How long callers waited for a sound when it was the gateway's turn."""
        self.waits_since: float | None = None
        """Since when it has been the gateway's turn."""


class MediaStream:
    """A stream on an open socket, from `start` to its end; `ended` says how. Its clock is the loop's."""

    def __init__(
        self,
        socket: LightSocket,
        writer: media.Writer,
        stream_sid: str,
        *,
        person: Person,
        line: Line,
        book: CallBook,
        ledger: Ledger,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Ending] = self._loop.create_future()
        self.first_voice_at: float | None = None
        """When the caller first heard the model in this stream."""
        self.first_sound_at: float | None = None
        """When the caller first heard anything in this stream, the holding sound included."""
        self.on_voice: Callable[[], None] = _nothing
        """Called once, at the first word."""
        self._socket = socket
        self._writer = writer
        self._stream_sid = stream_sid
        self._person = person
        self._line = line
        self._book = book
        self._ledger = ledger
        self._track = ModelTrack(ledger, book, HOLDING)
        self._playout = Playout()
        self._timer: asyncio.TimerHandle | None = None
        socket.on_text = self._receive
        socket.on_end = self._over

    def begin(self, parameters: dict[str, str]) -> None:
        """Send `connected` and `start`, and let the clock run."""
        self._socket.send(self._writer.connected())
        self._socket.send(self._writer.start(parameters))
        self._due = self._loop.time()
        self._tick()

    def drop(self) -> None:
        """Break the connection off."""
        self._socket.drop()

    def leave(self) -> None:
        """The caller hangs up: `stop`, then a close."""
        self._stop()
        self._socket.send(self._writer.stop())
        self._socket.close()

    def _over(self, ending: Ending) -> None:
        self._stop()
        if not self.ended.done():
            self.ended.set_result(ending)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- every 20 ms

    def _tick(self) -> None:
        now = self._loop.time()
        self._line.pacing.add((now - self._due) * 1_000)
        self._due += FRAME_S
        self._timer = self._loop.call_at(self._due, self._tick)
        turn = self._person.step(hears_voice=self._play(now))
        self._speak(turn, now)
        if self._person.presses_key:
            self._person.presses_key = False
            self._socket.send(self._writer.dtmf("0"))
        if self._person.has_left:
            self.leave()

    def _play(self, now: float) -> bool:
        """Play a frame and return the marks that are due. Whether the caller hears the model."""
        frame, marks = self._playout.next_frame()
        for name in marks:
            self._socket.send(self._writer.mark(name))
        if not frame:
            return False
        voice = frame not in HOLDING
        self._hears(now, voice=voice)
        return voice

    def _hears(self, now: float, *, voice: bool) -> None:
        if self._line.waits_since is not None:
            self._line.silences.add((now - self._line.waits_since) * 1_000)
            self._line.waits_since = None
        self.first_sound_at = self.first_sound_at or now
        if voice and self.first_voice_at is None:
            self.first_voice_at = now
            self.on_voice()

    def _speak(self, turn: int, now: float) -> None:
        line = self._line
        self._socket.send(self._writer.media(blocks.write(self._book.number, turn, line.frames, blocks.stamp(now))))
        line.frames += 1
        if turn:
            line.waits_since = None if self._person.speaking else now
        if self._socket.backlog > BACKLOG_BYTES:
            self._ledger.complain(self._book.number, "31930: the gateway does not read")

    # --- from the gateway

    def _receive(self, text: bytes) -> None:
        try:
            self._obey(media.read(text, self._stream_sid))
        except ValueError as error:
            self._ledger.complain(self._book.number, f"31951: {error}: {text[:200]!r}")

    def _obey(self, message: media.Media | media.Mark | media.Clear) -> None:
        if isinstance(message, media.Media):
            audio, now = message.media.payload, self._loop.time()
            self._playout.add(audio)
            for start in range(0, len(audio), FRAME_BYTES):
                self._track.take(audio[start : start + FRAME_BYTES], now)
            return
        if isinstance(message, media.Mark):
            marks = self._playout.mark(message.mark.name)
        else:
            marks = self._playout.clear()
            self._track.clear()
        for name in marks:
            self._socket.send(self._writer.mark(name))


def _nothing() -> None:
    """Nobody waits for the first word."""
