"""What the tests of the integrations share."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.dynamo_table import OwnTable, own_table


@pytest.fixture
def record() -> HandoverRecord:
    """A handover with everything in it but the ticket."""
    return HandoverRecord(
        handover_id="handover-1",
        conversation_id="conversation-1",
        call_sid="CA" + "1" * 32,
        caller_phone="+61412345678",
        summary="The caller cannot log in after changing the password.",
        intent="login",
        priority="high",
        escalation_reason="caller asked for a person",
        route_to_queue="Support",
        hubspot_contact_id="101",
    )


@pytest.fixture
async def table(dynamo: SimulatedDynamo, patient: None) -> AsyncIterator[OwnTable]:
    """A table that no other test uses."""
    async with own_table(dynamo) as table:
        yield table


@pytest.fixture
async def repository(table: OwnTable) -> AsyncIterator[DynamoRepository]:
    """One instance's way to it."""
    async with table.repository() as repository:
        yield repository


@pytest.fixture
def trouble() -> list[str]:
    """The labels of what the client has made good."""
    return []


@pytest.fixture
async def hubspot(crm: SimulatedCrm, trouble: list[str]) -> AsyncIterator[HubSpotClient]:
    """A client of an account that has been set up."""
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url, on_trouble=trouble.append) as client:
        await client.setup()
        crm.requests.clear()
        yield client


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that do not come are given up after a moment, so that a test need not wait for them."""
    monkeypatch.setattr(limits, "HUBSPOT_CONNECT_S", 0.1)
    monkeypatch.setattr(limits, "HUBSPOT_READ_S", 0.3)


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """So many seconds go by at once on the clock of the loop, until the test ends."""

    def pass_by(seconds: int) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time
        monkeypatch.setattr(loop, "time", lambda: now() + seconds)

    return pass_by
