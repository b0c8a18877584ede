"""A call's checkpoints are written in order, one at a time, and only the last of those that wait."""

import asyncio
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.gateway.checkpoint_keeper import CheckpointKeeper
from voice_openai_connect.gateway.timers import timers

DEADLINE_S = 20


class Table:
    """Writes when it is let; fails when it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.written: list[object] = []
        self.broken = False
        self.refuses = False
        self.gathers = False
        self.waiting: list[asyncio.Event] = []
        self.words_kept: bool | None = None
        """Whether whoever closed a call said that there are words of it."""

    def save_checkpoint(self, _: str, checkpoint: Checkpoint, *, at_once: bool = False) -> asyncio.Future[None]:
        if self.refuses:
            raise OSError
        waiting = asyncio.Event()
        if self.gathers and not at_once:
            self.waiting.append(waiting)
        else:
            waiting.set()

        async def save() -> None:
            await self.open.wait()
            await waiting.wait()
            if self.broken:
                raise OSError
            self.written.append(checkpoint.resumes)

        return asyncio.ensure_future(save())

    def hasten(self) -> None:
        while self.waiting:  # whoever comes later is not meant
            self.waiting.pop().set()

    async def close_call(self, _: str, outcome: Outcome, *, words_kept: bool = True) -> None:
        await self.open.wait()
        self.written.append(outcome)
        self.words_kept = words_kept


def gathering_table() -> Table:
    """A table that keeps a checkpoint only when it is hastened, or wanted at once."""
    table = Table()
    table.gathers = True
    table.open.set()
    return table


def keeper(table: Any, failures: list[str], *, resumed: bool = False) -> CheckpointKeeper:
    return CheckpointKeeper(table, "CA1", lambda what, _: failures.append(what), resumed=resumed)


async def test_of_several_that_wait_only_the_last_is_written_and_never_before_an_earlier_one() -> None:
    table = Table()
    keeping = keeper(table, [])
    for number in range(5):
        keeping.keep(Checkpoint(resumes=number))
        await asyncio.sleep(0)
    table.open.set()
    await asyncio.wait_for(keeping.settled(), DEADLINE_S)

    assert table.written == [0, 4]
    assert len(timers()) == 0, "no bound of a write outlives it, and cuts the next one short"


async def test_an_outcome_is_never_followed_by_an_earlier_checkpoint() -> None:
    table = Table()
    keeping = keeper(table, [])
    keeping.keep(Checkpoint())
    await asyncio.sleep(0)
    keeping.keep(Checkpoint(resumes=2))
    keeping.close(Outcome.CONTAINED)
    keeping.keep(Checkpoint(resumes=3))
    table.open.set()
    await asyncio.wait_for(keeping.closed(), DEADLINE_S)

    assert table.written == [Outcome.CONTAINED]


@pytest.mark.parametrize(("resumed", "kept"), [(False, False), (True, False), (False, True)])
async def test_the_words_of_a_call_are_looked_for_only_if_there_may_be_any(resumed: bool, kept: bool) -> None:
    table = Table()
    keeping = keeper(table, [], resumed=resumed)
    table.open.set()
    if kept:
        keeping.keep(Checkpoint())
        await asyncio.wait_for(keeping.settled(), DEADLINE_S)
    keeping.close(Outcome.CONTAINED)
    await asyncio.wait_for(keeping.closed(), DEADLINE_S)

    assert table.words_kept is (resumed or kept)


async def test_nobody_waits_for_the_end_of_a_call_to_be_written_before_the_stream_is_closed() -> None:
    table = Table()
    keeping = keeper(table, [])
    keeping.close(Outcome.CONTAINED)
    await asyncio.wait_for(keeping.settled(), DEADLINE_S)
    assert table.written == []

    table.open.set()
    await asyncio.wait_for(keeping.closed(), DEADLINE_S)
    assert table.written == [Outcome.CONTAINED]


async def test_the_end_of_a_call_hurries_no_other_calls_checkpoints() -> None:
    table = gathering_table()
    hastened = list[None]()
    table.hasten = lambda: hastened.append(None)
    keeping = keeper(table, [])
    keeping.keep(Checkpoint())
    await asyncio.sleep(0)
    keeping.close(Outcome.CONTAINED)
    keeping.hasten()
    await asyncio.wait_for(keeping.closed(), DEADLINE_S)

    assert (table.written, hastened) == ([Outcome.CONTAINED], [])


async def test_a_write_that_fails_is_told_and_the_next_one_is_made() -> None:
    table, failures = Table(), list[str]()
    keeping = keeper(table, failures)
    table.open.set()
    table.broken = True
    keeping.keep(Checkpoint())
    await asyncio.wait_for(keeping.settled(), DEADLINE_S)
    table.broken = False
    keeping.keep(Checkpoint(resumes=3))
    await asyncio.wait_for(keeping.settled(), DEADLINE_S)

    assert failures == ["checkpoint"]
    assert table.written == [3]


async def test_a_store_that_will_not_even_begin_costs_that_checkpoint_only() -> None:
    table, failures = Table(), list[str]()
    keeping = keeper(table, failures)
    table.open.set()
    table.refuses = True
    keeping.keep(Checkpoint())
    table.refuses = False
    keeping.keep(Checkpoint(resumes=3))
    await asyncio.wait_for(keeping.settled(), DEADLINE_S)

    assert failures == ["checkpoint"]
    assert table.written == [3]


async def test_a_write_that_takes_too_long_is_told_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_MS", 1)
    table, failures = Table(), list[str]()
    keeping = keeper(table, failures)
    keeping.keep(Checkpoint(resumes=1))
    keeping.keep(Checkpoint(resumes=2))
    await asyncio.wait_for(keeping.settled(), DEADLINE_S)
    table.open.set()
    keeping.keep(Checkpoint(resumes=3))
    await asyncio.wait_for(keeping.settled(), DEADLINE_S)

    assert failures == ["checkpoint", "checkpoint"]
    assert table.written == [3]


async def test_nothing_kept_means_nothing_to_wait_for() -> None:
    await asyncio.wait_for(keeper(Table(), []).settled(), DEADLINE_S)


async def test_once_stopped_it_writes_nothing_more_not_even_what_was_waiting() -> None:
    table = Table()
    keeping = keeper(table, failures := list[str]())
    keeping.keep(Checkpoint(resumes=1))
    await asyncio.sleep(0)
    keeping.keep(Checkpoint(resumes=2))
    keeping.stop()
    keeping.keep(Checkpoint(resumes=3))
    keeping.close(Outcome.CONTAINED)
    table.open.set()
    await asyncio.wait_for(keeping.settled(), 10)

    assert table.written == failures == []


async def test_whoever_waits_for_it_to_settle_waits_for_no_other_calls_checkpoints() -> None:
    table = gathering_table()
    keeping = keeper(table, failures := list[str]())
    keeping.keep(Checkpoint(resumes=1))
    await asyncio.sleep(0)
    keeping.keep(Checkpoint(resumes=2))
    await asyncio.wait_for(keeping.settled(), DEADLINE_S)

    assert (table.written, failures) == ([1, 2], [])


async def test_a_checkpoint_whose_write_has_not_begun_is_hastened_too() -> None:
    table = gathering_table()
    keeping = keeper(table, failures := list[str]())
    keeping.keep(Checkpoint(resumes=1))
    await asyncio.wait_for(keeping.settled(), DEADLINE_S)

    assert (table.written, failures) == ([1], [])


async def test_what_comes_after_the_end_of_the_stream_is_not_gathered() -> None:
    table = gathering_table()
    keeping = keeper(table, failures := list[str]())
    keeping.hasten()
    keeping.keep(Checkpoint(resumes=1))
    await asyncio.wait_for(keeping.settled(), DEADLINE_S)

    assert (table.written, failures) == ([1], [])


async def test_that_a_person_is_needed_is_not_gathered_nor_what_was_before_it() -> None:
    table = gathering_table()
    keeping = keeper(table, failures := list[str]())
    keeping.keep(Checkpoint(resumes=1))
    await asyncio.sleep(0)
    keeping.keep(Checkpoint(resumes=2, person_needed=True))
    async with asyncio.timeout(DEADLINE_S):
        while len(table.written) < 2:  # noqa: ASYNC110 - `settled` would hasten it
            await asyncio.sleep(0)

    assert (table.written, failures) == ([1, 2], [])


async def test_a_store_that_has_nothing_of_this_call_is_not_hastened() -> None:
    table = Table()
    hastened = list[None]()
    table.hasten = lambda: hastened.append(None)
    await keeper(table, []).settled()

    assert hastened == []
