"""The stack of Amazon Connect: flows that it would publish, and a function that only this instance may ask."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws.contact_flow.action import FlowKind
from aws.contact_flow.validator import Flow

TEMPLATES = Path(__file__).parents[3] / "aws" / "templates"
FLOWS = TEMPLATES.parent / "contact_flow"
INSTANCE = "arn:aws:connect:ap-southeast-2:123456789012:instance/11111111-2222-3333-4444-555555555555"
PARAMETERS = {
    "InstanceArn": INSTANCE,
    "LambdaArn": "arn:aws:lambda:ap-southeast-2:123456789012:function:voice-redeem",
    "PriorityQueueArn": f"{INSTANCE}/queue/aaaaaaaa-0000-0000-0000-000000000000",
    "EscalationQueueArn": f"{INSTANCE}/queue/bbbbbbbb-0000-0000-0000-000000000000",
    "FallbackQueueArn": f"{INSTANCE}/queue/cccccccc-0000-0000-0000-000000000000",
    "AWS::Region": "ap-southeast-2",
}


@pytest.fixture
def stack(template: Any) -> dict[str, Any]:
    return template("connect.yaml")


@pytest.fixture
def resources(stack: dict[str, Any]) -> dict[str, Any]:
    return {name: each["Properties"] for name, each in stack["Resources"].items()}


def resolved(value: Any) -> str:
    """What CloudFormation makes of a reference; a flow's ARN is made up from its logical name."""
    match value:
        case {"Ref": name}:
            return PARAMETERS[name]
        case {"Fn::GetAtt": [name, "ContactFlowArn"]}:
            return f"{INSTANCE}/contact-flow/{name}"
        case _:
            raise AssertionError(value)


def content(properties: dict[str, Any]) -> str:
    """A resource's text as it is deployed. Whatever stays unfilled stays visible."""
    text, blanks = "", dict[str, Any]()
    match properties["Content"]:
        case str(plain):
            return plain
        case {"Fn::Sub": str(filled)}:
            text = filled
        case {"Fn::Sub": [str(filled), stated]}:
            text, blanks = filled, stated
        case other:
            raise AssertionError(other)
    for name, value in {**PARAMETERS, **{name: resolved(value) for name, value in blanks.items()}}.items():
        text = text.replace(f"${{{name}}}", value)
    return text


@pytest.mark.parametrize(
    ("name", "file", "kind", "type_"),
    [
        ("Handover", "inbound_handover.json", "inbound", "CONTACT_FLOW"),
        ("AgentGuide", "agent_guide.json", "agent_guide", "CONTACT_FLOW"),
        ("AgentWhisper", "agent_whisper.json", "agent_whisper", "AGENT_WHISPER"),
    ],
)
def test_a_deployed_flow_is_one_that_connect_would_publish(
    resources: Any, name: str, file: str, kind: FlowKind, type_: str
) -> None:
    deployed = content(resources[name])
    flow = Flow.load(deployed, kind=kind)

    assert "${" not in deployed
    assert resources[name]["Type"] == type_
    assert list(flow.actions) == [each["Identifier"] for each in json.loads((FLOWS / file).read_text())["Actions"]]


def test_the_flow_asks_the_function_that_connect_may_ask(resources: Any, stack: Any) -> None:
    permission, association = resources["MayAskTheFunction"], resources["KnowsTheFunction"]
    flow = Flow.load(content(resources["Handover"]))
    asked = {
        action.parameters["LambdaFunctionARN"]
        for action in flow.actions.values()
        if action.type == "InvokeLambdaFunction"
    }

    assert asked == {resolved(permission["FunctionName"])} == {resolved(association["IntegrationArn"])}
    assert set(stack["Resources"]["Handover"]["DependsOn"]) == {"KnowsTheFunction", "MayAskTheFunction"}


def test_connect_may_call_the_function_from_one_instance_of_one_account_only(resources: Any) -> None:
    permission = resources["MayAskTheFunction"]

    assert permission["Principal"] == "connect.amazonaws.com"
    assert permission["SourceArn"] == {"Ref": "InstanceArn"}
    assert permission["SourceAccount"] == {"Ref": "AWS::AccountId"}


def test_agents_get_the_guide_and_the_whisper_of_this_stack(resources: Any) -> None:
    flow = Flow.load(content(resources["Handover"]))
    hooks = [
        action.parameters["EventHooks"] for action in flow.actions.values() if action.type == "UpdateContactEventHooks"
    ]

    assert {"DefaultAgentUI": f"{INSTANCE}/contact-flow/AgentGuide"} in hooks
    assert {"AgentWhisper": f"{INSTANCE}/contact-flow/AgentWhisper"} in hooks


# --- Alarms

GROUPS = {
    "ContactFlowFatalErrors": "ContactFlow",
    "CallsBreachingConcurrencyQuota": "VoiceCalls",
    "MisconfiguredPhoneNumbers": "VoiceCalls",
}
"""The metrics of callers who were cut off or not taken at all, and the group under which Connect keeps each."""


def test_somebody_is_woken_for_the_first_caller_whom_connect_does_not_take_or_cuts_off(resources: Any) -> None:
    alarms = {each["MetricName"]: each for each in resources.values() if "AlarmDescription" in each}

    assert alarms.keys() == GROUPS.keys()
    for metric, alarm in alarms.items():
        stated = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
        assert stated["InstanceId"] == {"Fn::Select": [1, {"Fn::Split": ["/", {"Ref": "InstanceArn"}]}]}
        assert stated["MetricGroup"] == GROUPS[metric]
        assert ("ContactFlowName" in stated) == (GROUPS[metric] == "ContactFlow"), "Connect counts calls by instance"
        assert (alarm["Namespace"], alarm["Statistic"], alarm["Threshold"]) == ("AWS/Connect", "Sum", 1)


# --- Connect's own test of the flow


@pytest.fixture
def case(resources: Any) -> dict[str, Any]:
    return json.loads(content(resources["HandoverTest"]))


def actions(case: dict[str, Any], type_: str) -> list[dict[str, Any]]:
    return [action for seen in case["Observations"] for action in seen["Actions"] if action["Type"] == type_]


def test_the_test_waits_for_what_the_flow_says(resources: Any, case: Any) -> None:
    flow = Flow.load(content(resources["Handover"]))
    said = {action.parameters.get("Text") for action in flow.actions.values()}
    awaited = [seen["Event"]["Properties"]["Text"] for seen in case["Observations"][1:]]

    assert set(awaited) <= said


def test_the_test_answers_as_the_function_does(resources: Any, case: Any, aws_module: Any) -> None:
    (override,) = actions(case, "OverrideSystemBehavior")
    behaviour = override["Parameters"]["Behavior"]["Properties"]
    mocked = json.loads(behaviour["Strategy"]["Response"]["ExecutionResult"]["Value"])

    assert behaviour["ActionParameters"]["LambdaFunctionARN"] == PARAMETERS["LambdaArn"]
    assert set(mocked) == set(aws_module("connect_lambda/handler.py").lambda_handler({}, None))
    assert all(isinstance(value, str) for value in mocked.values())


def test_the_test_ends_before_an_agent_is_called(case: Any) -> None:
    """The prompt it ends at comes before the transfer to the queue: nobody's telephone rings for a test."""
    last = case["Observations"][-1]

    assert last["Actions"][-1]["Parameters"]["Command"] == {"Type": "EndTest"}
    assert last["Transitions"] == {"NextObservations": []}


def test_the_test_leads_from_one_observation_to_the_next(case: Any) -> None:
    seen = case["Observations"]

    assert [each["Transitions"]["NextObservations"] for each in seen[:-1]] == [
        [each["Identifier"]] for each in seen[1:]
    ]
    assert {action["Parameters"]["Operand"] for action in actions(case, "Assert")} >= {"ok"}


def test_no_test_is_made_unless_asked_for(stack: Any) -> None:
    assert stack["Parameters"]["TestCases"]["Default"] == "no"
    assert stack["Resources"]["HandoverTest"]["Condition"] == "HasTestCases"
