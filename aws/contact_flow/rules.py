"""What Amazon Connect insists on, block by block: parameters, the ways out a block must name, and those it may not.

For flow language 2019-10-30, from AWS's action reference and from what the service was seen to refuse beyond it: it
wants some errors handled on every block of a type, and refuses a flow that handles others.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aws.contact_flow.action import Action, FlowKind, as_dict

Check = Callable[[Any], bool]

MAX_TEXT: Final = 6_000
"""Characters of a prompt. Connect speaks no more of it."""
SHOWN_CHARS: Final = 200
"""Of a wrong value, in the message about it."""
HIGHEST_PRIORITY: Final = 9_223_372_036_854_775_807
ATTRIBUTE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
REFERENCE: Final = re.compile(r"\$(\.[A-Za-z0-9_-]+)+", re.ASCII)
"""A value known only when the flow runs, such as ``$.External.summary``."""
_IDENTIFIER: Final = re.compile(r"[^%:(\\/)=$,;\[\]{}]{1,50}")
_RESERVED: Final = frozenset(
    {
        "__proto__",
        "constructor",
        "__defineGetter__",
        "__defineSetter__",
        "toString",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "valueOf",
    }
)
EVENT_HOOKS: Final = frozenset(
    {
        "AgentHold",
        "AgentWhisper",
        "CustomerHold",
        "CustomerQueue",
        "CustomerRemaining",
        "CustomerWhisper",
        "DefaultAgentUI",
        "DisconnectAgentUI",
        "PauseContact",
        "ResumeContact",
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """`parameters` maps each one that must be there to what it must be; `optional` likewise, if it is there."""

    errors: frozenset[str] = frozenset()
    """Exactly these must be handled; any other is refused."""
    conditions: frozenset[str] | None = frozenset()
    """Exactly these values; None for one or more of any."""
    parameters: Mapping[str, Check] = field(default_factory=dict[str, Check])
    optional: Mapping[str, Check] = field(default_factory=dict[str, Check])
    one_of: frozenset[str] = frozenset()
    """Of these optional parameters, exactly one."""
    mirrors: str = ""
    """The error or condition that `NextAction` must lead the same way as."""
    ends: bool = False
    kinds: frozenset[FlowKind] = frozenset({"inbound"})


# --- What a parameter may be


def _whole(lowest: int, highest: int) -> Check:
    """A whole number, written as a number or, as the console does, as a text."""

    def check(value: Any) -> bool:
        written = isinstance(value, str | int) and not isinstance(value, bool)
        return written and bool(re.fullmatch(r"[0-9]{1,19}", str(value))) and lowest <= int(value) <= highest

    return check


def _one_of(*values: str) -> Check:
    return lambda value: value in values


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT


def _resource(value: Any) -> bool:
    """An id, an ARN, or one reference: never a mixture."""
    return isinstance(value, str) and bool(value) and ("$." not in value or bool(REFERENCE.fullmatch(value)))


def _reference(value: Any) -> bool:
    return isinstance(value, str) and bool(REFERENCE.fullmatch(value))


def _attributes(value: Any) -> bool:
    return bool(value) and all(ATTRIBUTE_KEY.fullmatch(k) and isinstance(v, str) for k, v in as_dict(value).items())


def _response_type(value: Any) -> bool:
    return as_dict(value).keys() == {"ResponseType"} and value["ResponseType"] in {"STRING_MAP", "JSON"}


def _maximum_length(value: Any) -> bool:
    validation = as_dict(as_dict(value).get("CustomValidation"))
    return as_dict(value).keys() == {"CustomValidation"} and _whole(1, 20_000)(validation.get("MaximumLength"))


_DTMF: Final[dict[str, Check]] = {
    "InputTerminationSequence": lambda value: isinstance(value, str) and bool(re.fullmatch(r"[0-9*#]{1,5}", value)),
    "DisableCancelKey": _one_of("True", "False"),
    "InterdigitTimeLimitSeconds": _whole(1, 20),
}


def _dtmf_configuration(value: Any) -> bool:
    return all(key in _DTMF and _DTMF[key](setting) for key, setting in as_dict(value).items())


def _one_hook(value: Any) -> bool:
    hooks = as_dict(value)
    return len(hooks) == 1 and hooks.keys() <= EVENT_HOOKS and all(_resource(flow) for flow in hooks.values())


def _view(value: Any) -> bool:
    return _resource(as_dict(value).get("Id"))


def _view_data(value: Any) -> bool:
    return isinstance(value, dict)


# --- The blocks

_FAILS: Final = frozenset({"NoMatchingError"})
_EVERYWHERE: Final[frozenset[FlowKind]] = frozenset({"inbound", "agent_whisper", "agent_guide"})
_SPEECH: Final[dict[str, Check]] = {"Text": _text, "SSML": _text, "PromptId": _resource}

BUFFER: Final = Rule(errors=_FAILS, parameters={"EnableDTMFBuffer": _one_of("True", "False")})
STORE: Final = Rule(
    errors=_FAILS,
    parameters={
        "InputTimeLimitSeconds": _whole(1, 180),
        "StoreInput": _one_of("True"),
        "InputValidation": _maximum_length,
    },
    optional={"DTMFConfiguration": _dtmf_configuration, **_SPEECH},
    one_of=frozenset(_SPEECH),
)
RULES: Final[Mapping[str, Rule]] = {
    "UpdateFlowLoggingBehavior": Rule(
        parameters={"FlowLoggingBehavior": _one_of("Enabled", "Disabled")}, kinds=_EVERYWHERE
    ),
    "UpdateContactTextToSpeechVoice": Rule(
        errors=_FAILS,
        parameters={"TextToSpeechVoice": _text},
        optional={
            "TextToSpeechEngine": _one_of("standard", "neural", "generative"),
            "TextToSpeechStyle": _one_of("None", "Conversational", "Newscaster"),
        },
        kinds=_EVERYWHERE,
    ),
    "Loop": Rule(
        conditions=frozenset({"ContinueLooping", "DoneLooping"}),
        parameters={"LoopCount": lambda value: _whole(0, 100)(value) or _reference(value)},
        mirrors="DoneLooping",
        kinds=_EVERYWHERE,
    ),
    "Compare": Rule(
        errors=frozenset({"NoMatchingCondition"}),
        conditions=None,
        parameters={"ComparisonValue": _reference},
        mirrors="NoMatchingCondition",
        kinds=_EVERYWHERE,
    ),
    "InvokeLambdaFunction": Rule(
        errors=_FAILS,
        parameters={
            "LambdaFunctionARN": _resource,
            "InvocationTimeLimitSeconds": _whole(1, 8),
            "InvocationType": _one_of("SYNCHRONOUS"),
            "ResponseValidation": _response_type,
        },
        optional={"LambdaInvocationAttributes": _attributes},
        kinds=_EVERYWHERE,
    ),
    "UpdateContactAttributes": Rule(
        errors=_FAILS,
        parameters={"Attributes": _attributes, "TargetContact": _one_of("Current", "Related")},
        kinds=_EVERYWHERE,
    ),
    "UpdateContactEventHooks": Rule(errors=_FAILS, parameters={"EventHooks": _one_hook}),
    "UpdateContactRoutingBehavior": Rule(
        optional={
            "QueuePriority": _whole(1, HIGHEST_PRIORITY),
            "QueueTimeAdjustmentSeconds": lambda value: bool(re.fullmatch(r"-?[0-9]{1,9}", str(value))),
        },
        one_of=frozenset({"QueuePriority", "QueueTimeAdjustmentSeconds"}),
    ),
    "UpdateContactTargetQueue": Rule(errors=_FAILS, parameters={"QueueId": _resource}),
    "CheckHoursOfOperation": Rule(
        errors=_FAILS, conditions=frozenset({"True", "False"}), optional={"HoursOfOperationId": _resource}
    ),
    "MessageParticipant": Rule(
        errors=_FAILS, optional=_SPEECH, one_of=frozenset(_SPEECH), kinds=frozenset({"inbound", "agent_whisper"})
    ),
    "TransferContactToQueue": Rule(errors=_FAILS | {"QueueAtCapacity"}),
    "DisconnectParticipant": Rule(ends=True, kinds=frozenset({"inbound", "agent_guide"})),
    "EndFlowExecution": Rule(ends=True, kinds=frozenset({"agent_whisper"})),
    "ShowView": Rule(
        errors=_FAILS | {"NoMatchingCondition", "TimeLimitExceeded"},
        conditions=None,
        parameters={"ViewResource": _view, "InvocationTimeLimitSeconds": _whole(1, HIGHEST_PRIORITY)},
        optional={"ViewData": _view_data},
        kinds=frozenset({"agent_guide"}),
    ),
}


# --- The checks


def check(action: Action, kind: FlowKind) -> None:
    """Hold one block against its rule. Raises `FlowRefusedError`."""
    if not _IDENTIFIER.fullmatch(action.identifier):
        raise action.refuse(r"an identifier has 1 to 50 characters, none of % : ( \ / ) = $ , ; [ ] { }. Rename it")
    if action.identifier in _RESERVED:
        raise action.refuse("Connect reserves this identifier. Rename the block")
    rule = _rule_for(action)
    if kind not in rule.kinds:
        raise action.refuse(f"is not allowed in a flow of this kind ({kind}). It is in {', '.join(sorted(rule.kinds))}")
    _check_parameters(action, rule)
    _check_errors(action, rule)
    _check_conditions(action, rule)
    _check_next(action, rule)


def _rule_for(action: Action) -> Rule:
    if action.type == "GetParticipantInput":
        return BUFFER if "EnableDTMFBuffer" in action.parameters else STORE
    if action.type not in RULES:
        raise action.refuse(f"this type of block is not known here. Use one of {', '.join(sorted(RULES))}")
    return RULES[action.type]


def _check_parameters(action: Action, rule: Rule) -> None:
    known = {**rule.parameters, **rule.optional}
    if missing := rule.parameters.keys() - action.parameters.keys():
        raise action.refuse(f"needs the parameter {', '.join(sorted(missing))}. Add it")
    for name, value in action.parameters.items():
        if name not in known:
            raise action.refuse(f"has no parameter {name}. Take it out")
        if not known[name](value):
            raise action.refuse(f"cannot have {name} = {_shown(value)}. Compare it with the action's page")
    if rule.one_of and len(rule.one_of & action.parameters.keys()) != 1:
        raise action.refuse(f"must have exactly one of {', '.join(sorted(rule.one_of))}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}… ({len(text)} characters)"


def _check_errors(action: Action, rule: Rule) -> None:
    if missing := rule.errors - action.errors.keys():
        raise action.refuse(f"must say what follows on {', '.join(sorted(missing))}. Add it to Errors")
    if surplus := action.errors.keys() - rule.errors:
        raise action.refuse(f"may not mention the error {', '.join(sorted(surplus))}. Take it out of Errors")


def _check_conditions(action: Action, rule: Rule) -> None:
    if rule.conditions is None and not action.conditions:
        raise action.refuse("must have at least one condition. Add it")
    if rule.conditions is not None and action.conditions.keys() != rule.conditions:
        raise action.refuse(f"must have conditions for exactly {sorted(rule.conditions) or 'nothing'}")


def _check_next(action: Action, rule: Rule) -> None:
    for name, to in {**action.errors, **action.conditions}.items():
        if not to:
            raise action.refuse(f"says nothing of what follows on {name}. Give it a NextAction")
    if bool(action.next_action) == rule.ends:
        raise action.refuse("ends the flow: no NextAction" if rule.ends else "must have a NextAction. Add it")
    if rule.mirrors and action.next_action != (to := {**action.errors, **action.conditions}[rule.mirrors]):
        raise action.refuse(f"NextAction must lead where {rule.mirrors} leads, to {to!r}, not {action.next_action!r}")
