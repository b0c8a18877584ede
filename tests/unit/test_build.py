"""The composition root: two instances that share a table, and what a call is given on either of them."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import urlencode

import httpx2
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from voice_openai_connect import limits
from voice_openai_connect.build import Counter, Parts, Process, Services, open_gateway
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.commands import CancelResponse, ModelCommand, SendCallerAudio
from voice_openai_connect.call.handover import HandoverRecord, Redemption
from voice_openai_connect.call.next_step import DialPerson, HangUp, NextStep
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.call.settings import CallIdentity
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.clients import dynamo_repository
from voice_openai_connect.config import Settings, load_settings
from voice_openai_connect.gateway.app import identity_of
from voice_openai_connect.gateway.ports import Post
from voice_openai_connect.gateway.session_manager import SessionManager
from voice_openai_connect.gateway.stream_handler import Outside
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.metrics import Metrics
from voice_openai_connect.profile import load_profiles
from voice_openai_connect.simulator.carrier_webhooks import signer
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.serving import serving

SECRET = "the-account-s-token"
ACCOUNT_SID = "AC" + "5" * 32
CALL_SID = "CA" + "8" * 32
CALLER = "+61491570006"
CALLED = "+61255501234"
USUAL = {
    "PUBLIC_HOST": "voice.example.com",
    "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
    "TWILIO_AUTH_TOKEN": SECRET,
    "OPENAI_API_KEY": "sk-simulated",
    "AWS_REGION": "ap-southeast-2",
    "AWS_ACCESS_KEY_ID": "simulated",
    "AWS_SECRET_ACCESS_KEY": "simulated",
    "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9",
    "DYNAMODB_TABLE_NAME": "handovers",
    "CONNECT_PHONE_NUMBER": "+61255505678",
}


def settings_with(**changes: str) -> Settings:
    return load_settings({**USUAL, **changes}, None)


@asynccontextmanager
async def instance(settings: Settings) -> AsyncGenerator[tuple[Parts, str]]:
    """One process's worth of gateway, and where it listens."""
    async with open_gateway(settings, load_profiles(settings.agent_profile)) as parts, serving(parts.app) as base:
        yield parts, base


async def ask_next(base: str, call_sid: str = CALL_SID) -> str:
    """What Twilio is told when a stream of this call has ended."""
    return await ask(base, "/twilio/next", call_sid)


async def ask(base: str, path: str, call_sid: str = CALL_SID) -> str:
    """What Twilio is told when it posts about this call."""
    form = {"AccountSid": ACCOUNT_SID, "CallSid": call_sid, "From": CALLER, "To": CALLED, "CallStatus": "in-progress"}
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-twilio-signature": signer(SECRET)(f"https://voice.example.com{path}", form),
    }
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{base}{path}", content=urlencode(form), headers=headers)
    assert answer.status_code == 200
    return answer.text


# --- two instances


async def test_a_step_that_one_instance_decided_is_answered_by_the_other(dynamo: SimulatedDynamo) -> None:
    settings = settings_with(
        AWS_ENDPOINT_URL_DYNAMODB=dynamo.endpoint_url, DYNAMODB_TABLE_NAME=f"build-{uuid.uuid4().hex}"
    )
    async with dynamo_repository(settings) as table:
        await table.setup_table()
    async with instance(settings) as (one, _), instance(settings) as (_, other):
        await one.sessions.remember_step(CALL_SID, DialPerson(token="0123456789"))

        assert 'sendDigits="wwww0123456789#"' in await ask_next(other)
        assert "sendDigits" not in await ask_next(other, "CA" + "9" * 32)


async def test_without_its_table_an_instance_still_answers_with_a_person() -> None:
    async with instance(settings_with()) as (_, base):
        assert "<Number>+61255505678</Number>" in await ask_next(base)


# --- what a call is given


def counter_of(settings: Settings, crm: HubSpotClient | None = None, store: DynamoRepository | None = None) -> Counter:
    table = store or dynamo_repository(settings)
    return Counter(
        settings,
        load_profiles(settings.agent_profile),
        (),
        open_model=None,
        services=Services(table, crm, None),
        sessions=SessionManager(table, max_calls=1, on_failure=lambda what, error: None),
        metrics=Metrics(),
    )


def outside_of(parts: Parts, identity: CallIdentity) -> Outside:
    return parts.gateway._desk.outside(identity)  # pyright: ignore[reportPrivateUsage]


async def test_without_a_token_a_call_has_no_crm_and_with_one_it_has_hubspot() -> None:
    identity = identity_of(CALL_SID, CALLER, CALLED)
    async with instance(settings_with()) as (parts, _):
        assert outside_of(parts, identity).crm is None
    async with instance(settings_with(HUBSPOT_ACCESS_TOKEN="pat-simulated")) as (parts, _):
        assert isinstance(outside_of(parts, identity).crm, HubSpotClient)


class OwnStore:
    """A store of somebody's own."""

    async def save(self, record: HandoverRecord) -> str:
        return "0123456789"

    async def attach_ticket(self, token: str, contact_id: str, ticket_id: str, ticket_url: str) -> bool:
        return True

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        return

    def save_checkpoint(self, call_sid: str, checkpoint: Checkpoint, *, at_once: bool = False) -> asyncio.Future[None]:
        return asyncio.ensure_future(asyncio.sleep(0))

    async def bring_back(self, call_sid: str, checkpoint: Checkpoint) -> None:
        return

    def hasten(self) -> None:
        return

    async def close_call(self, call_sid: str, outcome: Outcome, *, words_kept: bool = True) -> None:
        return

    async def note_asked(self, call_sid: str) -> None:
        return

    async def note_stopped(self, call_sid: str, stream_sid: str) -> None:
        return

    async def note_dial(self, call_sid: str, attempt: int, outcome: DialOutcome) -> bool:
        return True

    async def redemption(self, token: str) -> Redemption | None:
        return None

    async def revoke(self, token: str) -> bool:
        return False

    async def take_over(self, call_sid: str) -> CallItem:
        return await self.recall_call(call_sid)

    async def recall_call(self, call_sid: str) -> CallItem:
        return CallItem(HangUp())


class OwnCrm:
    """A CRM of somebody's own."""

    async def find_contact(self, caller_phone: str) -> str:
        return "1"

    async def open_ticket(self, record: HandoverRecord) -> tuple[str, str]:
        return "2", ""

    async def note(self, note: TicketNote) -> None:
        return


class OwnModel:
    """A model of somebody's own."""

    def __init__(self) -> None:
        self.sent: list[ModelCommand] = []

    async def run(self, post: Post) -> None:
        post(ev.ModelLost("closed"))

    def send(self, command: ModelCommand) -> None:
        self.sent.append(command)

    def send_audio(self, audio: bytes) -> None:
        self.send(SendCallerAudio(audio))

    async def close(self) -> None:
        return


async def test_model_store_and_crm_can_be_somebody_s_own() -> None:
    settings, model, store, crm = settings_with(), OwnModel(), OwnStore(), OwnCrm()
    profiles = load_profiles(settings.agent_profile)
    opened = open_gateway(settings, profiles, open_model=lambda identity: model, store=store, crm=crm)
    async with opened as parts, serving(parts.app) as base:
        outside = outside_of(parts, identity_of(CALL_SID, CALLER, CALLED))

        outside.open_model().send(CancelResponse("r"))

        assert model.sent == [CancelResponse("r")]
        assert (outside.store, outside.crm) == (store, crm)
        assert "<Hangup" in await ask_next(base)


async def test_a_model_that_refuses_one_call_is_down_for_the_next() -> None:
    settings = settings_with()
    profiles = load_profiles(settings.agent_profile)
    asked_for: list[str] = []

    class Refuses(OwnModel):
        async def run(self, post: Post) -> None:
            post(ev.ModelLost("http_401", permanent=True))

    def open_model(identity: CallIdentity) -> OwnModel:
        asked_for.append(identity.call_sid)
        return Refuses()

    opened = open_gateway(settings, profiles, open_model=open_model, store=OwnStore(), crm=OwnCrm())
    async with opened as parts, serving(parts.app) as base:
        outside = outside_of(parts, identity_of(CALL_SID, CALLER, CALLED))
        assert "<Stream" in await ask(base, "/twilio/voice")
        await outside.open_model().run(lambda event: None)

        assert "<Number>+61255505678</Number>" in await ask(base, "/twilio/voice")
        body = parts.metrics.render()
        assert b"voice_connect_model_down 1.0" in body
        assert b'voice_connect_refused_total{reason="model_down",what="call"} 1.0' in body
    assert asked_for == [CALL_SID]


async def test_new_calls_come_in_at_the_rate_that_is_set() -> None:
    async with instance(settings_with(MAX_CALLS_PER_SECOND="0.001")) as (_, base):
        assert "<Stream" in await ask(base, "/twilio/voice")
        assert "<Number>+61255505678</Number>" in await ask(base, "/twilio/voice", "CA" + "9" * 32)


async def test_the_event_loop_s_lag_is_measured_where_the_loop_is_the_gateway_s_own() -> None:
    def watchers() -> int:
        return sum(task.get_name() == "event loop's lag" for task in asyncio.all_tasks())

    settings = settings_with()
    async with instance(settings):
        assert watchers() == 1
    async with open_gateway(settings, load_profiles(settings.agent_profile), process=Process(own_loop=False)):
        assert watchers() == 0


# --- what the model's service gets to know


@asynccontextmanager
async def a_model_that_notes_who_asks() -> AsyncGenerator[tuple[str, list[Mapping[str, str]]]]:
    """Refuses every session, and keeps the headers it was asked with."""
    asked: list[Mapping[str, str]] = []

    def note(connection: ServerConnection, request: Request) -> Response:
        asked.append(dict(request.headers.raw_items()))
        return connection.respond(HTTPStatus.FORBIDDEN, "no")

    async def nobody(connection: ServerConnection) -> None:
        raise AssertionError

    async with serve(nobody, "127.0.0.1", 0, process_request=note) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1", asked


Asks = Callable[..., Awaitable[Mapping[str, str]]]


@pytest.fixture
async def headers_of() -> AsyncGenerator[Asks]:
    """The headers that a model's session is asked for with, for a caller and with changed settings."""
    async with a_model_that_notes_who_asks() as (url, asked):

        async def ask(caller: str, **changes: str) -> Mapping[str, str]:
            counter = counter_of(settings_with(OPENAI_BASE_URL=url, **changes))
            leg = counter.outside(identity_of(CALL_SID, caller, CALLED)).open_model()
            await leg.run(lambda event: None)
            await counter.breaker.close()
            return asked.pop()

        yield ask


async def test_a_caller_has_one_pseudonym_that_is_not_the_number_and_nobody_else_s(headers_of: Asks) -> None:
    name = (await headers_of(CALLER))["OpenAI-Safety-Identifier"]

    assert (await headers_of(CALLER))["OpenAI-Safety-Identifier"] == name
    assert (await headers_of("+61491570007"))["OpenAI-Safety-Identifier"] != name
    assert CALLER[1:] not in name
    assert len(name) <= 64


async def test_nobody_without_our_secret_can_try_numbers_until_the_pseudonym_fits(headers_of: Asks) -> None:
    one = await headers_of(CALLER)
    other = await headers_of(CALLER, TWILIO_AUTH_TOKEN="the-token-of-another-account")

    assert one["OpenAI-Safety-Identifier"] != other["OpenAI-Safety-Identifier"]


async def test_a_caller_who_withholds_the_number_has_no_pseudonym(headers_of: Asks) -> None:
    headers = await headers_of("")

    assert headers["Authorization"] == "Bearer sk-simulated"
    assert "OpenAI-Safety-Identifier" not in headers


def test_the_collector_leaves_a_start_alone_and_looks_for_cycles_seldom() -> None:
    seen = "import gc; from voice_openai_connect.build import settle_down; settle_down(); "
    seen += "print(gc.get_freeze_count() > 10_000, gc.get_threshold()[0])"

    told = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)

    assert told.stdout.split() == ["True", str(limits.COLLECTED_AT)]
