"""What turn detection tells of the caller."""

from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.callers_turn import CallersTurn
from voice_openai_connect.call.commands import Tell
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.instructions import NO_PAUSE
from voice_openai_connect.call.phases import Phase

Line = Any


def test_the_first_sound_of_an_answer_is_timed_from_the_end_of_the_turn_and_only_the_first() -> None:
    turn = CallersTurn()
    turn.began(500)
    turn.stopped(1_000)

    assert turn.answered(1_400) == [Tell(Fact.FIRST_AUDIO, value_ms=400)]
    assert turn.answered(1_500) == []


def test_sound_that_answers_nobody_is_not_timed() -> None:
    turn = CallersTurn()
    assert turn.answered(1_000) == []

    turn.stopped(2_000)
    turn.began(500)  # and speaks on, before anything was answered
    assert turn.answered(3_000) == []


def test_the_caller_speaks_from_the_beginning_to_the_end_of_a_turn() -> None:
    turn = CallersTurn()
    assert not turn.speaking
    turn.began(500)
    assert turn.speaking
    turn.stopped(1_000)
    assert not turn.speaking


def test_a_caller_who_says_nothing_is_asked_so_often_and_counted_anew_after_a_word() -> None:
    turn = CallersTurn()
    before = [turn.stayed_silent() for _ in range(limits.IDLE_PROMPTS - 1)]
    turn.began(500)
    after = [turn.stayed_silent() for _ in range(limits.IDLE_PROMPTS)]

    assert not any(before)
    assert after == [False] * (limits.IDLE_PROMPTS - 1) + [True]


def test_a_turn_ends_with_the_session_that_would_have_told_its_end() -> None:
    turn = CallersTurn()
    turn.began(500)
    turn.lost()

    assert not turn.speaking
    assert turn.answered(1_000) == []


# --- what is not said over the caller


def tool_ends_while_the_caller_speaks(line: Line) -> None:
    line.post(ev.ModelToolCalled("r", "i", "call1", "order_status", "{}"), ev.CallerSpeechStarted("u1"))
    line.wait(2_000)
    line.commands.clear()
    line.post(ev.ToolFinished("call1", "shipped"))


def test_a_tool_that_ends_while_the_caller_speaks_is_told_to_the_model_and_not_spoken_over_them(talking: Line) -> None:
    tool_ends_while_the_caller_speaks(talking)

    assert talking.sent(do.AnswerTool) == [do.AnswerTool("call1", "shipped")]
    assert talking.sent(do.RequestResponse) == []


def test_the_answer_to_the_callers_turn_takes_in_what_the_model_was_told_meanwhile(talking: Line) -> None:
    tool_ends_while_the_caller_speaks(talking)
    talking.wait(limits.TOLD_IN_TIME_MS)
    talking.post(ev.CallerSpeechStopped("u1"))
    talking.say("it is shipped")

    assert talking.sent(do.RequestResponse) == []


def test_what_the_model_may_have_learned_too_late_for_that_answer_is_asked_for_after_it(talking: Line) -> None:
    tool_ends_while_the_caller_speaks(talking)
    talking.wait(limits.TOLD_IN_TIME_MS - 1)
    asked = talking.sent(do.RequestResponse, talking.post(ev.CallerSpeechStopped("u1")))
    talking.begin_saying("yes, I am here")
    talking.post(ev.ModelErred("conversation_already_has_active_response"))
    again = talking.sent(do.RequestResponse, talking.end_saying("yes, I am here"))

    assert asked == again == [do.RequestResponse("reply")]


def test_keys_pressed_by_a_caller_who_speaks_are_answered_with_what_they_say(talking: Line) -> None:
    talking.post(ev.CallerSpeechStarted("u1"), ev.KeyPressed("4"), ev.KeyPressed("2"))
    talking.wait(limits.KEYS_PAUSE_MS)

    assert talking.sent(do.RequestResponse) == []
    assert len(talking.sent(do.AddText)) == 1


def test_a_failed_response_is_not_asked_for_again_while_the_caller_speaks(talking: Line) -> None:
    talking.caller_says("where is it?")
    talking.post(
        ev.ModelResponseStarted("r", "reply"), ev.ModelResponseFinished("r", "reply", "failed", "server_error")
    )
    talking.post(ev.CallerSpeechStarted("u2"))
    talking.wait(limits.RESPONSE_RETRY_WAIT_MS)

    assert talking.sent(do.RequestResponse) == []


def test_an_answer_that_begins_just_after_the_caller_is_never_heard_and_their_own_turn_brings_one(
    talking: Line,
) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "call1", "order_status", "{}"), ev.ToolFinished("call1", "shipped"))
    talking.post(ev.CallerSpeechStarted("u1"))
    talking.commands.clear()
    talking.post(ev.ModelResponseStarted("r2", "reply"), ev.ModelAudio("r2", "i2", bytes(1_600)))
    talking.post(ev.ModelResponseFinished("r2", "reply", "cancelled"))

    assert talking.sent(do.CancelResponse) == [do.CancelResponse("r2")]
    assert talking.sent(do.PlayAudio) == []
    assert talking.sent(do.RequestResponse) == []


def test_a_turn_shorter_than_the_way_to_the_model_is_answered_when_that_one_is_over(talking: Line) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "call1", "order_status", "{}"), ev.ToolFinished("call1", "shipped"))
    talking.post(ev.CallerSpeechStarted("u1"), ev.ModelResponseStarted("r2", "reply"), ev.CallerSpeechStopped("u1"))
    talking.commands.clear()
    talking.post(ev.ModelResponseFinished("r2", "reply", "cancelled"))

    assert talking.sent(do.RequestResponse) == [do.RequestResponse("reply")]


def test_a_session_that_takes_over_from_one_that_heard_a_turn_begin_is_made_to_speak(talking: Line) -> None:
    talking.post(ev.CallerSpeechStarted("u1"), ev.ModelLost("reset"), ev.ModelConnected())
    talking.post(ev.ModelConfigured("audio/pcmu", "audio/pcmu"))

    assert talking.sent(do.RequestResponse) == [do.RequestResponse("reply")]


def test_a_caller_who_interrupts_is_not_spoken_over_with_what_waited_for_the_end_of_the_interrupted_words(
    talking: Line,
) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "call1", "order_status", "{}"))
    talking.begin_saying("one moment")
    talking.post(ev.ToolFinished("call1", "shipped"), ev.CallerSpeechStarted("u1"))
    talking.post(ev.ModelResponseFinished("r-one moment", "reply", "cancelled"))

    assert talking.sent(do.AnswerTool) == [do.AnswerTool("call1", "shipped")]
    assert talking.sent(do.RequestResponse) == []


# --- a turn that does not end


def test_after_half_a_minute_without_a_pause_the_assistant_says_that_it_could_not_follow(talking: Line) -> None:
    talking.post(ev.CallerSpeechStarted("u1"))
    talking.wait(limits.SPEECH_MS - 1)
    assert talking.sent(do.RequestResponse) == []
    talking.wait(1)

    assert talking.sent(do.RequestResponse) == [do.RequestResponse("reply", NO_PAUSE)]
    assert talking.facts(Fact.SPEECH_WITHOUT_END) == [Tell(Fact.SPEECH_WITHOUT_END)]


def test_a_session_that_hears_nobody_any_more_is_found_out_by_asking_it(talking: Line) -> None:
    talking.post(ev.CallerSpeechStarted("u1"))
    talking.wait(limits.SPEECH_MS + limits.MODEL_SILENT_MS)

    assert talking.facts(Fact.MODEL_LOST) == [Tell(Fact.MODEL_LOST, "stalled")]
    assert talking.call.phase is Phase.RECOVERING


def test_a_line_so_noisy_that_no_turn_ever_ends_is_taken_to_a_person(talking: Line) -> None:
    talking.post(ev.CallerSpeechStarted("u1"))
    talking.wait(limits.SPEECH_MS)
    talking.say("could you say that once more?")
    talking.wait(limits.SPEECH_MS)

    assert talking.call.phase is Phase.HANDING_OVER


@pytest.mark.parametrize("pause", ["a pause", "a turn of its own"])
def test_the_half_minute_counts_from_the_last_pause(talking: Line, pause: str) -> None:
    talking.post(ev.CallerSpeechStarted("u1"))
    talking.wait(limits.SPEECH_MS - 1)
    talking.post(ev.CallerSpeechStopped("u1"))
    talking.say("I see")
    if pause == "a turn of its own":
        talking.post(ev.CallerSpeechStarted("u2"))
    talking.wait(limits.SPEECH_MS - 1)

    assert talking.sent(do.RequestResponse) == []
    assert talking.call.phase is Phase.TALKING


def test_a_noisy_half_minute_is_forgiven_once_a_turn_has_ended(talking: Line) -> None:
    for turn in ("u1", "u2", "u3"):
        talking.post(ev.CallerSpeechStarted(turn))
        talking.wait(limits.SPEECH_MS)
        talking.say(f"pardon? {turn}")
        talking.post(ev.CallerSpeechStopped(turn))
        talking.say(f"I see {turn}")

    assert talking.call.phase is Phase.TALKING


def test_a_caller_who_presses_keys_is_there(talking: Line) -> None:
    for turn in range(limits.IDLE_PROMPTS * 2):
        talking.post(ev.CallerStayedSilent(f"u{turn}"))
        talking.say(f"still there {turn}")
        talking.post(ev.KeyPressed("7"))
        talking.wait(limits.KEYS_PAUSE_MS)
        talking.say(f"thanks {turn}")

    assert talking.call.phase is Phase.TALKING


def test_a_caller_who_waits_for_us_is_not_silent(talking: Line) -> None:
    talking.caller_says("where is my parcel?")
    talking.post(ev.ModelResponseStarted("r", "reply"), ev.ModelToolCalled("r", "i", "c", "order_status", "{}"))
    talking.post(ev.ModelResponseFinished("r", "reply", "completed"))
    for turn in range(limits.IDLE_PROMPTS + 1):
        talking.post(ev.CallerStayedSilent(f"v{turn}"))

    assert talking.call.phase is Phase.TALKING
