"""What is known about a call: the store knows best, and this process what the store could not be told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.next_step import DialPerson, HangUp
from voice_openai_connect.call.outcome import DialOutcome
from voice_openai_connect.gateway.call_memory import CallMemory

DEADLINE_S = 10
STEP = DialPerson(token="0123456789")
Table = Any


async def answers() -> None:
    await asyncio.sleep(0)


async def fails() -> None:
    raise ConnectionError


async def hangs() -> None:
    await asyncio.Event().wait()


class Instance(CallMemory):
    """One process's memory, and what was reported of it."""

    def __init__(self, table: Table) -> None:
        self.failures: list[str] = []
        super().__init__(table, lambda what, _: self.failures.append(what))


async def test_what_one_instance_decided_another_one_knows(table: Table) -> None:
    await Instance(table).remember_step("CA1", STEP)

    assert await Instance(table).recall("CA1") == CallItem(STEP)
    assert await Instance(table).recall("CA2") == CallItem()


@pytest.mark.parametrize("does", [fails, hangs])
async def test_a_step_is_known_here_even_if_the_store_fails_or_hangs(
    table: Table, does: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STEP_STORE_MS", 10)
    table.does = does
    one = Instance(table)
    await asyncio.wait_for(one.remember_step("CA1", STEP), DEADLINE_S)

    assert await asyncio.wait_for(one.recall("CA1"), DEADLINE_S) == CallItem(STEP)
    assert await asyncio.wait_for(one.recall("CA2"), DEADLINE_S) == CallItem()
    assert one.failures == ["remember step", "recall call", "recall call"]


async def test_a_step_that_the_store_did_not_take_is_not_lost_when_it_answers_again(table: Table) -> None:
    one = Instance(table)
    await table.save_checkpoint("CA1", Checkpoint(person_needed=True))
    table.does = fails
    await one.remember_step("CA1", STEP)
    table.does = answers

    assert (await one.recall("CA1")).step == STEP


async def test_an_instance_does_not_repeat_a_dial_after_another_one_has_moved_the_call_on(table: Table) -> None:
    one, other = Instance(table), Instance(table)
    await one.remember_step("CA1", STEP)
    await other.bring_back("CA1", Checkpoint(nobody_came="busy"))

    assert await one.recall("CA1") == CallItem(checkpoint=Checkpoint(nobody_came="busy"))


async def test_a_dial_that_the_store_was_never_told_of_is_not_repeated_either_once_it_has_been_made(
    table: Table,
) -> None:
    one = Instance(table)
    table.does = fails
    await one.remember_step("CA1", STEP)
    table.does = answers
    await table.note_dial("CA1", 1, DialOutcome.BUSY)

    assert (await one.recall("CA1")).step is None


async def test_a_goodbye_counts_after_dials_too_although_the_store_was_not_told(table: Table) -> None:
    one = Instance(table)
    await table.note_dial("CA1", 1, DialOutcome.BUSY)
    table.does = fails
    await one.remember_step("CA1", HangUp())
    table.does = answers

    assert (await one.recall("CA1")).step == HangUp()


@pytest.mark.parametrize("does", [answers, fails])
async def test_a_dial_that_was_seen_here_is_known_here_whatever_the_store_says(
    table: Table, does: Callable[[], Awaitable[None]]
) -> None:
    one = Instance(table)
    one.note_dial("CA1", 2, DialOutcome.NO_ANSWER)
    table.does = does

    assert (await one.recall("CA1")).dials == {2: DialOutcome.NO_ANSWER}


async def test_a_caller_who_was_brought_back_is_not_dialled_again_because_the_store_failed(table: Table) -> None:
    one = Instance(table)
    await one.remember_step("CA1", STEP)
    table.does = fails
    await one.bring_back("CA1", Checkpoint(nobody_came="busy"))

    assert (await one.recall("CA1")).step is None
    assert one.failures == ["bring back", "recall call"]


async def test_a_later_step_of_a_call_takes_the_place_of_the_earlier_one(table: Table) -> None:
    one = Instance(table)
    await one.remember_step("CA1", STEP)
    await one.remember_step("CA1", HangUp())

    assert await one.recall("CA1") == CallItem(HangUp())


async def test_only_so_many_calls_are_kept_and_the_oldest_go_first(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STEPS_KEPT", 3)
    one = Instance(table)
    table.does = fails
    for number in range(5):
        await one.remember_step(f"CA{number}", STEP)

    known = [(await one.recall(f"CA{number}")).step for number in range(5)]
    assert known == [None, None, STEP, STEP, STEP]


async def test_a_stream_that_goes_on_with_a_call_tells_the_store_so_and_gets_what_is_known(table: Table) -> None:
    await table.save_checkpoint("CA1", Checkpoint(resumes=2))

    assert await Instance(table).take_over("CA1") == CallItem(checkpoint=Checkpoint(resumes=2))
    assert table.taken_over == ["CA1"]


async def test_a_store_that_fails_at_the_taking_over_leaves_what_this_process_knows(table: Table) -> None:
    table.does = fails
    one = Instance(table)
    one.note_dial("CA1", 1, DialOutcome.BUSY)

    assert await one.take_over("CA1") == CallItem(dials={1: DialOutcome.BUSY})
    assert one.failures == ["take over"]
