import asyncio

import pytest

from voice_openai_connect.integrations.hubspot_api import CrmError
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.simulator.crm import SimulatedCrm

CALLER = "+61412345678"


def typed_by_people(crm: SimulatedCrm, **properties: str) -> str:
    return crm.portal.create("contacts", {"properties": {"lastname": "Smith", **properties}}).id


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
