"""How a call ends, and that a caller who is back from a failed transfer can only be called back."""

from collections.abc import Callable
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint, Turn
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.next_step import FAIL_OPEN, HangUp, PromiseCallBack
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.call.phases import Phase

Line = Any
TOKEN = "0123456789"
TURNS = (Turn("assistant", "How can I help?"), Turn("caller", "My order never came"))
BACK = Checkpoint(TURNS, nobody_came=DialOutcome.NO_ANSWER)


def outcomes(line: Line) -> list[Outcome]:
    return [command.outcome for command in line.sent(do.NoteOutcome)]


def bring_back(line: Line, checkpoint: Checkpoint = BACK) -> Line:
    """The stream of a caller who comes back from a transfer, its model not yet ready."""
    line.call = Call(line.call.identity, line.call.settings, checkpoint)
    line.post(ev.StreamStarted("MZ2"))
    return line


@pytest.fixture
def back(line: Line) -> Line:
    """A caller who is back and has been told that nobody came."""
    bring_back(line).post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
    line.say("sorry")
    line.commands.clear()
    return line


# --- the usual ends


def say_goodbye(line: Line) -> None:
    line.post(ev.ModelToolCalled("r", "i", "bye", "end_call", "{}"))
    line.say("bye", purpose="goodbye")


def test_a_goodbye_without_a_transfer_contained_the_call(talking: Line) -> None:
    say_goodbye(talking)

    assert outcomes(talking) == [Outcome.CONTAINED]
    assert [told.label for told in talking.facts(Fact.OUTCOME)] == ["contained"]


def test_the_outcome_is_on_its_way_before_the_line_is_closed(talking: Line) -> None:
    say_goodbye(talking)
    order = [type(command).__name__ for command in talking.commands]

    assert order.index("NoteOutcome") < order.index("CloseStream")


def test_a_caller_who_hangs_up_has_left(talking: Line) -> None:
    talking.post(ev.StreamStopped())

    assert outcomes(talking) == [Outcome.CALLER_LEFT]


def test_a_line_that_broke_is_no_end_of_the_call(talking: Line) -> None:
    talking.post(ev.StreamLost("reset"))

    assert outcomes(talking) == []


def test_a_transfer_is_no_end_of_the_call_either(talking: Line) -> None:
    talking.post(ev.KeyPressed("0"), ev.ContactNotFound("x"))
    talking.wait(limits.TRANSFER_SENTENCE_MS + limits.CRM_MS + limits.SAVE_MS)

    assert len(talking.sent(do.CloseStream)) == 1
    assert outcomes(talking) == []


def test_a_goodbye_that_fails_is_said_by_twilio_whatever_was_heard_before_it(talking: Line) -> None:
    talking.caller_says("that was all")
    talking.post(
        ev.ModelResponseStarted("r", "reply"),
        ev.ModelToolCalled("r", "i1", "c1", "order_status", "{}"),
        ev.ModelToolCalled("r", "i2", "c2", "end_call", "{}"),
        ev.ModelResponseFinished("r", "reply", "completed"),
    )
    talking.begin_saying("it is shipped")
    talking.post(
        ev.ModelResponseStarted("r2", "goodbye"), ev.ModelResponseFinished("r2", "goodbye", "failed", "server_error")
    )

    assert talking.sent(do.CloseStream) == [do.CloseStream(HangUp(farewell=True))]


def test_a_goodbye_that_breaks_off_is_said_by_twilio_when_its_time_is_up(talking: Line) -> None:
    talking.caller_says("that was all")
    talking.post(ev.ModelResponseStarted("r", "reply"), ev.ModelToolCalled("r", "i1", "c1", "end_call", "{}"))
    talking.post(ev.ModelResponseFinished("r", "reply", "completed"))
    talking.begin_saying("good", purpose="goodbye")
    talking.hear_everything()
    talking.wait(limits.GOODBYE_MS)

    assert talking.sent(do.CloseStream) == [do.CloseStream(HangUp(farewell=True))]


@pytest.mark.parametrize("answer", ["fails", "is heard"])
def test_a_goodbye_that_another_answer_pushed_aside_is_left_to_twilio_unless_that_was_heard(
    talking: Line, answer: str
) -> None:
    talking.caller_says("that was all")
    talking.post(
        ev.ModelResponseStarted("r", "reply"),
        ev.ModelToolCalled("r", "i1", "c1", "end_call", "{}"),
        ev.ModelToolCalled("r", "i2", "c2", "no_such_tool", "{}"),
        ev.ModelResponseFinished("r", "reply", "completed"),
    )
    if answer == "fails":
        talking.post(ev.ModelResponseStarted("r2", "reply"), ev.ModelResponseFinished("r2", "reply", "failed", "x"))
    else:
        talking.say("good day")

    assert talking.sent(do.CloseStream) == [do.CloseStream(HangUp(farewell=answer == "fails"))]


@pytest.mark.parametrize("end", ["goodbye", "hangs up"])
def test_a_caller_who_left_a_message_is_called_back_however_the_call_ends(talking: Line, end: str) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "m", "take_message", '{"message": "Call me"}'), ev.ToolFinished("m", ""))
    talking.say("noted")
    if end == "goodbye":
        say_goodbye(talking)
    else:
        talking.post(ev.StreamStopped())

    assert outcomes(talking) == [Outcome.CALLED_BACK]


def test_what_is_left_when_a_call_breaks_is_a_person(talking: Line) -> None:
    assert talking.call.ending.way_out == FAIL_OPEN


# --- a caller who leaves during the handover


def hand_over(line: Line) -> None:
    line.post(ev.KeyPressed("0"), ev.ContactNotFound("x"))
    line.wait(limits.SUMMARY_MS)
    line.post(ev.TicketNotOpened("x"))
    assert len(line.sent(do.SaveHandover)) == 1


def test_a_caller_who_leaves_during_the_handover_leaves_no_token_behind(talking: Line) -> None:
    hand_over(talking)
    talking.post(ev.HandoverSaved(TOKEN))
    left = talking.post(ev.StreamStopped())

    assert talking.sent(do.RevokeToken, left) == [do.RevokeToken(TOKEN)]
    assert [command.note.kind for command in talking.sent(do.KeepNote, left)] == ["caller_left"]
    assert talking.call.phase is Phase.ENDED


def test_a_token_that_is_being_stored_when_the_caller_leaves_is_revoked_when_it_comes(talking: Line) -> None:
    hand_over(talking)
    left = talking.post(ev.StreamStopped())
    assert talking.sent(do.RevokeToken, left) == []
    assert talking.call.phase is Phase.CLEARING_UP

    assert talking.post(ev.HandoverSaved(TOKEN)) == [do.RevokeToken(TOKEN)]
    assert talking.call.phase is Phase.ENDED


def test_a_token_that_nobody_waits_for_any_longer_is_revoked_all_the_same(talking: Line) -> None:
    hand_over(talking)
    talking.wait(limits.SAVE_MS)
    talking.post(ev.StreamStopped())

    assert talking.post(ev.HandoverSaved(TOKEN)) == [do.RevokeToken(TOKEN)]


@pytest.mark.parametrize("how", ["it was not stored", "no answer comes"])
def test_without_a_token_the_call_is_over_too(talking: Line, how: str) -> None:
    hand_over(talking)
    talking.post(ev.StreamStopped(), ev.TicketOpened("201"))
    assert talking.call.phase is Phase.CLEARING_UP
    rest = talking.post(ev.HandoverNotSaved("x")) if how == "it was not stored" else talking.wait(limits.CRM_LATE_MS)

    assert talking.sent(do.RevokeToken, rest) == []
    assert talking.call.phase is Phase.ENDED


def test_a_caller_who_leaves_before_anything_is_stored_leaves_only_a_note(talking: Line) -> None:
    talking.post(ev.KeyPressed("0"))
    talking.post(ev.StreamStopped())

    assert talking.call.phase is Phase.ENDED
    assert talking.sent(do.RevokeToken) == talking.sent(do.SaveHandover) == []
    assert [command.note.kind for command in talking.sent(do.KeepNote)] == ["caller_left"]
    assert outcomes(talking) == [Outcome.CALLER_LEFT]


# --- back from a transfer that reached nobody


@pytest.mark.parametrize("how", sorted(set(DialOutcome) - {DialOutcome.CONNECTED, DialOutcome.CALLER_LEFT}))
def test_the_model_is_told_in_one_line_how_the_transfer_ended_and_goes_on(line: Line, how: DialOutcome) -> None:
    bring_back(line, Checkpoint(TURNS, nobody_came=how))
    line.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))

    *turns, told = line.sent(do.AddText)
    assert [turn.text for turn in turns] == ["How can I help?", "My order never came"]
    assert told.who == "system"
    assert "nobody could be reached" in told.text
    assert "take_message" in told.text
    assert [request.purpose for request in line.sent(do.RequestResponse)] == ["reply"]


def test_how_it_ended_is_said_in_its_own_words(make_line: Callable[..., Line]) -> None:
    told: set[str] = set()
    for how in (DialOutcome.BUSY, DialOutcome.NO_ANSWER, DialOutcome.FAILED):
        line = bring_back(make_line(), Checkpoint(nobody_came=how))
        line.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
        told.add(line.sent(do.AddText)[-1].text)

    assert len(told) == 3


def test_a_model_that_is_lost_and_found_again_is_told_both(back: Line) -> None:
    back.post(ev.ModelLost("reset"))
    found = back.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))

    system = [text.text for text in back.sent(do.AddText, found) if text.who == "system"]
    assert len(system) == 2
    assert "nobody could be reached" in system[0]
    assert "interruption" in system[1]


def test_every_later_checkpoint_says_that_nobody_came(back: Line) -> None:
    back.caller_says("Then take a message")
    back.say("gladly")

    assert {saved.checkpoint.nobody_came for saved in back.sent(do.SaveCheckpoint)} == {"no_answer"}
    assert all(saved.checkpoint.resumable for saved in back.sent(do.SaveCheckpoint))


def test_a_new_wish_for_a_person_is_answered_by_the_model_who_knows_that_nobody_is_free(back: Line) -> None:
    said = back.caller_says("I want an agent now")

    assert back.facts(Fact.ESCALATED) == []
    assert [text.who for text in back.sent(do.AddText, said)] == ["system"]
    assert back.sent(do.RequestResponse, said) == []  # its own answer to the caller's turn is coming
    assert back.call.phase is Phase.TALKING


def test_the_key_for_a_person_makes_the_model_say_that_nobody_is_free(back: Line) -> None:
    pressed = back.post(ev.KeyPressed("0"))

    assert len(back.sent(do.AddText, pressed)) == len(back.sent(do.RequestResponse, pressed)) == 1
    assert [told.label for told in back.facts(Fact.NOBODY_FREE)] == ["key"]


def test_the_transfer_tool_is_told_that_nobody_is_free(back: Line) -> None:
    called = back.post(ev.ModelToolCalled("r", "i", "c1", "transfer_to_human", "{}"))

    (answer,) = back.sent(do.AnswerTool, called)
    assert "Nobody is free" in answer.output
    assert len(back.sent(do.RequestResponse, called)) == 1
    assert back.sent(do.FindContact) == back.sent(do.SaveHandover) == []


def test_a_wish_during_the_goodbye_keeps_the_caller_on_the_line(back: Line) -> None:
    back.post(ev.ModelToolCalled("r", "i", "bye", "end_call", "{}"), ev.KeyPressed("0"))
    assert back.call.phase is Phase.TALKING
    back.wait(limits.GOODBYE_MS - limits.MODEL_SILENT_MS)

    assert back.sent(do.CloseStream) == []


def test_a_wish_before_the_model_is_ready_waits_for_what_it_is_told_anyway(line: Line) -> None:
    bring_back(line)

    assert line.post(ev.KeyPressed("0")) == []
    assert line.call.phase is Phase.STARTING


LOSSES = {
    "the model is lost twice": (ev.ModelLost("reset"), ev.ModelLost("reset", permanent=True)),
    "the model refuses us": (ev.ModelLost("quota", permanent=True),),
    "an operator orders it": (ev.HandoverOrdered(),),
    "the process stops": (ev.HandoverOrdered(stopping=True),),
    "it speaks another format": (ev.ModelLost("reset"), ev.ModelConnected(), ev.ModelConfigured("audio/pcm", "x")),
}


@pytest.mark.parametrize("how", LOSSES)
def test_where_the_assistant_cannot_go_on_a_call_back_is_promised_and_noted(back: Line, how: str) -> None:
    back.post(*LOSSES[how])

    assert back.sent(do.CloseStream) == [do.CloseStream(PromiseCallBack())]
    assert [command.note.kind for command in back.sent(do.KeepNote)] == ["call_back"]
    assert outcomes(back) == [Outcome.CALLED_BACK]
    assert back.call.phase is Phase.ENDED


def test_a_call_back_is_promised_too_when_time_is_up_or_responses_keep_failing(make_line: Callable[..., Line]) -> None:
    late = bring_back(make_line(call_ms=60_000))
    late.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
    late.say("sorry")
    late.wait(60_000)
    failing = bring_back(make_line())
    failing.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
    for name in ("r1", "r2"):
        failing.post(ev.ModelResponseStarted(name, "reply"), ev.ModelResponseFinished(name, "reply", "failed", "x"))
        failing.wait(limits.RESPONSE_RETRY_WAIT_MS)

    for line in (late, failing):
        assert line.sent(do.CloseStream) == [do.CloseStream(PromiseCallBack())]


def test_a_model_that_never_gets_ready_for_them_leaves_the_promise_to_twilio(line: Line) -> None:
    bring_back(line)
    line.wait(limits.MODEL_READY_MS)

    assert line.sent(do.CloseStream) == [do.CloseStream(PromiseCallBack())]


def test_a_message_that_was_taken_needs_no_second_note(back: Line) -> None:
    back.post(ev.ModelToolCalled("r", "i", "m", "take_message", '{"message": "Call me"}'), ev.ToolFinished("m", ""))
    back.post(ev.ModelLost("quota", permanent=True))

    assert back.sent(do.KeepNote) == []
    assert outcomes(back) == [Outcome.CALLED_BACK]


def test_a_goodbye_after_a_transfer_that_reached_nobody_contained_nothing(back: Line) -> None:
    say_goodbye(back)

    assert back.sent(do.CloseStream) == [do.CloseStream(HangUp())]
    assert outcomes(back) == [Outcome.CALLER_LEFT]


def test_what_is_left_when_such_a_call_breaks_is_the_promise(back: Line) -> None:
    assert back.call.ending.way_out == PromiseCallBack()


def test_such_a_call_is_moved_to_another_instance_and_not_given_up_even_before_its_model_is_ready(
    line: Line, back: Line
) -> None:
    (ready,) = back.sent(do.MoveStream, back.post(ev.MoveOrdered()))
    (starting,) = bring_back(line).sent(do.MoveStream, line.post(ev.MoveOrdered()))

    assert ready.checkpoint.nobody_came == starting.checkpoint.nobody_came == "no_answer"
    assert starting.checkpoint.resumes == BACK.resumes


def test_a_long_goodbye_is_heard_to_its_end(talking: Line) -> None:
    talking.caller_says("that was all")
    talking.post(ev.ModelResponseStarted("r", "reply"), ev.ModelToolCalled("r", "i1", "c1", "end_call", "{}"))
    talking.post(ev.ModelResponseFinished("r", "reply", "completed"))
    talking.begin_saying("bye", ms=15_000, purpose="goodbye")
    talking.end_saying("bye", purpose="goodbye")
    talking.wait(15_000)
    assert talking.sent(do.CloseStream) == []
    talking.hear_everything()

    assert talking.sent(do.CloseStream) == [do.CloseStream(HangUp())]
