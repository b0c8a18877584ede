"""A role's keys are found and renewed beside the requests: none waits for new ones as long as there are valid ones."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from voice_openai_connect import limits
from voice_openai_connect.integrations.aws_keys import HeldCredentials
from voice_openai_connect.integrations.connect_client import ConnectClient
from voice_openai_connect.integrations.dynamo_client import DynamoClient, StoreError
from voice_openai_connect.simulator.scripted_http import HANGS, Answer, ScriptedHttp

HOUR_S = 3_600


@dataclass
class Role:
    """Gives out keys for an hour each, `role-1` first, as botocore's own credentials of a role ask for them."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    asked: int = 0
    fails: Exception | None = None
    hangs: bool = False
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def give(self) -> dict[str, str]:
        self.asked += 1
        if self.hangs:
            await self.go_on.wait()
        if self.fails is not None:
            raise self.fails
        expiry = (self.now + timedelta(seconds=HOUR_S)).isoformat()
        return {
            "access_key": f"role-{self.asked}",
            "secret_key": "secret",
            "token": "token",
            "expiry_time": expiry,
        }

    async def find(self) -> Any:
        make: Any = AioRefreshableCredentials.create_from_metadata
        found = make(await self.give(), refresh_using=self.give, method="role")
        found._time_fetcher = lambda: self.now
        return found

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def role() -> Role:
    return Role()


@pytest.fixture
def held(role: Role) -> HeldCredentials:
    return HeldCredentials(role.find)


async def key_of(held: HeldCredentials) -> str:
    return str((await asyncio.wait_for(held.get_frozen_credentials(), 20)).access_key)


async def settle(held: HeldCredentials) -> None:
    """Until the renewal that has begun is over."""
    if (renewal := held._renewal) is not None:  # pyright: ignore[reportPrivateUsage]
        await asyncio.wait_for(asyncio.wait({renewal}), 20)


async def test_keys_are_asked_for_once_however_many_requests_begin_with_them(role: Role, held: HeldCredentials) -> None:
    assert await asyncio.gather(*(key_of(held) for _ in range(5))) == ["role-1"] * 5
    assert await key_of(held) == "role-1"
    assert role.asked == 1


async def test_keys_near_their_end_are_renewed_while_requests_go_on_with_them(
    role: Role, held: HeldCredentials, let_pass: Callable[[int], None]
) -> None:
    await key_of(held)
    let_pass(limits.AWS_KEYS_AGAIN_S)
    role.pass_by(HOUR_S - 14 * 60)
    role.hangs = True
    assert [await key_of(held), await key_of(held)] == ["role-1", "role-1"]
    role.go_on.set()
    await settle(held)

    assert await key_of(held) == "role-2"
    assert role.asked == 2


@pytest.mark.parametrize(
    "left_s", [14 * 60, 9 * 60, 1], ids=["botocore may renew", "botocore must renew", "last second"]
)
async def test_keys_that_cannot_be_renewed_are_used_to_their_end(
    role: Role, held: HeldCredentials, left_s: int, let_pass: Callable[[int], None]
) -> None:
    await key_of(held)
    role.pass_by(HOUR_S - left_s)
    role.fails = OSError("the agent is away")
    for _ in range(3):
        let_pass(limits.AWS_KEYS_AGAIN_S)
        assert await key_of(held) == "role-1"
        await settle(held)
    assert role.asked == 4


async def test_between_two_tries_to_renew_valid_keys_there_is_a_pause(
    role: Role, held: HeldCredentials, let_pass: Callable[[int], None]
) -> None:
    await key_of(held)
    let_pass(limits.AWS_KEYS_AGAIN_S)
    role.pass_by(HOUR_S - 14 * 60)
    role.fails = OSError("the agent is away")
    for _ in range(3):
        await key_of(held)
        await settle(held)
    assert role.asked == 2

    let_pass(limits.AWS_KEYS_AGAIN_S)
    role.fails = None
    await key_of(held)
    await settle(held)
    assert await key_of(held) == "role-3"


async def test_expired_keys_sign_nothing_the_request_waits_for_new_ones(role: Role, held: HeldCredentials) -> None:
    await key_of(held)
    role.pass_by(HOUR_S + 1)
    assert await key_of(held) == "role-2"


async def test_expired_keys_that_cannot_be_renewed_are_as_good_as_none(role: Role, held: HeldCredentials) -> None:
    await key_of(held)
    role.pass_by(HOUR_S + 1)
    role.fails = OSError("the agent is away")
    with pytest.raises(CredentialRetrievalError):
        await key_of(held)
    role.fails = None
    assert await key_of(held) == "role-3"


async def test_a_request_that_gives_up_leaves_its_keys_to_the_next(role: Role, held: HeldCredentials) -> None:
    role.hangs = True
    impatient = asyncio.ensure_future(held.get_frozen_credentials())
    next_one = asyncio.ensure_future(key_of(held))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait({impatient})
    role.go_on.set()

    assert await next_one == "role-1"
    assert role.asked == 1


async def test_keys_that_do_not_expire_are_never_asked_for_again() -> None:
    asked: list[int] = []

    async def find() -> AioCredentials:
        asked.append(1)
        return AioCredentials("AKIA", "secret")

    held = HeldCredentials(find)
    assert [await key_of(held), await key_of(held)] == ["AKIA", "AKIA"]
    assert len(asked) == 1


async def test_a_chain_that_finds_nothing_is_gone_through_again_by_the_next_request() -> None:
    found: list[AioCredentials | None] = [None, AioCredentials("AKIA", "secret")]

    async def find() -> AioCredentials | None:
        return found.pop(0)

    held = HeldCredentials(find)
    with pytest.raises(NoCredentialsError):
        await key_of(held)
    assert await key_of(held) == "AKIA"


# --- By the way that ECS gives keys to a container


def keys_for(minutes: int, name: str = "ASIAROLE") -> Answer:
    expiry = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"AccessKeyId": name, "SecretAccessKey": "secret", "Token": "temporary", "Expiration": expiry}
    return Answer(200, json.dumps(said).encode())


@pytest.fixture
def no_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("no_other_keys")
async def test_a_container_signs_with_its_roles_keys_also_while_nobody_renews_them(
    monkeypatch: pytest.MonkeyPatch, let_pass: Callable[[int], None]
) -> None:
    agent, table = ScriptedHttp([keys_for(14), keys_for(14), HANGS]), ScriptedHttp([Answer()])
    async with agent.serving() as agents_address, table.serving() as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agents_address}/keys")
        async with DynamoClient("t", region="eu-west-1", endpoint_url=url) as client:
            assert agent.asked == []
            await client.get("one")
            let_pass(limits.AWS_KEYS_AGAIN_S)
            await client.get("one")
            await client.get("one")

    signed = [asked.headers for asked in table.asked]
    assert ["Credential=ASIAROLE/" in each["authorization"] for each in signed] == [True] * 3
    assert [each["x-amz-security-token"] for each in signed] == ["temporary"] * 3


@pytest.mark.usefixtures("no_other_keys")
@pytest.mark.parametrize(
    "answer",
    [Answer(200, b'{"code": "NoRole", "message": "none"}'), keys_for(-1)],
    ids=["no role", "already expired"],
)
async def test_an_agent_without_keys_does_not_keep_the_gateway_from_starting(
    monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    agent = ScriptedHttp([answer])
    async with agent.serving() as address, ScriptedHttp([Answer()]).serving() as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}/keys")
        async with (
            DynamoClient("t", region="eu-west-1", endpoint_url=url) as client,
            ConnectClient("instance", region="eu-west-1", endpoint_url=url),
        ):
            with pytest.raises(StoreError, match="no_credentials"):
                await client.get("one")
            agent.answers = [keys_for(60)]
            await client.get("one")


@pytest.mark.usefixtures("no_other_keys")
async def test_a_pods_missing_token_file_is_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/gateway")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")
    async with DynamoClient("t", region="eu-west-1", endpoint_url="http://127.0.0.1:9") as client:
        with pytest.raises(StoreError, match="no_credentials"):
            await client.get("one")
