"""What is kept of a call."""

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import LOST, Checkpoint, Turn, bounded, taken_up


def test_the_latest_turns_that_fit_are_kept_whole_and_in_order() -> None:
    turns = [Turn("caller", f"{n} " + "x" * 3_000) for n in range(10)]
    kept = bounded(turns)

    assert kept == tuple(turns[-len(kept) :])
    assert 0 < sum(len(turn.text) for turn in kept) <= limits.CHECKPOINT_CHARS


def test_one_turn_that_is_too_long_leaves_nothing_rather_than_half_of_it() -> None:
    assert bounded([Turn("caller", "x" * (limits.CHECKPOINT_CHARS + 1))]) == ()


TURNS = (Turn("caller", "My order never came"),)


def test_a_caller_who_comes_back_from_a_transfer_goes_on_where_they_were() -> None:
    back = Checkpoint(TURNS, resumes=2, person_needed=True).brought_back("busy")

    assert back == Checkpoint(TURNS, resumes=1, nobody_came="busy")
    assert back.resumable


def test_a_stream_that_broke_before_the_transfer_has_broken_all_the_same() -> None:
    assert Checkpoint(resumes=2).brought_back("busy").resumes == 2


def test_whoever_is_back_already_stays_there() -> None:
    back = Checkpoint(TURNS, resumes=2, nobody_came="busy")

    assert back.brought_back("failed") is back


def test_what_twilio_passed_on_counts_where_the_store_has_not_heard_of_the_transfer() -> None:
    escalated = Checkpoint(TURNS, person_needed=True)

    assert taken_up(escalated, "busy").nobody_came == "busy"
    assert taken_up(escalated, "busy").turns == TURNS
    assert taken_up(None, "busy").resumable
    assert taken_up(escalated) == escalated
    assert taken_up(None) == LOST
