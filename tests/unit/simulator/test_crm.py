"""The simulated HubSpot is driven with HubSpot's own client, which refuses answers that are not as documented."""

import asyncio
from collections.abc import AsyncIterator

import hubspot_sdk
import pytest
from hubspot_sdk import AsyncHubSpot

from voice_openai_connect.simulator.crm import SimulatedCrm

LINK = [{"association_category": "HUBSPOT_DEFINED", "association_type_id": 16}]


@pytest.fixture
async def hubspot(crm: SimulatedCrm) -> AsyncIterator[AsyncHubSpot]:
    async with client(crm, crm.token) as sdk:
        yield sdk


def client(crm: SimulatedCrm, token: str) -> AsyncHubSpot:
    return AsyncHubSpot(
        access_token=token, base_url=crm.base_url, max_retries=0, timeout=20, _strict_response_validation=True
    )


async def make_contact(hubspot: AsyncHubSpot, **properties: str) -> str:
    made = await hubspot.crm.objects.contacts.create(
        associations=[], properties={"lastname": "Smith", "phone": "+61412345678", **properties}
    )
    return made.id


async def test_the_official_client_makes_reads_and_changes_a_contact(hubspot: AsyncHubSpot) -> None:
    contact_id = await make_contact(hubspot)
    await hubspot.crm.objects.contacts.update(contact_id, properties={"firstname": "Ann"})
    read = await hubspot.crm.objects.contacts.get(contact_id, properties=["firstname", "hs_calculated_phone_number"])
    assert read.properties["firstname"] == "Ann"
    assert read.properties["hs_calculated_phone_number"] == "+61412345678"


async def test_the_official_client_opens_a_ticket_for_a_contact(crm: SimulatedCrm, hubspot: AsyncHubSpot) -> None:
    contact_id = await make_contact(hubspot)
    ticket = await hubspot.crm.objects.tickets.create(
        properties={"subject": "Help", "hs_pipeline": "0", "hs_pipeline_stage": "1", "hs_ticket_priority": "HIGH"},
        associations=[{"to": {"id": contact_id}, "types": LINK}],  # pyright: ignore[reportArgumentType]
    )
    assert crm.tickets[ticket.id].associations == {("contacts", contact_id)}
    assert crm.contacts[contact_id].associations == {("tickets", ticket.id)}


async def test_the_official_client_searches(hubspot: AsyncHubSpot) -> None:
    contact_id = await make_contact(hubspot)
    found = await hubspot.crm.objects.contacts.search(
        after="0",
        filter_groups=[
            {
                "filters": [
                    {
                        "property_name": "hs_searchable_calculated_phone_number",
                        "operator": "EQ",
                        "value": "412345678",
                    }
                ]
            }
        ],
        limit=10,
        properties=["phone"],
        sorts=[],
    )
    assert [result.id for result in found.results] == [contact_id]


async def test_the_official_client_reads_properties_pipelines_and_the_account(
    crm: SimulatedCrm, hubspot: AsyncHubSpot
) -> None:
    priority = await hubspot.crm.properties.get("hs_ticket_priority", object_type="tickets")
    assert [option.value for option in priority.options] == ["LOW", "MEDIUM", "HIGH", "URGENT"]
    pipelines = await hubspot.crm.pipelines.list("tickets")
    assert [stage.id for stage in pipelines.results[0].stages] == ["1", "2", "3", "4"]
    account = await hubspot.account.get()
    assert account.portal_id == crm.portal_id


async def test_the_official_client_makes_a_unique_property_and_meets_its_clash(hubspot: AsyncHubSpot) -> None:
    await hubspot.crm.properties.create(
        "contacts",
        field_type="text",
        group_name="contactinformation",
        label="Caller",
        name="voice_caller",
        type="string",
        has_unique_value=True,
    )
    await make_contact(hubspot, voice_caller="x")
    with pytest.raises(hubspot_sdk.BadRequestError, match="CONFLICTING_UNIQUE_VALUE"):
        await make_contact(hubspot, voice_caller="x")


async def test_a_wrong_token_is_401(crm: SimulatedCrm) -> None:
    async with client(crm, "wrong") as sdk:
        with pytest.raises(hubspot_sdk.AuthenticationError):
            await make_contact(sdk)


async def test_a_missing_scope_is_403_and_named(crm: SimulatedCrm, hubspot: AsyncHubSpot) -> None:
    crm.scopes -= {"crm.objects.contacts.write"}
    with pytest.raises(hubspot_sdk.PermissionDeniedError, match=r"crm\.objects\.contacts\.write"):
        await make_contact(hubspot)


async def test_what_is_not_there_is_404(hubspot: AsyncHubSpot) -> None:
    with pytest.raises(hubspot_sdk.NotFoundError):
        await hubspot.crm.objects.tickets.get("1")


async def test_the_sixth_search_of_a_second_is_429_with_its_policy() -> None:
    now = [1_800_000_000.0]
    async with SimulatedCrm(clock=lambda: now[0]) as crm, client(crm, crm.token) as sdk:

        async def search() -> None:
            await sdk.crm.objects.contacts.search(after="0", filter_groups=[], limit=1, properties=[], sorts=[])

        for _ in range(5):
            await search()
        with pytest.raises(hubspot_sdk.RateLimitError, match="SECONDLY"):
            await search()
        now[0] += 1
        await search()


async def test_the_burst_limit_counts_every_request(crm: SimulatedCrm, hubspot: AsyncHubSpot) -> None:
    crm.burst_per_10_s = 1
    await make_contact(hubspot)
    with pytest.raises(hubspot_sdk.RateLimitError, match="TEN_SECONDLY_ROLLING"):
        await make_contact(hubspot)


async def test_it_fails_as_often_as_it_was_told_to(crm: SimulatedCrm, hubspot: AsyncHubSpot) -> None:
    crm.fail_next(1, status=503)
    with pytest.raises(hubspot_sdk.InternalServerError):
        await make_contact(hubspot)
    await make_contact(hubspot)
    assert len(crm.contacts) == 1


async def test_it_can_do_the_work_and_never_say_so(crm: SimulatedCrm, hubspot: AsyncHubSpot) -> None:
    crm.commit_then_hang()
    asking = asyncio.create_task(make_contact(hubspot))
    async with asyncio.timeout(20):
        await crm.hanging.wait()
    assert len(crm.contacts) == 1
    assert not asking.done()
    asking.cancel()


async def test_it_can_hang_and_do_nothing(crm: SimulatedCrm, hubspot: AsyncHubSpot) -> None:
    crm.hang()
    asking = asyncio.create_task(make_contact(hubspot))
    async with asyncio.timeout(20):
        await crm.hanging.wait()
    assert crm.contacts == {}
    asking.cancel()
    await make_contact(hubspot)
    assert len(crm.contacts) == 1


async def test_down_refuses_connections_and_up_remembers(crm: SimulatedCrm, hubspot: AsyncHubSpot) -> None:
    contact_id = await make_contact(hubspot)
    await crm.down()
    async with client(crm, crm.token) as sdk:
        with pytest.raises(hubspot_sdk.APIConnectionError):
            await make_contact(sdk)
        await crm.up()
        assert (await sdk.crm.objects.contacts.get(contact_id)).id == contact_id


async def test_the_official_client_writes_on_a_ticket_that_it_finds_by_our_property(
    crm: SimulatedCrm, hubspot: AsyncHubSpot
) -> None:
    ours = {"groupName": "g", "name": "voice_conversation_id", "label": "c", "type": "string", "fieldType": "text"}
    crm.portal.add_property("tickets", {**ours, "hasUniqueValue": True})
    made = {"subject": "Help", "hs_pipeline_stage": "1", "voice_conversation_id": "conv-1"}
    ticket = await hubspot.crm.objects.tickets.create(properties=made, associations=[])
    await hubspot.crm.objects.tickets.update(ticket.id, properties={"content": "CALL BACK"})
    read = await hubspot.crm.objects.tickets.get("conv-1", id_property="voice_conversation_id", properties=["content"])

    assert (read.id, read.properties["content"]) == (ticket.id, "CALL BACK")
