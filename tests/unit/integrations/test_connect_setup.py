"""Pointing the number at the flow, against an instance that holds requests against AWS's own service model."""

from collections.abc import AsyncIterator

import pytest

from voice_openai_connect.integrations.connect_setup import ConnectSetupError, point_number_at_flow
from voice_openai_connect.integrations.dynamo_client import AwsKey
from voice_openai_connect.simulator.connect_api import SimulatedConnectApi

INSTANCE = "11111111-2222-3333-4444-555555555555"
NUMBER = "+61255505678"


@pytest.fixture
async def connect(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimulatedConnectApi]:
    """An instance with more numbers and flows than one page has."""
    api = SimulatedConnectApi(
        INSTANCE,
        numbers={"+61255505670": "number-0", "+61255505671": "number-1", NUMBER: "number-2"},
        flows={"Default": "flow-0", "Sales": "flow-1", "Sample": "flow-2", "voice handover": "flow-3"},
    )
    async with api.serving() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", address)
        yield api


async def point(*, number: str = NUMBER, flow: str = "voice handover", instance: str = INSTANCE) -> list[str]:
    key = AwsKey("simulated", "simulated")
    return await point_number_at_flow(
        region="ap-southeast-2", instance_id=instance, phone_number=number, flow=flow, key=key
    )


@pytest.mark.parametrize(
    "flow",
    [
        "voice handover",
        "flow-3",
        f"arn:aws:connect:ap-southeast-2:123456789012:instance/{INSTANCE}/contact-flow/flow-3",
    ],
)
async def test_the_number_leads_to_the_flow_by_whatever_it_is_called(connect: SimulatedConnectApi, flow: str) -> None:
    assert await point(flow=flow) == [f"Calls to {NUMBER} now take the flow “voice handover”."]
    assert connect.leads_to == {"number-2": "flow-3"}


async def test_doing_it_again_changes_nothing(connect: SimulatedConnectApi) -> None:
    await point()
    await point()

    assert connect.leads_to == {"number-2": "flow-3"}


async def test_a_number_that_is_not_there_is_answered_with_those_that_are(connect: SimulatedConnectApi) -> None:
    with pytest.raises(ConnectSetupError, match=r"no number \+61255505679\. Set CONNECT_PHONE_NUMBER .*\+61255505670"):
        await point(number="+61255505679")
    assert connect.leads_to == {}


async def test_a_flow_that_is_not_there_is_answered_with_those_that_are(connect: SimulatedConnectApi) -> None:
    with pytest.raises(ConnectSetupError, match=r"no inbound flow “Handover”\. Give --flow .*Default, Sales, Sample"):
        await point(flow="Handover")
    assert connect.leads_to == {}


async def test_an_instance_without_numbers_says_so(connect: SimulatedConnectApi) -> None:
    connect.numbers.clear()

    with pytest.raises(ConnectSetupError, match="it has none"):
        await point()


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AccessDeniedException", "connect:AssociatePhoneNumberContactFlow"),
        ("ThrottlingException", "in a minute"),
        ("UnrecognizedClientException", "sts get-caller-identity"),
    ],
)
async def test_a_refusal_says_what_to_do(connect: SimulatedConnectApi, code: str, remedy: str) -> None:
    connect.denies = code

    with pytest.raises(ConnectSetupError, match=f"{code}.*{remedy}") as refused:
        await point()
    assert refused.value.__cause__ is None


async def test_an_instance_of_another_region_is_named_as_the_likely_mistake(connect: SimulatedConnectApi) -> None:
    with pytest.raises(ConnectSetupError, match=r"CONNECT_INSTANCE_ID and AWS_REGION"):
        await point(instance="99999999-2222-3333-4444-555555555555")


async def test_a_service_that_is_not_there_is_said_to_be_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    with pytest.raises(ConnectSetupError, match=r"cannot be reached .*AWS_REGION"):
        await point()
