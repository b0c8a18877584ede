"""The data stack: a table as the code wants it, and roles that may do what the code does and nothing else."""

import ast
import json
import re
from pathlib import Path
from typing import Any, TypeGuard

import pytest
from botocore import xform_name
from botocore.session import get_session

from voice_openai_connect.integrations import dynamo_setup
from voice_openai_connect.simulator.contact_flow_rules import Flow

ROOT = Path(__file__).parents[3]
INTEGRATIONS = ROOT / "src" / "voice_openai_connect" / "integrations"
HANDLER = ROOT / "aws" / "connect_lambda" / "handler.py"
PHONE_INDEX = re.compile(r'^PHONE_INDEX: Final = "(\w+)"', re.MULTILINE)
CONTROL_PLANE = {"create_table", "describe_table", "describe_time_to_live", "update_table", "update_time_to_live"}
"""What `setup table` and `doctor` do with an operator's rights."""
IN_TRANSACTIONS = {"Put", "Update", "Delete", "ConditionCheck"}


@pytest.fixture
def data(template: Any) -> dict[str, Any]:
    return template("data.yaml")["Resources"]


def operations(path: Path) -> set[str]:
    """What the code asks of DynamoDB, as IAM names it: whatever it calls that DynamoDB has an operation for, be it a
    method of a client or a name.

    IAM knows no transactions, only what is in them.
    """
    model = get_session().get_service_model("dynamodb")
    known = {xform_name(name): name for name in model.operation_names}
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    called = {node.func.attr for node in calls if isinstance(node.func, ast.Attribute)}
    named = {node.args[0].value for node in calls if node.args and is_text(node.args[0])}
    asked = {known[name] for name in (called & known.keys()) - CONTROL_PLANE} | (named & set(known.values()))
    if "TransactWriteItems" in asked:
        keys = {key.value for node in nodes if isinstance(node, ast.Dict) for key in node.keys if is_text(key)}
        asked = (asked - {"TransactWriteItems"}) | {f"{part}Item" for part in keys & IN_TRANSACTIONS}
    return {f"dynamodb:{name}" for name in asked}


def is_text(node: ast.expr | None) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    """With every condition taken as met."""
    return [each["Fn::If"][1] if "Fn::If" in each else each for each in policy["Statement"]]


def actions(policy: dict[str, Any], service: str) -> set[str]:
    stated = [each["Action"] for each in statements(policy)]
    each_one = [action for given in stated for action in ([given] if isinstance(given, str) else given)]
    return {action for action in each_one if action.startswith(f"{service}:")}


def test_the_table_is_as_the_code_wants_it(data: Any) -> None:
    table = data["Table"]["Properties"]

    assert [each["IndexName"] for each in table["GlobalSecondaryIndexes"]] == PHONE_INDEX.findall(HANDLER.read_text())
    assert table["KeySchema"] == [{"AttributeName": dynamo_setup.KEY, "KeyType": "HASH"}]
    assert {"AttributeName": dynamo_setup.KEY, "AttributeType": "S"} in table["AttributeDefinitions"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": dynamo_setup.EXPIRY, "Enabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]


def test_the_table_outlives_its_stack(data: Any) -> None:
    assert data["Table"]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert data["Table"]["UpdateReplacePolicy"] == "Retain"


def test_the_gateway_may_do_what_its_code_does_and_nothing_else(data: Any) -> None:
    used = {each for path in INTEGRATIONS.glob("dynamo_*.py") for each in operations(path)}
    policy = data["GatewayPolicy"]["Properties"]["PolicyDocument"]

    assert actions(policy, "dynamodb") == used
    assert len(used) >= 4


def test_the_function_may_do_what_its_code_does_and_nothing_else(data: Any) -> None:
    (policy,) = data["RedeemerRole"]["Properties"]["Policies"]
    document = policy["PolicyDocument"]

    assert actions(document, "dynamodb") == operations(HANDLER)
    assert actions(document, "logs") == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert {action.split(":")[0] for action in actions_of_all(document)} == {"dynamodb", "logs", "kms"}
    assert "ManagedPolicyArns" not in data["RedeemerRole"]["Properties"]


def actions_of_all(policy: dict[str, Any]) -> set[str]:
    return {
        action for service in ("dynamodb", "logs", "kms", "s3", "sts", "iam") for action in actions(policy, service)
    }


def test_no_right_is_given_on_everything(data: Any) -> None:
    policies = [
        data["GatewayPolicy"]["Properties"]["PolicyDocument"],
        data["RedeemerRole"]["Properties"]["Policies"][0]["PolicyDocument"],
    ]

    assert "*" not in {json.dumps(each["Resource"]).strip('"') for policy in policies for each in statements(policy)}


def test_the_function_answers_before_connect_gives_up(data: Any) -> None:
    flow = Flow.load((ROOT / "aws" / "contact_flow" / "inbound_handover.json").read_text(encoding="utf-8"))
    patience = [
        int(action.parameters["InvocationTimeLimitSeconds"])
        for action in flow.actions.values()
        if action.type == "InvokeLambdaFunction"
    ]

    assert data["Redeemer"]["Properties"]["Timeout"] < min(patience)


def test_the_function_finds_its_table_and_its_own_code(data: Any) -> None:
    function = data["Redeemer"]["Properties"]
    read = re.findall(r'os\.environ(?:\[|\.get\()"(\w+)"', function["Code"]["ZipFile"])

    assert set(read) == set(function["Environment"]["Variables"])
    assert function["Handler"] == "index.lambda_handler"
    assert "def lambda_handler(" in function["Code"]["ZipFile"]


@pytest.mark.parametrize("filter_", ["TokensUnknown", "TableUnavailable"])
def test_what_is_counted_is_what_the_function_says(data: Any, filter_: str) -> None:
    pattern = data[filter_]["Properties"]["FilterPattern"]
    code = data["Redeemer"]["Properties"]["Code"]["ZipFile"]

    assert '"token_redemption"' in pattern
    for outcome in re.findall(r'\$\.outcome = "(\w+)"', pattern):
        assert f'"{outcome}"' in code
    counted = data[filter_]["Properties"]["MetricTransformations"][0]["MetricName"]
    assert counted in [each["Properties"].get("MetricName") for each in data.values() if "Alarm" in each["Type"]]
