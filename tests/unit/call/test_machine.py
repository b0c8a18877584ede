"""The call machine, as lists of events and commands on a hand-set clock."""

from collections.abc import Callable
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.next_step import DialPerson, HangUp
from voice_openai_connect.call.phases import Phase

Line = Any


def test_the_model_is_connected_as_soon_as_the_stream_starts(line: Line) -> None:
    assert line.sent(do.ConnectModel, line.post(ev.StreamStarted("MZ1"))) == [do.ConnectModel()]


def test_nothing_is_played_before_the_model_has_confirmed_pcmu(line: Line) -> None:
    line.post(ev.StreamStarted("MZ1"), ev.ModelConnected(), ev.ModelAudio("r", "i", bytes(1_600)))

    assert line.sent(do.PlayAudio) == []


@pytest.mark.parametrize(
    "formats", [("audio/pcm", "audio/pcm"), ("audio/pcmu", "audio/pcm"), ("audio/pcm", "audio/pcmu")]
)
def test_a_model_that_keeps_another_format_is_never_heard_and_a_person_is_called(
    line: Line, formats: tuple[str, str]
) -> None:
    line.post(ev.StreamStarted("MZ1"), ev.ModelConnected(), ev.ModelConfigured(*formats))
    line.post(ev.ModelAudio("r", "i", bytes(1_600)), ev.ContactNotFound("x"), ev.TicketNotOpened("x"))
    line.post(ev.HandoverSaved("0123456789"))

    assert line.sent(do.PlayAudio) == []
    assert line.sent(do.CloseStream) == [do.CloseStream(DialPerson(token="0123456789", announce=True))]


def test_the_disclosure_and_greeting_come_first_word_for_word(line: Line) -> None:
    line.post(ev.StreamStarted("MZ1"), ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))

    (request,) = line.sent(do.RequestResponse)
    assert request.purpose == "greeting"
    assert '"This call is answered by an AI. Hello!"' in request.instructions


def test_what_the_caller_said_before_the_model_was_ready_is_passed_on_in_order(line: Line) -> None:
    assert not line.call.passes_audio
    line.post(ev.StreamStarted("MZ1"), ev.CallerAudio(b"one"), ev.CallerAudio(b"two"), ev.ModelConnected())
    line.post(ev.ModelConfigured("audio/pcmu", "audio/pcmu"), ev.CallerAudio(b"three"))

    assert [c.audio for c in line.sent(do.SendCallerAudio)] == [b"one", b"two", b"three"]


def test_a_model_that_cannot_be_reached_is_tried_twice_and_then_a_person_is_called(line: Line) -> None:
    line.post(ev.StreamStarted("MZ1"), ev.ModelLost("refused"), ev.ModelLost("refused"))

    assert len(line.sent(do.ConnectModel)) == limits.MODEL_CONNECTS
    assert [t.label for t in line.facts(Fact.ESCALATED)] == ["model_lost"]


def test_a_model_that_refuses_us_for_good_is_not_tried_again(line: Line) -> None:
    line.post(ev.StreamStarted("MZ1"), ev.ModelLost("invalid_api_key", permanent=True))

    assert len(line.sent(do.ConnectModel)) == 1
    assert line.call.phase is Phase.HANDING_OVER


def test_a_model_that_is_not_ready_in_time_is_given_up(line: Line) -> None:
    line.post(ev.StreamStarted("MZ1"))
    line.wait(limits.MODEL_READY_MS)

    assert line.call.phase is Phase.HANDING_OVER


def test_caller_audio_goes_up_unchanged(talking: Line) -> None:
    assert talking.call.passes_audio
    assert talking.post(ev.CallerAudio(b"exactly this")) == [do.SendCallerAudio(b"exactly this")]


# --- barge-in


def test_a_caller_who_interrupts_is_heard_at_once_and_the_model_learns_what_was_heard(talking: Line) -> None:
    commands = talking.begin_saying("a", ms=2_000)
    for mark in talking.sent(do.MarkPlayback, commands)[:10]:
        talking.wait(20)
        talking.post(ev.PlaybackReached(mark.name))
    talking.wait(300)

    barge_in = talking.post(ev.CallerSpeechStarted("u1"))

    assert barge_in[:2] == [do.ClearPlayback(), do.TruncateItem("i-a", 500)]


def test_an_item_of_which_nothing_was_heard_is_taken_out_of_the_models_memory(talking: Line) -> None:
    talking.begin_saying("a", ms=500)

    assert do.DeleteItem("i-a") in talking.post(ev.CallerSpeechStarted("u1"))


def test_an_interruption_after_the_response_is_done_still_clears(talking: Line) -> None:
    talking.begin_saying("a", ms=3_000)
    talking.end_saying("a")

    assert do.ClearPlayback() in talking.post(ev.CallerSpeechStarted("u1"))


def test_audio_that_comes_late_for_an_interrupted_item_is_dropped(talking: Line) -> None:
    talking.begin_saying("a", ms=500)
    talking.post(ev.CallerSpeechStarted("u1"))

    assert talking.post(ev.ModelAudio("r-a", "i-a", bytes(8_000))) == []


def test_a_new_item_of_an_interrupted_response_is_never_played_and_is_deleted(talking: Line) -> None:
    talking.begin_saying("a", ms=500)
    talking.post(ev.CallerSpeechStarted("u1"))
    late = talking.post(ev.ModelAudio("r-a", "i-late", bytes(8_000)))

    assert late == []
    assert do.DeleteItem("i-late") in talking.post(ev.ModelResponseFinished("r-a", "reply", "cancelled"))


def test_nothing_is_cleared_when_everything_has_been_heard(talking: Line) -> None:
    talking.say("a")

    assert [type(c) for c in talking.post(ev.CallerSpeechStarted("u1"))] == [do.SetTimer]


def test_the_model_is_told_to_stop_only_if_it_does_not_stop_by_itself(make_line: Callable[..., Line]) -> None:
    by_itself, by_us = make_line(), make_line(server_interrupts=False)
    for line in (by_itself, by_us):
        line.talk()
        line.begin_saying("a", ms=500)
        line.post(ev.CallerSpeechStarted("u1"))

    assert by_itself.sent(do.CancelResponse) == []
    assert by_us.sent(do.CancelResponse) == [do.CancelResponse("r-a")]


def test_a_mark_that_comes_back_because_of_a_clear_is_not_heard(talking: Line) -> None:
    commands = talking.begin_saying("a", ms=1_000)
    talking.post(ev.CallerSpeechStarted("u1"))
    talking.post(*(ev.PlaybackReached(m.name) for m in talking.sent(do.MarkPlayback, commands)))
    talking.post(ev.CallerSpeechStopped("u1"))
    talking.begin_saying("b", ms=1_000)

    assert do.DeleteItem("i-b") in talking.post(ev.CallerSpeechStarted("u2"))


def test_nobody_is_made_to_listen_to_more_than_a_minute(talking: Line) -> None:
    commands = talking.begin_saying("a", ms=limits.UNHEARD_AUDIO_MS + 1_000)

    assert do.CancelResponse("r-a") in commands
    assert talking.post(ev.ModelAudio("r-a", "i-a", bytes(800))) == []


def test_the_time_from_the_callers_last_word_to_the_first_sound_is_told(talking: Line) -> None:
    talking.caller_says("hello")
    talking.wait(640)
    talking.begin_saying("a")

    assert [t.value_ms for t in talking.facts(Fact.FIRST_AUDIO)] == [640]


# --- a model lost in mid-call, and silence


def recovered(line: Line) -> list[do.Command]:
    return line.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))


def test_a_model_lost_in_mid_call_is_tried_once_more_and_given_what_was_heard(talking: Line) -> None:
    talking.caller_says("My order never came")
    talking.begin_saying("a", ms=5_000)
    talking.post(ev.ModelSaid("r-a", "i-a", "one two three four five", final=True))
    lost = talking.post(ev.ModelLost("reset"))
    back = recovered(talking)

    assert do.ClearPlayback() in lost
    assert talking.sent(do.ConnectModel, lost) == [do.ConnectModel()]
    assert [c for c in lost if isinstance(c, do.TruncateItem | do.DeleteItem)] == []
    told = [(c.who, c.text) for c in talking.sent(do.AddText, back)]
    assert told[:2] == [("assistant", "words of greet"), ("caller", "My order never came")]
    assert told[2][0] == "system"
    assert "five" not in str(told)
    assert [r.purpose for r in talking.sent(do.RequestResponse, back)] == ["reply"]
    assert talking.call.phase is Phase.TALKING


def test_the_settings_come_before_the_history_and_the_history_before_the_callers_voice(talking: Line) -> None:
    talking.post(ev.ModelLost("reset"))
    talking.commands.clear()
    talking.post(ev.CallerAudio(b"spoken meanwhile"))
    recovered(talking)

    order = [type(c) for c in talking.commands if isinstance(c, do.ModelCommand)]
    assert order[0] is do.ConfigureModel
    assert order[-1] is do.SendCallerAudio
    assert order.index(do.AddText) < order.index(do.RequestResponse) < order.index(do.SendCallerAudio)


def test_a_model_lost_twice_takes_the_caller_to_a_person(talking: Line) -> None:
    talking.post(ev.ModelLost("reset"))
    recovered(talking)
    talking.post(ev.ModelLost("reset"))

    assert [t.label for t in talking.facts(Fact.ESCALATED)] == ["model_lost"]
    assert len(talking.sent(do.ConnectModel)) == 1


@pytest.mark.parametrize("again", [[ev.ModelLost("refused")], [ev.ModelConnected()]])
def test_a_model_that_does_not_come_back_in_time_takes_the_caller_to_a_person(
    talking: Line, again: list[ev.Event]
) -> None:
    talking.post(ev.ModelLost("reset"), *again)
    talking.wait(limits.MODEL_READY_MS)

    assert [t.label for t in talking.facts(Fact.ESCALATED)] == ["model_lost"]


def test_a_caller_who_asks_for_a_person_meanwhile_is_not_kept_waiting(talking: Line) -> None:
    talking.post(ev.ModelLost("reset"), ev.KeyPressed("0"))

    assert [t.label for t in talking.facts(Fact.ESCALATED)] == ["key"]


def test_a_model_that_gives_no_sign_after_the_callers_turn_is_taken_for_lost(talking: Line) -> None:
    talking.caller_says("hello?")
    talking.wait(limits.MODEL_SILENT_MS)

    assert [t.label for t in talking.facts(Fact.MODEL_LOST)] == ["stalled"]
    assert talking.sent(do.DisconnectModel) == [do.DisconnectModel()]
    assert talking.call.phase is Phase.RECOVERING


def test_a_model_that_breaks_off_in_mid_sentence_is_taken_for_lost(talking: Line) -> None:
    talking.caller_says("tell me everything")
    talking.begin_saying("a", ms=3_000)
    talking.wait(3_000 + limits.MODEL_SILENT_MS - 1)
    assert talking.call.phase is Phase.TALKING
    assert talking.facts(Fact.HOLD_PLAYED) != []
    talking.wait(2)

    assert [t.label for t in talking.facts(Fact.MODEL_LOST)] == ["stalled"]


def test_an_answer_longer_than_the_models_patience_is_heard_to_its_end(talking: Line) -> None:
    talking.caller_says("tell me everything")
    talking.begin_saying("a", ms=20_000)
    talking.end_saying("a")
    talking.wait(60_000)

    assert talking.facts(Fact.MODEL_LOST) == talking.facts(Fact.HOLD_PLAYED) == []


def test_an_answer_that_was_cut_off_at_its_longest_is_an_answer_all_the_same(talking: Line) -> None:
    talking.caller_says("tell me everything")
    talking.begin_saying("a", ms=2_000)
    talking.post(
        ev.ModelAudioFinished("r-a", "i-a"), ev.ModelResponseFinished("r-a", "reply", "incomplete", "max_output_tokens")
    )
    talking.wait(60_000)

    assert talking.facts(Fact.MODEL_LOST) == talking.facts(Fact.HOLD_PLAYED) == []


def test_a_tool_that_takes_long_is_no_sign_of_a_lost_model(talking: Line) -> None:
    talking.caller_says("where is my order?")
    talking.post(ev.ModelToolCalled("r", "i", "call1", "order_status", "{}"))
    talking.wait(limits.MODEL_SILENT_MS + 1)

    assert talking.call.phase is Phase.TALKING


def test_a_service_that_confirms_g711_and_sends_pcm_is_never_heard(line: Line) -> None:
    line.post(ev.StreamStarted("MZ1"), ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
    pcm = b"".join(int(300 * (n % 40 - 20)).to_bytes(2, "little", signed=True) for n in range(2_000))
    line.post(ev.ModelResponseStarted("r", "greeting"), ev.ModelAudio("r", "i", pcm))

    assert line.sent(do.PlayAudio) == []
    assert line.call.phase is Phase.HANDING_OVER


SILENT_AT_MOST_MS = 4_000


@pytest.mark.parametrize(
    "waiting",
    [
        [],
        [ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu")],
    ],
    ids=["for the model", "for the greeting"],
)
def test_a_caller_who_waits_hears_that_somebody_is_there(line: Line, waiting: list[ev.Event]) -> None:
    line.post(ev.StreamStarted("MZ1"), *waiting)
    line.wait(SILENT_AT_MOST_MS)

    assert line.sent(do.PlayAudio) != []
    assert len(line.facts(Fact.HOLD_PLAYED)) >= 1


def test_while_a_tool_runs_the_caller_is_never_left_in_silence_for_four_seconds(talking: Line) -> None:
    talking.caller_says("where is my order?")
    talking.post(ev.ModelToolCalled("r", "i", "call1", "order_status", "{}"))
    quiet, longest = 0, 0
    for _ in range(140):
        played = talking.sent(do.PlayAudio, talking.wait(100))
        quiet = 0 if played else quiet + 100
        longest = max(longest, quiet)

    assert longest < SILENT_AT_MOST_MS


def test_the_answer_does_not_wait_for_the_holding_sound_to_end(talking: Line) -> None:
    talking.caller_says("where is my order?")
    talking.wait(limits.HOLD_AFTER_MS + 50)
    assert talking.facts(Fact.HOLD_PLAYED) != []

    answer = talking.begin_saying("a")

    assert isinstance(answer[0], do.ClearPlayback)
    assert isinstance(answer[1], do.PlayAudio)


def test_the_model_never_hears_of_the_holding_sound(talking: Line) -> None:
    talking.caller_says("where is my order?")
    talking.wait(limits.HOLD_AFTER_MS + 50)
    talking.post(ev.CallerSpeechStarted("u2"))

    assert talking.sent(do.ClearPlayback) != []
    assert talking.sent(do.TruncateItem) == talking.sent(do.DeleteItem) == []


def test_nobody_is_played_to_while_it_is_the_callers_turn(talking: Line) -> None:
    talking.say("a")
    talking.wait(60_000)

    assert talking.facts(Fact.HOLD_PLAYED) == []


# --- failures of a response


def test_a_failed_response_is_asked_for_again_once(talking: Line) -> None:
    talking.post(
        ev.ModelResponseStarted("r", "reply"), ev.ModelResponseFinished("r", "reply", "failed", "server_error")
    )
    again = talking.wait(limits.RESPONSE_RETRY_WAIT_MS)

    assert talking.sent(do.RequestResponse, again) == [do.RequestResponse("reply")]


def test_a_second_failure_in_a_row_takes_the_caller_to_a_person(talking: Line) -> None:
    for name in ("r1", "r2"):
        talking.post(ev.ModelResponseStarted(name, "reply"), ev.ModelResponseFinished(name, "reply", "failed", "x"))
        talking.wait(limits.RESPONSE_RETRY_WAIT_MS)

    assert [t.label for t in talking.facts(Fact.ESCALATED)] == ["repeated_failure"]


def test_a_rate_limit_longer_than_a_caller_would_wait_takes_them_to_a_person(talking: Line) -> None:
    talking.post(
        ev.ModelResponseStarted("r", "reply"),
        ev.ModelResponseFinished("r", "reply", "failed", "rate_limit_exceeded", retry_after_ms=20_000),
    )

    assert talking.call.phase is Phase.HANDING_OVER


def test_an_ordinary_complaint_of_the_model_changes_nothing(talking: Line) -> None:
    talking.post(ev.ModelErred("response_cancel_not_active"), ev.ModelErred("something_new"))

    assert talking.call.phase is Phase.TALKING


# --- tools


def test_a_registered_tool_runs_once_however_often_it_is_called(talking: Line) -> None:
    called = ev.ModelToolCalled("r", "i", "call1", "order_status", '{"order": 7}')
    talking.post(called, called)
    talking.post(ev.ToolFinished("call1", "shipped"), called)

    assert talking.sent(do.RunTool) == [do.RunTool("call1", "order_status", '{"order": 7}')]
    assert talking.sent(do.AnswerTool) == [do.AnswerTool("call1", "shipped")]


def test_a_tool_of_an_interrupted_response_is_never_run(talking: Line) -> None:
    talking.begin_saying("a", ms=500)
    talking.post(ev.CallerSpeechStarted("u1"), ev.ModelToolCalled("r-a", "i2", "call1", "order_status", "{}"))

    assert talking.sent(do.RunTool) == []


def test_a_slow_tool_does_not_stop_the_conversation(talking: Line) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "call1", "order_status", "{}"))
    talking.begin_saying("a", ms=500)

    assert do.ClearPlayback() in talking.post(ev.CallerSpeechStarted("u1"))


def test_nobody_is_asked_about_a_tool_once_a_person_has_been_dialled(talking: Line) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "c1", "order_status", "{}"), ev.ModelLost("reset", permanent=True))
    talking.wait(limits.SAVE_MS + limits.CRM_MS)
    assert len(talking.sent(do.CloseStream)) == 1
    talking.commands.clear()
    talking.wait(limits.TOOL_MS)

    assert [c for c in talking.commands if isinstance(c, do.ModelCommand)] == []


def test_a_goodbye_waits_for_a_tool_because_its_answer_will_be_spoken(talking: Line) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "c1", "order_status", "{}"))
    talking.post(
        ev.ModelToolCalled("r", "i", "c2", "end_call", "{}"), ev.ModelResponseFinished("r", "reply", "completed")
    )
    talking.say("bye", purpose="goodbye")
    assert talking.sent(do.CloseStream) == []

    talking.post(ev.ToolFinished("c1", "tomorrow"))
    talking.say("then")
    assert talking.sent(do.CloseStream) == [do.CloseStream(HangUp())]


def test_the_model_is_told_when_a_tool_takes_too_long_and_the_late_result_is_not_given_twice(talking: Line) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "call1", "order_status", "{}"))
    talking.wait(limits.TOOL_MS)
    talking.post(ev.ToolFinished("call1", "too late"))

    (answer,) = talking.sent(do.AnswerTool)
    assert "too long" in answer.output


@pytest.mark.parametrize(
    ("name", "arguments"), [("rm_rf", "{}"), ("order_status", "{not json"), ("order_status", "[1]")]
)
def test_a_tool_call_that_makes_no_sense_is_answered_and_not_run(talking: Line, name: str, arguments: str) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "call1", name, arguments))

    assert talking.sent(do.RunTool) == []
    assert len(talking.sent(do.AnswerTool)) == 1


# --- keys, silence, goodbye


def test_keys_pressed_one_after_another_reach_the_model_as_one_number(talking: Line) -> None:
    talking.post(ev.KeyPressed("4"), ev.KeyPressed("0"), ev.KeyPressed("7"))
    told = talking.wait(limits.KEYS_PAUSE_MS)

    (text,) = talking.sent(do.AddText, told)
    assert "407" in text.text


def test_a_line_that_stays_silent_again_and_again_is_said_goodbye_to(talking: Line) -> None:
    for turn in range(limits.IDLE_PROMPTS):
        talking.post(ev.CallerStayedSilent(f"u{turn}"))

    assert [r.purpose for r in talking.sent(do.RequestResponse)] == ["goodbye"]


def test_the_goodbye_is_heard_to_its_end_before_the_line_is_closed(talking: Line) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "call1", "end_call", "{}"))
    talking.begin_saying("bye", purpose="goodbye")
    talking.end_saying("bye", purpose="goodbye")
    assert talking.sent(do.CloseStream) == []

    talking.hear_everything()

    assert talking.sent(do.CloseStream) == [do.CloseStream(HangUp())]


def test_a_caller_who_speaks_into_the_goodbye_is_listened_to(talking: Line) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "call1", "end_call", "{}"))
    talking.begin_saying("bye", ms=1_000, purpose="goodbye")
    talking.post(ev.CallerSpeechStarted("u9"))
    talking.wait(limits.GOODBYE_MS + 1)

    assert talking.call.phase is Phase.TALKING
    assert talking.sent(do.CloseStream) == []


def test_a_model_lost_during_the_goodbye_leaves_the_goodbye_to_twilio(talking: Line) -> None:
    talking.post(ev.ModelToolCalled("r", "i", "call1", "end_call", "{}"))
    talking.begin_saying("bye", ms=1_000, purpose="goodbye")
    talking.post(ev.ModelLost("reset"))

    assert talking.sent(do.CloseStream) == [do.CloseStream(HangUp(farewell=True))]


# --- escalation


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([ev.CallerTranscribed("u1", "get me an agent")], "caller_asked"),
        ([ev.ModelToolCalled("r", "i", "c", "transfer_to_human", "{}")], "tool"),
        ([ev.ModelToolCalled("r", "i", "c", "transfer_to_human", "{broken")], "tool"),
        ([ev.KeyPressed("0")], "key"),
        ([ev.HandoverOrdered()], "operator"),
        ([ev.HandoverOrdered(stopping=True)], "stopping"),
        ([ev.ModelLost("insufficient_quota", permanent=True)], "model_lost"),
        ([ev.ModelResponseFinished("r", "reply", "failed", "insufficient_quota", permanent=True)], "model_lost"),
        ([ev.ModelResponseFinished("r", "reply", "failed", "x", retry_after_ms=60_000)], "repeated_failure"),
    ],
)
def test_every_way_to_a_person_leads_there(talking: Line, events: list[ev.Event], reason: str) -> None:
    talking.post(*events)

    assert [t.label for t in talking.facts(Fact.ESCALATED)] == [reason]
    assert talking.call.phase is Phase.HANDING_OVER


def test_a_call_that_lasts_too_long_is_taken_to_a_person(make_line: Callable[..., Line]) -> None:
    line = make_line(call_ms=60_000)
    line.talk()
    line.wait(60_000)

    assert [t.label for t in line.facts(Fact.ESCALATED)] == ["time_limit"]


def test_the_callers_line_ends_whatever_was_going_on(talking: Line) -> None:
    talking.begin_saying("a", ms=1_000)
    talking.post(ev.StreamStopped())

    assert talking.sent(do.DisconnectModel) == [do.DisconnectModel()]
    assert talking.post(ev.ModelAudio("r-a", "i-a", bytes(800)), ev.KeyPressed("0"), ev.ModelLost("x")) == []


def test_an_event_that_means_nothing_here_is_counted_and_ignored(talking: Line) -> None:
    assert talking.post(ev.HandoverSaved("0123456789")) == [do.Tell(Fact.IGNORED, "HandoverSaved")]
    assert talking.call.ignored == 1
