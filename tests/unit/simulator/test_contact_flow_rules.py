"""A flow that Connect would not publish is refused, and the error names the block."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voice_openai_connect.simulator.contact_flow_rules import Flow, FlowRefusedError

FLOW = Path(__file__).parents[3] / "aws" / "contact_flow" / "inbound_handover.json"
Change = Callable[[dict[str, dict[str, Any]]], Any]


def changed(change: Change) -> str:
    """Our own flow with one thing different. `change` gets the blocks by name."""
    content = copy.deepcopy(json.loads(FLOW.read_text(encoding="utf-8")))
    change({block["Identifier"]: block for block in content["Actions"]})
    return json.dumps(content)


def drop_error(block: dict[str, Any], error: str) -> None:
    transitions = block["Transitions"]
    transitions["Errors"] = [each for each in transitions["Errors"] if each["ErrorType"] != error]


def add_error(block: dict[str, Any], error: str) -> None:
    block["Transitions"].setdefault("Errors", []).append({"ErrorType": error, "NextAction": "bye"})


REFUSED: dict[str, tuple[Change, str]] = {
    "an unknown type": (lambda b: b["bye"].update(Type="StoreUserInput"), r"'bye' \(StoreUserInput\).*not known"),
    "an illegal identifier": (lambda b: b["bye"].update(Identifier="good/bye"), r"'good/bye'.*identifier"),
    "the same name twice": (lambda b: b["bye"].update(Identifier="sorry"), r"'sorry'.*same identifier"),
    "a way to nowhere": (lambda b: b["sorry"]["Transitions"].update(NextAction="gone"), r"'sorry'.*leads to gone"),
    "no next block": (lambda b: b["log-on"]["Transitions"].clear(), r"'log-on'.*NextAction"),
    "a block after the end": (lambda b: b["bye"]["Transitions"].update(NextAction="sorry"), r"'bye'.*no NextAction"),
    "a block nobody reaches": (
        lambda b: b["silent"]["Transitions"].update(
            NextAction="mark-missing", Errors=[{"ErrorType": "NoMatchingCondition", "NextAction": "mark-missing"}]
        ),
        r"no way leads to block .*look-up",
    ),
    "an error on logging": (lambda b: add_error(b["log-off"], "NoMatchingError"), r"'log-off'.*may not mention"),
    "an error on priority": (
        lambda b: add_error(b["priority-high"], "NoMatchingError"),
        r"'priority-high'.*may not mention",
    ),
    "a time-out branch on stored input": (
        lambda b: add_error(b["listen"], "InputTimeLimitExceeded"),
        r"'listen'.*may not mention.*InputTimeLimitExceeded",
    ),
    "no error on stored input": (lambda b: drop_error(b["listen"], "NoMatchingError"), r"'listen'.*must say"),
    "no error on the buffer": (lambda b: drop_error(b["buffer-on"], "NoMatchingError"), r"'buffer-on'.*must say"),
    "no error on the function": (lambda b: drop_error(b["look-up"], "NoMatchingError"), r"'look-up'.*must say"),
    "a comparison without an else": (lambda b: drop_error(b["found"], "NoMatchingCondition"), r"'found'.*must say"),
    "a comparison with nothing": (lambda b: b["found"]["Transitions"].pop("Conditions"), r"'found'.*at least one"),
    "a comparison of a text": (
        lambda b: b["found"]["Parameters"].update(ComparisonValue="true"),
        r"'found'.*ComparisonValue",
    ),
    "another operator": (
        lambda b: b["found"]["Transitions"]["Conditions"][0]["Condition"].update(Operator="NotEquals"),
        r"'found'.*must be Equals",
    ),
    "half a loop": (lambda b: b["tries"]["Transitions"]["Conditions"].pop(), r"'tries'.*ContinueLooping.*DoneLooping"),
    "too long a loop": (lambda b: b["tries"]["Parameters"].update(LoopCount="101"), r"'tries'.*LoopCount"),
    "half of the hours": (lambda b: b["hours"]["Transitions"]["Conditions"].pop(), r"'hours'.*'False', 'True'"),
    "a queue in the transfer": (
        lambda b: b["transfer"]["Parameters"].update(QueueId="arn:q"),
        r"'transfer'.*no parameter QueueId",
    ),
    "a transfer without capacity": (
        lambda b: drop_error(b["transfer"], "QueueAtCapacity"),
        r"'transfer'.*must say.*QueueAtCapacity",
    ),
    "too patient a function": (
        lambda b: b["look-up"]["Parameters"].update(InvocationTimeLimitSeconds="9"),
        r"'look-up'.*InvocationTimeLimitSeconds = '9'",
    ),
    "an attribute with a space": (
        lambda b: b["mark-missing"]["Parameters"].update(Attributes={"hand over": "missing"}),
        r"'mark-missing'.*Attributes",
    ),
    "an attribute that is no text": (
        lambda b: b["mark-missing"]["Parameters"].update(Attributes={"handover": True}),
        r"'mark-missing'.*Attributes",
    ),
    "input without a length": (lambda b: b["listen"]["Parameters"].pop("InputValidation"), r"'listen'.*needs"),
    "a long terminator": (
        lambda b: b["listen"]["Parameters"]["DTMFConfiguration"].update(InputTerminationSequence="######"),
        r"'listen'.*DTMFConfiguration",
    ),
    "a negative priority": (
        lambda b: b["priority-high"]["Parameters"].update(QueuePriority="-1"),
        r"'priority-high'.*QueuePriority",
    ),
}


@pytest.mark.parametrize(("change", "complaint"), REFUSED.values(), ids=REFUSED.keys())
def test_a_flow_is_refused_for(change: Change, complaint: str) -> None:
    with pytest.raises(FlowRefusedError, match=complaint):
        Flow.load(changed(change))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("[]", "Version must be"),
        ('{"Version": "2018-01-01"}', "Version must be"),
        ('{"Version": "2019-10-30", "Actions": []}', "1 to 250 blocks"),
        ('{"Version": "2019-10-30", "StartAction": "a", "Actions": [5]}', "StartAction names 'a'"),
        ("x" * 256_001, "256000 characters"),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_not_a_flow_at_all_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(FlowRefusedError, match=complaint):
        Flow.load(text)


def test_more_than_250_blocks_are_refused() -> None:
    block: dict[str, Any] = {"Identifier": "a", "Type": "DisconnectParticipant", "Parameters": {}, "Transitions": {}}
    with pytest.raises(FlowRefusedError, match="1 to 250"):
        Flow.load(json.dumps({"Version": "2019-10-30", "StartAction": "a", "Actions": [block] * 251}))


def test_values_are_filled_in_where_they_are_named() -> None:
    flow = Flow.load(FLOW.read_text(encoding="utf-8"), {"FallbackQueueArn": "arn:fallback"})

    assert flow.actions["queue-fallback"].parameters == {"QueueId": "arn:fallback"}
