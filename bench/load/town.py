"""Everything a run needs, started and stopped: a real DynamoDB server, a CRM, the model, the gateways, the carrier."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bench.load import model
from bench.load.carrier import ACCOUNT_SID, AUTH_TOKEN, GATEWAY_NUMBER, PERSON_NUMBER, PUBLIC_HOST, LoadCarrier
from bench.load.flaky_dynamo import FlakyDynamo
from bench.load.fleet import CHECK_S, Fleet
from bench.load.ledger import Ledger
from bench.load.model import LoadModel
from bench.load.model_session import Pace
from bench.load.trouble import Trouble
from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.dynamo import SimulatedDynamo

TABLE: Final = "load"
MAX_CALLS: Final = 250


@dataclass(frozen=True, slots=True)
class LoadTown:
    """A town under load. `crm` and `trouble` are None where the run has none."""

    ledger: Ledger
    model: LoadModel
    fleet: Fleet
    carrier: LoadCarrier
    crm: SimulatedCrm | None
    trouble: Trouble | None = None


@asynccontextmanager
async def open_load_town(
    names: Sequence[str],
    *,
    pace: Pace,
    seed: int,
    trouble: Trouble | None = None,
    crm: bool = False,
    check_s: float = CHECK_S,
) -> AsyncGenerator[LoadTown]:
    """Start it; every process is gone when the block is left. With `trouble`, DynamoDB throttles its share."""
    ledger = Ledger()
    async with AsyncExitStack() as stack:
        dynamo = await stack.enter_async_context(SimulatedDynamo())
        await _set_up_table(dynamo)
        endpoint = dynamo.endpoint_url
        if trouble is not None:
            endpoint = (await stack.enter_async_context(FlakyDynamo(endpoint, trouble))).endpoint_url
        portal = await stack.enter_async_context(SimulatedCrm(index_lag_s=0)) if crm else None
        if portal is not None:
            await _set_up_crm(portal)
        light = await stack.enter_async_context(LoadModel(ledger, pace=pace, trouble=trouble, seed=seed))
        settings = _settings(light, dynamo, endpoint, portal)
        fleet = await stack.enter_async_context(Fleet(settings, names, check_s=check_s))
        carrier = LoadCarrier(fleet, ledger, trouble=trouble, seed=seed)
        yield LoadTown(ledger, light, fleet, carrier, portal, trouble)


def _settings(light: LoadModel, dynamo: SimulatedDynamo, endpoint: str, crm: SimulatedCrm | None) -> dict[str, str]:
    """What a company would write into its `.env`."""
    usual = {
        "PUBLIC_HOST": PUBLIC_HOST,
        "HOST": "127.0.0.1",
        "MAX_CALLS": str(MAX_CALLS),
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_PHONE_NUMBER": GATEWAY_NUMBER,
        "OPENAI_API_KEY": model.API_KEY,
        "OPENAI_BASE_URL": light.base_url,
        "OPENAI_REALTIME_MODEL": model.MODEL,
        "AWS_REGION": dynamo.region,
        "AWS_ACCESS_KEY_ID": dynamo.access_key_id,
        "AWS_SECRET_ACCESS_KEY": dynamo.secret_access_key,
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
        "DYNAMODB_TABLE_NAME": TABLE,
        "CONNECT_PHONE_NUMBER": PERSON_NUMBER,
    }
    if crm is None:
        return usual
    return {**usual, "HUBSPOT_ACCESS_TOKEN": crm.token, "HUBSPOT_API_BASE_URL": crm.base_url}


async def _set_up_table(dynamo: SimulatedDynamo) -> None:
    """`voice-connect setup table`."""
    key = AwsKey(dynamo.access_key_id, dynamo.secret_access_key)
    async with DynamoRepository(TABLE, region=dynamo.region, endpoint_url=dynamo.endpoint_url, key=key) as table:
        await table.setup_table()


async def _set_up_crm(crm: SimulatedCrm) -> None:
    """`voice-connect setup hubspot`."""
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
        await client.setup()


async def until(condition: Callable[[], object], *, within_s: float, what: str) -> None:
    """Look every 20 ms until `condition()` holds. Raises `TimeoutError`, which says what did not come."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - many parties, no event of their own
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutError(f"not within {within_s:g} s: {what}") from None
