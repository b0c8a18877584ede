"""Whether one more call fits in. Time is a number that the test moves; the descriptors are real where it says so."""

import asyncio
import math
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from voice_openai_connect import limits
from voice_openai_connect.gateway import admission
from voice_openai_connect.gateway.admission import (
    Admission,
    LagMeter,
    calls_that_fit,
    free_descriptors,
    raise_descriptors,
    watch_lag,
)

DEADLINE_S = 10
ENOUGH = limits.DESCRIPTORS_RESERVED + limits.DESCRIPTORS_A_CALL


def looked_on_time(meter: LagMeter, start: int, until: int) -> None:
    for now in range(start, until + 1, limits.LAG_LOOK_MS):
        meter.looked(now)


def stalled(for_ms: int) -> LagMeter:
    """A loop that was on time up to 1000, and came round again so much too late."""
    meter = LagMeter()
    looked_on_time(meter, 0, 1_000)
    meter.looked(1_000 + limits.LAG_LOOK_MS + for_ms)
    return meter


# --- how late the loop is


def test_a_loop_that_is_on_time_has_no_lag() -> None:
    meter = LagMeter()
    looked_on_time(meter, 0, 5_000)

    assert (meter.lag_ms, meter.is_busy(5_050)) == (0, False)


def test_before_the_first_look_nothing_is_known_and_nothing_is_refused() -> None:
    assert not LagMeter().is_busy(1e9)


def test_a_short_stall_is_no_overload() -> None:
    assert not stalled(500).is_busy(1_600)


def test_a_stall_of_two_seconds_is() -> None:
    assert stalled(2_000).is_busy(3_100)


def test_a_loop_that_is_always_late_is_overloaded_before_long() -> None:
    meter, now, looks = LagMeter(), 0, 0
    meter.looked(0)
    while not meter.is_busy(now):
        now += limits.LAG_LOOK_MS + 2 * limits.LAG_BUSY_MS
        meter.looked(now)
        looks += 1

    assert looks == 2


def test_a_loop_that_stands_still_is_known_before_it_comes_round() -> None:
    meter = LagMeter()
    looked_on_time(meter, 0, 1_000)

    assert not meter.is_busy(1_100)
    assert meter.is_busy(3_100)


def test_there_is_room_again_only_after_a_second_of_calm() -> None:
    meter = stalled(2_000)
    now = 3_100
    while meter.lag_ms > limits.LAG_CALM_MS:
        now += limits.LAG_LOOK_MS
        meter.looked(now)
    calm_since = now
    while meter.is_busy(now):
        now += limits.LAG_LOOK_MS
        meter.looked(now)

    assert now - calm_since == limits.LAG_CALM_FOR_MS - limits.LAG_LOOK_MS


def test_between_calm_and_busy_it_stays_what_it_is() -> None:
    late = (limits.LAG_BUSY_MS + limits.LAG_CALM_MS) // 2
    fresh, recovering = LagMeter(), stalled(2_000)
    recovering_from = 1_000 + limits.LAG_LOOK_MS + 2_000
    for look in range(1, 60):
        fresh.looked(look * (limits.LAG_LOOK_MS + late))
        recovering.looked(recovering_from + look * (limits.LAG_LOOK_MS + late))

    assert not fresh.is_busy(59 * (limits.LAG_LOOK_MS + late))
    assert recovering.is_busy(recovering_from + 59 * (limits.LAG_LOOK_MS + late))


async def test_the_lag_of_the_real_loop_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LAG_LOOK_MS", 1)
    told: asyncio.Queue[float] = asyncio.Queue()
    watching = asyncio.create_task(watch_lag(LagMeter(), told.put_nowait))
    async with asyncio.timeout(DEADLINE_S):
        looks = [await told.get() for _ in range(3)]
    watching.cancel()

    assert all(lag >= 0 for lag in looks)


# --- descriptors


@pytest.mark.parametrize("told", [True, False])
def test_descriptors_that_are_open_are_not_free(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    if not told:  # as on macOS, and on Linux before 6.2
        monkeypatch.setattr(sys, "platform", "darwin")
    free = free_descriptors()
    ours = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
    try:
        assert free_descriptors() == free - 10
    finally:
        for each in ours:
            os.close(each)


def test_without_a_limit_there_are_always_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def unlimited(_: int) -> tuple[int, int]:
        return resource.RLIM_INFINITY, resource.RLIM_INFINITY

    monkeypatch.setattr(resource, "getrlimit", unlimited)

    assert free_descriptors() == math.inf


def test_where_nobody_can_count_them_they_hold_up_no_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(admission, "_OPEN_DESCRIPTORS", tmp_path / "not there")

    assert free_descriptors() == math.inf


def test_when_there_is_none_left_to_look_with_there_is_none_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class AllTaken:
        def stat(self) -> os.stat_result:
            return os.stat_result((0,) * 10)

        def iterdir(self) -> list[Path]:
            raise OSError(24, "Too many open files")

    monkeypatch.setattr(admission, "_OPEN_DESCRIPTORS", AllTaken())

    assert free_descriptors() == 0


def test_a_call_fits_with_all_that_it_needs_or_not_at_all() -> None:
    assert calls_that_fit(ENOUGH) == 1
    assert calls_that_fit(ENOUGH - 1) < 1
    assert calls_that_fit(ENOUGH + 2 * limits.DESCRIPTORS_A_CALL) == 3
    assert calls_that_fit(math.inf) > 10_000


# --- admission


def gate(per_second: float = 1.0, free: float = math.inf) -> Admission:
    return Admission(calls_per_second=per_second, free=lambda: free)


def test_calls_come_in_as_fast_as_is_agreed_with_some_at_once() -> None:
    door = gate(per_second=5)
    at_once = int(5 * limits.CALLS_BURST_S)

    assert [door.refusal(100.0) for _ in range(at_once + 2)] == [""] * at_once + ["rate"] * 2
    assert [door.refusal(100.2) for _ in range(2)] == ["", "rate"]


def test_even_at_the_lowest_rate_a_call_comes_in() -> None:
    door = gate(per_second=0.1)

    assert [door.refusal(100.0), door.refusal(105.0), door.refusal(110.1)] == ["", "rate", ""]


def test_calls_that_are_taken_up_again_are_not_held_against_a_rate() -> None:
    door = gate(per_second=1)

    assert [door.refusal(100.0, resumed=True) for _ in range(500)] == [""] * 500
    assert door.refusal(100.0) == ""


def test_a_process_that_lags_takes_no_new_call_but_one_that_is_taken_up_again() -> None:
    door = gate()
    door.lag = stalled(2_000)

    assert door.refusal(3.1) == "busy"
    assert door.refusal(3.1, resumed=True) == ""
    assert door.trouble(3.1) == "busy"


def test_without_descriptors_no_call_is_taken_that_could_not_be_carried_on() -> None:
    door = gate(free=ENOUGH - 1)

    assert door.refusal(0) == door.refusal(0, resumed=True) == door.trouble(0) == "descriptors"


def test_a_call_that_is_refused_for_another_reason_uses_up_no_rate() -> None:
    free = [0.0]
    door = Admission(calls_per_second=1, free=lambda: free[0])
    for _ in range(10):
        assert door.refusal(100.0) == "descriptors"
    free[0] = math.inf

    assert door.refusal(100.0) == ""


def test_looking_whether_there_is_trouble_uses_up_nothing() -> None:
    door = gate(per_second=0.1)
    for _ in range(10):
        assert door.trouble(100.0) == ""

    assert door.refusal(100.0) == ""


@pytest.fixture
def few_allowed() -> Iterator[int]:
    """For as long as the test runs; how many may be allowed."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, most))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))


def test_a_process_that_begins_with_few_descriptors_takes_what_it_may_have(
    few_allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DESCRIPTORS_MAX", 700)
    raise_descriptors()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (700, few_allowed)

    monkeypatch.setattr(limits, "DESCRIPTORS_MAX", 600)
    raise_descriptors()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (700, few_allowed)


def allowing(monkeypatch: pytest.MonkeyPatch, allowed: int, most: int, setting: Callable[..., None]) -> None:
    def told(_: int) -> tuple[int, int]:
        return allowed, most

    monkeypatch.setattr(resource, "getrlimit", told)
    monkeypatch.setattr(resource, "setrlimit", setting)


def test_more_than_the_system_allows_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, tuple[int, int]]] = []

    def ask(which: int, both: tuple[int, int]) -> None:
        asked.append((which, both))

    allowing(monkeypatch, 256, 1_024, ask)
    raise_descriptors()
    assert asked == [(resource.RLIMIT_NOFILE, (1_024, 1_024))]


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_a_system_that_refuses_leaves_it_as_it_is(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuse(*_: object) -> None:
        raise error

    allowing(monkeypatch, 256, resource.RLIM_INFINITY, refuse)
    raise_descriptors()
