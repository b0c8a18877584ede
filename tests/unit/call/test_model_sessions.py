"""Whether there is a model to talk to, and what a lost one leaves behind."""

from dataclasses import dataclass

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.callers_turn import CallersTurn
from voice_openai_connect.call.checkpoint import Checkpoint, Turn
from voice_openai_connect.call.continuity import Continuity
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.floor import Floor
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.call.model_sessions import READY_TIMER, ModelSessions
from voice_openai_connect.call.patience import STALLED_TIMER, Patience
from voice_openai_connect.call.retries import RETRY_TIMER
from voice_openai_connect.call.settings import CallSettings, Intent
from voice_openai_connect.call.speech import Speech
from voice_openai_connect.call.tool_calls import ToolCalls

OURS = ev.ModelConfigured("audio/pcmu", "audio/pcmu")


class Nobody:
    def wants_person(self, text: str) -> bool:
        return False


@dataclass
class Parts:
    """The sessions of one call, and what they share with the rest of it."""

    model: ModelSessions
    speech: Speech
    turn: CallersTurn
    floor: Floor
    tools: ToolCalls


def parts(resumed: Checkpoint | None = None) -> Parts:
    general = Intent("general", "support", "normal")
    settings = CallSettings(
        greeting="Hello!",
        transfer_sentence="One moment.",
        goodbye_sentence="Goodbye!",
        phrases=Nobody(),
        intents={"general": general},
        default_intent=general,
        tools=frozenset({"order_status"}),
    )
    conversation = Conversation()
    speech, turn, floor, tools = Speech(conversation), CallersTurn(), Floor(), ToolCalls(settings.tools)
    model = ModelSessions(
        settings,
        continuity=Continuity(conversation, speech, resumed, enabled=True),
        speech=speech,
        turn=turn,
        floor=floor,
        patience=Patience(speech, holding_sound()),
        tools=tools,
    )
    return Parts(model, speech, turn, floor, tools)


def begin_saying(call: Parts) -> None:
    call.floor.started("r1", "reply")
    call.speech.audio(ev.ModelAudio("r1", "i1", b"\x55" * 3_200), now=0)


def test_before_the_call_has_begun_the_model_is_tried_so_often() -> None:
    model = parts().model
    assert not model.begun
    for _ in range(limits.MODEL_CONNECTS):
        assert model.may_connect_again
        assert model.connect() == [do.ConnectModel()]

    assert model.begun
    assert not model.may_connect_again


@pytest.mark.parametrize("wrong", [("audio/pcm", "audio/pcmu"), ("audio/pcmu", "audio/pcm")])
def test_a_session_of_another_format_in_either_direction_is_never_ready(wrong: tuple[str, str]) -> None:
    model = parts().model
    assert not model.accepts(ev.ModelConfigured(*wrong))
    assert not model.ready

    assert model.accepts(OURS)
    assert model.ready


def test_the_callers_words_are_kept_in_order_and_given_once() -> None:
    model = parts().model
    model.keep(b"first")
    model.keep(b"then")

    told, waiting = model.take_kept()

    assert told == [do.CancelTimer(READY_TIMER), do.Tell(Fact.MODEL_READY)]
    assert waiting == [do.SendCallerAudio(b"first"), do.SendCallerAudio(b"then")]
    assert model.take_kept()[1] == []


def test_words_that_had_to_be_dropped_are_told() -> None:
    model = parts().model
    second = bytes(limits.BYTES_PER_MS * 1_000)
    for _ in range(limits.CALLER_AUDIO_HELD_MS // 1_000 + 2):
        model.keep(second)

    told, _ = model.take_kept()

    (dropped,) = [tell for tell in told if isinstance(tell, do.Tell) and tell.fact is Fact.FRAMES_DROPPED]
    assert dropped.label == "model_not_ready"
    assert dropped.value_ms == pytest.approx(2_000, abs=5)  # pyright: ignore[reportUnknownMemberType]


def test_a_lost_session_leaves_nothing_asked_for_behind() -> None:
    call = parts()
    call.model.accepts(OURS)
    call.floor.request(do.RequestResponse("reply"))

    assert call.model.lose("closed") == [do.Tell(Fact.MODEL_LOST, "closed")]

    assert not call.model.ready
    assert call.floor.free


def test_in_the_middle_of_a_call_another_session_is_tried_so_often() -> None:
    model = parts().model
    for _ in range(limits.RECOVERIES):
        assert model.may_recover
        model.recover(now=0)
    assert not model.may_recover


def test_another_session_begins_with_silence_and_its_own_deadline_and_forgets_what_ran_for_the_last() -> None:
    call = parts()
    begin_saying(call)
    call.tools.start(ev.ModelToolCalled("r1", "i1", "t1", "order_status", "{}"), now=0)

    commands = call.model.recover(now=100)

    assert commands[0] == do.ClearPlayback()
    assert do.SetTimer(READY_TIMER, 100 + limits.MODEL_READY_MS) in commands
    assert do.CancelTimer(RETRY_TIMER) in commands
    assert do.CancelTimer(STALLED_TIMER) in commands
    assert [each for each in commands if isinstance(each, do.ModelCommand)] == [do.ConnectModel()]
    assert not call.tools.running


def test_a_session_that_takes_over_tells_how_long_there_was_none() -> None:
    model = parts().model
    model.recover(now=1_000)

    assert model.take_up_thread(now=1_800)[0] == do.Tell(Fact.MODEL_RECOVERED, value_ms=800)


def test_a_call_that_is_taken_up_elsewhere_gives_the_model_the_turns_and_tells_how_often_it_was() -> None:
    model = parts(Checkpoint((Turn("caller", "My order never came"),), resumes=2)).model

    told, first, *_ = model.take_up_thread(now=0)

    assert told == do.Tell(Fact.RESUMED, "2")
    assert first == do.AddText("caller", "My order never came")


@pytest.mark.parametrize("cancel", [True, False])
def test_an_interrupted_model_is_told_to_stop_only_where_it_does_not_by_itself(*, cancel: bool) -> None:
    call = parts()
    begin_saying(call)

    commands = call.model.interrupt(100, cancel=cancel)

    assert commands[0] == do.ClearPlayback()
    assert (do.CancelResponse("r1") in commands) is cancel
    assert call.speech.is_muted("r1")


def test_a_model_that_says_nothing_is_not_interrupted() -> None:
    assert parts().model.interrupt(100, cancel=True) == []


def test_an_error_that_only_says_that_the_model_was_quicker_is_none() -> None:
    assert parts().model.erred(ev.ModelErred("response_cancel_not_active")) == []


def test_a_request_that_met_another_response_waits_for_its_end() -> None:
    call = parts()
    call.floor.request(do.RequestResponse("reply"))

    told = call.model.erred(ev.ModelErred("conversation_already_has_active_response"))

    assert told == [do.Tell(Fact.MODEL_ERROR, "conversation_already_has_active_response")]
    assert call.floor.take() == [do.RequestResponse("reply")]


def test_only_the_beginning_of_a_session_is_listened_to_for_its_format() -> None:
    model = parts().model
    model.accepts(OURS)
    assert not model.sounds_wrong(bytes([0x7F, 0xFF, 0x80, 0x12] * 2_400))
    assert not model.sounds_wrong(bytes(800))  # zeros would be another format's silence; the question is settled

    model.accepts(OURS)
    assert model.sounds_wrong(bytes(800))
