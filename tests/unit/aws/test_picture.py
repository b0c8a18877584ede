"""The picture in the documents is the flow."""

import re
from pathlib import Path

from aws.contact_flow import blocks
from aws.contact_flow.config import load_config
from aws.contact_flow.flow import inbound
from aws.contact_flow.picture import draw
from aws.contact_flow.validator import Flow

DOCUMENT = Path(__file__).parents[3] / "docs" / "contact_flow.md"


def test_the_document_shows_the_flow_as_it_is() -> None:
    (shown,) = re.findall(r"```mermaid\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)

    assert shown == draw(inbound(load_config())), "put the output of python3 -m aws.contact_flow.picture there"


def test_every_block_and_every_way_is_drawn_once() -> None:
    flow = inbound(load_config())
    drawn = draw(flow)
    arrows = re.findall(r"^ +b_(\w+) (?:-->|-\.->)(?:\|[^|]+\|)? b_(\w+)$", drawn, re.MULTILINE)

    assert re.findall(r'"([\w-]+)"', drawn) == list(flow.actions)
    for name, action in flow.actions.items():
        drawn_to = {to for start, to in arrows if start == name.replace("-", "_")}
        assert drawn_to == {to.replace("-", "_") for to in action.targets}, name


def test_the_document_names_every_block_it_speaks_of_as_the_flow_does() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").partition("```\n\n- **")[2].partition("## When")[0]
    flow = inbound(load_config())
    named = {name for bold in re.findall(r"\*\*(.*?)\*\*", "**" + text) for name in re.findall(r"`([\w-]+)`", bold)}

    assert named
    assert named <= flow.actions.keys()


def test_questions_are_diamonds_ends_are_round_and_errors_dotted() -> None:
    drawn = draw(
        Flow.of(
            [
                blocks.queue("choose", "arn:q", then="hours", failed="bye"),
                blocks.hours("hours", opened="go", closed="bye"),
                blocks.transfer("go", full="bye", failed="bye"),
                blocks.disconnect("bye"),
            ]
        )
    )

    assert 'b_hours{"hours"}' in drawn
    assert 'b_bye(["bye"])' in drawn
    assert "b_choose -.->|error| b_bye" in drawn
    assert "b_hours -->|False| b_bye" in drawn
    assert "b_go -.->|full| b_bye" in drawn
