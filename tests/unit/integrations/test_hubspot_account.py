from dataclasses import replace

import pytest

from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.simulator.crm import SimulatedCrm


async def test_an_account_that_does_not_say_where_tickets_are_shown_leaves_the_url_empty(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    crm.scopes -= {"oauth"}
    _, url = await hubspot.open_ticket(replace(record, hubspot_contact_id=""))
    assert url == ""


async def test_the_url_of_tickets_can_be_given(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    async with HubSpotClient(
        lambda: crm.token, base_url=crm.base_url, portal_id="1", ui_domain="app-eu1.hubspot.com"
    ) as client:
        ticket_id, url = await client.open_ticket(replace(record, hubspot_contact_id=""))
    assert url == f"https://app-eu1.hubspot.com/contacts/1/record/0-5/{ticket_id}"


@pytest.mark.parametrize(
    ("priority", "options", "expected"),
    [
        ("urgent", ("LOW", "MEDIUM", "HIGH", "URGENT"), "URGENT"),
        ("urgent", ("LOW", "MEDIUM", "HIGH"), "HIGH"),
        ("normal", ("LOW", "MEDIUM", "HIGH"), "MEDIUM"),
        ("low", ("HIGH",), "HIGH"),
        ("high", ("P1", "P2"), None),
    ],
)
async def test_the_priority_is_one_that_the_account_has(
    crm: SimulatedCrm,
    hubspot: HubSpotClient,
    record: HandoverRecord,
    priority: str,
    options: tuple[str, ...],
    expected: str | None,
) -> None:
    crm.portal.properties["tickets"]["hs_ticket_priority"].options = options
    ticket_id, _ = await hubspot.open_ticket(replace(record, hubspot_contact_id="", priority=priority))  # pyright: ignore[reportArgumentType]
    assert crm.tickets[ticket_id].properties.get("hs_ticket_priority") == expected


async def test_the_second_ticket_of_a_process_costs_one_request(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    plain = replace(record, hubspot_contact_id="")
    await hubspot.open_ticket(plain)
    crm.requests.clear()
    await hubspot.open_ticket(replace(plain, conversation_id="conversation-2"))
    assert crm.requests == [("POST", "/crm/objects/2026-09/tickets")]


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, None), (429, b'{"policyName": "DAILY", "errorType": "RATE_LIMIT"}'), (503, None)],
)
async def test_what_an_account_does_not_say_in_trouble_that_ends_is_asked_again_for_the_next_ticket(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, status: int, body: bytes | None
) -> None:
    crm.portal.properties["tickets"]["hs_ticket_priority"].options = ("LOW", "MEDIUM", "HIGH", "URGENT")
    plain = replace(record, hubspot_contact_id="", priority="urgent")
    crm.fail_next(2, status=status, body=body)
    first, without = await hubspot.open_ticket(plain)
    second, url = await hubspot.open_ticket(replace(plain, conversation_id="conversation-2"))

    assert (without, url) == ("", f"https://app.hubspot.com/contacts/4711/record/0-5/{second}")
    assert [crm.tickets[each].properties["hs_ticket_priority"] for each in (first, second)] == ["HIGH", "URGENT"]


@pytest.mark.parametrize("status", [403, 404])
async def test_what_an_account_will_never_say_is_asked_once(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, status: int
) -> None:
    plain = replace(record, hubspot_contact_id="")
    crm.fail_next(2, status=status)
    await hubspot.open_ticket(plain)
    crm.requests.clear()
    await hubspot.open_ticket(replace(plain, conversation_id="conversation-2"))

    assert crm.requests == [("POST", "/crm/objects/2026-09/tickets")]
