"""When the model is asked, and that the greeting is not lost."""

from collections.abc import Callable
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.instructions import greeting_owed
from voice_openai_connect.call.phases import Phase

Line = Any
OWED = do.AddText("system", greeting_owed("This call is answered by an AI. Hello!"))


def ready(line: Line) -> Line:
    """The greeting has been asked for."""
    line.post(ev.StreamStarted("MZ1"), ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
    return line


def owed(line: Line) -> int:
    return line.sent(do.AddText).count(OWED)


def fails(line: Line, purpose: ev.Purpose, status: Any = "failed") -> None:
    line.post(ev.ModelResponseStarted("r-x", purpose), ev.ModelResponseFinished("r-x", purpose, status, "x"))


def test_a_greeting_that_turn_detection_cancels_before_its_first_sound_begins_the_next_answer(line: Line) -> None:
    ready(line)
    line.post(ev.ModelResponseStarted("r", "greeting"), ev.CallerSpeechStarted("u1"))
    assert owed(line) == 0
    line.post(ev.ModelResponseFinished("r", "greeting", "cancelled", "turn_detected"))

    assert owed(line) == 1


def test_an_owed_greeting_is_told_once_and_an_answer_begun_without_it_is_not_the_last(line: Line) -> None:
    ready(line)
    line.post(ev.ModelResponseStarted("r", "greeting"), ev.CallerSpeechStarted("u1"))
    line.post(ev.ModelResponseFinished("r", "greeting", "cancelled", "turn_detected"), ev.CallerSpeechStopped("u1"))
    assert [request.purpose for request in line.sent(do.RequestResponse)] == ["greeting", "reply"]
    line.say("hi")
    line.caller_says("hello")
    line.say("yes?")

    assert owed(line) == 1


def test_a_greeting_that_failed_is_owed_to_a_caller_who_speaks_before_it_is_tried_again(line: Line) -> None:
    ready(line)
    fails(line, "greeting")
    line.post(ev.CallerSpeechStarted("u1"))
    assert owed(line) == 0
    line.wait(limits.RESPONSE_RETRY_WAIT_MS)

    assert owed(line) == 1


def test_a_greeting_that_failed_is_owed_to_a_caller_who_was_answered_before_it_is_tried_again(line: Line) -> None:
    ready(line)
    fails(line, "greeting")
    line.caller_says("hello?")
    line.say("hi")
    line.wait(limits.RESPONSE_RETRY_WAIT_MS)

    assert owed(line) == 1


def test_a_greeting_that_failed_and_is_heard_at_the_second_try_is_owed_no_more(line: Line) -> None:
    ready(line)
    fails(line, "greeting")
    line.wait(limits.RESPONSE_RETRY_WAIT_MS)
    line.say("greet", purpose="greeting")
    line.caller_says("hello")
    line.say("hi")

    assert [request.purpose for request in line.sent(do.RequestResponse)] == ["greeting", "greeting"]
    assert owed(line) == 0


def test_a_greeting_of_which_something_was_heard_is_not_said_again(line: Line) -> None:
    ready(line)
    line.begin_saying("greet", ms=2_000, purpose="greeting")
    line.post(ev.CallerSpeechStarted("u1"), ev.ModelResponseFinished("r-greet", "greeting", "cancelled"))
    line.post(ev.CallerSpeechStopped("u1"))
    line.say("hi")

    assert owed(line) == 0


def test_a_session_that_takes_over_before_the_greeting_was_heard_is_told_of_it(line: Line) -> None:
    ready(line)
    line.post(ev.ModelLost("reset"), ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))

    assert owed(line) == 1
    assert [request.purpose for request in line.sent(do.RequestResponse)] == ["greeting", "reply"]


# --- a response without a sound


def test_a_response_that_is_completed_without_a_sound_is_asked_for_once_more_and_then_a_person_comes(
    talking: Line,
) -> None:
    talking.caller_says("where is my parcel?")
    fails(talking, "reply", "completed")
    assert talking.sent(do.RequestResponse) == []
    talking.wait(limits.RESPONSE_RETRY_WAIT_MS)
    assert [request.purpose for request in talking.sent(do.RequestResponse)] == ["reply"]

    fails(talking, "reply", "completed")
    assert talking.call.phase is Phase.HANDING_OVER


@pytest.mark.parametrize("tool", ["order_status", "no_such_tool"])
def test_a_response_that_only_calls_a_tool_need_not_sound(talking: Line, tool: str) -> None:
    talking.caller_says("where is my parcel?")
    talking.post(
        ev.ModelResponseStarted("r", "reply"),
        ev.ModelToolCalled("r", "i", "c", tool, "{}"),
        ev.ModelResponseFinished("r", "reply", "completed"),
    )

    assert talking.facts(Fact.RESPONSE_FAILED) == []


def test_a_response_that_was_interrupted_before_its_first_sound_has_not_failed(talking: Line) -> None:
    talking.caller_says("where is my parcel?")
    talking.post(ev.ModelResponseStarted("r", "reply"), ev.CallerSpeechStarted("u2"))
    talking.post(ev.ModelResponseFinished("r", "reply", "completed"))

    assert talking.facts(Fact.RESPONSE_FAILED) == []


def test_an_answer_that_was_too_long_for_anyone_is_given_all_the_same(make_line: Callable[..., Line]) -> None:
    line = make_line()
    line.talk()
    line.caller_says("tell me everything")
    line.begin_saying("long", ms=limits.UNHEARD_AUDIO_MS + 5_000)
    line.post(ev.ModelResponseFinished("r-long", "reply", "cancelled", "client_cancelled"))
    line.hear_everything()
    line.commands.clear()
    line.wait(limits.MODEL_SILENT_MS * 20)

    assert line.facts(Fact.HOLD_PLAYED) == []
    assert line.facts(Fact.MODEL_LOST) == []
