"""G.711 at 8 kHz to and from 16-bit PCM at 24 kHz, for models that do not speak µ-law. Needs numpy (extra `pcm16`).

The rates differ by exactly three, so one short filter serves both ways: 97 taps, flat to 3.4 kHz, 70 dB down from
4.6 kHz. It adds 2 ms. A general resampler works in blocks of 40 to 60 ms, in each direction, which a caller hears
(docs/decisions/0009).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from voice_openai_connect.call.events import Event, ModelAudio, ModelAudioFinished

Samples = NDArray[np.int16]
_Floats = NDArray[np.float32]

RATIO = 3
TAPS = 97
HALF = TAPS // 2
"""The filter's delay in 24 kHz samples: 2 ms."""


def _low_pass() -> _Floats:
    """A windowed sinc at 4 kHz, which is a third of what 24 kHz can carry."""
    sinc = np.sinc(np.arange(-HALF, HALF + 1) / RATIO) * np.kaiser(TAPS, 7.0)
    return (sinc / sinc.sum()).astype(np.float32)


def _ulaw_levels() -> NDArray[np.int16]:
    """The sample that each µ-law code stands for (ITU-T G.711)."""
    code = 0xFF - np.arange(256)
    magnitude = (((code & 0x0F) * 8 + 0x84) << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


_FILTER = _low_pass()
_LEVELS = _ulaw_levels()
_ORDER = np.argsort(_LEVELS, kind="stable")
_BORDERS = (_LEVELS[_ORDER][1:].astype(np.float32) + _LEVELS[_ORDER][:-1]) / 2
"""Halfway between neighbouring levels: a sample is coded as the level it is nearest to."""


def ulaw_decode(data: bytes) -> Samples:
    """µ-law bytes as 16-bit samples."""
    return _LEVELS[np.frombuffer(data, np.uint8)]


def ulaw_encode(samples: _Floats) -> bytes:
    """Samples on the 16-bit scale as µ-law; louder ones are clipped."""
    return _ORDER[np.searchsorted(_BORDERS, samples)].astype(np.uint8).tobytes()


class Upsampler:
    """8 kHz µ-law in, 24 kHz PCM out, without end: three samples for each byte, 2 ms late."""

    _PHASES = (RATIO * np.concatenate([_FILTER, np.zeros(2, np.float32)])).reshape(-1, RATIO)[::-1]

    def __init__(self) -> None:
        self._past: _Floats = np.zeros(len(self._PHASES) - 1, np.float32)

    def feed(self, ulaw: bytes) -> bytes:
        """The next part of the sound; any length, also none."""
        if not ulaw:
            return b""
        data = np.concatenate([self._past, ulaw_decode(ulaw).astype(np.float32)])
        self._past = data[-len(self._past) :]
        raised = sliding_window_view(data, len(self._PHASES)) @ self._PHASES
        return np.clip(np.rint(raised), -32_768, 32_767).astype("<i2").tobytes()


class Downsampler:
    """24 kHz PCM in, 8 kHz µ-law out, for one item: after `finish` one byte has come for each three samples."""

    def __init__(self) -> None:
        self._held: _Floats = np.zeros(HALF, np.float32)
        self._odd_byte = b""

    def feed(self, pcm: bytes) -> bytes:
        """The next part of the sound; pieces need not end at a sample."""
        pcm = self._odd_byte + pcm
        whole = len(pcm) & ~1
        self._odd_byte = pcm[whole:]
        return self._lower(np.frombuffer(pcm[:whole], "<i2").astype(np.float32))

    def finish(self) -> bytes:
        """What the filter still holds. The next `feed` would be another sound's."""
        return self._lower(np.zeros(HALF, np.float32))

    def _lower(self, samples: _Floats) -> bytes:
        data = np.concatenate([self._held, samples])
        if len(data) < TAPS:
            self._held = data
            return b""
        lowered = sliding_window_view(data, TAPS)[::RATIO] @ _FILTER
        self._held = data[RATIO * len(lowered) :]
        return ulaw_encode(lowered)


class Transcoder:
    """Both directions of one session, so that the call knows µ-law only."""

    def __init__(self) -> None:
        self._up = Upsampler()
        self._down = Downsampler()
        self._item_id = ""

    def to_model(self, audio: bytes) -> bytes:
        """One frame of the caller's: µ-law as PCM."""
        return self._up.feed(audio)

    def from_model(self, event: Event) -> tuple[Event, ...]:
        """The same event with µ-law instead of PCM; the end of an item brings what was held back of it."""
        match event:
            case ModelAudio():
                audio = self._of_item(event.item_id).feed(event.audio)
                return (ModelAudio(event.response_id, event.item_id, audio),) if audio else ()
            case ModelAudioFinished():
                audio = self._of_item(event.item_id).finish()
                self._item_id = ""
                return (ModelAudio(event.response_id, event.item_id, audio), event) if audio else (event,)
            case _:
                return (event,)

    def _of_item(self, item_id: str) -> Downsampler:
        """Items come one after the other; one that was cut off leaves nothing behind for the next."""
        if item_id != self._item_id:
            self._item_id, self._down = item_id, Downsampler()
        return self._down
