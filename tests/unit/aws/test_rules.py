"""Faults planted in our own flow, one at a time: each is refused, and the error names the block and what to do."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws.contact_flow.action import FlowKind, FlowRefusedError
from aws.contact_flow.validator import Flow

FLOWS = Path(__file__).parents[3] / "aws" / "contact_flow"
Change = Callable[[dict[str, dict[str, Any]]], Any]


def changed(change: Change, name: str = "inbound_handover.json") -> str:
    """Our own flow with one thing different. `change` gets the blocks by name."""
    content = copy.deepcopy(json.loads((FLOWS / name).read_text(encoding="utf-8")))
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
        r"no way leads to block .*look-up-by-token",
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
    "no error on the function": (
        lambda b: drop_error(b["look-up-by-token"], "NoMatchingError"),
        r"'look-up-by-token'.*must say",
    ),
    "a comparison without an else": (lambda b: drop_error(b["found"], "NoMatchingCondition"), r"'found'.*must say"),
    "a comparison with nothing": (lambda b: b["found"]["Transitions"].pop("Conditions"), r"'found'.*at least one"),
    "a comparison of a text": (
        lambda b: b["found"]["Parameters"].update(ComparisonValue="true"),
        r"'found'.*ComparisonValue",
    ),
    "another operator": (
        lambda b: b["found"]["Transitions"]["Conditions"][0]["Condition"].update(Operator="NotEquals"),
        r"'found'.*no operator 'NotEquals'.*TextContains",
    ),
    "an operator these blocks do not have": (
        lambda b: b["found"]["Transitions"]["Conditions"][0]["Condition"].update(Operator="TextContains"),
        r"'found'.*must be Equals",
    ),
    "two operands": (
        lambda b: b["found"]["Transitions"]["Conditions"][0]["Condition"].update(Operands=["true", "yes"]),
        r"'found'.*with one text",
    ),
    "a truth for an operand": (
        lambda b: b["found"]["Transitions"]["Conditions"][0]["Condition"].update(Operands=[True]),
        r"'found'.*with one text",
    ),
    "the same condition twice": (
        lambda b: b["found"]["Transitions"]["Conditions"].append(b["found"]["Transitions"]["Conditions"][0]),
        r"'found'.*condition true twice",
    ),
    "the same error twice": (
        lambda b: add_error(b["listen"], "NoMatchingError"),
        r"'listen'.*error NoMatchingError twice",
    ),
    "an error that leads nowhere": (
        lambda b: b["listen"]["Transitions"]["Errors"][0].pop("NextAction"),
        r"'listen'.*nothing of what follows on NoMatchingError",
    ),
    "a comparison whose next block is another than its else": (
        lambda b: b["found"]["Transitions"].update(NextAction="mark-ok"),
        r"'found'.*NextAction must lead where NoMatchingCondition leads, to 'worth-retrying'",
    ),
    "a loop whose next block is not where it is done": (
        lambda b: b["tries"]["Transitions"].update(NextAction="listen"),
        r"'tries'.*must lead where DoneLooping leads",
    ),
    "conditions on stored input": (
        lambda b: b["listen"]["Transitions"].update(Conditions=b["found"]["Transitions"]["Conditions"]),
        r"'listen'.*conditions for exactly nothing",
    ),
    "a condition on the function": (
        lambda b: b["look-up-by-token"]["Transitions"].update(Conditions=b["found"]["Transitions"]["Conditions"]),
        r"'look-up-by-token'.*conditions for exactly nothing",
    ),
    "a reserved name": (lambda b: b["bye"].update(Identifier="toString"), r"'toString'.*reserves"),
    "a name of 51 characters": (lambda b: b["bye"].update(Identifier="x" * 51), r"identifier has 1 to 50"),
    "no name": (lambda b: b["bye"].pop("Identifier"), r"block '' \(DisconnectParticipant\).*identifier"),
    "two hooks in one block": (
        lambda b: b["whisper"]["Parameters"]["EventHooks"].update(DefaultAgentUI="arn:x"),
        r"'whisper'.*EventHooks",
    ),
    "a hook there is not": (
        lambda b: b["whisper"]["Parameters"].update(EventHooks={"AgentShout": "arn:x"}),
        r"'whisper'.*EventHooks",
    ),
    "no way on when a hook cannot be set": (
        lambda b: drop_error(b["guide"], "NoMatchingError"),
        r"'guide'.*must say",
    ),
    "a voice without a way for its error": (lambda b: drop_error(b["voice"], "NoMatchingError"), r"'voice'.*must say"),
    "an engine Polly does not have": (
        lambda b: b["voice"]["Parameters"].update(TextToSpeechEngine="human"),
        r"'voice'.*TextToSpeechEngine",
    ),
    "a prompt that is text and speech markup": (
        lambda b: b["closed"]["Parameters"].update(SSML="<speak>hello</speak>"),
        r"'closed'.*exactly one of PromptId, SSML, Text",
    ),
    "no prompt at all": (lambda b: b["closed"]["Parameters"].clear(), r"'closed'.*exactly one of"),
    "a prompt of a book's length": (
        lambda b: b["closed"]["Parameters"].update(Text="x" * 6_001),
        r"'closed'.*Text = .*6003 characters",
    ),
    "a priority and a time": (
        lambda b: b["priority-high"]["Parameters"].update(QueueTimeAdjustmentSeconds="60"),
        r"'priority-high'.*exactly one of QueuePriority",
    ),
    "a truth for a number": (
        lambda b: b["tries"]["Parameters"].update(LoopCount=True),
        r"'tries'.*LoopCount = True",
    ),
    "a first digit awaited for four minutes": (
        lambda b: b["listen"]["Parameters"].update(InputTimeLimitSeconds="181"),
        r"'listen'.*InputTimeLimitSeconds",
    ),
    "a pause of half a minute between digits": (
        lambda b: b["listen"]["Parameters"]["DTMFConfiguration"].update(InterdigitTimeLimitSeconds="21"),
        r"'listen'.*DTMFConfiguration",
    ),
    "a queue that is half a reference": (
        lambda b: b["queue-fallback"]["Parameters"].update(QueueId="arn:$.External.queue"),
        r"'queue-fallback'.*QueueId",
    ),
    "a function that is not waited for": (
        lambda b: b["look-up-by-token"]["Parameters"].update(InvocationType="EVENT"),
        r"'look-up-by-token'.*InvocationType",
    ),
    "an answer of another shape": (
        lambda b: b["look-up-by-token"]["Parameters"].update(ResponseValidation={"ResponseType": "XML"}),
        r"'look-up-by-token'.*ResponseValidation",
    ),
    "the end of a whisper in a call": (
        lambda b: b["bye"].update(Type="EndFlowExecution"),
        r"'bye'.*not allowed in a flow of this kind \(inbound\).*agent_whisper",
    ),
    "a transfer that no queue was chosen for": (
        lambda b: b["queue-fallback"]["Transitions"]["Errors"][0].update(NextAction="log-on"),
        r"'(hours|overflow-hours|overflow-transfer|fallback-hours|transfer)'.*no UpdateContactTargetQueue succeeded",
    ),
    "a circle without a way out": (
        lambda b: b["sorry"]["Transitions"].update(
            NextAction="sorry", Errors=[{"ErrorType": "NoMatchingError", "NextAction": "sorry"}]
        ),
        r"from block sorry no way leads to an end",
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
        lambda b: b["look-up-by-token"]["Parameters"].update(InvocationTimeLimitSeconds="9"),
        r"'look-up-by-token'.*InvocationTimeLimitSeconds = '9'",
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


OF_AGENTS: dict[str, tuple[FlowKind, str, Change]] = {
    "a whisper that hangs up": (
        "agent_whisper",
        "agent_whisper.json",
        lambda b: b["end"].update(Type="DisconnectParticipant"),
    ),
    "a whisper that transfers": (
        "agent_whisper",
        "agent_whisper.json",
        lambda b: b["verified"].update(Type="TransferContactToQueue"),
    ),
    "a page without a view": ("agent_guide", "agent_guide.json", lambda b: b["show"]["Parameters"].pop("ViewResource")),
    "a page that may not time out": (
        "agent_guide",
        "agent_guide.json",
        lambda b: drop_error(b["show"], "TimeLimitExceeded"),
    ),
    "a page that leads nowhere": (
        "agent_guide",
        "agent_guide.json",
        lambda b: b["show"]["Transitions"].pop("Conditions"),
    ),
}


@pytest.mark.parametrize(("kind", "name", "fault"), OF_AGENTS.values(), ids=OF_AGENTS.keys())
def test_the_agents_flows_are_held_to_their_own_rules(kind: FlowKind, name: str, fault: Change) -> None:
    Flow.load(changed(lambda _: None, name), kind=kind)

    with pytest.raises(FlowRefusedError, match="block"):
        Flow.load(changed(fault, name), kind=kind)


def test_every_refusal_says_what_to_do() -> None:
    """A sentence about what is wrong, then one about what to do; or "must", which says both."""
    for change, _ in REFUSED.values():
        with pytest.raises(FlowRefusedError) as refused:
            Flow.load(changed(change))

        assert any(word in str(refused.value) for word in (". ", "must", "may not", "ends the flow", "no Update"))
