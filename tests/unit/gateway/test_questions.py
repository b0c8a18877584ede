"""A caller of whom Twilio asked nobody is lost, and counted once."""

import asyncio
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.next_step import DialPerson, HangUp, NextStep, PromiseCallBack
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.gateway.questions import Questions

NOW = 1_000.0
DEADLINE_S = 10
Table = Any


class Front:
    """The questions of one instance, with the moment of which a test decides."""

    def __init__(self, table: Table) -> None:
        self.lost: list[str] = []
        self.failures: list[str] = []
        self.questions = Questions(
            table, self.lost.append, lambda what, _: self.failures.append(what), clock=lambda: NOW
        )

    async def look(self) -> None:
        """The time for a question has passed, and whoever looks has looked."""
        await asyncio.wait_for(self.questions.none_awaited.wait(), DEADLINE_S)
        await asyncio.wait_for(self.questions.close(), DEADLINE_S)


@pytest.fixture
def front(table: Table, monkeypatch: pytest.MonkeyPatch) -> Front:
    monkeypatch.setattr(limits, "CALLER_LOST_S", 0.01)
    return Front(table)


async def test_a_caller_of_whom_nobody_was_asked_is_lost_once(front: Front) -> None:
    front.questions.expect("CA1")
    front.questions.expect("CA1")
    await front.look()

    assert front.lost == ["CA1"]


async def test_a_caller_of_whom_this_instance_was_asked_is_not_lost(front: Front) -> None:
    front.questions.expect("CA1")
    front.questions.asked("CA1")
    await front.look()

    assert front.lost == []


async def test_a_caller_of_whom_another_instance_was_asked_is_not_lost(front: Front, table: Table) -> None:
    table.items["CA1"] = CallItem(asked_at=int(NOW - limits.CLOCKS_APART_S))
    front.questions.expect("CA1")
    await front.look()

    assert front.lost == []


async def test_a_question_after_an_earlier_stream_of_the_call_does_not_count(front: Front, table: Table) -> None:
    table.items["CA1"] = CallItem(asked_at=int(NOW - limits.CLOCKS_APART_S) - 1)
    front.questions.expect("CA1")
    await front.look()

    assert front.lost == ["CA1"]


async def test_a_caller_who_has_left_is_not_lost(front: Front, table: Table) -> None:
    table.items["CA1"] = CallItem(outcome=Outcome.CALLER_LEFT)
    front.questions.expect("CA1")
    await front.look()

    assert front.lost == []


async def test_a_caller_who_hung_up_in_the_moment_in_which_the_line_broke_is_not_lost(
    front: Front, table: Table
) -> None:
    table.items["CA1"] = CallItem(checkpoint=Checkpoint(), stopped_stream="MZ1")
    front.questions.expect("CA1", broken="MZ1")
    await front.look()

    assert front.lost == []


@pytest.mark.parametrize("broken", ["", "MZ2"])
async def test_a_caller_whose_line_we_closed_or_whose_later_line_broke_is_lost_whatever_was_told_of_an_earlier_one(
    front: Front, table: Table, broken: str
) -> None:
    table.items["CA1"] = CallItem(checkpoint=Checkpoint(), stopped_stream="MZ1")
    front.questions.expect("CA1", broken=broken)
    await front.look()

    assert front.lost == ["CA1"]


async def test_a_caller_who_has_heard_the_goodbye_and_left_before_twilio_could_ask_is_not_lost(
    front: Front, table: Table
) -> None:
    table.items["CA1"] = CallItem(HangUp(), outcome=Outcome.CONTAINED)
    front.questions.expect("CA1")
    await front.look()

    assert front.lost == []


@pytest.mark.parametrize("owed", [HangUp(farewell=True), PromiseCallBack(), DialPerson()], ids=str)
async def test_a_caller_who_was_still_to_hear_something_is_lost_however_the_call_is_said_to_have_ended(
    front: Front, table: Table, owed: NextStep
) -> None:
    table.items["CA1"] = CallItem(owed, outcome=Outcome.CALLED_BACK)
    front.questions.expect("CA1")
    await front.look()

    assert front.lost == ["CA1"]


async def test_a_store_that_cannot_say_calls_nobody_lost(front: Front, table: Table) -> None:
    async def fails() -> None:
        raise ConnectionError

    table.does = fails
    front.questions.expect("CA1")
    await front.look()

    assert (front.lost, front.failures) == ([], ["recall call"])


async def test_a_process_that_stops_waits_for_no_question(table: Table) -> None:
    front = Front(table)
    front.questions.expect("CA1")
    await asyncio.wait_for(front.questions.close(), DEADLINE_S)

    assert front.questions.none_awaited.is_set()
    assert front.lost == []
