"""Blocks that take no time, and what `$.` means in them."""

from typing import Any

import pytest

from voice_openai_connect.simulator.contact_flow_rules import Action, FlowRefusedError
from voice_openai_connect.simulator.contact_flow_state import Contact, FlowState

QUEUE = "arn:aws:connect:x:0:instance/i/queue/priority"


def state(**known: Any) -> FlowState:
    return FlowState(Contact("c-1", "+61400000001", "+61200000002"), frozenset({QUEUE}), **known)


def block(kind: str, parameters: dict[str, Any], conditions: dict[str, str] | None = None) -> Action:
    errors = {error: error for error in ("NoMatchingError", "NoMatchingCondition", "QueueAtCapacity")}
    return Action("here", kind, parameters, "next", errors, conditions or {})


def attributes(values: dict[str, str]) -> Action:
    return block("UpdateContactAttributes", {"Attributes": values, "TargetContact": "Current"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("$5", "$5"),
        ("costs $.50 more", "costs $.50 more"),
        ("$.StoredCustomerInput", "0123"),
        ("$.External.word", "yes"),
        ("$.External.deep.inside", "here"),
        ("$.External.number", "5"),
        ("$.External.missing", ""),
        ("$.External.word.deeper", ""),
        ("$.Attributes.tone", "calm"),
        ("$.ContactId", "c-1"),
        ("$.CustomerEndpoint.Address", "+61400000001"),
        ("$.Unheard.Of", ""),
    ],
)
def test_a_reference_is_its_value_and_anything_else_is_itself(text: str, value: str) -> None:
    knows = state(stored_input="0123", external={"word": "yes", "number": 5, "deep": {"inside": "here"}})
    knows.contact.attributes = {"tone": "calm"}

    assert knows.resolve(text) == value


@pytest.mark.parametrize(
    ("value", "way"), [("true", "found"), ("True", "NoMatchingCondition"), ("", "NoMatchingCondition")]
)
def test_a_comparison_is_exact(value: str, way: str) -> None:
    compare = block("Compare", {"ComparisonValue": "$.External.success"}, {"true": "found"})

    assert state(external={"success": value}).decide(compare) == way


def test_a_json_truth_is_not_python_s_word_for_it() -> None:
    compare = block("Compare", {"ComparisonValue": "$.External.success"}, {"True": "python", "true": "json"})

    assert state(external={"success": True}).decide(compare) == "json"


def test_a_loop_goes_round_as_often_as_it_says_and_can_be_entered_again() -> None:
    loop = block("Loop", {"LoopCount": "2"}, {"ContinueLooping": "again", "DoneLooping": "done"})
    going = state()

    assert [going.decide(loop) for _ in range(6)] == ["again", "again", "done"] * 2


def test_attributes_are_set_from_references_and_kept_together() -> None:
    going = state(external={"summary": "Wants a refund."})
    going.contact.attributes = {"kept": "yes"}

    assert going.decide(attributes({"summary": "$.External.summary", "handover": "ok"})) == "next"
    assert going.contact.attributes == {"kept": "yes", "summary": "Wants a refund.", "handover": "ok"}


@pytest.mark.parametrize(("size", "way"), [(32_768, "next"), (32_769, "NoMatchingError")])
def test_attributes_over_32_kb_together_are_refused_and_nothing_is_set(size: int, way: str) -> None:
    going = state()
    going.contact.attributes = {"old": "x" * 997}

    assert going.decide(attributes({"new": "é" * ((size - 1_004) // 2) + "x" * (size % 2), "b": ""})) == way
    assert ("new" in going.contact.attributes) == (way == "next")


def test_only_a_queue_that_exists_can_be_the_target() -> None:
    going = state()

    assert going.decide(block("UpdateContactTargetQueue", {"QueueId": "arn:elsewhere"})) == "NoMatchingError"
    assert going.contact.queue_arn == ""
    assert going.decide(block("UpdateContactTargetQueue", {"QueueId": QUEUE})) == "next"
    assert going.contact.queue == "priority"


@pytest.mark.parametrize(
    ("queue", "open_now", "way"), [(QUEUE, True, "open"), (QUEUE, False, "shut"), ("", True, "NoMatchingError")]
)
def test_hours_are_those_of_the_target_queue(queue: str, open_now: bool, way: str) -> None:
    going = state(open_now=open_now)
    going.contact.queue_arn = queue

    assert going.decide(block("CheckHoursOfOperation", {}, {"True": "open", "False": "shut"})) == way


@pytest.mark.parametrize(
    ("queue", "full", "way"), [(QUEUE, False, ""), (QUEUE, True, "QueueAtCapacity"), ("", False, "NoMatchingError")]
)
def test_a_transfer_needs_a_queue_with_room(queue: str, full: bool, way: str) -> None:
    going = state(at_capacity=full)
    going.contact.queue_arn = queue

    assert going.decide(block("TransferContactToQueue", {})) == way


def test_priority_and_logging_are_set() -> None:
    going = state()

    assert going.decide(block("UpdateContactRoutingBehavior", {"QueuePriority": "1"})) == "next"
    assert going.decide(block("UpdateFlowLoggingBehavior", {"FlowLoggingBehavior": "Enabled"})) == "next"
    assert (going.contact.priority, going.logging) == (1, True)


def test_hooks_are_kept_together_and_the_voice_is_the_last_one_set() -> None:
    going = state()

    for hook in ({"AgentWhisper": "arn:w"}, {"DefaultAgentUI": "arn:g"}):
        assert going.decide(block("UpdateContactEventHooks", {"EventHooks": hook})) == "next"
    assert going.decide(block("UpdateContactTextToSpeechVoice", {"TextToSpeechVoice": "Vicki"})) == "next"

    assert going.contact.event_hooks == {"AgentWhisper": "arn:w", "DefaultAgentUI": "arn:g"}
    assert going.voice == "Vicki"


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Priority $.Attributes.tone.", "Priority calm."),
        ("$.Attributes.tone and $.Attributes.missing!", "calm and !"),
        ("It costs $5", "It costs $5"),
    ],
)
def test_a_prompt_is_spoken_with_its_references_filled_in(text: str, spoken: str) -> None:
    going = state()
    going.contact.attributes = {"tone": "calm"}

    assert going.spoken(text) == spoken


def test_hours_and_room_may_differ_from_queue_to_queue() -> None:
    going = state(closed_queues=frozenset({"priority"}), full_queues=frozenset({"priority"}))
    hours = block("CheckHoursOfOperation", {}, {"True": "open", "False": "shut"})

    going.contact.queue_arn = QUEUE
    here = (going.decide(hours), going.decide(block("TransferContactToQueue", {})))
    going.contact.queue_arn = QUEUE.replace("priority", "other")

    assert here == ("shut", "QueueAtCapacity")
    assert (going.decide(hours), going.decide(block("TransferContactToQueue", {}))) == ("open", "")


def test_a_block_that_takes_time_is_not_decided_here() -> None:
    with pytest.raises(FlowRefusedError, match="'here'"):
        state().decide(block("MessageParticipant", {"Text": "Hello"}))


def test_an_event_has_only_the_parameters_that_the_block_names() -> None:
    event = state(stored_input="0123456789").event({"token": "$.StoredCustomerInput"})

    assert event["Details"]["Parameters"] == {"token": "0123456789"}
    assert event["Details"]["ContactData"]["ContactId"] == "c-1"
    assert event["Details"]["ContactData"]["CustomerEndpoint"]["Address"] == "+61400000001"


def test_a_withheld_number_is_no_endpoint_at_all() -> None:
    anonymous = FlowState(Contact("c-1"), frozenset())

    assert anonymous.event({})["Details"]["ContactData"]["CustomerEndpoint"] is None
