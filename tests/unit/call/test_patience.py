"""Whose silence it is."""

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Command, PlayAudio, SetTimer
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.call.patience import QUIET_TIMER, Patience
from voice_openai_connect.call.speech import Speech


def patience() -> Patience:
    return Patience(Speech(Conversation()), holding_sound())


def next_look(commands: list[Command]) -> int:
    return next(c.at for c in commands if isinstance(c, SetTimer) and c.name == QUIET_TIMER)


def test_a_short_silence_is_left_alone() -> None:
    waiting = patience()

    assert [c for c in waiting.fill(now=500) if isinstance(c, PlayAudio)] == []
    assert next_look(waiting.fill(now=500)) == limits.HOLD_AFTER_MS


def test_rounds_follow_each_other_without_a_gap_until_there_have_been_enough() -> None:
    waiting, now, rounds = patience(), limits.HOLD_AFTER_MS, 0
    while commands := waiting.fill(now):
        assert sum(len(c.audio) for c in commands if isinstance(c, PlayAudio)) == len(holding_sound())
        assert next_look(commands) == now + limits.HOLD_MS
        now, rounds = next_look(commands), rounds + 1

    assert rounds == limits.HOLD_ROUNDS


def test_a_model_that_speaks_and_breaks_off_still_owes_the_rest() -> None:
    waiting = patience()
    waiting.owe_answer(now=0)
    waiting.model_gave_sign(now=3_000)

    assert waiting.answer_owed
    assert waiting.sign_due == 3_000 + limits.MODEL_SILENT_MS


def test_an_answer_ends_the_waiting_and_the_next_silence_counts_from_the_beginning() -> None:
    waiting = patience()
    waiting.owe_answer(now=0)
    waiting.fill(now=limits.HOLD_AFTER_MS)
    waiting.model_gave_sign(now=limits.HOLD_AFTER_MS + limits.HOLD_MS)
    waiting.answer_given()

    assert not waiting.answer_owed
    again = waiting.fill(now=limits.HOLD_AFTER_MS + limits.HOLD_MS + 10)
    assert [c for c in again if isinstance(c, PlayAudio)] == []
