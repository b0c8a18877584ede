"""The one step that CloudFormation cannot take: the phone number in Amazon Connect is pointed at the contact flow."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from voice_openai_connect import limits
from voice_openai_connect.integrations.aws_keys import NO_CREDENTIALS
from voice_openai_connect.integrations.connect_client import connect_api, every_page
from voice_openai_connect.integrations.dynamo_client import AwsKey

INBOUND: Final = "CONTACT_FLOW"
"""The kind of flow that a number can lead to."""

_REMEDIES: Final = {
    "AccessDeniedException": "Allow connect:ListPhoneNumbersV2, connect:ListContactFlows and "
    "connect:AssociatePhoneNumberContactFlow to whoever runs this (see `aws sts get-caller-identity`).",
    "ResourceNotFoundException": "Check CONNECT_INSTANCE_ID and AWS_REGION: the instance is not in that region.",
    "ThrottlingException": "Amazon Connect takes two such requests a second. Run this again in a minute.",
}
_CREDENTIALS: Final = "Check the credentials (`aws sts get-caller-identity`) and run this again."


class ConnectSetupError(Exception):
    """The number was not pointed at the flow. The text says why and what to do."""


async def point_number_at_flow(
    *, region: str, instance_id: str, phone_number: str, flow: str, key: AwsKey | None = None
) -> list[str]:
    """Let calls to `phone_number` take the inbound flow with this name, id or ARN. May be run again.

    Returns what was done, as sentences. Raises `ConnectSetupError`. Needs `connect:ListPhoneNumbersV2`,
    `ListContactFlows` and `AssociatePhoneNumberContactFlow`. Amazon Connect does not tell where a number led before.
    """
    async with _connect(region, key or AwsKey()) as connect:
        number_id = await _number_id(connect, instance_id, phone_number)
        flow_id, name = await _flow(connect, instance_id, flow)
        await connect.associate_phone_number_contact_flow(
            PhoneNumberId=number_id, InstanceId=instance_id, ContactFlowId=flow_id
        )
    return [f"Calls to {phone_number} now take the flow “{name}”."]


@asynccontextmanager
async def _connect(region: str, key: AwsKey) -> AsyncGenerator[Any]:
    """A client for some requests; what goes wrong with them becomes `ConnectSetupError`."""
    client = connect_api(
        region, key, AioConfig(connect_timeout=limits.SETUP_REQUEST_S, read_timeout=limits.SETUP_REQUEST_S)
    )
    try:
        async with asyncio.timeout(limits.SETUP_S), client as connect:
            yield connect
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise ConnectSetupError(f"Amazon Connect refused: {code}. {_REMEDIES.get(code, _CREDENTIALS)}") from None
    except NO_CREDENTIALS:
        raise ConnectSetupError(f"There are no AWS credentials here. {_CREDENTIALS}") from None
    except (BotoCoreError, TimeoutError) as error:
        remedy = "Check AWS_REGION and the network path to AWS."
        raise ConnectSetupError(f"Amazon Connect cannot be reached ({type(error).__name__}). {remedy}") from None


async def _number_id(connect: Any, instance_id: str, phone_number: str) -> str:
    numbers = await every_page(
        connect, "list_phone_numbers_v2", "ListPhoneNumbersSummaryList", InstanceId=instance_id, MaxResults=1_000
    )
    ids = {number["PhoneNumber"]: str(number["PhoneNumberId"]) for number in numbers}
    if phone_number not in ids:
        remedy = f"Set CONNECT_PHONE_NUMBER to one it has ({_listed(ids)}), or claim a number for it."
        raise ConnectSetupError(f"The instance has no number {phone_number}. {remedy}")
    return ids[phone_number]


async def _flow(connect: Any, instance_id: str, wanted: str) -> tuple[str, str]:
    """The flow's id and name."""
    flows = await every_page(
        connect, "list_contact_flows", "ContactFlowSummaryList", InstanceId=instance_id, ContactFlowTypes=[INBOUND]
    )
    found = [flow for flow in flows if wanted in {flow["Id"], flow["Arn"], flow["Name"]}]
    if len(found) != 1:
        problem = "more than one inbound flow" if found else "no inbound flow"
        names = _listed(str(flow["Name"]) for flow in flows)
        remedy = f"Give --flow the FlowId of the stack's outputs, or one of these names: {names}."
        raise ConnectSetupError(f"The instance has {problem} “{wanted}”. {remedy}")
    return str(found[0]["Id"]), str(found[0]["Name"])


def _listed(names: Iterable[str]) -> str:
    shown = sorted(re.sub(r"\s+", " ", name) for name in names)
    return ", ".join(shown[: limits.SETUP_NAMES]) or "it has none"
