"""Draws a flow as a Mermaid flowchart, for the documents. `python3 -m aws.contact_flow.picture` draws ours."""

import sys
from collections.abc import Iterator
from typing import Final

from aws.contact_flow.action import Action
from aws.contact_flow.config import load_config
from aws.contact_flow.flow import inbound
from aws.contact_flow.validator import Flow

_SHAPES: Final = {
    "Compare": ("{", "}"),
    "CheckHoursOfOperation": ("{", "}"),
    "Loop": ("{", "}"),
    "TransferContactToQueue": ("([", "])"),
    "DisconnectParticipant": ("([", "])"),
}
"""Questions are diamonds, ends are round, everything else is a box."""


def draw(flow: Flow) -> str:
    """The flowchart. A way for errors is dotted, unless it leads where the flow goes on anyway."""
    lines = ["flowchart TD", *(f"    {_node(action)}" for action in flow.actions.values())]
    lines += [f"    {arrow}" for action in flow.actions.values() for arrow in _arrows(action)]
    return "\n".join(lines) + "\n"


def _node(action: Action) -> str:
    before, after = _SHAPES.get(action.type, ("[", "]"))
    return f'{_id(action.identifier)}{before}"{action.identifier}"{after}'


def _arrows(action: Action) -> Iterator[str]:
    here = _id(action.identifier)
    for value, to in action.conditions.items():
        yield f"{here} -->|{value}| {_id(to)}"
    if "NoMatchingCondition" in action.errors:
        yield f"{here} -->|anything else| {_id(action.next_action)}"
    elif action.next_action and not action.conditions and action.type != "TransferContactToQueue":
        yield f"{here} --> {_id(action.next_action)}"
    usual = {action.next_action} if not action.conditions and action.type != "TransferContactToQueue" else set[str]()
    for error, to in action.errors.items():
        if error != "NoMatchingCondition" and to not in usual | set(action.conditions.values()):
            yield f"{here} -.->|{'full' if error == 'QueueAtCapacity' else 'error'}| {_id(to)}"


def _id(identifier: str) -> str:
    """Mermaid takes a bare ``end`` for a word of its own."""
    return f"b_{identifier.replace('-', '_')}"


if __name__ == "__main__":
    sys.stdout.write(draw(inbound(load_config())))
