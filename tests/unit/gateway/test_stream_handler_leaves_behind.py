"""What a call leaves behind: messages and notes for people, its outcome, no usable token, and no third dial."""

from collections.abc import Callable
from typing import Any

import pytest

from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.ending import Ending
from voice_openai_connect.call.next_step import HangUp, PromiseCallBack
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.call.ticket_note import Notes
from voice_openai_connect.call.tool_calls import ToolCalls

MakeStage = Callable[..., Any]
MESSAGE = '{"message": "Please call <b>after five</b>"}'


def on_start(*commands: do.Command) -> dict[type[ev.Event], tuple[do.Command, ...]]:
    """A call that asks for this when it begins, and for nothing more."""
    return {ev.StreamStarted: commands}


async def test_a_message_is_kept_for_people_with_the_number_and_plain(make_stage: MakeStage) -> None:
    stage = make_stage(on_start(do.RunTool("t1", "take_message", MESSAGE)))
    served = await stage.begin()
    assert await stage.call.until(ev.ToolFinished) == ev.ToolFinished("t1", "")
    stage.line.says("stop")
    await stage.over(served)

    (note,) = stage.service.notes
    assert (note.kind, note.urgent, note.conversation_id) == ("call_back", True, "conv-1")
    assert "+61255501234" in note.text
    assert "Please call (b)after five(/b)" in note.text


async def test_a_message_that_nobody_would_read_has_not_been_taken(make_stage: MakeStage) -> None:
    stage = make_stage(on_start(do.RunTool("t1", "take_message", MESSAGE)), crm=False)
    served = await stage.begin()
    assert await stage.call.until(ev.ToolFailed) == ev.ToolFailed("t1", "crm_off")
    stage.line.says("stop")
    await stage.over(served)


async def test_notes_and_revoked_tokens_are_on_their_way_before_the_handler_is_gone(make_stage: MakeStage) -> None:
    note = Notes("conv-1", "").caller_left()
    stage = make_stage({ev.StreamStopped: (do.KeepNote(note), do.RevokeToken("0123456789"))})
    await stage.whole_call()

    assert stage.service.notes == [note]
    assert stage.service.revoked == ["0123456789"]


async def test_without_a_crm_a_note_has_nowhere_to_go_and_harms_nobody(make_stage: MakeStage) -> None:
    stage = make_stage({ev.StreamStopped: (do.KeepNote(Notes("conv-1", "").caller_left()),)}, crm=False)
    await stage.whole_call()

    assert stage.watch.failures == []


async def test_the_outcome_is_kept_instead_of_what_was_said_before(make_stage: MakeStage) -> None:
    stage = make_stage(
        on_start(do.SaveCheckpoint(Checkpoint()), do.NoteOutcome(Outcome.CONTAINED), do.CloseStream(HangUp()))
    )
    served = await stage.begin()
    await stage.end()
    await stage.over(served)

    assert stage.service.outcomes == [Outcome.CONTAINED]
    assert stage.service.checkpoints == []
    assert stage.steps == [HangUp()]


@pytest.mark.parametrize("resumed", [None, Checkpoint()])
async def test_a_call_that_was_taken_up_again_has_words_to_be_removed(
    make_stage: MakeStage, resumed: Checkpoint | None
) -> None:
    stage = make_stage({ev.StreamStopped: (do.NoteOutcome(Outcome.CALLER_LEFT),)}, resumed=resumed)
    await stage.whole_call()

    assert stage.service.words_kept is (resumed is not None)


async def test_a_call_that_breaks_after_nobody_came_ends_in_a_promise_and_not_in_a_third_dial(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(broken=frozenset({ev.StreamStarted}))
    stage.call.ending = Ending(Notes("conv-1", "", "busy"), ToolCalls(frozenset()))
    served = await stage.begin()
    await stage.over(served)

    assert stage.steps == [PromiseCallBack()]


@pytest.mark.parametrize(("end", "left"), [("stop", True), ("", False)])
async def test_only_a_stream_that_twilio_stopped_had_a_caller_who_left(
    make_stage: MakeStage, end: str, *, left: bool
) -> None:
    stage = make_stage()
    served = await stage.begin()
    if end:
        stage.line.says(end)
    else:
        stage.line.to_gateway.put_nowait(None)
    await stage.over(served)

    assert stage.handler.caller_left is left
    assert bool(stage.handler.broken_stream) is not left


async def test_a_stream_that_we_gave_up_has_not_broken_off(make_stage: MakeStage) -> None:
    stage = make_stage()
    served = await stage.begin()
    stage.handler.lose_stream("not_reading")
    await stage.over(served)

    assert stage.handler.broken_stream == ""
