import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.integrations.hubspot_api import CrmError
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.simulator.crm import SimulatedCrm

CALLER = "+61412345678"


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


def typed_by_people(crm: SimulatedCrm, **properties: str) -> str:
    return crm.portal.create("contacts", {"properties": {"lastname": "Smith", **properties}}).id


# --- Contacts


async def test_a_new_number_becomes_a_contact_with_a_name_that_people_can_replace(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    contact_id = await hubspot.find_contact(CALLER)
    properties = crm.contacts[contact_id].properties
    assert properties["phone"] == properties["voice_caller_e164"] == CALLER
    assert properties["lastname"] == f"Caller {CALLER}"


async def test_a_known_number_costs_one_request_and_no_search(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    contact_id = await hubspot.find_contact(CALLER)
    crm.requests.clear()
    assert await hubspot.find_contact(CALLER) == contact_id
    assert crm.requests == [("GET", f"/crm/objects/2026-09/contacts/{CALLER}")]


async def test_ten_calls_at_once_from_one_number_make_one_contact(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    crm.portal.index_lag_s = 3_600
    found = await asyncio.gather(*(hubspot.find_contact(CALLER) for _ in range(10)))
    assert len(set(found)) == len(crm.contacts) == 1
    assert sum(path.endswith("/search") for _, path in crm.requests) == 1


async def test_two_gateways_make_one_contact_although_the_search_sees_nothing_yet(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    crm.portal.index_lag_s = 3_600
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as other:
        found = await asyncio.gather(*(client.find_contact(CALLER) for client in (hubspot, other)))
    assert len(set(found)) == len(crm.contacts) == 1


@pytest.mark.parametrize("status", [400, 409])
async def test_a_contact_made_by_another_gateway_between_read_and_write_is_found(
    crm: SimulatedCrm, hubspot: HubSpotClient, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    crm.portal.clash_status = status
    crm.portal.index_lag_s = 3_600
    search = crm.portal.search
    made: list[str] = []

    def overtaken(kind: str, request: dict[str, object]) -> object:
        found = search(kind, request)
        made.append(typed_by_people(crm, voice_caller_e164=CALLER))
        return found

    monkeypatch.setattr(crm.portal, "search", overtaken)
    assert [await hubspot.find_contact(CALLER)] == made
    assert len(crm.contacts) == 1


async def test_a_contact_made_by_people_is_adopted_and_keeps_its_name(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    theirs = typed_by_people(crm, phone=CALLER)
    assert await hubspot.find_contact(CALLER) == theirs
    properties = crm.contacts[theirs].properties
    assert (properties["lastname"], properties["voice_caller_e164"]) == ("Smith", CALLER)


async def test_a_contact_known_by_its_mobile_number_is_adopted(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    theirs = typed_by_people(crm, mobilephone="+61 412 345 678")
    assert await hubspot.find_contact(CALLER) == theirs


async def test_of_several_contacts_the_oldest_is_taken_and_the_doubt_is_told(
    crm: SimulatedCrm, hubspot: HubSpotClient, trouble: list[str]
) -> None:
    oldest = typed_by_people(crm, phone=CALLER)
    typed_by_people(crm, phone=CALLER)
    assert await hubspot.find_contact(CALLER) == oldest
    assert trouble == ["contact_ambiguous"]


async def test_the_same_local_number_in_another_country_is_somebody_else(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    theirs = typed_by_people(crm, phone="+44412345678")
    assert await hubspot.find_contact(CALLER) != theirs


async def test_a_contact_that_belongs_to_another_caller_is_not_taken_over(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    theirs = typed_by_people(crm, phone=CALLER, voice_caller_e164="+61487654321")
    assert await hubspot.find_contact(CALLER) != theirs
    assert crm.contacts[theirs].properties["voice_caller_e164"] == "+61487654321"


async def test_a_number_typed_without_country_code_is_understood_in_the_region_that_is_set(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    crm.portal.default_region = "AU"
    theirs = typed_by_people(crm, mobilephone="0412 345 678")
    del crm.contacts[theirs].properties["hs_calculated_mobile_number"]
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url, default_region="AU") as local:
        assert await local.find_contact(CALLER) == theirs


async def test_a_search_that_lags_still_makes_no_second_contact(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    crm.portal.index_lag_s = 3_600
    first = await hubspot.find_contact(CALLER)
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as other:
        assert await other.find_contact(CALLER) == first


@pytest.mark.usefixtures("quick")
async def test_a_contact_whose_making_was_not_confirmed_is_found(crm: SimulatedCrm) -> None:
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
        await client.setup()
        crm.portal.index_lag_s = 3_600
        crm.commit_then_hang(method="POST", path="/contacts")
        contact_id = await client.find_contact(CALLER)
    assert list(crm.contacts) == [contact_id]


async def test_a_withheld_number_has_no_contact_and_costs_no_request(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    with pytest.raises(CrmError) as caught:
        await hubspot.find_contact("")
    assert (caught.value.reason, caught.value.permanent) == ("withheld", True)
    assert crm.requests == []


@pytest.mark.parametrize("text", ["anonymous", "sip:ann@example.com", "0412345678", "+61 412 345 678", "../tickets/1"])
async def test_what_is_not_a_number_in_e164_is_not_asked_about(
    crm: SimulatedCrm, hubspot: HubSpotClient, text: str
) -> None:
    with pytest.raises(CrmError, match="no_number"):
        await hubspot.find_contact(text)
    assert crm.requests == []


async def test_an_account_that_was_not_set_up_names_the_command(crm: SimulatedCrm) -> None:
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
        with pytest.raises(CrmError, match="voice-connect setup hubspot"):
            await client.find_contact(CALLER)


# --- Tickets


async def test_a_ticket_says_what_an_agent_must_know(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    contact_id = await hubspot.find_contact(CALLER)
    ticket_id, url = await hubspot.open_ticket(replace(record, hubspot_contact_id=contact_id))
    ticket = crm.tickets[ticket_id]
    assert url == f"https://app.hubspot.com/contacts/4711/record/0-5/{ticket_id}"
    assert ticket.associations == {("contacts", contact_id)}
    wanted = {
        "subject": "Phone call: login",
        "content": "The caller cannot log in after changing the password.\n\n"
        "Reason for the handover: caller asked for a person",
        "hs_pipeline": "0",
        "hs_pipeline_stage": "1",
        "hs_ticket_priority": "HIGH",
        "voice_conversation_id": "conversation-1",
        "voice_call_sid": record.call_sid,
        "voice_handover_id": "handover-1",
        "voice_intent": "login",
        "voice_escalation_reason": "caller asked for a person",
    }
    assert {name: ticket.properties.get(name) for name in wanted} == wanted


async def test_the_second_ticket_of_a_process_costs_one_request(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    plain = replace(record, hubspot_contact_id="")
    await hubspot.open_ticket(plain)
    crm.requests.clear()
    await hubspot.open_ticket(replace(plain, conversation_id="conversation-2"))
    assert crm.requests == [("POST", "/crm/objects/2026-09/tickets")]


@pytest.mark.parametrize("status", [400, 409])
async def test_a_repeated_ticket_is_the_same_ticket(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, status: int
) -> None:
    crm.portal.clash_status = status
    plain = replace(record, hubspot_contact_id="")
    assert await hubspot.open_ticket(plain) == await hubspot.open_ticket(plain)
    assert len(crm.tickets) == 1


async def test_a_ticket_of_a_caller_who_withheld_the_number_has_no_contact(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    ticket_id, _ = await hubspot.open_ticket(replace(record, caller_phone="", hubspot_contact_id=""))
    assert crm.tickets[ticket_id].associations == set()


@pytest.mark.usefixtures("quick")
async def test_a_ticket_whose_making_was_not_confirmed_is_found_and_not_made_again(
    crm: SimulatedCrm, record: HandoverRecord
) -> None:
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
        await client.setup()
        crm.commit_then_hang(method="POST", path="/tickets")
        ticket_id, _ = await client.open_ticket(replace(record, hubspot_contact_id=""))
    assert list(crm.tickets) == [ticket_id]


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


async def test_a_missing_property_costs_the_details_not_the_ticket_nor_its_contact(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, trouble: list[str]
) -> None:
    del crm.portal.properties["tickets"]["voice_intent"]
    contact_id = await hubspot.find_contact(CALLER)
    ticket_id, _ = await hubspot.open_ticket(replace(record, hubspot_contact_id=contact_id))
    assert crm.tickets[ticket_id].properties["voice_conversation_id"] == "conversation-1"
    assert crm.tickets[ticket_id].associations == {("contacts", contact_id)}
    assert trouble == ["ticket_degraded"]


async def test_a_contact_deleted_since_does_not_cost_the_ticket(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, trouble: list[str]
) -> None:
    ticket_id, _ = await hubspot.open_ticket(replace(record, hubspot_contact_id="999"))
    assert crm.tickets[ticket_id].associations == set()
    assert trouble == ["ticket_degraded", "contact_not_linked"]


async def test_a_rule_of_the_administrator_that_we_cannot_meet_is_reported(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    crm.portal.required["tickets"].add("voice_intent")
    with pytest.raises(CrmError) as caught:
        await hubspot.open_ticket(replace(record, intent="", hubspot_contact_id=""))
    assert (caught.value.reason, caught.value.permanent) == ("invalid", True)
    assert caught.value.correlation_id


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


async def test_words_of_the_caller_cannot_become_markup_or_a_novel(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    hostile = replace(record, summary="<script>alert(1)</script>" + "x" * 9_000, hubspot_contact_id="")
    ticket_id, _ = await hubspot.open_ticket(hostile)
    content = crm.tickets[ticket_id].properties["content"]
    assert "<" not in content
    assert len(content) <= limits.HUBSPOT_CONTENT_CHARS
