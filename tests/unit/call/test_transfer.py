"""What Twilio does with the caller next."""

import pytest

from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.next_step import FAIL_OPEN, DialPerson, HangUp, PromiseCallBack, ResumeStream
from voice_openai_connect.call.transfer import DIAL_STATUSES, after_dial, after_stream

FAILED = sorted(DIAL_STATUSES - {"completed", "answered"})


def test_after_a_conversation_with_a_person_the_call_is_over() -> None:
    assert after_dial("completed", attempt=1, duration_s=95, bridged=True) == HangUp()


@pytest.mark.parametrize("status", [*FAILED, "something new", ""])
def test_a_dial_that_failed_is_tried_once_more_without_the_token(status: str) -> None:
    assert after_dial(status, attempt=1, duration_s=None, bridged=None) == DialPerson(attempt=2, apologise=True)


@pytest.mark.parametrize("status", [*FAILED, "something new"])
def test_after_the_second_failure_a_call_back_is_promised(status: str) -> None:
    assert after_dial(status, attempt=2, duration_s=None, bridged=None) == PromiseCallBack()


def test_a_dial_that_was_over_at_once_or_never_bridged_was_no_conversation() -> None:
    retry = DialPerson(attempt=2, apologise=True)

    assert after_dial("completed", attempt=1, duration_s=3, bridged=True) == retry
    assert after_dial("completed", attempt=1, duration_s=60, bridged=False) == retry


def test_a_completed_dial_without_a_duration_is_believed() -> None:
    assert after_dial("completed", attempt=1, duration_s=None, bridged=None) == HangUp()


def test_a_stream_that_ended_for_no_known_reason_leads_to_a_person() -> None:
    assert after_stream(CallItem(), caller_left=False) == FAIL_OPEN == DialPerson(announce=True)


def test_a_stream_that_broke_goes_on_from_its_checkpoint() -> None:
    assert after_stream(CallItem(checkpoint=Checkpoint()), caller_left=False) == ResumeStream()


def test_what_the_call_had_decided_comes_before_any_checkpoint() -> None:
    assert after_stream(CallItem(HangUp(), Checkpoint()), caller_left=False) == HangUp()


@pytest.mark.parametrize("checkpoint", [Checkpoint(person_needed=True), Checkpoint(resumes=99)])
def test_a_checkpoint_that_may_not_be_used_leads_to_a_person(checkpoint: Checkpoint) -> None:
    assert after_stream(CallItem(checkpoint=checkpoint), caller_left=False) == FAIL_OPEN


def test_a_caller_who_left_is_not_called_back_by_mistake() -> None:
    assert after_stream(CallItem(DialPerson(token="0123456789")), caller_left=True) == HangUp()
