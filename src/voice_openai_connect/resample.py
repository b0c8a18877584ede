"""Any of the usual sample rates down to the telephone's 8 kHz, once, at start; needs nothing but Python.

A windowed sinc, evaluated where the new samples lie: flat to 3 kHz, and down by 60 dB from 4.7 kHz on. What lies
between 4 and 4.7 kHz comes back above 3.3 kHz, where a telephone ends.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import cos, floor, pi, sin
from operator import mul
from typing import Final

TELEPHONE_HZ: Final = 8_000
_CUTOFF_HZ: Final = 3_800
_REACH: Final = 12
"""How many samples at 8 kHz the filter looks to either side."""


def to_telephone_rate(samples: Sequence[float], rate: int) -> list[float]:
    """`samples` at `rate` Hz (8,000 or more) as samples at 8,000 Hz, as long as before."""
    if rate == TELEPHONE_HZ:
        return list(samples)
    step = Fraction(rate, TELEPHONE_HZ)
    reach = floor(_REACH * step)
    taps = [_taps(phase / step.denominator, rate, reach) for phase in range(step.denominator)]
    padded = [0.0] * reach + list(samples) + [0.0] * (reach + 1)
    width = 2 * reach + 1
    lowered: list[float] = []
    for n in range(floor(len(samples) / step)):
        whole, phase = divmod(n * step.numerator, step.denominator)
        lowered.append(sum(map(mul, taps[phase], padded[whole : whole + width])))
    return lowered


def _taps(offset: float, rate: int, reach: int) -> list[float]:
    """The filter for a sample that lies `offset` behind the one in the middle; passes a constant unchanged."""
    taps = [_windowed_sinc(k - offset, 2 * _CUTOFF_HZ / rate, reach + 1) for k in range(-reach, reach + 1)]
    total = sum(taps)
    return [tap / total for tap in taps]


def _windowed_sinc(x: float, band: float, half_width: int) -> float:
    """Blackman's window: a wide slope, and quiet beyond it."""
    at = x / half_width
    window = 0.42 + 0.5 * cos(pi * at) + 0.08 * cos(2 * pi * at)
    return window * (band if x == 0 else sin(pi * band * x) / (pi * x))
