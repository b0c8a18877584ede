"""Reads a contact flow and refuses what Amazon Connect refuses, naming the block.

The rules are Connect's for flow language 2019-10-30, for the blocks the town's contact centre knows: the shapes from
AWS's action reference, and what the service was seen to insist on beyond it (which errors a block must handle, and
which it must not mention).
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, cast

MAX_ACTIONS: Final = 250
MAX_CHARS: Final = 256_000
ATTRIBUTE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
REFERENCE: Final = re.compile(r"\$(\.[A-Za-z0-9_-]+)+", re.ASCII)
_IDENTIFIER: Final = re.compile(r"[^%:(\\/)=$,;\[\]{}]{1,50}")


class FlowRefusedError(ValueError):
    """The flow would not be published, or could not go on. The message names the block and what to change."""


@dataclass(frozen=True, slots=True)
class Action:
    """One block: what it does, and where the caller goes next."""

    identifier: str
    type: str
    parameters: dict[str, Any]
    next_action: str
    """Empty only for a block that ends the flow."""
    errors: dict[str, str]
    conditions: dict[str, str]
    """By the value they compare with; `Equals` is the only operator these blocks need."""

    @property
    def targets(self) -> set[str]:
        """Every block that may follow."""
        return {self.next_action, *self.errors.values(), *self.conditions.values()} - {""}

    def refuse(self, why: str) -> FlowRefusedError:
        """An error about this block."""
        return FlowRefusedError(f"block {self.identifier!r} ({self.type}): {why}")


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow that Connect would publish."""

    start: str
    actions: dict[str, Action]

    @classmethod
    def load(cls, text: str, values: Mapping[str, str] | None = None) -> Self:
        """Read a flow from JSON, with `${name}` replaced from `values`. Raises `FlowRefusedError`."""
        for name, value in (values or {}).items():
            text = text.replace(f"${{{name}}}", value)
        if len(text) > MAX_CHARS:
            raise FlowRefusedError(f"a flow may have {MAX_CHARS} characters, this has {len(text)}")
        try:
            content = json.loads(text)
        except ValueError as error:
            raise FlowRefusedError(f"the flow is not JSON: {error}") from None
        flow = cls(_envelope(content), _unique(_parse(raw) for raw in content["Actions"]))
        flow._check()
        return flow

    def _check(self) -> None:
        if self.start not in self.actions:
            raise FlowRefusedError(f"StartAction names {self.start!r}, and there is no such block")
        for action in self.actions.values():
            _check_action(action)
        for action in self.actions.values():
            if lost := action.targets - self.actions.keys():
                raise action.refuse(f"leads to {', '.join(sorted(lost))}, and there is no such block")
        if lost := self.actions.keys() - self._reachable():
            raise FlowRefusedError(f"no way leads to block {', '.join(sorted(lost))}")

    def _reachable(self) -> set[str]:
        seen: set[str] = set()
        ahead = {self.start}
        while ahead:
            seen |= ahead
            ahead = {target for name in ahead for target in self.actions[name].targets} - seen
        return seen


def _envelope(content: object) -> str:
    """Check the outermost shape; return the first block's name."""
    flow = _dict(content)
    if flow.get("Version") != "2019-10-30":
        raise FlowRefusedError(f"Version must be '2019-10-30', not {flow.get('Version')!r}")
    actions: object = flow.get("Actions")
    if not isinstance(actions, list) or not 0 < len(cast("list[Any]", actions)) <= MAX_ACTIONS:
        raise FlowRefusedError(f"Actions must be a list of 1 to {MAX_ACTIONS} blocks")
    return str(flow.get("StartAction"))


def _parse(raw: object) -> Action:
    block = _dict(raw)
    transitions = _dict(block.get("Transitions"))
    action = Action(
        identifier=str(block.get("Identifier", "")),
        type=str(block.get("Type", "")),
        parameters=_dict(block.get("Parameters")),
        next_action=str(transitions.get("NextAction", "")),
        errors={str(e.get("ErrorType")): str(e.get("NextAction")) for e in _dicts(transitions.get("Errors"))},
        conditions={},
    )
    for way in _dicts(transitions.get("Conditions")):
        condition = _dict(way.get("Condition"))
        operands = cast("list[object]", condition.get("Operands") or [])
        if condition.get("Operator") != "Equals" or len(operands) != 1:
            raise action.refuse(f"a condition must be Equals with one operand, not {condition}")
        action.conditions[str(operands[0])] = str(way.get("NextAction"))
    return action


def _unique(actions: Iterable[Action]) -> dict[str, Action]:
    named: dict[str, Action] = {}
    for action in actions:
        if action.identifier in named:
            raise action.refuse("another block has the same identifier")
        named[action.identifier] = action
    return named


# --- What each block must look like


@dataclass(frozen=True, slots=True)
class _Rule:
    """`parameters` maps each one that must be there to what it must be; `optional` likewise, if it is there."""

    errors: frozenset[str] = frozenset()
    conditions: frozenset[str] | None = frozenset()
    """Exactly these values; None for any."""
    parameters: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict[str, Callable[[Any], bool]])
    optional: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict[str, Callable[[Any], bool]])
    ends: bool = False


def _whole(lowest: int, highest: int) -> Callable[[Any], bool]:
    """A whole number, written as a number or, as the console does, as a string."""
    return lambda value: (
        isinstance(value, str | int)
        and bool(re.fullmatch(r"[0-9]{1,9}", str(value)))
        and lowest <= int(value) <= highest
    )


def _one_of(*values: str) -> Callable[[Any], bool]:
    return lambda value: value in values


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _reference(value: Any) -> bool:
    return isinstance(value, str) and bool(REFERENCE.fullmatch(value))


def _attributes(value: Any) -> bool:
    return bool(value) and all(ATTRIBUTE_KEY.fullmatch(k) and isinstance(v, str) for k, v in _dict(value).items())


def _string_map_or_json(value: Any) -> bool:
    return _dict(value).get("ResponseType") in {"STRING_MAP", "JSON"}


def _maximum_length(value: Any) -> bool:
    return _whole(1, 20_000)(_dict(_dict(value).get("CustomValidation")).get("MaximumLength"))


_DTMF: Final[dict[str, Callable[[Any], bool]]] = {
    "InputTerminationSequence": lambda value: isinstance(value, str) and bool(re.fullmatch(r"[0-9*#]{1,5}", value)),
    "DisableCancelKey": _one_of("True", "False"),
    "InterdigitTimeLimitSeconds": _whole(1, 20),
}


def _dtmf_configuration(value: Any) -> bool:
    return all(key in _DTMF and _DTMF[key](setting) for key, setting in _dict(value).items())


_FAILS: Final = frozenset({"NoMatchingError"})
_BUFFER: Final = _Rule(errors=_FAILS, parameters={"EnableDTMFBuffer": _one_of("True", "False")})
_STORE: Final = _Rule(
    errors=_FAILS,
    parameters={
        "Text": _text,
        "InputTimeLimitSeconds": _whole(1, 180),
        "StoreInput": _one_of("True"),
        "InputValidation": _maximum_length,
    },
    optional={"DTMFConfiguration": _dtmf_configuration},
)
_RULES: Final = {
    "UpdateFlowLoggingBehavior": _Rule(parameters={"FlowLoggingBehavior": _one_of("Enabled", "Disabled")}),
    "Loop": _Rule(conditions=frozenset({"ContinueLooping", "DoneLooping"}), parameters={"LoopCount": _whole(0, 100)}),
    "Compare": _Rule(
        errors=frozenset({"NoMatchingCondition"}), conditions=None, parameters={"ComparisonValue": _reference}
    ),
    "InvokeLambdaFunction": _Rule(
        errors=_FAILS,
        parameters={
            "LambdaFunctionARN": _text,
            "InvocationTimeLimitSeconds": _whole(1, 8),
            "InvocationType": _one_of("SYNCHRONOUS"),
            "ResponseValidation": _string_map_or_json,
        },
        optional={"LambdaInvocationAttributes": _attributes},
    ),
    "UpdateContactAttributes": _Rule(
        errors=_FAILS, parameters={"Attributes": _attributes, "TargetContact": _one_of("Current")}
    ),
    "UpdateContactRoutingBehavior": _Rule(parameters={"QueuePriority": _whole(1, 9_223_372_036)}),
    "UpdateContactTargetQueue": _Rule(errors=_FAILS, parameters={"QueueId": _text}),
    "CheckHoursOfOperation": _Rule(errors=_FAILS, conditions=frozenset({"True", "False"})),
    "MessageParticipant": _Rule(errors=_FAILS, parameters={"Text": _text}),
    "TransferContactToQueue": _Rule(errors=_FAILS | {"QueueAtCapacity"}),
    "DisconnectParticipant": _Rule(ends=True),
}


def _check_action(action: Action) -> None:
    if not _IDENTIFIER.fullmatch(action.identifier):
        raise action.refuse(r"an identifier has 1 to 50 characters, none of % : ( \ / ) = $ , ; [ ] { }")
    rule = _rule_for(action)
    _check_parameters(action, rule)
    if missing := rule.errors - action.errors.keys():
        raise action.refuse(f"must say what follows on {', '.join(sorted(missing))}")
    if surplus := action.errors.keys() - rule.errors:
        raise action.refuse(f"may not mention the error {', '.join(sorted(surplus))}")
    if rule.conditions is not None and action.conditions.keys() != rule.conditions:
        raise action.refuse(f"must have conditions for exactly {sorted(rule.conditions) or 'nothing'}")
    if rule.conditions is None and not action.conditions:
        raise action.refuse("must have at least one condition")
    if bool(action.next_action) == rule.ends:
        raise action.refuse("ends the flow: no NextAction" if rule.ends else "must have a NextAction")


def _rule_for(action: Action) -> _Rule:
    if action.type == "GetParticipantInput":
        return _BUFFER if "EnableDTMFBuffer" in action.parameters else _STORE
    if action.type not in _RULES:
        raise action.refuse("this type of block is not known here")
    return _RULES[action.type]


def _check_parameters(action: Action, rule: _Rule) -> None:
    known = {**rule.parameters, **rule.optional}
    if missing := rule.parameters.keys() - action.parameters.keys():
        raise action.refuse(f"needs the parameter {', '.join(sorted(missing))}")
    for name, value in action.parameters.items():
        if name not in known:
            raise action.refuse(f"has no parameter {name}")
        if not known[name](value):
            raise action.refuse(f"cannot have {name} = {value!r}")


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [_dict(each) for each in cast("list[object]", value)] if isinstance(value, list) else []
