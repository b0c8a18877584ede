"""Pauses double, up to a bound."""

import sys

from voice_openai_connect import limits
from voice_openai_connect.gateway.pause import doubled


def test_each_failure_doubles_the_pause_until_it_is_as_long_as_it_may_be() -> None:
    assert [doubled(5, failures, at_most_s=60) for failures in range(6)] == [5, 10, 20, 40, 60, 60]


def test_years_of_failures_make_no_number_that_is_too_large() -> None:
    assert doubled(5.0, sys.maxsize, at_most_s=600) == 600


def test_every_pause_reaches_its_longest_before_it_stops_doubling() -> None:
    for first_s, longest_s in (
        (limits.OUTBOX_PAUSE_FIRST_S, limits.OUTBOX_PAUSE_MAX_S),
        (limits.PRESENCE_RETRY_S, limits.PRESENCE_RETRY_MAX_S),
    ):
        assert first_s * 2**limits.PAUSE_DOUBLINGS >= longest_s
