"""What every instance must know about a call."""

from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.next_step import DialPerson
from voice_openai_connect.call.outcome import DialOutcome, Outcome


def test_a_person_may_be_dialled_until_the_last_attempt_has_ended() -> None:
    assert CallItem().may_dial
    assert CallItem(checkpoint=Checkpoint(person_needed=True)).may_dial
    assert CallItem(dials={1: DialOutcome.BUSY}).may_dial
    assert not CallItem(dials={2: DialOutcome.BUSY}).may_dial


def test_a_caller_who_is_back_from_a_transfer_is_not_dialled_for_again_whatever_is_known_of_it() -> None:
    assert not CallItem(checkpoint=Checkpoint(nobody_came="busy")).may_dial


def test_a_transfer_is_lost_that_had_been_decided_and_came_to_no_dial_and_no_end() -> None:
    on_the_way = Checkpoint(person_needed=True)
    assert CallItem(checkpoint=on_the_way).handover_lost
    assert not CallItem(DialPerson(), on_the_way).handover_lost
    assert not CallItem(checkpoint=on_the_way, outcome=Outcome.CALLER_LEFT).handover_lost
    assert not CallItem(checkpoint=Checkpoint()).handover_lost
    assert not CallItem().handover_lost
