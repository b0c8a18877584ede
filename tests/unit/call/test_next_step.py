"""Steps of a caller's line."""

import pytest

from voice_openai_connect.call.next_step import FAIL_OPEN, DialPerson, HangUp, NextStep, PromiseCallBack, ResumeStream


def test_when_nothing_is_known_a_person_is_dialled_and_the_caller_is_told() -> None:
    assert DialPerson(token="", attempt=1, announce=True, apologise=False) == FAIL_OPEN


@pytest.mark.parametrize("step", [DialPerson(), HangUp(), PromiseCallBack(), ResumeStream()], ids=str)
def test_a_step_is_told_apart_from_every_other_and_can_be_kept_in_a_set(step: NextStep) -> None:
    others: set[NextStep] = {DialPerson(attempt=2), HangUp(farewell=True), ResumeStream("busy"), NextStep()}

    assert step not in others
    assert step == type(step)()
