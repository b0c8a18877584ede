"""A call is ready to be taken up elsewhere between any two turns."""

from collections.abc import Callable
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import LOST, Checkpoint, Turn
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.next_step import DialPerson
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.call.phases import Phase

Line = Any


def saved(line: Line) -> Checkpoint:
    return line.sent(do.SaveCheckpoint)[-1].checkpoint


def test_what_both_have_said_is_kept_when_a_turn_has_been_heard(talking: Line) -> None:
    talking.caller_says("My order never came")
    talking.say("a")

    assert saved(talking).turns == (
        Turn("assistant", "words of greet"),
        Turn("caller", "My order never came"),
        Turn("assistant", "words of a"),
    )
    assert saved(talking).resumes == 1


def test_words_that_have_not_been_heard_yet_are_not_kept(talking: Line) -> None:
    talking.caller_says("My order never came")
    talking.begin_saying("a", ms=5_000)
    talking.end_saying("a")
    talking.post(ev.CallerTranscribed("u2", "and it was blue"))

    assert "words of a" not in str(saved(talking).turns)


def test_nothing_is_written_twice(talking: Line) -> None:
    talking.caller_says("My order never came")
    talking.say("a")
    written = len(talking.sent(do.SaveCheckpoint))
    talking.hear_everything()

    assert len(talking.sent(do.SaveCheckpoint)) == written


def test_nothing_is_kept_of_a_call_where_that_is_switched_off(make_line: Callable[..., Line]) -> None:
    line = make_line(checkpoints=False)
    line.talk()
    line.caller_says("My order never came")
    line.say("a")
    line.post(ev.StreamStopped())

    assert line.sent(do.SaveCheckpoint) == []


def test_nothing_is_kept_of_a_caller_who_has_left(talking: Line) -> None:
    talking.caller_says("My order never came")

    left = talking.sent(do.NoteOutcome, talking.post(ev.StreamStopped()))
    assert left == [do.NoteOutcome(Outcome.CALLER_LEFT)]


def test_once_a_person_is_needed_nobody_may_go_back_to_talking(talking: Line) -> None:
    talking.caller_says("My order never came")
    talking.post(ev.KeyPressed("0"))

    assert saved(talking).person_needed
    assert not saved(talking).resumable


def test_a_checkpoint_stays_small_and_keeps_the_latest(talking: Line) -> None:
    for turn in range(100):
        talking.caller_says(f"{turn} " + "x" * 900, item=f"u{turn}")
        talking.say(f"a{turn}")

    kept = saved(talking).turns
    assert sum(len(turn.text) for turn in kept) <= limits.CHECKPOINT_CHARS
    assert kept[-1].text == "words of a99"


@pytest.mark.parametrize(("resumes", "resumable"), [(1, True), (limits.RESUMES, True), (limits.RESUMES + 1, False)])
def test_a_call_is_taken_up_again_only_so_often(resumes: int, *, resumable: bool) -> None:
    assert Checkpoint(resumes=resumes).resumable is resumable


# --- taken up again


def resumed(line: Line, checkpoint: Checkpoint) -> Line:
    line.call = Call(line.call.identity, line.call.settings, checkpoint)
    line.post(ev.StreamStarted("MZ2"), ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
    return line


TURNS = (Turn("assistant", "How can I help?"), Turn("caller", "My order never came"))


def test_a_resumed_call_goes_on_where_it_was_and_greets_nobody(line: Line) -> None:
    resumed(line, Checkpoint(TURNS))

    assert [(c.who, c.text) for c in line.sent(do.AddText)][:2] == [
        ("assistant", "How can I help?"),
        ("caller", "My order never came"),
    ]
    assert [r.purpose for r in line.sent(do.RequestResponse)] == ["reply"]
    assert [t.label for t in line.facts(Fact.RESUMED)] == ["1"]


def test_a_call_that_was_moved_on_purpose_greets_nobody_either(line: Line) -> None:
    resumed(line, Checkpoint(TURNS, resumes=0))

    assert [r.purpose for r in line.sent(do.RequestResponse)] == ["reply"]


def test_a_resumed_call_does_not_leave_its_caller_in_silence_for_long(line: Line) -> None:
    line.call = Call(line.call.identity, line.call.settings, Checkpoint(TURNS))
    line.post(ev.StreamStarted("MZ2"))
    line.wait(limits.HOLD_AFTER_BREAK_MS)

    assert len(line.facts(Fact.HOLD_PLAYED)) == 1


def test_a_resumed_call_counts_on(line: Line) -> None:
    resumed(line, Checkpoint(TURNS, resumes=2))
    line.say("a")

    assert saved(line).resumes == 3
    assert saved(line).turns[:2] == TURNS


def test_a_resumed_call_whose_model_is_lost_still_knows_the_whole_conversation(line: Line) -> None:
    resumed(line, Checkpoint(TURNS))
    line.say("a")
    line.post(ev.ModelLost("reset"))
    back = line.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))

    assert [c.text for c in line.sent(do.AddText, back)][:3] == ["How can I help?", "My order never came", "words of a"]
    assert len(line.facts(Fact.MODEL_RECOVERED)) == 1


@pytest.mark.parametrize("nothing", [LOST, Checkpoint(TURNS, person_needed=True)], ids=["unknown", "person needed"])
def test_a_call_that_cannot_go_on_where_it_was_greets_nobody_and_goes_to_a_person(
    line: Line, nothing: Checkpoint
) -> None:
    line.call = Call(line.call.identity, line.call.settings, nothing)
    line.post(ev.StreamStarted("MZ2"))

    assert line.sent(do.ConnectModel) == line.sent(do.RequestResponse) == []
    assert [t.label for t in line.facts(Fact.ESCALATED)] == ["context_lost"]
    (find,) = line.sent(do.FindContact)
    assert find.caller_phone == line.call.identity.caller_phone
    line.post(ev.ContactNotFound("crm_off"), ev.TicketNotOpened("crm_off"))
    (save,) = line.sent(do.SaveHandover)
    assert "interrupted" in save.record.summary
    line.post(ev.HandoverSaved("0123456789"))

    assert line.sent(do.CloseStream) == [do.CloseStream(DialPerson(token="0123456789", announce=True))]


# --- moved on purpose


def test_a_call_between_two_turns_moves_at_once(talking: Line) -> None:
    talking.caller_says("My order never came")
    talking.say("a")
    moved = talking.post(ev.MoveOrdered())

    (move,) = talking.sent(do.MoveStream, moved)
    assert move.checkpoint.turns[-1] == Turn("assistant", "words of a")
    assert talking.sent(do.DisconnectModel, moved) == [do.DisconnectModel()]
    assert talking.call.phase is Phase.ENDED


def test_being_moved_on_purpose_does_not_count_as_having_broken(talking: Line) -> None:
    (move,) = talking.sent(do.MoveStream, talking.post(ev.MoveOrdered()))

    assert move.checkpoint.resumes == 0
    assert move.checkpoint.resumable


def test_a_call_in_mid_sentence_moves_when_the_sentence_has_been_heard(talking: Line) -> None:
    talking.begin_saying("a", ms=2_000)
    assert talking.sent(do.MoveStream, talking.post(ev.MoveOrdered())) == []
    talking.end_saying("a")
    assert talking.sent(do.MoveStream) == []

    assert len(talking.sent(do.MoveStream, talking.hear_everything())) == 1


def test_a_caller_who_is_speaking_is_not_moved(talking: Line) -> None:
    talking.post(ev.CallerSpeechStarted("u1"))

    assert talking.sent(do.MoveStream, talking.post(ev.MoveOrdered())) == []


def test_a_call_that_finds_no_boundary_is_moved_all_the_same_with_only_what_was_heard(talking: Line) -> None:
    talking.begin_saying("a", ms=50_000)
    talking.post(ev.ModelSaid("r-a", "i-a", "far too many words", final=True), ev.MoveOrdered())
    late = talking.wait(limits.MOVE_MS)

    (move,) = talking.sent(do.MoveStream, late)
    assert "too many" not in str(move.checkpoint.turns)


def test_a_call_that_must_move_at_once_does_not_wait_for_the_end_of_the_sentence(talking: Line) -> None:
    talking.begin_saying("a", ms=50_000)
    talking.post(ev.MoveOrdered())
    moved = talking.post(ev.MoveOrdered(at_once=True))

    assert talking.sent(do.ClearPlayback, moved) == [do.ClearPlayback()]
    assert len(talking.sent(do.MoveStream, moved)) == 1


def test_a_caller_in_mid_sentence_is_moved_at_once_as_well(talking: Line) -> None:
    talking.post(ev.CallerSpeechStarted("u1"), ev.MoveOrdered())

    assert len(talking.sent(do.MoveStream, talking.post(ev.MoveOrdered(at_once=True)))) == 1


def test_a_call_on_its_way_to_a_person_is_not_moved(talking: Line) -> None:
    talking.post(ev.KeyPressed("0"), ev.MoveOrdered(), ev.MoveOrdered(at_once=True))
    talking.wait(limits.MOVE_MS)

    assert talking.sent(do.MoveStream) == []


def test_a_call_that_cannot_be_moved_is_handed_to_a_person(make_line: Callable[..., Line]) -> None:
    line = make_line(checkpoints=False)
    line.talk()
    line.post(ev.MoveOrdered())

    assert line.call.phase is Phase.HANDING_OVER
    assert [fact.label for fact in line.facts(Fact.ESCALATED)] == ["stopping"]


def test_words_that_are_written_down_only_after_the_decision_for_a_person_are_kept_for_a_caller_who_comes_back(
    talking: Line,
) -> None:
    talking.post(ev.CallerSpeechStarted("u1"), ev.CallerSpeechStopped("u1"), ev.KeyPressed("0"))
    (saved,) = talking.sent(do.SaveCheckpoint, talking.post(ev.CallerTranscribed("u1", "my monitor shows error seven")))

    assert saved.checkpoint.turns[-1] == Turn("caller", "my monitor shows error seven")
    assert saved.checkpoint.person_needed
