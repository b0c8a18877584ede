"""The flow runner on our own flow: digits as sound, at the right time and at the wrong one. Time is frames."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.contact_center import DEPLOYED, QUEUES
from voice_openai_connect.simulator.contact_flow import (
    FlowRunner,
    Invoke,
    LambdaError,
    LineDownError,
    Say,
)
from voice_openai_connect.simulator.contact_flow_rules import Flow, FlowRefusedError
from voice_openai_connect.simulator.contact_flow_state import Contact, FlowState
from voice_openai_connect.simulator.contact_line import ScriptedLine
from voice_openai_connect.simulator.dtmf import tones
from voice_openai_connect.simulator.telephone import FRAME_MS

FILE = Path(__file__).parents[3] / "aws" / "contact_flow" / "inbound_handover.json"
FLOW = Flow.load(FILE.read_text(encoding="utf-8"), DEPLOYED)
TOKEN = "0123456789"
RECORD = {
    "conversation_id": "conv-1",
    "caller_phone": "+61400000001",
    "hubspot_contact_id": "101",
    "hubspot_ticket_id": "202",
    "hubspot_ticket_url": "https://example.org/202",
    "summary": "Wants a refund.",
    "intent": "billing",
    "priority": "high",
    "escalation_reason": "asked for a person",
    "route_to_queue": "priority",
    "matched_by": "token",
}
FOUND = {"success": "true", "retry": "false", **RECORD}
NOT_FOUND = {"success": "false", "retry": "true", **dict.fromkeys(RECORD, "")}
REFUSED = NOT_FOUND | {"retry": "false"}


class Function:
    """The Lambda: knows one token; gives other answers first if there are any. Remembers what it was asked."""

    def __init__(self, *first: object) -> None:
        self._first = list(first)
        self.by_phone: object = REFUSED
        self.asked: list[str] = []

    async def __call__(self, event: dict[str, Any]) -> object:
        parameters = event["Details"]["Parameters"]
        if parameters == {"match": "phone"}:
            self.asked.append("by phone")
            return self.by_phone
        self.asked.append(parameters["token"])
        answer = self._first.pop(0) if self._first else FOUND if parameters["token"] == TOKEN else NOT_FOUND
        if isinstance(answer, Exception):
            raise answer
        return answer


def runner(
    line: ScriptedLine, function: Invoke, *, flow: Flow = FLOW, say: Say | None = None, **known: Any
) -> FlowRunner:
    contact = Contact("contact-1", "+61400000001", "+61200000002")
    return FlowRunner(flow, FlowState(contact, QUEUES, **known), line, function, say)


async def run(sent: bytes, function: Invoke | None = None, **known: Any) -> FlowRunner:
    run = runner(ScriptedLine(sent), function or Function(), **known)
    assert await run.run()
    return run


def changed(identifier: str, **parameters: Any) -> Flow:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    (block,) = [block for block in content["Actions"] if block["Identifier"] == identifier]
    block["Parameters"].update(parameters)
    return Flow.load(json.dumps(content), DEPLOYED)


def in_fallback(run: FlowRunner) -> bool:
    contact = run.state.contact
    return (contact.queue, contact.attributes) == ("fallback", {"handover": "missing"})


async def test_a_token_two_seconds_after_the_answer_brings_the_whole_handover() -> None:
    run_ = await run(tones(f"wwww{TOKEN}#"))

    contact = run_.state.contact
    assert contact.attributes == {**RECORD, "handover": "ok"}
    assert (contact.queue, contact.priority) == ("priority", 2)


@pytest.mark.parametrize(("priority", "number"), [("urgent", 1), ("high", 2), ("normal", 5), ("low", 5), ("", 5)])
async def test_priority_becomes_a_number(priority: str, number: int) -> None:
    run_ = await run(tones(f"{TOKEN}#"), Function(FOUND | {"priority": priority}))

    assert run_.state.contact.priority == number


@pytest.mark.parametrize(
    ("wished", "queue"),
    [("priority", "priority"), ("escalation", "escalation"), ("arn:evil", "escalation"), ("", "escalation")],
)
async def test_only_known_queues_can_be_wished_for(wished: str, queue: str) -> None:
    run_ = await run(tones(f"{TOKEN}#"), Function(FOUND | {"route_to_queue": wished}))

    assert run_.state.contact.queue == queue


@pytest.mark.parametrize("wait", ["", "w", "ww", "W" * 4])
async def test_the_digits_may_come_before_during_and_after_the_prompt(wait: str) -> None:
    function = Function()

    run_ = await run(tones(f"{wait}{TOKEN}#"), function)

    assert function.asked == [TOKEN]
    assert run_.state.contact.attributes["handover"] == "ok"


async def test_the_first_key_ends_the_prompt() -> None:
    line = ScriptedLine(tones(f"{TOKEN}#"))
    told = runner(line, Function(), say=lambda _text: sound.silence(10_000))

    assert await told.run()
    assert line.ms < 10_000 + 3_000, "the ten seconds of the first prompt were cut short; those at the end were not"


async def test_a_lost_terminator_costs_a_pause_and_nothing_else() -> None:
    function = Function()

    await run(tones(TOKEN), function)

    assert function.asked == [TOKEN]


async def test_a_star_clears_what_was_entered() -> None:
    function = Function()

    await run(tones(f"99*{TOKEN}#"), function)

    assert function.asked == [TOKEN]


async def test_keys_the_caller_pressed_first_cost_one_try() -> None:
    function = Function()

    run_ = await run(tones(f"0#{TOKEN}#"), function)

    assert function.asked == ["0", TOKEN]
    assert run_.state.contact.attributes["handover"] == "ok"


async def test_a_lost_digit_ends_in_the_fallback_queue() -> None:
    function = Function()

    run_ = await run(tones("123456789#"), function)

    assert function.asked == ["123456789", "by phone"]
    assert in_fallback(run_)


async def test_an_entry_ends_at_its_maximum_length() -> None:
    function = Function()

    await run(tones("12345678901" + TOKEN + "#"), function)

    assert function.asked == ["12345678901", TOKEN]


async def test_silence_is_the_word_timeout_and_is_never_asked_for_as_a_token() -> None:
    function = Function()

    run_ = await run(b"", function)

    assert run_.state.stored_input == "Timeout"
    assert function.asked == ["by phone"]
    assert in_fallback(run_)


async def test_a_caller_whose_digits_never_came_may_be_found_by_number() -> None:
    function = Function()
    function.by_phone = FOUND | {"matched_by": "phone"}

    run_ = await run(b"", function)

    assert run_.state.contact.attributes == {**RECORD, "matched_by": "phone", "handover": "ok"}
    assert run_.state.contact.queue == "priority"


async def test_a_caller_without_digits_reaches_the_queue_in_eight_seconds() -> None:
    line = ScriptedLine()

    assert await runner(line, Function()).run()
    assert line.ms <= 8_000


async def test_after_three_wrong_tokens_the_caller_is_taken_to_the_fallback_queue() -> None:
    function = Function()

    run_ = await run(tones("1111111111#2222222222#"), function)
    again = await run(tones("1#2#3#" + TOKEN + "#"), function)

    assert in_fallback(run_)
    assert in_fallback(again)
    assert function.asked[-4:] == ["1", "2", "3", "by phone"]


async def test_a_used_token_is_not_tried_again() -> None:
    function = Function(REFUSED)

    run_ = await run(tones(f"{TOKEN}#{TOKEN}#"), function)

    assert function.asked == [TOKEN]
    assert in_fallback(run_)


@pytest.mark.parametrize(("buffer", "second"), [("True", TOKEN), ("False", TOKEN[5:])])
async def test_digits_that_come_while_the_function_runs_are_lost_without_the_buffer(buffer: str, second: str) -> None:
    function = Function()
    line = ScriptedLine(tones(f"1#{TOKEN}#"), work_takes_ms=1_000)  # the time of five digits

    await runner(line, function, flow=changed("buffer-on", EnableDTMFBuffer=buffer)).run()

    assert function.asked[:2] == ["1", second]


async def test_the_buffer_holds_thirty_keys() -> None:
    function = Function()
    line = ScriptedLine(tones("1#" + "8" * 40), work_takes_ms=9_000)
    patient = changed("listen", InputValidation={"CustomValidation": {"MaximumLength": "99"}})

    await runner(line, function, flow=patient).run()

    assert function.asked[:2] == ["1", "8" * 30]


# --- The function


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_failing_function_is_invoked_again_up_to_three_times(failures: int) -> None:
    function = Function(*[LambdaError("boom")] * failures)

    run_ = await run(tones(f"{TOKEN}#"), function)

    assert function.asked == [TOKEN] * (failures + 1)
    assert run_.state.contact.attributes["handover"] == "ok"


async def test_a_function_that_keeps_failing_leads_to_the_fallback_queue() -> None:
    function = Function(*[LambdaError("boom")] * 9)

    run_ = await run(tones(f"{TOKEN}#"), function)

    assert function.asked == [TOKEN] * 4
    assert in_fallback(run_)


NOT_UNDERSTOOD: list[object] = [
    FOUND | {"success": True},
    FOUND | {"hubspot_ticket_id": 202},
    FOUND | {"summary": None},
    FOUND | {"more": dict[str, str]()},
    list[str](),
    None,
    "true",
    FOUND | {"summary": "x" * 32_768},
]


@pytest.mark.parametrize("answer", NOT_UNDERSTOOD, ids=lambda answer: str(answer)[:20])
async def test_an_answer_that_is_not_a_small_flat_map_of_strings_counts_as_a_failure(answer: object) -> None:
    assert in_fallback(await run(tones(f"{TOKEN}#"), Function(answer)))


async def test_a_function_that_is_too_slow_leads_to_the_fallback_queue() -> None:
    given_up: list[bool] = []

    async def slow(event: dict[str, Any]) -> object:
        try:
            return await asyncio.Event().wait()
        finally:
            given_up.append(True)

    run_ = await run(tones(f"{TOKEN}#"), slow, flow=changed("look-up-by-token", InvocationTimeLimitSeconds="1"))

    assert in_fallback(run_)
    assert given_up == [True]


async def test_attributes_that_do_not_fit_lead_to_the_fallback_queue() -> None:
    many = FOUND | {"summary": "x" * 16_000, "intent": "y" * 16_000}
    run_ = runner(ScriptedLine(tones(f"{TOKEN}#")), Function(many))
    run_.state.contact.attributes = {"from_before": "z" * 1_000}

    assert await run_.run()
    assert run_.state.contact.attributes.keys() == {"from_before", "handover"}
    assert run_.state.contact.queue == "fallback"


# --- The end


async def test_outside_hours_the_caller_is_told_and_the_call_ends() -> None:
    said: list[str] = []

    def say(text: str) -> bytes:
        said.append(text)
        return sound.silence(100)

    run_ = runner(ScriptedLine(tones(f"{TOKEN}#")), Function(), say=say, open_now=False)

    assert not await run_.run()
    assert run_.walked[-2:] == ["closed", "bye"]
    assert said[-1] == "Our team is away right now. Please call again in opening hours."


async def test_with_every_queue_full_the_call_ends_with_an_apology() -> None:
    run_ = runner(ScriptedLine(tones(f"{TOKEN}#")), Function(), at_capacity=True)

    assert not await run_.run()
    assert run_.walked[-4:] == ["overflow-hours", "overflow-transfer", "sorry", "bye"]


@pytest.mark.parametrize("trouble", ["closed_queues", "full_queues"])
async def test_a_queue_that_is_closed_or_full_leads_to_the_fallback_queue_with_the_context(trouble: str) -> None:
    unusual: dict[str, Any] = {trouble: frozenset({"priority"})}

    run_ = await run(tones(f"{TOKEN}#"), **unusual)

    assert run_.state.contact.queue == "fallback"
    assert run_.state.contact.attributes == {**RECORD, "handover": "ok"}
    assert "connecting" in run_.walked


async def test_a_full_queue_with_the_fallback_closed_ends_with_an_apology() -> None:
    queues: dict[str, Any] = {"full_queues": frozenset({"priority"}), "closed_queues": frozenset({"fallback"})}
    run_ = runner(ScriptedLine(tones(f"{TOKEN}#")), Function(), **queues)

    assert not await run_.run()
    assert run_.walked[-3:] == ["overflow-hours", "sorry", "bye"]


async def test_the_agents_flows_are_hooked_on_when_there_is_context_and_only_then() -> None:
    with_context, without = await run(tones(f"{TOKEN}#")), await run(b"")

    assert with_context.state.contact.event_hooks == {
        "DefaultAgentUI": DEPLOYED["AgentGuideFlowArn"],
        "AgentWhisper": DEPLOYED["AgentWhisperFlowArn"],
    }
    assert without.state.contact.event_hooks == {}


async def test_a_missing_queue_falls_back_and_keeps_the_context() -> None:
    run_ = runner(ScriptedLine(tones(f"{TOKEN}#")), Function())
    run_.state.queue_arns = frozenset({DEPLOYED["FallbackQueueArn"]})

    assert await run_.run()
    assert run_.state.contact.queue == "fallback"
    assert run_.state.contact.attributes["handover"] == "ok"


async def test_with_no_queue_at_all_there_is_still_a_goodbye() -> None:
    run_ = runner(ScriptedLine(), Function())
    run_.state.queue_arns = frozenset()

    assert not await run_.run()
    assert run_.walked[-3:] == ["queue-fallback", "sorry", "bye"]


@pytest.mark.parametrize("after_ms", [0, 400, 2_500, 5_000])
async def test_a_caller_who_hangs_up_ends_the_flow_wherever_it_is(after_ms: int) -> None:
    with pytest.raises(LineDownError):
        await runner(ScriptedLine(tones(f"W{TOKEN}#"), hangs_up_after_ms=after_ms), Function()).run()


async def test_a_flow_that_runs_in_circles_is_stopped() -> None:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    (found,) = [block for block in content["Actions"] if block["Identifier"] == "priority-high"]
    found["Transitions"]["NextAction"] = "by-priority"

    with pytest.raises(FlowRefusedError, match="1000 blocks"):
        await runner(ScriptedLine(tones(f"{TOKEN}#")), Function(), flow=Flow.load(json.dumps(content), DEPLOYED)).run()


async def test_the_flow_log_has_neither_token_nor_summary() -> None:
    run_ = await run(tones(f"{TOKEN}#"))

    written = json.dumps(run_.log)
    assert [entry["block"] for entry in run_.log] == ["hours", "connecting", "transfer"]
    assert not any(private in written for private in (TOKEN, *RECORD.values()))


async def test_a_voice_is_heard_on_the_line() -> None:
    word = sound.ulaw_encode(sound.tone(440, 400))
    line = ScriptedLine(tones(f"WW{TOKEN}#"))

    await runner(line, Function(), say=lambda _text: word).run()

    loud: Iterable[bool] = (level > -30 for level in sound.frame_levels(bytes(line.heard)))
    assert sum(loud) * FRAME_MS == 2 * 400
