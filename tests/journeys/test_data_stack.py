"""The data stack, deployed to an AWS on this machine: its own table, its own function, called as Connect calls it."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import boto3
import pytest

from voice_openai_connect.simulator.caller import Caller, Listen, Press, WaitForPerson
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime
from voice_openai_connect.simulator.model_mind import Reply
from voice_openai_connect.simulator.town import CALLER, TABLE, Town

TEMPLATE = Path(__file__).parents[2] / "aws" / "templates" / "data.yaml"
SERVICES = ("dynamodb", "cloudformation", "lambda", "iam", "sts", "logs", "cloudwatch", "monitoring")
STACK = "voice"

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]


@pytest.fixture(scope="module")
def dynamo() -> Iterator[SimulatedDynamo]:
    """More of AWS than the other tests need."""
    with SimulatedDynamo(services=SERVICES) as server:
        yield server


@pytest.fixture(scope="module")
def token_function(dynamo: SimulatedDynamo) -> Iterator[LambdaRuntime]:
    """The Lambda of the towns in this AWS."""
    runtime = LambdaRuntime.redeeming_tokens(dynamo, TABLE)
    yield runtime
    asyncio.run(runtime.close())


@pytest.fixture(scope="module")
def aws(dynamo: SimulatedDynamo) -> Callable[[str], Any]:
    """Makes clients of that AWS."""

    def client(service: str) -> Any:
        untyped: Any = boto3
        return untyped.client(
            service,
            region_name=dynamo.region,
            endpoint_url=dynamo.endpoint_url,
            aws_access_key_id=dynamo.access_key_id,
            aws_secret_access_key=dynamo.secret_access_key,
        )

    return client


@pytest.fixture(scope="module")
def stack(aws: Callable[[str], Any]) -> dict[str, str]:
    """The deployed stack's outputs. Its table has the name that the town's gateway uses."""
    cloudformation = aws("cloudformation")
    cloudformation.create_stack(
        StackName=STACK,
        TemplateBody=TEMPLATE.read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": "TableName", "ParameterValue": TABLE}],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
    (described,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


@pytest.fixture
def redeem(aws: Callable[[str], Any], stack: dict[str, str]) -> Callable[[dict[str, Any]], dict[str, str]]:
    """Invokes the deployed function through Lambda's own API."""
    client = aws("lambda")

    def invoke(event: dict[str, Any]) -> dict[str, str]:
        answer = client.invoke(FunctionName=stack["FunctionArn"], Payload=json.dumps(event).encode())
        assert "FunctionError" not in answer
        return json.loads(answer["Payload"].read())

    return invoke


def asked(token: str, contact_id: str) -> dict[str, Any]:
    return {"Details": {"ContactData": {"ContactId": contact_id}, "Parameters": {"token": token}}}


def test_the_stack_says_what_the_gateway_and_connect_are_told(stack: dict[str, str]) -> None:
    assert stack["TableName"] == TABLE
    assert stack["FunctionArn"].endswith(f":function:{STACK}-redeem")
    assert ":policy/" in stack["GatewayPolicyArn"]


async def test_the_deployed_function_gives_the_agent_what_the_gateway_stored(
    quick_town: OpenTown, redeem: Callable[[dict[str, Any]], dict[str, str]]
) -> None:
    """A whole call: the contact centre asks the deployed function instead of the town's own."""
    answers: list[dict[str, str]] = []

    async def ask(event: dict[str, Any]) -> dict[str, str]:
        answers.append(await asyncio.to_thread(redeem, event))
        return answers[-1]

    replies: Sequence[Reply | str] = ["What can I do for you?"]
    async with quick_town(replies) as town:
        town.center.invoke = ask
        call = await town.carrier.place_call(Caller([Listen(), Press("0"), WaitForPerson()]), from_=CALLER)
        contact = await town.center.until_connected()
        token = call.dials[0].digits.strip("w#")
        again = await asyncio.to_thread(redeem, asked(token, contact.contact_id))
        stranger = await asyncio.to_thread(redeem, asked(token, "somebody else"))

    assert [answer["success"] for answer in answers] == ["true"]
    assert answers[0]["caller_phone"] == CALLER
    assert contact.attributes["handover"] == "ok"
    assert again == answers[0]
    assert stranger["success"] == "false"
    assert set(stranger.values()) == {"false", ""}


async def test_the_deployed_function_knows_what_is_no_token(redeem: Callable[[dict[str, Any]], dict[str, str]]) -> None:
    answer = redeem(asked("Timeout", "contact-1"))

    assert answer["success"] == "false"
    assert answer["retry"] == "true"
