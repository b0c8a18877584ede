"""Whoever gives an errand waits for nobody; the thread does one after the other."""

from collections.abc import Iterator
from functools import partial
from threading import Event, get_ident

import pytest

from voice_openai_connect.errands import Errands

SOON_S = 20


@pytest.fixture
def errands() -> Iterator[Errands]:
    errands = Errands("test")
    yield errands
    errands.close(SOON_S)


@pytest.fixture
def stuck(errands: Errands) -> Iterator[Event]:
    """What the thread is waiting for."""
    goes_on = Event()
    begun = Event()

    def hang() -> None:
        begun.set()
        goes_on.wait(SOON_S)

    errands.put(hang)
    assert begun.wait(SOON_S)
    yield goes_on
    goes_on.set()


def test_errands_are_done_in_order_by_one_other_thread(errands: Errands) -> None:
    done = list[int]()
    threads = set[int]()
    for number in range(100):
        errands.put(partial(done.append, number))
        errands.put(lambda: threads.add(get_ident()))

    assert errands.settled(SOON_S)
    assert done == list(range(100))
    assert len(threads) == 1
    assert get_ident() not in threads


def test_what_waits_behind_one_that_hangs_is_counted(errands: Errands, stuck: Event) -> None:
    for _ in range(3):
        errands.put(lambda: None)

    assert errands.waiting == 3
    assert not errands.settled(0)
    stuck.set()
    assert errands.settled(SOON_S)
    assert errands.waiting == 0


def test_the_end_waits_for_all_that_was_given_and_for_nothing_that_hangs(errands: Errands, stuck: Event) -> None:
    done = list[str]()
    errands.put(partial(done.append, "before"))

    errands.close(0)
    errands.put(partial(done.append, "after"))
    assert done == []
    stuck.set()
    errands.close(SOON_S)
    assert done == ["before"]
