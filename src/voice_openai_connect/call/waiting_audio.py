"""The caller's words while the model is not there yet."""

from collections import deque

from voice_openai_connect import limits

_BASE64_BYTES_PER_MS = limits.BYTES_PER_MS * 4 / 3


class WaitingAudio:
    """Keeps the last `CALLER_AUDIO_HELD_MS` of base64 frames; older ones are dropped and counted."""

    def __init__(self) -> None:
        self._payloads: deque[str] = deque()
        self._chars = 0
        self._dropped = 0

    def add(self, payload: str) -> None:
        """Keep a frame, at the expense of the oldest."""
        self._payloads.append(payload)
        self._chars += len(payload)
        while self._chars > limits.CALLER_AUDIO_HELD_MS * _BASE64_BYTES_PER_MS:
            oldest = self._payloads.popleft()
            self._chars -= len(oldest)
            self._dropped += len(oldest)

    def take(self) -> tuple[list[str], int]:
        """What was kept, in order, and the ms that had to be dropped. Empties the store."""
        payloads, dropped_ms = list(self._payloads), round(self._dropped / _BASE64_BYTES_PER_MS)
        self._payloads.clear()
        self._chars = self._dropped = 0
        return payloads, dropped_ms
