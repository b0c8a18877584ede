"""The doctor asks the town's services over real sockets. Only the public address has a stand-in of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from voice_openai_connect.clients import dynamo_repository, hubspot_client
from voice_openai_connect.config import load_settings
from voice_openai_connect.doctor import check_connect_queues, examine, run_doctor
from voice_openai_connect.findings import Finding
from voice_openai_connect.integrations.twilio_client import ASKED_AGAIN
from voice_openai_connect.profile import load_profiles
from voice_openai_connect.simulator.carrier import SimulatedCarrier
from voice_openai_connect.simulator.carrier_call import Account
from voice_openai_connect.simulator.carrier_rest import RestApi
from voice_openai_connect.simulator.connect_api import SimulatedConnectApi, SimulatedQueue
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.serving import serving

TODAY = date(2026, 11, 22)
ACCOUNT = Account(
    "AC" + "5" * 32, "the-auth-token", "+61255501234", fallback_url="https://handler.twilio.com/twiml/EH1"
)
NOBODY = "http://127.0.0.1:9"


@dataclass
class World:
    """The settings that fit the town, and what a test may change in it."""

    env: dict[str, str]
    model: SimulatedModel
    crm: SimulatedCrm
    health: list[int] = field(default_factory=lambda: [200])

    async def examine(self, **changes: str) -> dict[str, Finding]:
        env = {**self.env, **changes}
        found = await examine({name: value for name, value in env.items() if value}, ".no-such-file", today=TODAY)
        return {finding.subject: finding for finding in found}


@pytest.fixture
async def world(dynamo: SimulatedDynamo, crm: SimulatedCrm, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    health = [200]

    async def answer(_: Request) -> Response:
        return PlainTextResponse("", status_code=health[0])

    async with AsyncExitStack() as stack:
        public = await stack.enter_async_context(serving(Starlette(routes=[Route("/healthz", answer)])))
        model = await stack.enter_async_context(SimulatedModel.scripted())
        carrier = await stack.enter_async_context(SimulatedCarrier(public + ASKED_AGAIN, ACCOUNT))
        env = {
            "PUBLIC_HOST": public,
            "TWILIO_ACCOUNT_SID": ACCOUNT.sid,
            "TWILIO_AUTH_TOKEN": ACCOUNT.auth_token,
            "TWILIO_PHONE_NUMBER": ACCOUNT.number,
            "TWILIO_API_BASE_URL": await stack.enter_async_context(RestApi(carrier).serving()),
            "OPENAI_API_KEY": model.api_key,
            "OPENAI_BASE_URL": model.base_url,
            "AWS_REGION": dynamo.region,
            "AWS_ACCESS_KEY_ID": dynamo.access_key_id,
            "AWS_SECRET_ACCESS_KEY": dynamo.secret_access_key,
            "AWS_ENDPOINT_URL_DYNAMODB": dynamo.endpoint_url,
            "DYNAMODB_TABLE_NAME": f"doctor-{abs(hash(request.node.name))}",
            "CONNECT_PHONE_NUMBER": "+61255505678",
            "HUBSPOT_ACCESS_TOKEN": crm.token,
            "HUBSPOT_API_BASE_URL": crm.base_url,
        }
        yield World(env, model, crm, health)


async def set_up(world: World) -> None:
    settings = load_settings(world.env, None)
    async with dynamo_repository(settings) as table:
        await table.setup_table()
    client = hubspot_client(settings)
    assert client is not None
    async with client:
        await client.setup()


async def test_where_all_is_well_the_doctor_says_so(world: World) -> None:
    await set_up(world)

    found = await world.examine()

    assert {subject: finding for subject, finding in found.items() if finding.state != "ok"} == {}
    assert {"settings", "profiles", "Twilio account", "Twilio number", "OpenAI key", "OpenAI model"} <= found.keys()
    assert {"OpenAI session (default)", "DynamoDB table", "HubSpot contacts", "public address"} <= found.keys()
    assert found["OpenAI session (default)"].detail == "was set up and closed, audio audio/pcmu"


async def test_the_model_s_sessions_are_closed_again(world: World) -> None:
    await world.examine()

    async with asyncio.timeout(30):
        await asyncio.gather(*(session.closed.wait() for session in world.model.sessions))
    assert len(world.model.sessions) == 1


async def test_mistakes_in_the_settings_are_named_and_nothing_else_is_tried(world: World) -> None:
    found = await world.examine(PORT="high", OPENAI_API_KEY="")

    assert {subject: finding.state for subject, finding in found.items()} == {
        "PORT": "wrong",
        "OPENAI_API_KEY": "wrong",
    }
    assert all(finding.detail and finding.remedy for finding in found.values())
    assert world.model.sessions == []


async def test_a_table_that_is_missing_is_wrong(world: World) -> None:
    found = await world.examine()

    assert found["DynamoDB table"].state == "wrong"
    assert "setup" in found["DynamoDB table"].remedy


async def test_properties_that_are_missing_are_wrong(world: World) -> None:
    found = await world.examine()

    assert any(subject.startswith("HubSpot") and finding.state == "wrong" for subject, finding in found.items())


async def test_a_key_that_is_not_accepted_is_wrong(world: World) -> None:
    found = await world.examine(
        OPENAI_API_KEY="sk-another", TWILIO_AUTH_TOKEN="another", HUBSPOT_ACCESS_TOKEN="pat-another"
    )

    for subject in ("OpenAI key", "OpenAI session (default)", "Twilio account", "HubSpot contacts"):
        assert found[subject].state == "wrong", subject
    assert "another" not in str(found)


async def test_a_model_that_the_key_does_not_have_is_wrong(world: World) -> None:
    found = await world.examine(OPENAI_REALTIME_MODEL="gpt-realtime-9")

    assert found["OpenAI session (default)"].state == "wrong"
    assert (
        "missing_model" in found["OpenAI session (default)"].detail
        or "model" in found["OpenAI session (default)"].detail
    )


async def test_a_model_close_to_its_end_is_a_warning(world: World) -> None:
    found = await world.examine(OPENAI_TRANSCRIPTION_MODEL="gpt-transcribe", OPENAI_REALTIME_MODEL="gpt-realtime")

    assert found["OPENAI_REALTIME_MODEL"].state == "warning"
    assert found["OpenAI session (default)"].state == "ok"


async def test_a_service_that_is_not_there_is_named_and_the_others_are_looked_at(world: World) -> None:
    await set_up(world)

    found = await world.examine(OPENAI_BASE_URL=f"{NOBODY}/v1", AWS_ENDPOINT_URL_DYNAMODB=NOBODY)

    for subject in ("OpenAI key", "OpenAI session (default)", "DynamoDB table"):
        assert found[subject].state == "wrong", subject
    assert found["Twilio account"].state == "ok"
    assert found["HubSpot contacts"].state == "ok"


async def test_a_public_address_that_cannot_be_reached_is_only_the_view_from_here(world: World) -> None:
    found = await world.examine(PUBLIC_HOST=NOBODY)

    assert found["public address"].state == "warning"
    assert "view from here" in found["public address"].remedy
    assert found["Twilio number"].state == "wrong", "its webhook is another address"


async def test_somebody_else_at_the_public_address_is_wrong(world: World) -> None:
    world.health[0] = 404

    assert (await world.examine())["public address"].state == "wrong"


async def test_a_crm_that_is_off_is_said_and_is_not_wrong(world: World) -> None:
    found = await world.examine(HUBSPOT_ACCESS_TOKEN="")

    assert (found["HubSpot"].state, "without a ticket" in found["HubSpot"].detail) == ("ok", True)


async def test_without_a_number_the_account_is_looked_at_all_the_same(world: World) -> None:
    found = await world.examine(TWILIO_PHONE_NUMBER="")

    assert found["Twilio account"].state == "ok"
    assert found["Twilio number"].state == "warning"


async def test_a_spoilt_profile_is_named_with_its_line(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[profile.default]\nspeed = 9\n")

    found = await world.examine(AGENT_PROFILE=str(tmp_path / "mine.toml"))

    assert found["mine.toml:2"].state == "wrong"
    assert found["OpenAI session"].state == "warning"


async def test_every_profile_is_tried_with_the_model(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[profile.sales]\nnumbers = ['+61255501234']\nvoice = 'cedar'\n")

    found = await world.examine(AGENT_PROFILE=str(tmp_path / "mine.toml"))

    assert found["OpenAI session (default)"].state == "ok"
    assert found["OpenAI session (sales)"].state == "ok"


async def test_a_tools_module_that_is_not_there_is_wrong(world: World) -> None:
    found = await world.examine(TOOLS_MODULE="no_such_module_anywhere")

    assert found["TOOLS_MODULE"].state == "wrong"


async def test_no_finding_shows_a_secret(world: World) -> None:
    found = await world.examine(OPENAI_BASE_URL=f"{NOBODY}/v1", PUBLIC_HOST=NOBODY)

    for secret in load_settings(world.env, None).secrets():
        assert secret == "simulated" or secret not in str(found)


def test_the_exit_status_is_1_if_anything_is_wrong(tmp_path: Path) -> None:
    written: list[str] = []

    assert run_doctor(written.append, env={}, env_file=tmp_path / ".env") == 1
    assert "PUBLIC_HOST" in written[0]
    assert written[0].startswith("check")


# --- who is at the queues


INSTANCE = "11111111-2222-3333-4444-555555555555"


async def queues_by(world: World, *queues: SimulatedQueue, denies: str = "", **changes: str) -> Finding:
    """What the doctor says first of the queues of such an instance."""
    api = SimulatedConnectApi(INSTANCE, queues=list(queues), denies=denies)
    async with api.serving() as address:
        settings = {**world.env, "CONNECT_INSTANCE_ID": INSTANCE, "AWS_ENDPOINT_URL_CONNECT": address, **changes}
        loaded = load_settings({name: value for name, value in settings.items() if value}, None)
        return (await check_connect_queues(loaded, load_profiles()))[0]


async def test_the_queues_of_the_profiles_are_looked_at(world: World) -> None:
    found = await queues_by(world, SimulatedQueue("Priority", staffed=0), SimulatedQueue("Escalation", hours={}))

    assert found.state == "ok"
    assert found.detail == "escalation: closed, 1 agents; priority: open, 0 agents"


async def test_names_that_connect_does_not_know_are_matched_by_the_setting(world: World) -> None:
    basic = SimulatedQueue("BasicQueue")
    names = "escalation = BasicQueue, priority=queue-0"

    assert (await queues_by(world, basic)).state == "warning"
    assert (await queues_by(world, basic, CONNECT_QUEUES=names)).state == "ok"


async def test_a_right_that_is_missing_is_named(world: World) -> None:
    found = await queues_by(world, denies="AccessDeniedException")

    assert found.state == "wrong"
    assert "connect:GetCurrentMetricData" in found.remedy


@pytest.mark.parametrize("without", ["CONNECT_INSTANCE_ID", "HUBSPOT_ACCESS_TOKEN"])
async def test_where_nobody_asks_who_is_there_the_doctor_says_why(world: World, without: str) -> None:
    found = await queues_by(world, denies="AccessDeniedException", **{without: ""})

    assert found.state == "ok"
    assert "not asked about" in found.detail
