import asyncio
from dataclasses import replace

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.integrations.hubspot_api import CrmError
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.crm_store import PortalError

CALLER = "+61412345678"
NOTE = TicketNote("conversation-1", CALLER, "call_back", "Please call back.", urgent=True)


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


async def test_a_note_reaches_a_ticket_without_a_contact_where_no_contact_can_be_made(
    crm: SimulatedCrm, hubspot: HubSpotClient, trouble: list[str]
) -> None:
    crm.portal.required["contacts"].add("email")
    await hubspot.note(NOTE)

    (ticket,) = crm.tickets.values()
    assert (ticket.properties["content"], ticket.associations) == ("CALL BACK: Please call back.", set())
    assert (crm.contacts, trouble) == ({}, ["contact_not_linked"])


@pytest.mark.parametrize("caller_phone", ["", "anonymous"])
async def test_a_note_of_a_caller_without_a_number_is_no_trouble(
    crm: SimulatedCrm, hubspot: HubSpotClient, trouble: list[str], caller_phone: str
) -> None:
    await hubspot.note(replace(NOTE, caller_phone=caller_phone))

    assert (len(crm.tickets), trouble) == (1, [])


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (PortalError(401, "INVALID_AUTHENTICATION", "Not valid."), "unauthorized"),
        (PortalError(403, "MISSING_SCOPES", "Not granted."), "forbidden"),
        (PortalError(400, "VALIDATION_ERROR", "PROPERTY_DOESNT_EXIST"), "not_set_up"),
        (PortalError(429, "RATE_LIMITS", "Reached.", policyName="DAILY"), "daily_limit"),
        (PortalError(503, "INTERNAL_ERROR", "Later."), "unavailable"),
    ],
)
async def test_a_note_waits_for_its_contact_while_the_account_is_in_trouble_that_ends(
    crm: SimulatedCrm, hubspot: HubSpotClient, monkeypatch: pytest.MonkeyPatch, refusal: PortalError, reason: str
) -> None:
    create = crm.portal.create

    def refuses_contacts(kind: str, request: dict[str, object]) -> object:
        if kind == "contacts":
            raise refusal
        return create(kind, request)

    with monkeypatch.context() as trouble:
        trouble.setattr(crm.portal, "create", refuses_contacts)
        with pytest.raises(CrmError) as caught:
            await hubspot.note(NOTE)
        assert (caught.value.reason, crm.tickets) == (reason, {})
    await hubspot.note(NOTE)

    (ticket,) = crm.tickets.values()
    assert ticket.associations == {("contacts", contact) for contact in crm.contacts}
