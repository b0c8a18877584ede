"""Tools: which are refused, which run, and what the model is answered."""

from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.commands import AnswerTool, CancelTimer, Command, RunTool, SetTimer, Tell
from voice_openai_connect.call.events import ModelToolCalled, ToolFailed, ToolFinished
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.instructions import MESSAGE_KEPT, MESSAGE_NOT_KEPT
from voice_openai_connect.call.tool_calls import TIMER, ToolCalls

Line = Any
NOW = 5_000
MESSAGE = '{"message": "Please bring the spare key"}'


def called(name: str, arguments: str = "{}", call_id: str = "c1") -> ModelToolCalled:
    return ModelToolCalled("r", "i", call_id, name, arguments)


@pytest.fixture
def tools() -> ToolCalls:
    return ToolCalls(frozenset({"order_status"}))


def answer(commands: list[Command]) -> str:
    (output,) = [command.output for command in commands if isinstance(command, AnswerTool)]
    return output


def test_a_registered_tool_runs_until_its_deadline(tools: ToolCalls) -> None:
    assert tools.start(called("order_status", '{"order": 7}'), NOW) == [
        Tell(Fact.TOOL_CALLED, "order_status"),
        RunTool("c1", "order_status", '{"order": 7}'),
        SetTimer(TIMER + "c1", NOW + limits.TOOL_MS),
    ]
    assert tools.running
    assert tools.is_running("c1")


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (called("rm_rf"), "unknown"),
        (called("order_status", "{not json"), "arguments"),
        (called("order_status", "[1]"), "arguments"),
        (called("take_message", "{}"), "arguments"),
        (called("take_message", '{"message": " "}'), "arguments"),
        (called("take_message", '{"message": 7}'), "arguments"),
        (called("take_message", "[]"), "arguments"),
    ],
)
def test_what_makes_no_sense_is_answered_and_not_run(tools: ToolCalls, event: ModelToolCalled, reason: str) -> None:
    told, answered = tools.start(event, NOW)

    assert told == Tell(Fact.TOOL_REFUSED, reason)
    assert isinstance(answered, AnswerTool)
    assert not tools.running
    assert not tools.message_taken


def test_a_call_is_made_once_and_only_so_many_are_made(tools: ToolCalls) -> None:
    assert not tools.is_repeat("c1")
    tools.accept(called("order_status"))
    assert tools.is_repeat("c1")
    for number in range(limits.TOOL_CALLS):
        tools.accept(called("order_status", call_id=f"n{number}"))
    assert tools.is_repeat("another")


def test_the_result_is_passed_on_once(tools: ToolCalls) -> None:
    tools.start(called("order_status"), NOW)

    assert tools.answered(ToolFinished("c1", "shipped")) == [CancelTimer(TIMER + "c1"), AnswerTool("c1", "shipped")]
    assert tools.answered(ToolFinished("c1", "shipped")) == []
    assert not tools.running


def test_a_failure_is_named_and_lateness_too(tools: ToolCalls) -> None:
    tools.start(called("order_status"), NOW)
    assert "ValueError" in answer(tools.answered(ToolFailed("c1", "ValueError")))
    tools.start(called("order_status", call_id="c2"), NOW)
    assert "too long" in answer(tools.late(TIMER + "c2"))
    assert tools.answered(ToolFinished("c2", "too late")) == []


def test_after_the_session_is_gone_nobody_waits_for_its_tools(tools: ToolCalls) -> None:
    tools.start(called("order_status"), NOW)
    tools.forget()

    assert not tools.running
    assert tools.answered(ToolFinished("c1", "shipped")) == []


def test_a_message_has_a_deadline_of_its_own_and_the_model_is_told_that_it_was_kept(tools: ToolCalls) -> None:
    begun = tools.start(called("take_message", MESSAGE), NOW)

    assert begun[1:] == [
        RunTool("c1", "take_message", MESSAGE),
        SetTimer(TIMER + "c1", NOW + limits.MESSAGE_MS),
    ]
    assert answer(tools.answered(ToolFinished("c1", ""))) == MESSAGE_KEPT
    assert tools.message_taken


@pytest.mark.parametrize("how", ["it fails", "it takes too long"])
def test_a_message_that_could_not_be_kept_is_none_and_the_model_has_to_apologise(tools: ToolCalls, how: str) -> None:
    tools.start(called("take_message", MESSAGE), NOW)
    over = tools.answered(ToolFailed("c1", "crm_off")) if how == "it fails" else tools.late(TIMER + "c1")

    assert answer(over) == MESSAGE_NOT_KEPT
    assert not tools.message_taken


def test_a_message_that_is_being_kept_counts_for_a_caller_who_hangs_up_meanwhile(tools: ToolCalls) -> None:
    tools.start(called("take_message", MESSAGE), NOW)

    assert tools.message_taken


def test_a_call_from_a_response_that_was_interrupted_is_answered_as_not_done(talking: Line) -> None:
    talking.caller_says("leave them a message")
    talking.post(ev.ModelResponseStarted("r", "reply"), ev.CallerSpeechStarted("u2"))
    new = talking.post(ModelToolCalled("r", "i", "c1", "order_status", "{}"))

    assert [command.call_id for command in talking.sent(AnswerTool, new)] == ["c1"]
    assert talking.sent(RunTool, new) == []
    assert talking.sent(AnswerTool, talking.post(ModelToolCalled("r", "i", "c1", "order_status", "{}"))) == []
