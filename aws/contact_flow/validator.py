"""A whole flow, and whether Amazon Connect would publish it: every block by its rules, and the ways between them.

Needs nothing but Python. What is found is said of one block at a time, with its name and what to do.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, cast

from aws.contact_flow import rules
from aws.contact_flow.action import Action, FlowKind, FlowRefusedError, as_dict

VERSION: Final = "2019-10-30"
MAX_ACTIONS: Final = 250
MAX_CHARS: Final = 256_000
NEED_A_QUEUE: Final = frozenset({"TransferContactToQueue", "CheckHoursOfOperation"})
"""Both speak of the target queue, and take the way of their error when there is none."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow that Connect would publish."""

    start: str
    actions: dict[str, Action]
    kind: FlowKind = "inbound"

    @classmethod
    def of(cls, actions: Iterable[Action], *, kind: FlowKind = "inbound") -> Self:
        """The flow that begins with the first of these blocks. Raises `FlowRefusedError`."""
        listed = list(actions)
        _check_size(listed)
        flow = cls(listed[0].identifier, _unique(listed), kind)
        flow._check()
        return flow

    @classmethod
    def load(cls, text: str, values: Mapping[str, str] | None = None, *, kind: FlowKind = "inbound") -> Self:
        """Read a flow from JSON, with `${name}` replaced from `values`. Raises `FlowRefusedError`."""
        for name, value in (values or {}).items():
            text = text.replace(f"${{{name}}}", value)
        if len(text) > MAX_CHARS:
            raise FlowRefusedError(f"a flow may have {MAX_CHARS} characters, this has {len(text)}. Shorten its prompts")
        try:
            content = as_dict(json.loads(text))
        except ValueError as error:
            raise FlowRefusedError(f"the flow is not JSON: {error}") from None
        flow = cls(str(content.get("StartAction")), _unique(map(Action.from_json, _blocks(content))), kind)
        flow._check()
        return flow

    def render(self) -> str:
        """The flow as the JSON that Connect imports."""
        actions = [action.as_json() for action in self.actions.values()]
        text = json.dumps({"Version": VERSION, "StartAction": self.start, "Actions": actions}, indent=2) + "\n"
        if len(text) > MAX_CHARS:
            raise FlowRefusedError(f"a flow may have {MAX_CHARS} characters, this has {len(text)}. Shorten its prompts")
        return text

    def reachable(self, *, passing: Callable[[Action], Iterable[str]] = lambda action: action.targets) -> set[str]:
        """Every block that a contact can come to, by the ways that `passing` says of each."""
        seen: set[str] = set()
        ahead = {self.start}
        while ahead:
            seen |= ahead
            ahead = {target for name in ahead for target in passing(self.actions[name])} - seen
        return seen

    def _check(self) -> None:
        if self.start not in self.actions:
            raise FlowRefusedError(f"StartAction names {self.start!r}, and there is no such block. Name one there is")
        for action in self.actions.values():
            rules.check(action, self.kind)
        for action in self.actions.values():
            if lost := action.targets - self.actions.keys():
                raise action.refuse(f"leads to {', '.join(sorted(lost))}, and there is no such block. Add or rename it")
        if lost := self.actions.keys() - self.reachable():
            raise FlowRefusedError(f"no way leads to block {', '.join(sorted(lost))}. Lead one there, or take it out")
        self._check_ends()
        self._check_queue_is_set()

    def _check_ends(self) -> None:
        """From everywhere there must be a way to an end: a contact that circles for ever is cut off by Connect."""
        ending = {name for name, action in self.actions.items() if action.type in _ENDS}
        while more := {name for name, action in self.actions.items() if action.targets & ending} - ending:
            ending |= more
        if stuck := self.actions.keys() - ending:
            raise FlowRefusedError(f"from block {', '.join(sorted(stuck))} no way leads to an end. Lead one there")

    def _check_queue_is_set(self) -> None:
        """No way may come to a block that needs the target queue before one has set it."""
        unset = self.reachable(passing=_leaving_the_queue_unset)
        for name in sorted(unset):
            if self.actions[name].type in NEED_A_QUEUE:
                raise self.actions[name].refuse("a way leads here on which no UpdateContactTargetQueue succeeded")


_ENDS: Final = frozenset({"TransferContactToQueue", *(kind for kind, rule in rules.RULES.items() if rule.ends)})


def _leaving_the_queue_unset(action: Action) -> Iterable[str]:
    return action.errors.values() if action.type == "UpdateContactTargetQueue" else action.targets


def _blocks(content: Mapping[str, Any]) -> list[object]:
    """Check the outermost shape; return the blocks."""
    if content.get("Version") != VERSION:
        raise FlowRefusedError(f"Version must be {VERSION!r}, not {content.get('Version')!r}")
    actions: object = content.get("Actions")
    listed = cast("list[object]", actions) if isinstance(actions, list) else []
    _check_size(listed)
    return listed


def _check_size(actions: list[Any]) -> None:
    if not 0 < len(actions) <= MAX_ACTIONS:
        raise FlowRefusedError(f"Actions must be a list of 1 to {MAX_ACTIONS} blocks, not {len(actions)}")


def _unique(actions: Iterable[Action]) -> dict[str, Action]:
    named: dict[str, Action] = {}
    for action in actions:
        if action.identifier in named:
            raise action.refuse("another block has the same identifier. Rename one of them")
        named[action.identifier] = action
    return named
