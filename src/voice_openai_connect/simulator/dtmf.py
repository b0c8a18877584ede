"""Touch tones: made as a carrier sends them, and recognised from the sound as an exchange does.

The tone pairs are ITU-T Q.23; what a receiver must accept is Q.24 (40 ms tones, 40 ms gaps, ±1.5 % in frequency).
"""

import math
import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voice_openai_connect.limits import FRAME_BYTES
from voice_openai_connect.simulator import sound

ROWS: Final = (697.0, 770.0, 852.0, 941.0)
COLUMNS: Final = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS: Final = ("123A", "456B", "789C", "*0#D")
PAUSES_MS: Final = {"w": 500, "W": 1_000}
"""Twilio's `sendDigits` letters for waiting."""

TONE_DBFS: Final = -10.0
"""Of each of the two sines: together they peak at -4 dBFS and cannot clip."""


def tones(digits: str, *, tone_ms: int = 100, gap_ms: int = 100) -> bytes:
    """µ-law of those keys pressed one after the other, each followed by a gap. `w` waits half a second, `W` a whole.

    Raises `ValueError` for anything but ``0-9 A-D # * w W``.
    """
    if not re.fullmatch(r"[0-9A-D#*wW]*", digits, re.ASCII):
        raise ValueError(f"only 0-9 A-D # * w W can be sent as tones, not {digits!r}")
    return b"".join(
        sound.silence(PAUSES_MS[key]) if key in PAUSES_MS else _press(key, tone_ms) + sound.silence(gap_ms)
        for key in digits
    )


def _press(key: str, ms: int) -> bytes:
    row = next(i for i, keys in enumerate(KEYS) if key in keys)
    low, high = ROWS[row], COLUMNS[KEYS[row].index(key)]
    return sound.ulaw_encode(sound.tone(low, ms, TONE_DBFS) + sound.tone(high, ms, TONE_DBFS))


# --- Recognition. Each window is correlated with the eight tones (and a little beside each: 20 ms of sound tells
# frequencies apart to about 50 Hz, and senders may be 1.5 % off). A key is two tones that are nearly all of the sound.

WINDOW: Final = FRAME_BYTES
HOP: Final = WINDOW // 2
"""Half a frame, so that a tone of 40 ms covers at least two whole windows however it falls."""
DETUNINGS: Final = (-0.018, -0.009, 0.0, 0.009, 0.018)
WEAKEST_DBFS: Final = -42.0
TWIST_DB: Final = 8.0
"""How much louder one tone may be than the other. Q.24 lists 4 to 10 dB, by country."""
PURITY: Final = 0.85
"""The share of a window's energy the two tones must have. Speech has a fundamental and other harmonics and
stays below; tones with noise 15 dB under them stay above."""
HITS: Final = 2
MISSES: Final = 4
"""Windows without a key before the same key counts again: a short drop-out is not a second press."""


def _probes() -> NDArray[np.complex128]:
    """One column per tone and detuning: 8 tones x 5 detunings."""
    hz = np.outer(ROWS + COLUMNS, 1 + np.array(DETUNINGS)).ravel()
    return np.exp(-2j * np.pi * np.outer(np.arange(WINDOW), hz) / sound.RATE)


_PROBES: Final = _probes()


def _key_in(window: NDArray[np.float64]) -> str:
    """The key whose tones fill these 160 samples, or nothing."""
    power = float(np.mean(window**2))
    if power < sound.FULL_SCALE**2 / 2 * 10 ** (WEAKEST_DBFS / 10):
        return ""
    # einsum, not @: for so little work the threads of a BLAS cost twenty times as much as they save.
    found = np.abs(np.einsum("n,nk->k", window, _PROBES)).reshape(8, -1).max(axis=1)
    tone_power = 2 * found**2 / WINDOW**2
    row, column = int(tone_power[:4].argmax()), int(tone_power[4:].argmax())
    low, high = float(tone_power[row]), float(tone_power[4 + column])
    if low + high < PURITY * power or min(low, high) <= 0 or abs(10 * math.log10(low / high)) > TWIST_DB:
        return ""
    return KEYS[row][column]


class DtmfDetector:
    """Listens to a line and says which keys were pressed."""

    def __init__(self) -> None:
        self._tail = np.zeros(HOP)
        self._candidate = ""
        self._hits = 0
        self._misses = 0
        self._held = ""

    def feed(self, frame: bytes) -> str:
        """Hear the next 160 bytes of µ-law; return the keys recognised in them, usually none.

        A key is reported once, when its tone has lasted about 30 ms. Raises `ValueError` for another length.
        """
        if len(frame) != FRAME_BYTES:
            raise ValueError(f"a frame is {FRAME_BYTES} bytes of µ-law, not {len(frame)}")
        heard = np.concatenate((self._tail, sound.ulaw_decode(frame).astype(np.float64)))
        self._tail = heard[-HOP:]
        return "".join(self._step(_key_in(heard[at : at + WINDOW])) for at in (0, HOP))

    def _step(self, key: str) -> str:
        """Take one window's verdict; return a key when it has just become certain."""
        self._hits = self._hits + 1 if key == self._candidate else 1
        self._candidate = key
        if not key:
            self._misses += 1
            if self._misses >= MISSES:
                self._held = ""
            return ""
        if key != self._held and self._hits < HITS:
            return ""
        new = key if key != self._held else ""
        self._held, self._misses = key, 0
        return new
