"""One block of a contact flow, as a value: written by our own flow, read back from any JSON."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

FlowKind = Literal["inbound", "agent_whisper", "agent_guide"]
"""Which blocks Connect allows depends on what the flow is for."""

OPERATORS: Final = (
    "Equals",
    "TextStartsWith",
    "TextEndsWith",
    "TextContains",
    "NumberGreaterThan",
    "NumberGreaterOrEqualTo",
    "NumberLessThan",
    "NumberLessOrEqualTo",
)
"""Every operator of the flow language. There is no "not equals": what matches nothing takes `NoMatchingCondition`."""


class FlowRefusedError(ValueError):
    """The flow would not be published, or could not go on. The message names the block and what to change."""


@dataclass(frozen=True, slots=True)
class Action:
    """One block: what it does, and where the caller goes next."""

    identifier: str
    type: str
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    next_action: str = ""
    """Empty only for a block that ends the flow."""
    errors: dict[str, str] = field(default_factory=dict[str, str])
    conditions: dict[str, str] = field(default_factory=dict[str, str])
    """By the value they compare with; `Equals` is the only operator these blocks need."""

    @property
    def targets(self) -> set[str]:
        """Every block that may follow."""
        return {self.next_action, *self.errors.values(), *self.conditions.values()} - {""}

    def refuse(self, why: str) -> FlowRefusedError:
        """An error about this block."""
        return FlowRefusedError(f"block {self.identifier!r} ({self.type}): {why}")

    def as_json(self) -> dict[str, Any]:
        """The block as the flow language writes it."""
        transitions: dict[str, Any] = {"NextAction": self.next_action} if self.next_action else {}
        if self.errors:
            transitions["Errors"] = [{"ErrorType": error, "NextAction": to} for error, to in self.errors.items()]
        if self.conditions:
            transitions["Conditions"] = [
                {"NextAction": to, "Condition": {"Operator": "Equals", "Operands": [value]}}
                for value, to in self.conditions.items()
            ]
        return {
            "Identifier": self.identifier,
            "Type": self.type,
            "Parameters": self.parameters,
            "Transitions": transitions,
        }

    @classmethod
    def from_json(cls, raw: object) -> "Action":
        """Read a block. What is missing becomes empty, for the rules to name. Raises `FlowRefusedError`."""
        block = as_dict(raw)
        transitions = as_dict(block.get("Transitions"))
        action = cls(
            identifier=_string(block.get("Identifier")),
            type=_string(block.get("Type")),
            parameters=as_dict(block.get("Parameters")),
            next_action=_string(transitions.get("NextAction")),
        )
        for error in as_dicts(transitions.get("Errors")):
            _add(action, action.errors, "error", _string(error.get("ErrorType")), error)
        for way in as_dicts(transitions.get("Conditions")):
            _add(action, action.conditions, "condition", _operand(action, as_dict(way.get("Condition"))), way)
        return action


def _add(action: Action, ways: dict[str, str], what: str, name: str, way: dict[str, Any]) -> None:
    if name in ways:
        raise action.refuse(f"names the {what} {name} twice. Take one of them out")
    ways[name] = _string(way.get("NextAction"))


def _operand(action: Action, condition: dict[str, Any]) -> str:
    operator, operands = condition.get("Operator"), cast("list[object]", condition.get("Operands") or [])
    if operator not in OPERATORS:
        raise action.refuse(f"the flow language has no operator {operator!r}. It has {', '.join(OPERATORS)}")
    if operator != "Equals" or len(operands) != 1 or not isinstance(operands[0], str):
        raise action.refuse(f"a condition here must be Equals with one text, not {operator} {operands}")
    return operands[0]


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def as_dict(value: object) -> dict[str, Any]:
    """The value if it is an object of JSON, otherwise an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_dicts(value: object) -> list[dict[str, Any]]:
    """The objects in a list of JSON."""
    return [as_dict(each) for each in cast("list[object]", value)] if isinstance(value, list) else []
