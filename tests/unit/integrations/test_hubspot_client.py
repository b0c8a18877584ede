import asyncio

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.integrations.hubspot_api import CrmError
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.simulator.crm import SimulatedCrm

CALLER = "+61412345678"


async def test_a_hubspot_that_never_answers_is_given_up_within_the_budget(
    crm: SimulatedCrm, record: HandoverRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HUBSPOT_TOTAL_S", 0.5)
    monkeypatch.setattr(limits, "HUBSPOT_READ_S", 3_600)
    crm.hang(50)
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
        for question in (client.open_ticket(record), client.find_contact(CALLER)):
            async with asyncio.timeout(20):
                with pytest.raises(CrmError, match="timeout"):
                    await question
