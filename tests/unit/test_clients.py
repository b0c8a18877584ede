import pytest

from voice_openai_connect.clients import connect_client, dynamo_repository, hubspot_client, target_watch, twilio_client
from voice_openai_connect.config import Settings, load_settings
from voice_openai_connect.simulator.connect_api import SimulatedConnectApi, SimulatedQueue
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.dynamo import SimulatedDynamo

NEEDED = {
    "PUBLIC_HOST": "voice.example.com",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "t",
    "OPENAI_API_KEY": "k",
    "AWS_REGION": "ap-southeast-2",
    "DYNAMODB_TABLE_NAME": "clients-test",
    "CONNECT_PHONE_NUMBER": "+61255501234",
}


def settings(**changes: str) -> Settings:
    return load_settings({**NEEDED, **changes}, env_file=None)


async def test_the_table_is_reached_with_the_keys_of_the_settings(
    dynamo: SimulatedDynamo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = settings(
        AWS_ENDPOINT_URL_DYNAMODB=dynamo.endpoint_url,
        AWS_ACCESS_KEY_ID=dynamo.access_key_id,
        AWS_SECRET_ACCESS_KEY=dynamo.secret_access_key,
        AWS_SESSION_TOKEN="session",
    )
    async with dynamo_repository(made) as table:
        await table.setup_table()
        findings = await table.check()

    assert {finding.state for finding in findings} == {"ok"}


async def test_the_crm_is_reached_with_the_token_of_the_settings(crm: SimulatedCrm) -> None:
    client = hubspot_client(settings(HUBSPOT_ACCESS_TOKEN=crm.token, HUBSPOT_API_BASE_URL=crm.base_url))
    assert client is not None
    async with client:
        await client.setup()

        assert await client.find_contact("+61255505678")


def test_without_a_token_there_is_no_crm() -> None:
    assert hubspot_client(settings()) is None


async def test_connect_is_asked_about_the_queues_that_the_settings_name() -> None:
    api = SimulatedConnectApi("11111111-2222-3333-4444-555555555555", queues=[SimulatedQueue("Basic Queue")])
    async with api.serving() as address:
        client = connect_client(
            settings(
                CONNECT_INSTANCE_ID=api.instance_id,
                CONNECT_QUEUES="sales=VIP, escalation = Basic Queue",
                AWS_ENDPOINT_URL_CONNECT=address,
                AWS_ACCESS_KEY_ID="simulated",
                AWS_SECRET_ACCESS_KEY="simulated",
            )
        )
        assert client is not None
        async with client:
            assert await client.find_queues(frozenset({"escalation", "sales"})) == {"escalation": "queue-0"}


def test_without_an_instance_nobody_is_asked_who_is_there() -> None:
    assert connect_client(settings()) is None


async def test_twilio_is_asked_where_the_settings_say() -> None:
    async with twilio_client(settings(TWILIO_API_BASE_URL="http://127.0.0.1:9")) as twilio:
        (finding,) = await twilio.check("+61255501234", "https://voice.example.com/twilio/voice")

    assert finding.state == "wrong"


def test_without_a_target_group_no_balancer_is_asked() -> None:
    assert target_watch(settings(), port=8000, on_draining=lambda: None, on_trouble=lambda _: None) is None
