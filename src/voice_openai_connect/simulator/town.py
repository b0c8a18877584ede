"""The whole town, ready for calls: DynamoDB, a CRM, a model, a contact centre, a carrier, and the gateway among them.

    async with open_town(SimulatedModel.scripted(["Hello, how can I help?"])) as town:
        call = await town.carrier.place_call(Caller([Listen(), Press("0"), WaitForPerson()]), from_=CALLER)
        contact = await town.center.until_connected()

The gateway is told where everything is by the same settings that a company writes into its `.env`. It runs as a
process of its own (`voice-connect serve`) or, for tests that want to look inside, within this one.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from voice_openai_connect import limits
from voice_openai_connect.build import Parts, Process, open_gateway
from voice_openai_connect.config import load_settings
from voice_openai_connect.gateway.server import DrainingServer, server_config
from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository, StoreError
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.integrations.twilio_client import ASKED_AGAIN
from voice_openai_connect.own_tools import OwnTool
from voice_openai_connect.profile import load_profiles
from voice_openai_connect.simulator.carrier import SimulatedCarrier, silent_speech
from voice_openai_connect.simulator.carrier_call import Account, Habits
from voice_openai_connect.simulator.connect_api import SimulatedConnectApi
from voice_openai_connect.simulator.contact_center import ContactCenter
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.faults import FaultProxy
from voice_openai_connect.simulator.gateway_process import ORDINARY, GatewayProcess, LogLine
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime
from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.ports import free_port
from voice_openai_connect.simulator.timeline import Timeline

CALLER: Final = "+61491570006"
GATEWAY_NUMBER: Final = "+61255501234"
CONNECT_NUMBER: Final = "+61255505678"
"""Numbers that the Australian regulator keeps for fiction."""
FALLBACK_URL: Final = "https://handler.twilio.com/twiml/EH" + "5" * 32
FALLBACK_BIN: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<Response>
  <Say language="en-US">One moment please, I am connecting you with one of our team.</Say>
  <Dial timeout="30">
    <Number>+61255505678</Number>
  </Dial>
  <Say language="en-US">Thank you for calling. If nobody could take your call, please call us again. Goodbye.</Say>
</Response>
"""
"""A TwiML Bin of the account's, word for word as docs/fallback.md has it."""
TABLE: Final = "handovers"
SET_UP_TRIES: Final = 8
ACCOUNT_SID: Final = "AC" + "5" * 32
AUTH_TOKEN: Final = "simulated-auth-token-of-the-account"  # noqa: S105 - of a simulated account

Road = Literal["model", "crm", "dynamo", "lambda", "twilio"]
"""From the gateway to a service; `lambda` is the Lambda's own to DynamoDB, `twilio` the carrier's to the gateway."""


@dataclass(frozen=True, slots=True)
class Voices:
    """Who speaks how, µ-law out. Silence of about the right length where nobody does."""

    announcer: Callable[[str, str], bytes] = silent_speech
    """`(text, language)`: what the carrier says for `<Say>`."""
    center: Callable[[str], bytes] | None = None
    """The contact centre's prompts and its agent."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is unusual about a town. `settings` are set over the usual ones; None takes one away."""

    settings: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    crm: bool = True
    habits: Habits | None = None
    fallback: bool = True
    """Whether the number has the fallback of docs/fallback.md."""
    center: Mapping[str, Any] = field(default_factory=dict[str, Any])
    connect: SimulatedConnectApi | None = None
    """What the contact centre's API says about its queues; without it the gateway has nobody to ask."""
    tools: tuple[OwnTool, ...] = ()
    dynamo: SimulatedDynamo | None = None
    """One that runs already and is left running; without it the town has its own."""
    token_function: LambdaRuntime | None = None
    """One that redeems tokens from `TABLE` of `dynamo` already, and is left running; unless its road is a bad line."""
    own_process: bool = False
    module: str = ORDINARY
    """What is run with `python -m`; only in a process of its own."""
    on_log_line: Callable[[LogLine], None] = lambda _: None
    """Each line of the gateway's log; only in a process of its own."""
    descriptors: int | None = None
    """How many the gateway may open; only in a process of its own."""
    routes: Mapping[str, str] | None = None
    """Where the carrier really connects to for a public address (see `carrier_webhooks.Routes`); may change later."""
    proxied: frozenset[Road] = frozenset()
    """The roads with a `FaultProxy` on them, to be found in `Town.proxies`."""


@dataclass(frozen=True, slots=True)
class Town:
    """Everything in it. `gateway` is there in a process of its own, `parts` when it runs within this one."""

    carrier: SimulatedCarrier
    model: SimulatedModel
    center: ContactCenter
    crm: SimulatedCrm
    dynamo: SimulatedDynamo
    timeline: Timeline
    settings: Mapping[str, str]
    gateway: GatewayProcess | None
    parts: Parts | None
    proxies: Mapping[Road, FaultProxy]
    """Bad lines, where the plan asked for them."""

    def table(self) -> DynamoRepository:
        """The handover table, to be entered with `async with`."""
        return _repository(self.dynamo)


@asynccontextmanager
async def open_town(
    model: SimulatedModel,
    plan: Plan = Plan(),
    *,
    timeline: Timeline | None = None,
    voices: Voices = Voices(),
) -> AsyncGenerator[Town, None]:
    """Build the town around `model`, which is entered here; take it down again at the end."""
    timeline = timeline or Timeline()
    async with AsyncExitStack() as stack:
        dynamo, crm = plan.dynamo or SimulatedDynamo(), SimulatedCrm()
        own = (crm, model) if plan.dynamo else (dynamo, crm, model)
        await asyncio.gather(*(stack.enter_async_context(part) for part in own))
        port = free_port()
        ends: dict[Road, str] = {
            "model": model.base_url,
            "crm": crm.base_url,
            "dynamo": dynamo.endpoint_url,
            "lambda": dynamo.endpoint_url,
            "twilio": f"http://127.0.0.1:{port}",
        }
        proxies: dict[Road, FaultProxy] = {
            road: await stack.enter_async_context(_bad_line(ends[road])) for road in plan.proxied
        }
        roads: dict[Road, str] = {
            road: _by(proxies[road], end) if road in proxies else end for road, end in ends.items()
        }
        settings = _settings(plan, port, roads, dynamo=dynamo, crm=crm, model=model)
        if plan.connect is not None:
            settings["CONNECT_INSTANCE_ID"] = plan.connect.instance_id
            settings["AWS_ENDPOINT_URL_CONNECT"] = await stack.enter_async_context(plan.connect.serving())
        runtime = plan.token_function
        if runtime is None or "lambda" in proxies:
            runtime = LambdaRuntime.redeeming_tokens(dynamo, TABLE, endpoint_url=roads["lambda"])
            stack.push_async_callback(runtime.close)
        process = GatewayProcess(settings, port, plan.on_log_line, plan.module, plan.descriptors)
        gateway = process if plan.own_process else None
        await asyncio.gather(
            runtime.warm_up() if plan.own_process else asyncio.sleep(0),
            _set_up_table(dynamo),
            _set_up_crm(crm),
            stack.enter_async_context(gateway or nullcontext()),
        )
        parts = await stack.enter_async_context(_within(settings, plan.tools, port)) if gateway is None else None
        center = ContactCenter(runtime.invoke, timeline=timeline, say=voices.center, **plan.center)
        public = settings["PUBLIC_HOST"] if "://" in settings["PUBLIC_HOST"] else f"https://{settings['PUBLIC_HOST']}"
        carrier = await stack.enter_async_context(
            SimulatedCarrier(
                public + ASKED_AGAIN,
                _account(plan),
                directory={CONNECT_NUMBER: center},
                routes={public: roads["twilio"]} if "twilio" in proxies else plan.routes,
                speak=voices.announcer,
                habits=plan.habits,
                timeline=timeline,
            )
        )
        yield Town(carrier, model, center, crm, dynamo, timeline, settings, gateway, parts, proxies)


def _account(plan: Plan) -> Account:
    """The company's account at Twilio, set up as the documents say."""
    bins = {FALLBACK_URL: FALLBACK_BIN}
    fallback_url = FALLBACK_URL if plan.fallback else ""
    return Account(ACCOUNT_SID, AUTH_TOKEN, GATEWAY_NUMBER, fallback_url=fallback_url, bins=bins)


def _bad_line(end: str) -> FaultProxy:
    """A proxy in front of an address."""
    parts = urlsplit(end)
    return FaultProxy(str(parts.hostname), int(parts.port or 0))


def _by(proxy: FaultProxy, end: str) -> str:
    """The same address, by way of the proxy."""
    return urlsplit(end)._replace(netloc=proxy.address).geturl()


def _settings(
    plan: Plan,
    port: int,
    roads: Mapping[Road, str],
    *,
    dynamo: SimulatedDynamo,
    crm: SimulatedCrm,
    model: SimulatedModel,
) -> dict[str, str]:
    """What a company would write into its `.env`, pointed at the town."""
    usual: dict[str, str | None] = {
        "PUBLIC_HOST": f"http://127.0.0.1:{port}",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_PHONE_NUMBER": GATEWAY_NUMBER,
        "OPENAI_API_KEY": model.api_key,
        "OPENAI_BASE_URL": roads["model"],
        "AWS_REGION": dynamo.region,
        "AWS_ACCESS_KEY_ID": dynamo.access_key_id,
        "AWS_SECRET_ACCESS_KEY": dynamo.secret_access_key,
        "AWS_ENDPOINT_URL_DYNAMODB": roads["dynamo"],
        "DYNAMODB_TABLE_NAME": TABLE,
        "CONNECT_PHONE_NUMBER": CONNECT_NUMBER,
        "HUBSPOT_ACCESS_TOKEN": crm.token if plan.crm else None,
        "HUBSPOT_API_BASE_URL": roads["crm"],
    }
    return {name: value for name, value in {**usual, **plan.settings}.items() if value is not None}


def _repository(dynamo: SimulatedDynamo, clock: Callable[[], float] = time.time) -> DynamoRepository:
    return DynamoRepository(
        TABLE,
        clock=clock,
        region=dynamo.region,
        endpoint_url=dynamo.endpoint_url,
        key=AwsKey(dynamo.access_key_id, dynamo.secret_access_key),
    )


async def _set_up_table(dynamo: SimulatedDynamo) -> None:
    """`voice-connect setup table`, again if it must be: a busy machine is not what the town is there to show.

    What a town before this one was still owed has expired: its CRM is gone.
    """
    async with _repository(dynamo, clock=lambda: time.time() + 2 * limits.OUTBOX_TTL_S) as table:
        for tries_left in reversed(range(SET_UP_TRIES)):
            try:
                await table.setup_table()
                await asyncio.gather(*map(table.outbox.lease, await table.outbox.pending()))
            except StoreError:
                if not tries_left:
                    raise
            else:
                return


async def _set_up_crm(crm: SimulatedCrm) -> None:
    """`voice-connect setup hubspot`."""
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
        await client.setup()


@asynccontextmanager
async def _within(settings: Mapping[str, str], tools: tuple[OwnTool, ...], port: int) -> AsyncGenerator[Parts, None]:
    """The gateway on this process's own loop, over real sockets all the same."""
    loaded = load_settings(settings, None)
    profiles = load_profiles(loaded.agent_profile)
    async with open_gateway(loaded, profiles, tools, process=Process(own_loop=False)) as parts:
        sessions, config = parts.sessions, server_config(parts.app, host="127.0.0.1", port=port, media=parts.media)
        server = DrainingServer(config, sessions.drain, sessions.hasten)
        task = asyncio.create_task(server.serve_within(), name="gateway server")
        try:
            await server.until_started()
            yield parts
        finally:
            server.should_exit = True
            await task
