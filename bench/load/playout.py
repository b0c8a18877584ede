"""The play-out queue of one stream, as Twilio keeps it: audio and marks in order, a frame every 20 ms.

The strict one is `voice_openai_connect.simulator.carrier_playout`; this one keeps nothing that was played.
"""

from collections import deque
from typing import Final

from voice_openai_connect.limits import FRAME_BYTES

_MARK: Final = str


class Playout:
    """Frames and marks that wait. A frame handed out is heard to its end when the next one is asked for."""

    def __init__(self) -> None:
        self._queue: deque[bytes | str] = deque()
        self._playing = False

    @property
    def quiet(self) -> bool:
        """Whether nothing is played and nothing waits."""
        return not self._playing and not self._queue

    def add(self, audio: bytes) -> None:
        """Queue audio. Raises `ValueError` unless it is whole frames: the gateway's promise, not Twilio's rule."""
        if not audio or len(audio) % FRAME_BYTES:
            raise ValueError(f"{len(audio)} bytes of audio are not whole frames of {FRAME_BYTES}")
        self._queue.extend(audio[start : start + FRAME_BYTES] for start in range(0, len(audio), FRAME_BYTES))

    def mark(self, name: str) -> list[str]:
        """Queue a mark; returned at once when nothing is before it."""
        if self.quiet:
            return [name]
        self._queue.append(name)
        return []

    def clear(self) -> list[str]:
        """Drop the audio that waits; every mark that is out goes back, in order."""
        marks = [entry for entry in self._queue if isinstance(entry, _MARK)]
        self._queue.clear()
        return marks

    def next_frame(self) -> tuple[bytes, list[str]]:
        """The frame before has been heard: the next one (empty when there is none), and the marks that are due."""
        due: list[str] = []
        frame = b""
        while self._queue:
            entry = self._queue.popleft()
            if isinstance(entry, bytes):
                frame = entry
                break
            due.append(entry)
        self._playing = bool(frame)
        return frame, due
