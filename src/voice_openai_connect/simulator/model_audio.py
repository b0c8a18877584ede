"""Audio between the wire's formats and µ-law, and the buffer the caller's audio waits in until its turn is over."""

from typing import Final

import numpy as np

from voice_openai_connect.limits import BYTES_PER_MS, FRAME_BYTES
from voice_openai_connect.simulator.model_protocol import COMMIT_MS, RefusedError
from voice_openai_connect.simulator.sound import RATE, Samples, resample, ulaw_decode, ulaw_encode

PCMU: Final = "audio/pcmu"
PCM: Final = "audio/pcm"
PCM_RATE: Final = 24_000
_PCM_PER_SAMPLE: Final = 2 * PCM_RATE // RATE
"""Bytes of 16-bit 24 kHz audio that last as long as one byte of µ-law."""


def bytes_per_ms(audio_format: str) -> int:
    """How many bytes of a format last a millisecond."""
    return BYTES_PER_MS if audio_format == PCMU else BYTES_PER_MS * _PCM_PER_SAMPLE


def to_wire(ulaw: bytes, audio_format: str) -> bytes:
    """µ-law in the session's output format."""
    if audio_format == PCMU:
        return ulaw
    return resample(ulaw_decode(ulaw), RATE, PCM_RATE).astype("<i2").tobytes()


class CallerAudio:
    """What the caller has said since the last turn. `audio_format` may change while nothing is half received."""

    def __init__(self) -> None:
        self.audio_format = PCM
        self.position_ms = 0
        """How much audio has been written this session."""
        self._received_bytes = 0
        self._partial = bytearray()
        self._frames = bytearray()
        self._waiting = bytearray()

    def write(self, data: bytes) -> list[bytes]:
        """Take in audio of the session's format; returns the 20 ms µ-law frames that are now complete."""
        ulaw = data if self.audio_format == PCMU else self._from_pcm(data)
        self._received_bytes += len(ulaw)
        self.position_ms = self._received_bytes // BYTES_PER_MS
        self._waiting += ulaw
        self._frames += ulaw
        whole = len(self._frames) - len(self._frames) % FRAME_BYTES
        done = bytes(self._frames[:whole])
        del self._frames[:whole]
        return [done[i : i + FRAME_BYTES] for i in range(0, whole, FRAME_BYTES)]

    def _from_pcm(self, data: bytes) -> bytes:
        """Each three samples become one, their mean: crude, but the same whatever the pieces are."""
        self._partial += data
        whole = len(self._partial) - len(self._partial) % _PCM_PER_SAMPLE
        samples = np.frombuffer(bytes(self._partial[:whole]), dtype="<i2").reshape(-1, _PCM_PER_SAMPLE // 2)
        del self._partial[:whole]
        means: Samples = samples.mean(axis=1).astype(np.int16)
        return ulaw_encode(means)

    @property
    def waiting_ms(self) -> float:
        """How much audio would be committed."""
        return len(self._waiting) / BYTES_PER_MS

    def keep_last(self, ms: int) -> None:
        """Forget what is older: nobody spoke in it."""
        del self._waiting[: max(0, len(self._waiting) - ms * BYTES_PER_MS)]

    def clear(self) -> None:
        """Forget everything that waits."""
        self._waiting.clear()

    def take(self) -> bytes:
        """The waiting audio, which waits no longer."""
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken

    def check_commit(self) -> None:
        """Refuse to commit less than the service would."""
        if self.waiting_ms < COMMIT_MS:
            raise RefusedError(
                "Error committing input audio buffer: buffer too small. "
                f"Expected at least {COMMIT_MS}ms of audio, but buffer only has {self.waiting_ms:.2f}ms of audio.",
                "input_audio_buffer_commit_empty",
            )
