"""The transfer ladder: what Twilio does with the caller next."""

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.next_step import (
    FAIL_OPEN,
    AskAgain,
    DialPerson,
    HangUp,
    NextStep,
    PromiseCallBack,
    ResumeStream,
)
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.call.transfer import (
    DIAL_STATUSES,
    after_dial,
    after_stream,
    dial_outcome,
    is_suspicious,
    no_room,
    to_a_person,
)

WITH_TOKEN = DialPerson(token="0123456789")
ESCALATED = Checkpoint(person_needed=True)
HANDED_OVER = CallItem(checkpoint=ESCALATED)
BACK = Checkpoint(nobody_came="busy")
ONE_DIAL = {1: DialOutcome.BUSY}
TWO_DIALS = {1: DialOutcome.BUSY, 2: DialOutcome.NO_ANSWER}
REACHED = {DialOutcome.CONNECTED, DialOutcome.CALLER_LEFT}
FAILED = sorted(set(DialOutcome) - REACHED)


def outcome(status: str, duration_s: int | None = None, *, bridged: bool | None = None, left: bool = False) -> str:
    return dial_outcome(status, duration_s=duration_s, bridged=bridged, caller_left=left)


# --- how a dial ended


@pytest.mark.parametrize("status", sorted({*DIAL_STATUSES, "unknown", ""} - {"completed", "answered"}))
def test_what_was_not_answered_has_failed_in_its_own_way_and_an_unknown_status_too(status: str) -> None:
    own = {"busy": "busy", "no-answer": "no_answer", "canceled": "canceled"}

    assert outcome(status) == own.get(status, "failed")


@pytest.mark.parametrize("status", ["completed", "answered"])
def test_an_answered_dial_that_lasted_was_a_conversation(status: str) -> None:
    assert outcome(status, 95, bridged=True) == DialOutcome.CONNECTED
    assert outcome(status, limits.DIAL_TOO_SHORT_S) == DialOutcome.CONNECTED


def test_an_answered_dial_is_believed_where_twilio_says_no_more_about_it() -> None:
    assert outcome("completed") == DialOutcome.CONNECTED


def test_a_dial_that_was_over_at_once_or_never_bridged_was_no_conversation() -> None:
    assert outcome("completed", limits.DIAL_TOO_SHORT_S - 1, bridged=True) == DialOutcome.TOO_SHORT
    assert outcome("completed", 60, bridged=False) == DialOutcome.UNBRIDGED


@pytest.mark.parametrize("status", ["busy", "no-answer", "canceled", "failed"])
def test_a_caller_who_left_while_it_rang_is_not_a_failed_dial(status: str) -> None:
    assert outcome(status, left=True) == DialOutcome.CALLER_LEFT


def test_a_caller_who_hangs_up_after_a_conversation_was_connected() -> None:
    assert outcome("completed", 95, bridged=True, left=True) == DialOutcome.CONNECTED


def test_a_caller_who_hangs_up_at_once_is_not_dialled_for_again() -> None:
    assert outcome("completed", 1, bridged=True, left=True) == DialOutcome.CALLER_LEFT


def test_a_conversation_of_seconds_is_suspicious() -> None:
    assert is_suspicious(DialOutcome.CONNECTED, limits.DIAL_SUSPICIOUS_S - 1)
    assert not is_suspicious(DialOutcome.CONNECTED, limits.DIAL_SUSPICIOUS_S)
    assert not is_suspicious(DialOutcome.CONNECTED, None)
    assert not is_suspicious(DialOutcome.TOO_SHORT, 1)


# --- after a dial


def after(ended: DialOutcome, attempt: int, item: CallItem = HANDED_OVER, *, may_resume: bool = True) -> NextStep:
    return after_dial(ended, item, attempt=attempt, may_resume=may_resume)


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("ended", sorted(REACHED))
def test_after_a_conversation_or_for_nobody_there_is_nothing_more_to_do(ended: DialOutcome, attempt: int) -> None:
    assert after(ended, attempt) == HangUp()


@pytest.mark.parametrize("ended", FAILED)
def test_a_dial_that_failed_is_tried_once_more_without_the_token(ended: DialOutcome) -> None:
    assert after(ended, 1) == DialPerson(attempt=2, apologise=True)


@pytest.mark.parametrize("ended", FAILED)
def test_after_the_second_failure_the_caller_goes_back_to_the_assistant_who_knows_how_it_ended(
    ended: DialOutcome,
) -> None:
    assert after(ended, 2) == ResumeStream(ended)


@pytest.mark.parametrize(
    "item",
    [CallItem(), CallItem(WITH_TOKEN), CallItem(checkpoint=Checkpoint(resumes=limits.RESUMES + 1))],
    ids=["nothing is known", "nothing was said", "the stream broke too often"],
)
def test_without_a_conversation_to_go_back_to_a_call_back_is_promised(item: CallItem) -> None:
    assert after(DialOutcome.BUSY, 2, item) == PromiseCallBack()


def test_where_no_stream_can_be_had_a_call_back_is_promised() -> None:
    assert after(DialOutcome.BUSY, 2, may_resume=False) == PromiseCallBack()


def test_a_caller_who_is_back_already_gets_the_same_answer_when_twilio_asks_again() -> None:
    again = CallItem(checkpoint=BACK, dials=TWO_DIALS)

    assert after(DialOutcome.FAILED, 2, again, may_resume=False) == ResumeStream("busy")
    assert after(DialOutcome.BUSY, 1, again) == DialPerson(attempt=2, apologise=True)


def test_the_transfer_itself_does_not_count_as_a_stream_that_broke() -> None:
    last = Checkpoint(resumes=limits.RESUMES + 1, person_needed=True)

    assert after(DialOutcome.BUSY, 2, CallItem(checkpoint=last)) == ResumeStream("busy")
    assert last.brought_back("busy") == Checkpoint(resumes=limits.RESUMES, nobody_came="busy")


# --- after a stream


def test_where_there_is_no_room_the_question_is_put_off_and_at_last_answered() -> None:
    assert [no_room(CallItem(), asked=n) for n in range(3)] == [AskAgain(1), AskAgain(2), FAIL_OPEN]
    dialed_twice = CallItem(dials={1: DialOutcome.BUSY, 2: DialOutcome.BUSY})
    assert no_room(dialed_twice, asked=limits.ASKED_AGAIN) == PromiseCallBack()


def test_a_stream_that_ended_for_no_known_reason_leads_to_a_person() -> None:
    assert after_stream(CallItem(), caller_left=False) == FAIL_OPEN == DialPerson(announce=True)


def test_a_stream_that_broke_goes_on_from_its_checkpoint() -> None:
    assert after_stream(CallItem(checkpoint=Checkpoint()), caller_left=False) == ResumeStream()


def test_a_stream_that_broke_after_the_transfer_still_knows_how_that_ended() -> None:
    item = CallItem(checkpoint=BACK, dials=TWO_DIALS)

    assert after_stream(item, caller_left=False) == ResumeStream("busy")


def test_what_the_call_had_decided_comes_before_any_checkpoint() -> None:
    assert after_stream(CallItem(HangUp(), Checkpoint()), caller_left=False) == HangUp()


@pytest.mark.parametrize("checkpoint", [Checkpoint(person_needed=True), Checkpoint(resumes=99)])
def test_a_checkpoint_that_may_not_be_used_leads_to_a_person(checkpoint: Checkpoint) -> None:
    assert after_stream(CallItem(checkpoint=checkpoint), caller_left=False) == FAIL_OPEN


def test_a_caller_who_left_is_not_called_back_by_mistake() -> None:
    assert after_stream(CallItem(WITH_TOKEN), caller_left=True) == HangUp()


@pytest.mark.parametrize(
    "item",
    [
        CallItem(dials=TWO_DIALS),
        CallItem(dials={2: DialOutcome.FAILED}),
        CallItem(WITH_TOKEN, dials=TWO_DIALS),
        CallItem(checkpoint=Checkpoint(resumes=99, nobody_came="busy")),
        CallItem(WITH_TOKEN, BACK),
        CallItem(dials=TWO_DIALS, outcome=Outcome.CALLER_LEFT),
    ],
    ids=str,
)
def test_nobody_is_dialled_a_third_time_in_a_call(item: CallItem) -> None:
    assert after_stream(item, caller_left=False) == to_a_person(item) == PromiseCallBack()


def test_the_same_question_gets_the_same_dial_after_the_first_one_has_ended() -> None:
    assert after_stream(CallItem(WITH_TOKEN, dials=ONE_DIAL), caller_left=False) == WITH_TOKEN


@pytest.mark.parametrize("said", [Outcome.CONTAINED, Outcome.CALLED_BACK])
def test_a_goodbye_whose_step_was_lost_is_still_a_goodbye(said: Outcome) -> None:
    assert after_stream(CallItem(outcome=said), caller_left=False) == HangUp()
