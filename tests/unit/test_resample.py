import math

import pytest

from voice_openai_connect.resample import to_telephone_rate

RATES = (16_000, 22_050, 24_000, 44_100, 48_000)


def tone(hz: float, rate: int, ms: int = 500) -> list[float]:
    return [math.sin(2 * math.pi * hz * n / rate) for n in range(rate * ms // 1_000)]


def loudness(samples: list[float], hz: float) -> float:
    """How much of a full-scale tone of `hz` there is, in dB; the ends, where the filter begins, left out."""
    middle = samples[400:-400]
    turn = 2 * math.pi * hz / 8_000
    real = sum(s * math.cos(turn * n) for n, s in enumerate(middle))
    imaginary = sum(s * math.sin(turn * n) for n, s in enumerate(middle))
    return 20 * math.log10(max(2 * math.hypot(real, imaginary) / len(middle), 1e-9))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hz", [300, 1_000, 2_800])
def test_what_a_telephone_carries_arrives_as_loud_as_it_was(rate: int, hz: int) -> None:
    assert abs(loudness(to_telephone_rate(tone(hz, rate), rate), hz)) < 1


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hz", [4_900, 5_500, 7_000])
def test_what_a_telephone_cannot_carry_does_not_come_back_as_another_tone(rate: int, hz: int) -> None:
    assert loudness(to_telephone_rate(tone(hz, rate), rate), 8_000 - hz) < -50


@pytest.mark.parametrize("rate", RATES)
def test_a_sound_is_as_long_afterwards_as_before(rate: int) -> None:
    assert len(to_telephone_rate([0.0] * rate, rate)) == 8_000


@pytest.mark.parametrize("rate", RATES)
def test_nothing_is_shifted_in_time(rate: int) -> None:
    click = [0.0] * rate
    click[rate // 2] = 1.0
    lowered = to_telephone_rate(click, rate)

    assert max(range(len(lowered)), key=lambda n: abs(lowered[n])) == 4_000


def test_what_is_at_the_telephone_s_own_rate_stays_as_it_is() -> None:
    assert to_telephone_rate([1, -2, 3], 8_000) == [1, -2, 3]
