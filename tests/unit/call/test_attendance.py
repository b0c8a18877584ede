"""Nobody is there: what is said, what is noted, and when a caller is moved all the same."""

from collections.abc import Callable
from typing import Any

import pytest

from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.next_step import PromiseCallBack
from voice_openai_connect.call.outcome import Absence, Outcome
from voice_openai_connect.call.phases import Phase

Line = Any
CLOSED = ev.QueuesUnattended(closed=frozenset({"support"}))
ALL_CLOSED = ev.QueuesUnattended(closed=frozenset({"support", "billing"}))
UNSTAFFED = ev.QueuesUnattended(unstaffed=frozenset({"support"}))
EVERYBODY = ev.QueuesUnattended()


def notes(line: Line) -> list[str]:
    return [f"{command.note.kind}: {command.note.text}" for command in line.sent(do.KeepNote)]


def told(line: Line) -> list[str]:
    """What the model was told as text of the system's."""
    return [text.text for text in line.sent(do.AddText) if text.who == "system"]


def transfer(line: Line, call_id: str = "t1", arguments: str = "{}") -> list[do.Command]:
    """The model calls the transfer tool in a response of its own, which is over then."""
    return line.post(
        ev.ModelResponseStarted(f"r-{call_id}", "reply"),
        ev.ModelToolCalled(f"r-{call_id}", "i", call_id, "transfer_to_human", arguments),
        ev.ModelResponseFinished(f"r-{call_id}", "reply", "completed"),
    )


@pytest.mark.parametrize(("event", "word"), [(CLOSED, "closed"), (UNSTAFFED, "at work")])
def test_the_transfer_tool_is_told_who_is_missing_and_to_take_a_message(
    talking: Line, event: ev.QueuesUnattended, word: str
) -> None:
    talking.post(event)
    called = transfer(talking)

    (answer,) = talking.sent(do.AnswerTool, called)
    assert word in answer.output
    assert "take_message" in answer.output
    assert [request.purpose for request in talking.sent(do.RequestResponse, called)] == ["reply"]
    assert talking.facts(Fact.ESCALATED) == []
    assert talking.call.phase is Phase.TALKING


def test_the_ticket_says_which_even_if_the_caller_just_hangs_up(talking: Line) -> None:
    talking.post(UNSTAFFED)
    transfer(talking)
    talking.post(ev.StreamStopped())

    (note,) = notes(talking)
    assert note.startswith("nobody_reached: The caller asked for a person and was not transferred: the queue support")
    assert note.endswith("was open, and nobody who serves it was at work.")
    assert all(command.note.urgent for command in talking.sent(do.KeepNote))
    assert [n.outcome for n in talking.sent(do.NoteOutcome)] == [Outcome.CALLER_LEFT]


def test_a_caller_who_asks_again_is_noted_once(talking: Line) -> None:
    talking.post(CLOSED)
    for number in range(3):
        transfer(talking, f"t{number}")

    assert len(notes(talking)) == 1
    assert [tell.label for tell in talking.facts(Fact.NOBODY_THERE)] == ["closed"] * 3


def test_a_message_says_why_it_was_taken_and_the_call_counts_as_called_back(talking: Line) -> None:
    talking.post(CLOSED)
    transfer(talking)
    talking.post(
        ev.ModelToolCalled("r", "i", "m", "take_message", '{"message": "Call me after five"}'), ev.ToolFinished("m", "")
    )
    message = talking.call.notes.message("Call me after five")
    talking.post(ev.StreamStopped())

    assert "the queue was closed" in message.text
    assert [n.outcome for n in talking.sent(do.NoteOutcome)] == [Outcome.CALLED_BACK]


def test_words_for_a_person_stop_a_model_that_does_not_know_and_make_it_say_so(talking: Line) -> None:
    talking.post(CLOSED)
    talking.post(ev.CallerSpeechStarted("u1"), ev.CallerSpeechStopped("u1"))
    talking.begin_saying("of course")
    asked = talking.post(ev.CallerTranscribed("u1", "I want an agent"))
    asked += talking.post(ev.ModelResponseFinished("r-of course", "reply", "cancelled"))

    assert len(talking.sent(do.ClearPlayback, asked)) == len(talking.sent(do.CancelResponse, asked)) == 1
    assert "closed" in told(talking)[-1]
    assert [request.purpose for request in talking.sent(do.RequestResponse, asked)] == ["reply"]
    assert talking.call.phase is Phase.TALKING


def test_a_model_that_knows_answers_the_next_wish_by_itself(talking: Line) -> None:
    talking.post(CLOSED)
    transfer(talking)
    talking.say("sorry")
    asked = talking.caller_says("But I want an agent")

    assert talking.sent(do.RequestResponse, asked) == talking.sent(do.CancelResponse, asked) == []
    assert "closed" in told(talking)[-1]


def test_the_key_for_a_person_makes_the_model_say_so(talking: Line) -> None:
    talking.post(CLOSED)
    pressed = talking.post(ev.KeyPressed("0"))

    assert "closed" in told(talking)[-1]
    assert len(talking.sent(do.RequestResponse, pressed)) == 1


def test_a_key_pressed_before_the_model_is_ready_is_told_it_before_it_greets(line: Line) -> None:
    line.post(CLOSED, ev.StreamStarted("MZ1"), ev.KeyPressed("0"))
    assert line.sent(do.AddText) == []
    line.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))

    assert "closed" in told(line)[-1]
    assert len(notes(line)) == 1
    assert [request.purpose for request in line.sent(do.RequestResponse)] == ["greeting"]


def test_somebody_who_has_come_meanwhile_takes_the_next_wish(talking: Line) -> None:
    talking.post(UNSTAFFED)
    transfer(talking, "t1")
    talking.post(EVERYBODY)
    called = transfer(talking, "t2")

    assert talking.call.phase is Phase.HANDING_OVER
    assert [answer.output for answer in talking.sent(do.AnswerTool, called)] == [
        "The caller is being connected to a person."
    ]
    assert {saved.checkpoint.nobody_came for saved in talking.sent(do.SaveCheckpoint, called)} == {""}


def test_a_wish_is_for_the_queue_of_its_intent(talking: Line) -> None:
    talking.post(CLOSED)
    transfer(talking, arguments='{"intent": "billing"}')

    assert talking.call.phase is Phase.HANDING_OVER


def test_the_model_learns_which_intents_have_somebody(talking: Line, make_line: Callable[..., Line]) -> None:
    talking.post(CLOSED)
    (some,) = talking.sent(do.AnswerTool, transfer(talking))
    nobody_at_all = make_line()
    nobody_at_all.talk()
    nobody_at_all.post(ALL_CLOSED)
    (none,) = nobody_at_all.sent(do.AnswerTool, transfer(nobody_at_all))

    assert some.output.endswith("as the intent: billing.")
    assert "as the intent" not in none.output


def test_nothing_known_is_a_transfer(talking: Line) -> None:
    transfer(talking)

    assert talking.call.phase is Phase.HANDING_OVER
    assert notes(talking) == []


def test_a_profile_may_have_its_callers_moved_whoever_is_there(make_line: Callable[..., Line]) -> None:
    line = make_line(transfer_when_closed=True)
    line.talk()
    line.post(ALL_CLOSED)
    line.post(ev.KeyPressed("0"))

    assert line.call.phase is Phase.HANDING_OVER


def test_an_operators_order_is_carried_out_whoever_is_there(talking: Line) -> None:
    talking.post(ALL_CLOSED)
    talking.post(ev.HandoverOrdered())

    assert talking.call.phase is Phase.HANDING_OVER


def test_a_process_that_stops_moves_nobody_to_where_nobody_is(talking: Line) -> None:
    talking.post(ALL_CLOSED)
    talking.post(ev.HandoverOrdered(stopping=True))

    assert talking.sent(do.CloseStream) == [do.CloseStream(PromiseCallBack())]
    assert talking.call.phase is Phase.ENDED


def test_a_queue_that_closes_during_the_handover_changes_nothing(talking: Line) -> None:
    talking.post(ev.KeyPressed("0"))

    assert talking.post(ALL_CLOSED) == []
    assert talking.call.phase is Phase.HANDING_OVER


@pytest.mark.parametrize("ready", [True, False])
def test_a_model_that_is_lost_while_nobody_is_there_leaves_a_promise_and_no_ringing_room(
    line: Line, ready: bool
) -> None:
    line.post(CLOSED)
    line.post(ev.StreamStarted("MZ1"))
    if ready:
        line.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
    line.post(ev.ModelLost("quota", permanent=True))

    assert line.sent(do.CloseStream) == [do.CloseStream(PromiseCallBack())]
    assert [tell.label for tell in line.facts(Fact.NOBODY_THERE)] == ["closed"]
    (note,) = notes(line)
    assert note.startswith("call_back: Please call back +15550100")
    assert note.endswith("the queue was closed.")
    assert line.call.phase is Phase.ENDED


def test_a_model_that_takes_over_in_mid_call_is_told_again(talking: Line) -> None:
    talking.post(CLOSED)
    transfer(talking)
    talking.say("sorry")
    talking.post(ev.ModelLost("reset"))
    talking.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))

    closed, interrupted = told(talking)[-2:]
    assert "closed" in closed
    assert "interruption" in interrupted


def test_the_checkpoint_says_that_nobody_was_there(talking: Line) -> None:
    talking.post(CLOSED)
    transfer(talking)
    talking.caller_says("Then please call me back")
    talking.say("gladly")

    assert {saved.checkpoint.nobody_came for saved in talking.sent(do.SaveCheckpoint)} == {Absence.CLOSED}
    assert talking.call.ending.way_out == PromiseCallBack()


@pytest.fixture
def resumed(line: Line) -> Line:
    """The line broke after the caller had been told that it is closed; another instance goes on, and knows nothing."""
    line.call = Call(line.call.identity, line.call.settings, Checkpoint(nobody_came=Absence.CLOSED))
    line.post(ev.StreamStarted("MZ2"), ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
    return line


def test_a_broken_line_is_spoken_of_and_so_is_that_nobody_was_there(resumed: Line) -> None:
    closed, interrupted = told(resumed)

    assert "closed" in closed
    assert "interruption" in interrupted


def test_an_instance_that_does_not_know_who_is_there_moves_the_caller(resumed: Line) -> None:
    resumed.say("again")
    resumed.post(ev.KeyPressed("0"))

    assert resumed.call.phase is Phase.HANDING_OVER
