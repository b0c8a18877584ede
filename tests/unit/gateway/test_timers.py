"""All timers of all calls on one timer of the loop: on a loop whose clock is moved by hand."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, cast

import pytest
import uvloop

from voice_openai_connect import limits
from voice_openai_connect.gateway.timers import Timer, Timers, timers


class Handle:
    """What the loop gives for a call that is due later."""

    def __init__(self, at: float, due: Callable[[], None]) -> None:
        self.at, self.due, self.cancelled = at, due, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """As much of an event loop as timers need, with a clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0
        self.handles: list[Handle] = []
        self.errors: list[dict[str, Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, due: Callable[[], None]) -> Handle:
        self.handles.append(Handle(at, due))
        return self.handles[-1]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    @property
    def waiting(self) -> list[Handle]:
        return [handle for handle in self.handles if not handle.cancelled]

    def move_to(self, now: float) -> None:
        self.now = now
        while due := [handle for handle in self.waiting if handle.at <= now]:
            self.handles.remove(due[0])
            due[0].due()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def wheel(loop: Loop) -> Timers:
    return Timers(cast("asyncio.AbstractEventLoop", loop))


def test_timers_fire_in_the_order_of_their_times_and_of_setting(loop: Loop, wheel: Timers) -> None:
    fired: list[str] = []
    for name, at in (("c", 3.0), ("a", 1.0), ("b1", 2.0), ("b2", 2.0)):
        wheel.set(at, lambda name=name: fired.append(name))
    loop.move_to(0.9)
    assert fired == []
    loop.move_to(2.0)
    assert fired == ["a", "b1", "b2"]
    loop.move_to(5.0)
    assert fired == ["a", "b1", "b2", "c"]


def test_the_loop_has_one_timer_however_many_are_set(loop: Loop, wheel: Timers) -> None:
    for at in (5.0, 3.0, 4.0, 1.0, 2.0):
        wheel.set(at, lambda: None)
    assert [handle.at for handle in loop.waiting] == [1.0]
    loop.move_to(1.5)
    assert [handle.at for handle in loop.waiting] == [2.0]


def test_a_timer_fires_once_and_a_cancelled_one_never(loop: Loop, wheel: Timers) -> None:
    fired: list[str] = []
    once, never = wheel.set(1.0, lambda: fired.append("once")), wheel.set(1.0, lambda: fired.append("never"))
    never.cancel()
    never.cancel()
    loop.move_to(2.0)
    once.cancel()
    loop.move_to(9.0)
    assert fired == ["once"]
    assert len(wheel) == 0


def test_a_time_that_has_passed_fires_on_the_next_round_and_not_before(loop: Loop, wheel: Timers) -> None:
    fired: list[str] = []
    loop.move_to(10.0)
    wheel.set(3.0, lambda: fired.append("late"))
    assert fired == []
    loop.move_to(10.0)
    assert fired == ["late"]


def test_a_timer_may_set_and_cancel_others_while_it_fires(loop: Loop, wheel: Timers) -> None:
    fired: list[str] = []
    other = wheel.set(1.0, lambda: fired.append("other"))

    def first() -> None:
        other.cancel()
        wheel.set(1.0, lambda: fired.append("set meanwhile"))

    other.cancel()
    other = wheel.set(1.5, lambda: fired.append("other"))
    wheel.set(1.0, first)
    loop.move_to(2.0)
    assert fired == ["set meanwhile"]


def test_one_that_sets_a_later_one_while_it_fires_keeps_none_waiting(loop: Loop, wheel: Timers) -> None:
    fired: list[str] = []
    wheel.set(1.0, lambda: wheel.set(9.0, lambda: fired.append("later")) and None)
    wheel.set(2.0, lambda: fired.append("another call's"))
    loop.move_to(1.0)
    loop.move_to(2.0)

    assert fired == ["another call's"]


@pytest.mark.parametrize("seed", range(20))
def test_every_timer_fires_on_the_first_round_at_which_it_is_due(loop: Loop, wheel: Timers, seed: int) -> None:
    rng = Random(seed)
    late: list[tuple[float, float]] = []
    set_up: list[Timer] = []

    def fire(at: float) -> None:
        if loop.now != math.ceil(at):
            late.append((at, loop.now))
        for _ in range(rng.choice((0, 1, 1, 2))):
            set_one()
        if set_up and rng.random() < 0.2:
            rng.choice(set_up).cancel()

    def set_one() -> None:
        at = loop.now + rng.uniform(0.1, 9)
        set_up.append(wheel.set(at, lambda: fire(at)))

    for _ in range(5):
        set_one()
    for now in range(1, 60):
        loop.move_to(now)

    assert len(set_up) > 10
    assert late == []


def test_one_that_fails_keeps_none_waiting(loop: Loop, wheel: Timers) -> None:
    fired: list[str] = []

    def fails() -> None:
        raise KeyError

    wheel.set(1.0, fails)
    wheel.set(1.0, lambda: fired.append("next"))
    loop.move_to(1.0)
    assert fired == ["next"]
    assert isinstance(loop.errors[0]["exception"], KeyError)


def test_cancelled_timers_let_go_of_what_they_hold_and_do_not_pile_up(loop: Loop, wheel: Timers) -> None:
    kept = [wheel.set(3_000.0 + number, lambda: None) for number in range(10)]
    for _ in range(limits.TIMERS_SWEPT_AT * 20):
        timer = wheel.set(3_300.0, lambda: None)
        timer.cancel()
        assert timer.due is None
        assert len(wheel) == len(kept)
    assert wheel.entries < limits.TIMERS_SWEPT_AT * 2


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_loop_has_timers_of_its_own_and_they_fire(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def two_that_have_passed() -> None:
        fired: asyncio.Queue[str] = asyncio.Queue()
        now = asyncio.get_running_loop().time()
        timers().set(now, lambda: fired.put_nowait("second"))
        timers().set(now - 1, lambda: fired.put_nowait("first"))
        assert timers() is timers()
        async with asyncio.timeout(30):
            assert [await fired.get(), await fired.get()] == ["first", "second"]

    run(two_that_have_passed())
