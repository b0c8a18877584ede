"""What the gateway has sent and the caller has not heard yet, and the truth about what was heard.

No clock and no socket: times are arguments, milliseconds since the call began.
"""

from collections import deque
from dataclasses import dataclass, field

from voice_openai_connect.limits import BYTES_PER_MS, FRAME_BYTES


@dataclass(slots=True)
class SentAudio:
    """One `media` message from the gateway. What was not played has been cleared, or never had its turn."""

    received_ms: int
    size: int
    played: int = 0

    @property
    def played_ms(self) -> int:
        """How much of it the caller heard."""
        return self.played // BYTES_PER_MS


@dataclass(slots=True)
class SentMark:
    """One `mark` message from the gateway. `heard` is None until it is returned, and then says whether the caller
    has heard everything before it; false means that it was cleared."""

    received_ms: int
    name: str
    position: int
    heard: bool | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """Up to 20 ms of the gateway's audio, as it went to the caller's ear at `at_ms`."""

    at_ms: int
    audio: bytes


@dataclass
class Playout:
    """The queue of one stream. All positions are bytes from the stream's start that are or will be played.

    Audio is handed out in frames; a frame that has been handed out is heard, whatever comes next, and it has been
    heard to its end when the next one is asked for. That is when its marks are due.
    """

    sent: list[SentAudio] = field(default_factory=list[SentAudio])
    marks: list[SentMark] = field(default_factory=list[SentMark])
    heard: list[Heard] = field(default_factory=list[Heard])
    _queue: bytearray = field(default_factory=bytearray)
    _waiting_audio: deque[SentAudio] = field(default_factory=deque[SentAudio])
    _waiting_marks: deque[SentMark] = field(default_factory=deque[SentMark])
    _begun: int = 0
    _finished: int = 0

    @property
    def queued_ms(self) -> int:
        """How much waits to be played."""
        return len(self._queue) // BYTES_PER_MS

    @property
    def played_ms(self) -> int:
        """How much has been handed out to be heard."""
        return self._begun // BYTES_PER_MS

    def add(self, audio: bytes, now_ms: int) -> None:
        """Queue audio of any length."""
        message = SentAudio(now_ms, len(audio))
        self.sent.append(message)
        self._waiting_audio.append(message)
        self._queue += audio

    def mark(self, name: str, now_ms: int) -> list[SentMark]:
        """Queue a mark. Returned at once when nothing is queued and nothing is being played."""
        mark = SentMark(now_ms, name, self._begun + len(self._queue))
        self.marks.append(mark)
        self._waiting_marks.append(mark)
        return self._due()

    def clear(self) -> list[SentMark]:
        """Drop what waits. Every outstanding mark is returned, in order, though its audio was not heard."""
        self._queue.clear()
        self._waiting_audio.clear()
        flushed = list(self._waiting_marks)
        self._waiting_marks.clear()
        for mark in flushed:
            mark.heard = mark.position <= self._begun
        return flushed

    def next_frame(self, now_ms: int) -> tuple[bytes, list[SentMark]]:
        """The frame before has been heard. Returns the next one (shorter at the end, empty when there is none), and
        the marks that are due."""
        self._finished = self._begun
        due = self._due()
        frame = bytes(self._queue[:FRAME_BYTES])
        del self._queue[:FRAME_BYTES]
        self._begun += len(frame)
        self._credit(len(frame))
        if frame:
            self.heard.append(Heard(now_ms, frame))
        return frame, due

    def _due(self) -> list[SentMark]:
        due: list[SentMark] = []
        while self._waiting_marks and self._waiting_marks[0].position <= self._finished:
            due.append(self._waiting_marks.popleft())
            due[-1].heard = True
        return due

    def _credit(self, played: int) -> None:
        """Write down which messages a frame was made of."""
        while played:
            message = self._waiting_audio[0]
            share = min(played, message.size - message.played)
            message.played += share
            played -= share
            if message.played == message.size:
                self._waiting_audio.popleft()
