"""The inbound contact flow as code: listen for the token, fetch the handover, put the caller into the right queue.

Run it to write `inbound_handover.json` beside it. `${...}` in the JSON are filled in at deployment.

Whatever fails, the caller ends in a queue: without context in the fallback queue, with `handover` set to ``missing`` so
that the agent's screen can say so. Shapes follow the Amazon Connect flow language, version 2019-10-30.
"""

import json
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("inbound_handover.json")

RECORD_KEYS: Final = (
    "conversation_id",
    "caller_phone",
    "hubspot_contact_id",
    "hubspot_ticket_id",
    "hubspot_ticket_url",
    "summary",
    "intent",
    "priority",
    "escalation_reason",
    "route_to_queue",
)
"""What the Lambda returns about a handover, and what becomes attributes of the contact under the same names."""

QUEUES: Final = {"priority": "${PriorityQueueArn}", "escalation": "${EscalationQueueArn}"}
"""The names `route_to_queue` may have. A flow that trusted an ARN from a record could be sent anywhere."""
DEFAULT_QUEUE: Final = "escalation"
PRIORITIES: Final = {"urgent": "1", "high": "2"}
"""Queue priorities, 1 being served first. The rest keep Connect's default, 5."""

TRIES: Final = 3
"""A second try helps when keys the caller pressed came before the token: its digits are in the touchtone buffer."""
FIRST_DIGIT_S: Final = "4"
"""Counted from the end of the prompt. The digits start two seconds after the answer, so they are long there."""
NEXT_DIGIT_S: Final = "2"
LAMBDA_S: Final = "8"
"""The most Connect allows; the function itself answers within five."""
ENTRY_LENGTH: Final = "11"
"""One more than a token has: then its `#` ends the entry and is not left over for the next one."""

Action = dict[str, Any]


def _action(
    identifier: str,
    kind: str,
    parameters: dict[str, Any],
    *,
    then: str,
    errors: dict[str, str] | None = None,
    equals: dict[str, str] | None = None,
) -> Action:
    transitions: dict[str, Any] = {"NextAction": then}
    if errors:
        transitions["Errors"] = [{"ErrorType": error, "NextAction": to} for error, to in errors.items()]
    if equals:
        transitions["Conditions"] = [
            {"NextAction": to, "Condition": {"Operator": "Equals", "Operands": [value]}} for value, to in equals.items()
        ]
    return {"Identifier": identifier, "Type": kind, "Parameters": parameters, "Transitions": transitions}


def _logging(identifier: str, behavior: str, *, then: str) -> Action:
    return _action(identifier, "UpdateFlowLoggingBehavior", {"FlowLoggingBehavior": behavior}, then=then)


def _touchtone_buffer(identifier: str, *, then: str) -> Action:
    """From here on no digit is lost, whichever block runs: Twilio sends them when it likes, not when we listen."""
    buffer = {"EnableDTMFBuffer": "True"}
    return _action(identifier, "GetParticipantInput", buffer, then=then, errors={"NoMatchingError": then})


def _loop(identifier: str, *, times: int, again: str, done: str) -> Action:
    ways = {"ContinueLooping": again, "DoneLooping": done}
    return _action(identifier, "Loop", {"LoopCount": str(times)}, then=done, equals=ways)


def _listen(identifier: str, *, prompt: str, then: str, failed: str) -> Action:
    """Store what is entered. The caller was told no number, so the prompt asks for none."""
    parameters = {
        "Text": prompt,
        "InputTimeLimitSeconds": FIRST_DIGIT_S,
        "StoreInput": "True",
        "InputValidation": {"CustomValidation": {"MaximumLength": ENTRY_LENGTH}},
        "DTMFConfiguration": {
            "InputTerminationSequence": "#",
            "DisableCancelKey": "False",
            "InterdigitTimeLimitSeconds": NEXT_DIGIT_S,
        },
    }
    return _action(identifier, "GetParticipantInput", parameters, then=then, errors={"NoMatchingError": failed})


def _compare(identifier: str, reference: str, ways: dict[str, str], *, otherwise: str) -> Action:
    errors = {"NoMatchingCondition": otherwise}
    return _action(identifier, "Compare", {"ComparisonValue": reference}, then=otherwise, errors=errors, equals=ways)


def _invoke(identifier: str, arn: str, attributes: dict[str, str], *, then: str, failed: str) -> Action:
    parameters = {
        "LambdaFunctionARN": arn,
        "InvocationTimeLimitSeconds": LAMBDA_S,
        "InvocationType": "SYNCHRONOUS",
        "LambdaInvocationAttributes": attributes,
        "ResponseValidation": {"ResponseType": "STRING_MAP"},
    }
    return _action(identifier, "InvokeLambdaFunction", parameters, then=then, errors={"NoMatchingError": failed})


def _attributes(identifier: str, attributes: dict[str, str], *, then: str, failed: str) -> Action:
    parameters = {"Attributes": attributes, "TargetContact": "Current"}
    return _action(identifier, "UpdateContactAttributes", parameters, then=then, errors={"NoMatchingError": failed})


def _priority(identifier: str, priority: str, *, then: str) -> Action:
    return _action(identifier, "UpdateContactRoutingBehavior", {"QueuePriority": priority}, then=then)


def _queue(identifier: str, arn: str, *, then: str, failed: str) -> Action:
    errors = {"NoMatchingError": failed}
    return _action(identifier, "UpdateContactTargetQueue", {"QueueId": arn}, then=then, errors=errors)


def _hours(identifier: str, *, opened: str, closed: str) -> Action:
    ways, unknown = {"True": opened, "False": closed}, {"NoMatchingError": opened}
    return _action(identifier, "CheckHoursOfOperation", {}, then=closed, errors=unknown, equals=ways)


def _say(identifier: str, text: str, *, then: str) -> Action:
    return _action(identifier, "MessageParticipant", {"Text": text}, then=then, errors={"NoMatchingError": then})


def _transfer(identifier: str, *, failed: str) -> Action:
    errors = {"QueueAtCapacity": failed, "NoMatchingError": failed}
    return _action(identifier, "TransferContactToQueue", {}, then=failed, errors=errors)


def _actions() -> list[Action]:
    """The flow, in the order a good call walks through it."""
    record = {key: f"$.External.{key}" for key in RECORD_KEYS}
    by_priority = {name: f"priority-{name}" for name in PRIORITIES}
    by_queue = {name: f"queue-{name}" for name in QUEUES}
    queueing = f"queue-{DEFAULT_QUEUE}"
    return [
        # What is entered, and what it buys, stays out of the flow log.
        _logging("log-off", "Disabled", then="buffer-on"),
        _touchtone_buffer("buffer-on", then="tries"),
        _loop("tries", times=TRIES, again="listen", done="mark-missing"),
        _listen("listen", prompt="One moment, please.", then="silent", failed="tries"),
        # Silence is stored as a word, on the same way as digits. Nobody sends the digits twice, so it is final.
        _compare("silent", "$.StoredCustomerInput", {"Timeout": "mark-missing"}, otherwise="look-up"),
        _invoke("look-up", "${LambdaArn}", {"token": "$.StoredCustomerInput"}, then="found", failed="mark-missing"),
        _compare("found", "$.External.success", {"true": "mark-ok"}, otherwise="worth-retrying"),
        _compare("worth-retrying", "$.External.retry", {"true": "tries"}, otherwise="mark-missing"),
        _attributes("mark-ok", {**record, "handover": "ok"}, then="by-priority", failed="mark-missing"),
        _compare("by-priority", "$.Attributes.priority", by_priority, otherwise="by-queue"),
        *(_priority(f"priority-{name}", number, then="by-queue") for name, number in PRIORITIES.items()),
        _compare("by-queue", "$.Attributes.route_to_queue", by_queue, otherwise=queueing),
        *(_queue(f"queue-{name}", arn, then="log-on", failed="queue-fallback") for name, arn in QUEUES.items()),
        _attributes("mark-missing", {"handover": "missing"}, then="queue-fallback", failed="queue-fallback"),
        _queue("queue-fallback", "${FallbackQueueArn}", then="log-on", failed="sorry"),
        _logging("log-on", "Enabled", then="hours"),
        _hours("hours", opened="connecting", closed="closed"),
        _say("connecting", "Thank you. Connecting you to a person now.", then="transfer"),
        _transfer("transfer", failed="sorry"),
        _say("closed", "Our team is away right now. Please call again in opening hours.", then="bye"),
        _say("sorry", "We cannot connect you right now. Please call again later.", then="bye"),
        {"Identifier": "bye", "Type": "DisconnectParticipant", "Parameters": {}, "Transitions": {}},
    ]


def render() -> str:
    """The flow as the JSON that Connect imports."""
    actions = _actions()
    flow = {"Version": "2019-10-30", "StartAction": actions[0]["Identifier"], "Actions": actions}
    return json.dumps(flow, indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
