from collections.abc import AsyncIterator

import pytest

from voice_openai_connect.findings import Finding
from voice_openai_connect.integrations.hubspot_api import CrmError
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.integrations.hubspot_setup import Pipeline
from voice_openai_connect.simulator.crm import SimulatedCrm


@pytest.fixture
async def hubspot(crm: SimulatedCrm) -> AsyncIterator[HubSpotClient]:
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
        yield client


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def make_plain_property(crm: SimulatedCrm, kind: str, name: str) -> None:
    crm.portal.add_property(kind, {"groupName": "g", "name": name, "label": "l", "type": "string", "fieldType": "text"})


async def test_setup_makes_the_unique_properties_and_the_others(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    sentences = await hubspot.setup()
    assert all(sentence.endswith(" was made.") for sentence in sentences)
    assert crm.portal.properties["contacts"]["voice_caller_e164"].unique
    assert crm.portal.properties["tickets"]["voice_conversation_id"].unique
    assert not crm.portal.properties["tickets"]["voice_intent"].unique


async def test_setup_may_be_run_twice(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    await hubspot.setup()
    crm.requests.clear()
    sentences = await hubspot.setup()
    assert all(sentence.endswith(" was there already.") for sentence in sentences)
    assert {method for method, _ in crm.requests} == {"GET"}


async def test_setup_says_what_to_do_about_a_property_that_is_not_unique(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    make_plain_property(crm, "tickets", "voice_conversation_id")
    sentences = await hubspot.setup()
    assert any("delete it and run this again" in sentence for sentence in sentences)


async def test_setup_with_a_key_that_may_not_do_it_is_an_error(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    crm.scopes -= {"crm.schemas.contacts.write"}
    with pytest.raises(CrmError, match="forbidden"):
        await hubspot.setup()


async def test_an_account_as_it_should_be_has_nothing_to_complain_about(hubspot: HubSpotClient) -> None:
    await hubspot.setup()
    findings = await hubspot.check()
    assert {finding.state for finding in findings} == {"ok"}
    assert len(findings) == 10


async def test_the_check_changes_nothing(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    await hubspot.check()
    assert {method for method, _ in crm.requests} == {"GET"}


async def test_a_dead_key_is_one_finding_not_ten(crm: SimulatedCrm) -> None:
    async with HubSpotClient(lambda: "another", base_url=crm.base_url) as hubspot:
        (finding,) = await hubspot.check()
    assert finding.state == "wrong"
    assert "HUBSPOT_ACCESS_TOKEN" in finding.remedy


async def test_a_missing_scope_is_found_where_it_is_missing(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    await hubspot.setup()
    crm.scopes -= {"crm.objects.tickets.read"}
    found = by_subject(await hubspot.check())
    assert found["HubSpot contacts"].state == "ok"
    assert found["HubSpot tickets"].state == "wrong"
    assert "crm.objects.tickets" in found["HubSpot tickets"].remedy


async def test_missing_properties_name_the_command_and_only_unique_ones_are_wrong(hubspot: HubSpotClient) -> None:
    found = by_subject(await hubspot.check())
    assert found["HubSpot property voice_caller_e164"].state == "wrong"
    assert found["HubSpot property voice_intent"].state == "warning"
    assert found["HubSpot property voice_intent"].remedy == "Run `voice-connect setup hubspot`."


async def test_a_property_that_is_not_unique_is_wrong(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    make_plain_property(crm, "contacts", "voice_caller_e164")
    assert by_subject(await hubspot.check())["HubSpot property voice_caller_e164"].state == "wrong"


@pytest.mark.parametrize(
    ("pipeline", "choices"), [(Pipeline("7", "1"), "one of 0."), (Pipeline("0", "9"), "one of 1, 2, 3, 4.")]
)
async def test_a_pipeline_or_stage_that_is_not_there_names_those_that_are(
    crm: SimulatedCrm, pipeline: Pipeline, choices: str
) -> None:
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url, pipeline=pipeline) as client:
        finding = by_subject(await client.check())["HubSpot ticket pipeline"]
    assert finding.state == "wrong"
    assert choices in finding.remedy


async def test_an_account_that_hides_its_address_is_a_warning_unless_the_address_is_set(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    crm.scopes -= {"oauth"}
    assert by_subject(await hubspot.check())["HubSpot ticket links"].state == "warning"
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url, portal_id="1") as client:
        assert by_subject(await client.check())["HubSpot ticket links"].state == "ok"


async def test_a_hubspot_that_is_down_is_a_finding_not_an_error(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    await crm.down()
    (finding,) = await hubspot.check()
    assert "unreachable" in finding.detail
