"""What turn detection tells of the caller."""

from voice_openai_connect import limits
from voice_openai_connect.call.callers_turn import CallersTurn
from voice_openai_connect.call.commands import Tell
from voice_openai_connect.call.facts import Fact


def test_the_first_sound_of_an_answer_is_timed_from_the_end_of_the_turn_and_only_the_first() -> None:
    turn = CallersTurn()
    turn.began()
    turn.stopped(1_000)

    assert turn.answered(1_400) == [Tell(Fact.FIRST_AUDIO, value_ms=400)]
    assert turn.answered(1_500) == []


def test_sound_that_answers_nobody_is_not_timed() -> None:
    turn = CallersTurn()
    assert turn.answered(1_000) == []

    turn.stopped(2_000)
    turn.began()  # and speaks on, before anything was answered
    assert turn.answered(3_000) == []


def test_the_caller_speaks_from_the_beginning_to_the_end_of_a_turn() -> None:
    turn = CallersTurn()
    assert not turn.speaking
    turn.began()
    assert turn.speaking
    turn.stopped(1_000)
    assert not turn.speaking


def test_a_caller_who_says_nothing_is_asked_so_often_and_counted_anew_after_a_word() -> None:
    turn = CallersTurn()
    before = [turn.stayed_silent() for _ in range(limits.IDLE_PROMPTS - 1)]
    turn.began()
    after = [turn.stayed_silent() for _ in range(limits.IDLE_PROMPTS)]

    assert not any(before)
    assert after == [False] * (limits.IDLE_PROMPTS - 1) + [True]
