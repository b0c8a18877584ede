"""A whole flow: its outermost shape, its size, and what is filled into it."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws.contact_flow import blocks
from aws.contact_flow.action import FlowRefusedError
from aws.contact_flow.validator import Flow

FILE = Path(__file__).parents[3] / "aws" / "contact_flow" / "inbound_handover.json"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("[]", "Version must be"),
        ('{"Version": "2018-01-01"}', "Version must be"),
        ('{"Version": "2019-10-30", "Actions": []}', "1 to 250 blocks"),
        ('{"Version": "2019-10-30", "Actions": {"a": 1}}', "1 to 250 blocks"),
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


def test_a_flow_that_would_be_too_long_is_not_rendered() -> None:
    long = [blocks.say(f"say-{n}", "x" * 6_000, then=f"say-{n + 1}") for n in range(45)]
    flow = Flow.of([*long, blocks.disconnect("say-45")])

    with pytest.raises(FlowRefusedError, match="Shorten its prompts"):
        flow.render()


def test_values_are_filled_in_where_they_are_named() -> None:
    flow = Flow.load(FILE.read_text(encoding="utf-8"), {"FallbackQueueArn": "arn:fallback"})

    assert flow.actions["queue-fallback"].parameters == {"QueueId": "arn:fallback"}


def test_a_flow_that_was_read_is_rendered_as_it_was() -> None:
    text = FILE.read_text(encoding="utf-8")

    assert Flow.load(text).render() == text


def test_what_can_be_reached_depends_on_the_ways_that_count() -> None:
    flow = Flow.of([blocks.hours("open", opened="hello", closed="bye"), *_greeting()][1:])

    assert flow.reachable() == {"hello", "bye"}
    assert flow.reachable(passing=lambda _: ()) == {"hello"}


def _greeting() -> list[Any]:
    return [blocks.say("hello", "Hello.", then="bye"), blocks.disconnect("bye")]
