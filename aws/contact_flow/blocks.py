"""The blocks of our flows, each with the transitions that Connect wants of it. They take where to go next by name."""

from collections.abc import Mapping

from aws.contact_flow.action import Action


def flow_log(identifier: str, *, on: bool, then: str) -> Action:
    """Switch the flow's log on or off. Off, nothing that callers enter and nothing about them is written."""
    behavior = {"FlowLoggingBehavior": "Enabled" if on else "Disabled"}
    return Action(identifier, "UpdateFlowLoggingBehavior", behavior, then)


def touchtone_buffer(identifier: str, *, then: str) -> Action:
    """From here on no digit is lost, whichever block runs: Twilio sends them when it likes, not when we listen."""
    return Action(identifier, "GetParticipantInput", {"EnableDTMFBuffer": "True"}, then, {"NoMatchingError": then})


def voice(identifier: str, name: str, engine: str, *, then: str) -> Action:
    """Who speaks the prompts: a voice of Amazon Polly's."""
    parameters = {"TextToSpeechVoice": name, "TextToSpeechEngine": engine}
    return Action(identifier, "UpdateContactTextToSpeechVoice", parameters, then, {"NoMatchingError": then})


def loop(identifier: str, *, times: int, again: str, done: str) -> Action:
    """Lead to `again` that many times, then once to `done`."""
    ways = {"ContinueLooping": again, "DoneLooping": done}
    return Action(identifier, "Loop", {"LoopCount": str(times)}, done, conditions=ways)


def store_input(
    identifier: str, prompt: str, *, first_digit_s: int, next_digit_s: int, length: int, then: str, failed: str
) -> Action:
    """Store what is entered until `#`, that many keys, or a pause. Silence is stored as the word ``Timeout``."""
    parameters = {
        "Text": prompt,
        "InputTimeLimitSeconds": str(first_digit_s),
        "StoreInput": "True",
        "InputValidation": {"CustomValidation": {"MaximumLength": str(length)}},
        "DTMFConfiguration": {
            "InputTerminationSequence": "#",
            "DisableCancelKey": "False",
            "InterdigitTimeLimitSeconds": str(next_digit_s),
        },
    }
    return Action(identifier, "GetParticipantInput", parameters, then, {"NoMatchingError": failed})


def compare(identifier: str, reference: str, ways: Mapping[str, str], *, otherwise: str) -> Action:
    """Lead by the exact text of a value; there is no other way to say "anything else" than `otherwise`."""
    errors = {"NoMatchingCondition": otherwise}
    return Action(identifier, "Compare", {"ComparisonValue": reference}, otherwise, errors, dict(ways))


def invoke(identifier: str, arn: str, attributes: Mapping[str, str], *, limit_s: int, then: str, failed: str) -> Action:
    """Ask a Lambda function. STRING_MAP: an answer with anything but strings in it counts as failed."""
    parameters = {
        "LambdaFunctionARN": arn,
        "InvocationTimeLimitSeconds": str(limit_s),
        "InvocationType": "SYNCHRONOUS",
        "LambdaInvocationAttributes": dict(attributes),
        "ResponseValidation": {"ResponseType": "STRING_MAP"},
    }
    return Action(identifier, "InvokeLambdaFunction", parameters, then, {"NoMatchingError": failed})


def attributes(identifier: str, values: Mapping[str, str], *, then: str, failed: str) -> Action:
    """Set attributes of the contact, all or none."""
    parameters = {"Attributes": dict(values), "TargetContact": "Current"}
    return Action(identifier, "UpdateContactAttributes", parameters, then, {"NoMatchingError": failed})


def hook(identifier: str, event: str, flow_arn: str, *, then: str) -> Action:
    """Have another flow run when that event comes. Without it the call goes on all the same."""
    parameters = {"EventHooks": {event: flow_arn}}
    return Action(identifier, "UpdateContactEventHooks", parameters, then, {"NoMatchingError": then})


def priority(identifier: str, number: int, *, then: str) -> Action:
    """The contact's place in its queue, 1 being served first. Connect refuses a way for errors here."""
    return Action(identifier, "UpdateContactRoutingBehavior", {"QueuePriority": str(number)}, then)


def queue(identifier: str, arn: str, *, then: str, failed: str) -> Action:
    """Choose the queue that hours and transfer are about."""
    return Action(identifier, "UpdateContactTargetQueue", {"QueueId": arn}, then, {"NoMatchingError": failed})


def hours(identifier: str, *, opened: str, closed: str) -> Action:
    """By the hours of the chosen queue. When Connect cannot tell, it counts as open."""
    ways, unknown = {"True": opened, "False": closed}, {"NoMatchingError": opened}
    return Action(identifier, "CheckHoursOfOperation", {}, closed, unknown, ways)


def say(identifier: str, text: str, *, then: str) -> Action:
    """Speak a text."""
    return Action(identifier, "MessageParticipant", {"Text": text}, then, {"NoMatchingError": then})


def transfer(identifier: str, *, full: str, failed: str) -> Action:
    """Put the contact into the chosen queue. That is the end of the flow, unless there is no room."""
    return Action(
        identifier, "TransferContactToQueue", {}, failed, {"QueueAtCapacity": full, "NoMatchingError": failed}
    )


def disconnect(identifier: str) -> Action:
    """Hang up."""
    return Action(identifier, "DisconnectParticipant")


def end_flow(identifier: str) -> Action:
    """End a whisper; the call goes on."""
    return Action(identifier, "EndFlowExecution")


def view(identifier: str, view_id: str, data: Mapping[str, object], *, limit_s: int, then: str) -> Action:
    """Show an agent a view in their workspace. Whatever they do in it leads on."""
    errors = {"NoMatchingCondition": then, "NoMatchingError": then, "TimeLimitExceeded": then}
    parameters = {"ViewResource": {"Id": view_id}, "InvocationTimeLimitSeconds": str(limit_s), "ViewData": dict(data)}
    return Action(identifier, "ShowView", parameters, then, errors, {"Back": then})
