"""What is kept of a call."""

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import Turn, bounded


def test_the_latest_turns_that_fit_are_kept_whole_and_in_order() -> None:
    turns = [Turn("caller", f"{n} " + "x" * 3_000) for n in range(10)]
    kept = bounded(turns)

    assert kept == tuple(turns[-len(kept) :])
    assert 0 < sum(len(turn.text) for turn in kept) <= limits.CHECKPOINT_CHARS


def test_one_turn_that_is_too_long_leaves_nothing_rather_than_half_of_it() -> None:
    assert bounded([Turn("caller", "x" * (limits.CHECKPOINT_CHARS + 1))]) == ()
