"""Whose silence it is."""

from typing import Any

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.commands import Command, PlayAudio, SetTimer
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.call.next_step import HangUp
from voice_openai_connect.call.patience import QUIET_TIMER, Patience
from voice_openai_connect.call.speech import Speech

Line = Any
"""The fixture of conftest.py."""


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

    assert rounds * limits.HOLD_MS == limits.HOLD_TOTAL_MS


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


def test_what_we_begin_anew_does_not_make_a_caller_wait_longer_for_a_sound(talking: Line) -> None:
    talking.caller_says("where is my order?")
    talking.wait(2_000)
    talking.post(ev.ModelResponseStarted("r1", "reply"), ev.ModelToolCalled("r1", "i", "c1", "order_status", "{}"))
    talking.post(ev.ToolFinished("c1", "soon"))

    assert talking.facts(Fact.HOLD_PLAYED) == []
    talking.wait(200)
    assert len(talking.facts(Fact.HOLD_PLAYED)) == 1


def test_an_answer_asked_for_is_owed_although_another_response_has_ended(talking: Line) -> None:
    talking.caller_says("bye")
    talking.post(ev.ModelResponseStarted("r1", "reply"), ev.ModelToolCalled("r1", "i", "c1", "end_call", "{}"))
    talking.post(ev.ModelResponseFinished("r1", "reply", "completed"))
    talking.wait(limits.HOLD_AFTER_MS)

    assert len(talking.facts(Fact.HOLD_PLAYED)) == 1


def test_a_goodbye_that_was_never_said_is_left_to_twilio(talking: Line) -> None:
    talking.caller_says("bye")
    talking.post(ev.ModelResponseStarted("r1", "reply"), ev.ModelToolCalled("r1", "i", "c1", "end_call", "{}"))
    talking.post(ev.ModelResponseFinished("r1", "reply", "completed"))
    talking.wait(limits.GOODBYE_MS)

    assert talking.sent(do.CloseStream) == [do.CloseStream(HangUp(farewell=True))]


def test_a_goodbye_whose_marks_do_not_come_ends_when_it_must_have_been_heard(talking: Line) -> None:
    talking.caller_says("bye")
    talking.begin_saying("bye", ms=3_000)
    talking.post(ev.ModelToolCalled("r-bye", "i2", "c1", "end_call", "{}"))
    talking.end_saying("bye")

    talking.wait(3_000)
    assert talking.sent(do.CloseStream) == []
    talking.wait(limits.HOLD_AFTER_MS)
    assert talking.sent(do.CloseStream) == [do.CloseStream(HangUp(farewell=False))]


def test_after_an_interruption_of_ours_the_silence_counts_from_there(talking: Line) -> None:
    talking.begin_saying("long", ms=9_000)
    talking.wait(500)
    talking.post(ev.HandoverOrdered())
    talking.wait(limits.HOLD_AFTER_MS)

    assert len(talking.facts(Fact.HOLD_PLAYED)) == 1


def failed(retry_after_ms: int) -> ev.ModelResponseFinished:
    return ev.ModelResponseFinished("r1", "reply", "failed", retry_after_ms=retry_after_ms)


def test_a_second_try_has_the_time_that_the_first_one_had(talking: Line) -> None:
    talking.caller_says("hello?")
    talking.post(ev.ModelResponseStarted("r1", "reply"), failed(3_000))
    talking.wait(3_000)

    talking.wait(limits.MODEL_SILENT_MS - 1)
    assert talking.facts(Fact.MODEL_LOST) == []
    talking.wait(1)
    assert [told.label for told in talking.facts(Fact.MODEL_LOST)] == ["stalled"]


def test_what_was_answered_in_the_meantime_is_not_tried_again(talking: Line) -> None:
    talking.caller_says("hello?")
    talking.post(ev.ModelResponseStarted("r1", "reply"), failed(3_000))
    talking.say("later")
    talking.wait(3_000)

    assert talking.sent(do.RequestResponse) == []


def test_a_caller_whose_line_had_broken_hears_something_soon() -> None:
    waiting = patience()
    look = waiting.take_up(now=10_000)

    assert next_look([look]) == 10_000 + limits.HOLD_AFTER_BREAK_MS
    assert any(isinstance(c, PlayAudio) for c in waiting.fill(now=10_000 + limits.HOLD_AFTER_BREAK_MS))
