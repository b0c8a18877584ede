"""Every kind of block we write keeps to its rules, wherever it stands."""

import pytest
from aws.contact_flow import blocks, rules
from aws.contact_flow.action import Action, FlowKind

BY_KIND: dict[FlowKind, list[Action]] = {
    "inbound": [
        blocks.flow_log("log", on=True, then="a"),
        blocks.touchtone_buffer("buffer", then="a"),
        blocks.voice("voice", "Joanna", "neural", then="a"),
        blocks.loop("loop", times=3, again="a", done="b"),
        blocks.store_input("listen", "Hm?", first_digit_s=4, next_digit_s=2, length=11, then="a", failed="b"),
        blocks.compare("compare", "$.External.success", {"true": "a"}, otherwise="c"),
        blocks.invoke("ask", "arn:f", {"token": "$.StoredCustomerInput"}, limit_s=8, then="a", failed="b"),
        blocks.attributes("set", {"handover": "ok"}, then="a", failed="b"),
        blocks.hook("hook", "AgentWhisper", "arn:w", then="a"),
        blocks.priority("priority", 1, then="a"),
        blocks.queue("queue", "arn:q", then="a", failed="b"),
        blocks.hours("hours", opened="a", closed="b"),
        blocks.say("say", "Hello.", then="a"),
        blocks.transfer("transfer", full="a", failed="b"),
        blocks.disconnect("bye"),
    ],
    "agent_whisper": [blocks.say("say", "Hello.", then="a"), blocks.end_flow("end")],
    "agent_guide": [blocks.view("view", "arn:v", {"Heading": "Hello"}, limit_s=60, then="a"), blocks.disconnect("x")],
}


@pytest.mark.parametrize(
    ("kind", "action"),
    [pytest.param(kind, action, id=f"{kind} {action.identifier}") for kind in BY_KIND for action in BY_KIND[kind]],
)
def test_a_block_of_ours_is_one_that_connect_takes(kind: FlowKind, action: Action) -> None:
    rules.check(action, kind)


def test_there_is_one_of_every_type_that_the_rules_know() -> None:
    made = {action.type for actions in BY_KIND.values() for action in actions}

    assert made == {*rules.RULES, "GetParticipantInput"}


def test_no_error_of_a_hook_or_a_prompt_stops_the_call() -> None:
    for action in (blocks.hook("h", "AgentWhisper", "arn:w", then="on"), blocks.say("s", "Hello.", then="on")):
        assert action.targets == {"on"}
