"""Servers of the town that many tests share. Each is real, on 127.0.0.1, at a port of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.dynamo import SimulatedDynamo


@pytest.fixture(scope="session")
def dynamo() -> Iterator[SimulatedDynamo]:
    """One DynamoDB for the whole run, with no tables: make one of your own name for each test."""
    with SimulatedDynamo() as server:
        yield server


@pytest.fixture(autouse=True)
def plain_tracebacks() -> Iterator[None]:
    """Where nobody has configured the log, structlog by itself would paint each exception: for seconds, on the loop
    that carries the calls."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
async def crm() -> AsyncIterator[SimulatedCrm]:
    """A HubSpot account with nothing in it, whose search index is up to date until a test lets it lag."""
    async with SimulatedCrm(index_lag_s=0) as portal:
        yield portal
