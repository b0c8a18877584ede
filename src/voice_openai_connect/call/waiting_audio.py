"""The caller's words while the model is not there yet."""

from collections import deque

from voice_openai_connect import limits


class WaitingAudio:
    """Keeps the last `CALLER_AUDIO_HELD_MS` of the caller's frames; older ones are dropped and counted."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0

    def add(self, audio: bytes) -> None:
        """Keep a frame, at the expense of the oldest."""
        self._frames.append(audio)
        self._bytes += len(audio)
        while self._bytes > limits.CALLER_AUDIO_HELD_MS * limits.BYTES_PER_MS:
            oldest = self._frames.popleft()
            self._bytes -= len(oldest)
            self._dropped += len(oldest)

    def take(self) -> tuple[list[bytes], int]:
        """What was kept, in order, and the ms that had to be dropped. Empties the store."""
        frames, dropped_ms = list(self._frames), round(self._dropped / limits.BYTES_PER_MS)
        self._frames.clear()
        self._bytes = self._dropped = 0
        return frames, dropped_ms
