"""A block as a value: written as the flow language has it, and read back without loss."""

import pytest
from aws.contact_flow import blocks
from aws.contact_flow.action import Action, FlowRefusedError, as_dict, as_dicts

EVERY = [
    blocks.flow_log("log", on=False, then="a"),
    blocks.touchtone_buffer("buffer", then="a"),
    blocks.voice("voice", "Joanna", "neural", then="a"),
    blocks.loop("loop", times=3, again="a", done="b"),
    blocks.store_input("listen", "Hm?", first_digit_s=4, next_digit_s=2, length=11, then="a", failed="b"),
    blocks.compare("compare", "$.External.success", {"true": "a", "false": "b"}, otherwise="c"),
    blocks.invoke("ask", "arn:f", {"token": "$.StoredCustomerInput"}, limit_s=8, then="a", failed="b"),
    blocks.attributes("set", {"handover": "ok"}, then="a", failed="b"),
    blocks.hook("hook", "AgentWhisper", "arn:w", then="a"),
    blocks.priority("priority", 1, then="a"),
    blocks.queue("queue", "arn:q", then="a", failed="b"),
    blocks.hours("hours", opened="a", closed="b"),
    blocks.say("say", "Hello.", then="a"),
    blocks.transfer("transfer", full="a", failed="b"),
    blocks.disconnect("bye"),
    blocks.end_flow("end"),
    blocks.view("view", "arn:v", {"Heading": "Hello"}, limit_s=60, then="a"),
]


@pytest.mark.parametrize("action", EVERY, ids=lambda action: action.identifier)
def test_a_block_that_is_written_and_read_is_the_same(action: Action) -> None:
    assert Action.from_json(action.as_json()) == action


def test_a_block_leads_to_its_next_its_errors_and_its_conditions() -> None:
    action = Action("here", "Compare", {}, "next", {"NoMatchingCondition": "else"}, {"yes": "there", "no": ""})

    assert action.targets == {"next", "else", "there"}


@pytest.mark.parametrize("raw", [None, 5, [], {}, {"Identifier": 5, "Transitions": [], "Parameters": "x"}], ids=repr)
def test_what_is_no_block_becomes_an_empty_one_for_the_rules_to_name(raw: object) -> None:
    assert Action.from_json(raw) == Action("", "")


def test_a_refusal_names_the_block_and_its_type() -> None:
    refusal = Action("here", "Loop").refuse("goes round")

    assert isinstance(refusal, FlowRefusedError)
    assert str(refusal) == "block 'here' (Loop): goes round"


def test_only_objects_are_taken_from_json_where_objects_are_wanted() -> None:
    assert as_dict([1]) == {}
    assert as_dicts({"a": 1}) == []
    assert as_dicts([{"a": 1}, 5]) == [{"a": 1}, {}]
