import math

from bench.load.spread import Spread


def spread_of(*samples: float) -> Spread:
    spread = Spread()
    for sample in samples:
        spread.add(sample)
    return spread


def test_a_percentile_is_the_value_that_so_many_samples_do_not_exceed():
    spread = spread_of(*range(1, 101))

    assert (spread.percentile(0.5), spread.percentile(0.99), spread.percentile(1)) == (50, 99, 100)


def test_one_sample_among_few_is_its_own_ninety_ninth_percentile():
    assert spread_of(1, 1, 1, 400).percentile(0.99) == 400


def test_small_values_are_kept_to_a_tenth_and_never_made_smaller():
    assert spread_of(0.12).percentile(0.5) == 0.2
    assert spread_of(123.4).percentile(0.5) == 124


def test_the_worst_is_exact():
    assert spread_of(3.0, 123.456).worst == 123.456


def test_nothing_measured_is_said_so():
    assert math.isnan(Spread().percentile(0.5))
    assert str(Spread()) == "nothing measured"


def test_memory_does_not_grow_with_samples():
    spread = spread_of(*(n % 500 for n in range(50_000)))

    assert len(vars(spread)["_buckets"]) <= 600
    assert spread.count == 50_000
