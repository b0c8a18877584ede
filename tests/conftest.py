"""Servers of the town that many tests share. Each is real, on 127.0.0.1, at a port of its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import structlog

from voice_openai_connect import limits
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime
from voice_openai_connect.simulator.town import TABLE

REAL_TIME = {"journeys", "faults"}
"""Folders whose tests play calls: they mostly wait, and what they hear must not depend on a busy machine."""
SPEAKS = "test_demo.py"
"""Its calls are spoken and understood, which takes most of a core: one worker plays them all, one after the other."""
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
CALLERS = WORKERS - 1 if WORKERS > 3 else WORKERS
"""So many workers play calls. Of four or more the last one computes meanwhile, with what the calls leave it."""
GIVES_WAY = 2
"""How nice it is to them: it gets two parts of a core where a call gets three. With less its own answers come late."""


def pytest_configure() -> None:
    """Let the worker that computes give way. How long an example takes is this machine's affair, and proves nothing."""
    slow = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.register_profile("any machine", slow)
    hypothesis.settings.load_profile("any machine")
    if os.environ.get("PYTEST_XDIST_WORKER") == f"gw{CALLERS}":
        os.nice(GIVES_WAY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the calls out like cards, to every caller the same share and before all else; fill up with what computes.

    Each worker begins with an equal part of what it is given here, in this order, and takes from others in the end.
    """
    calls = [item for item in items if REAL_TIME.intersection(item.path.parts) and item.path.name != SPEAKS]
    others = [item for item in items if not REAL_TIME.intersection(item.path.parts)]
    for turn, spoken in enumerate(item for item in items if item.path.name == SPEAKS):
        calls.insert(turn * CALLERS, spoken)  # each of these is the first caller's
    dealt: list[pytest.Item] = []
    for worker in range(WORKERS):
        hand = calls[worker::CALLERS] if worker < CALLERS else []
        share = len(items) * (worker + 1) // WORKERS - len(dealt) - len(hand)
        dealt += hand + others[: max(0, share)]
        del others[: max(0, share)]
    items[:] = dealt + others


@pytest.fixture(scope="session")
def dynamo() -> Iterator[SimulatedDynamo]:
    """One DynamoDB for the whole run, with no tables: make one of your own name for each test."""
    with SimulatedDynamo() as server:
        yield server


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are not about time: DynamoDB shares two cores with all of them, and may take a while."""
    monkeypatch.setattr(limits, "DYNAMODB_CONNECT_S", 20)
    monkeypatch.setattr(limits, "DYNAMODB_READ_S", 20)
    monkeypatch.setattr(limits, "SAVE_MS", 30_000)
    monkeypatch.setattr(limits, "RECORD_MS", 30_000)


@pytest.fixture(scope="session")
def token_function(dynamo: SimulatedDynamo) -> Iterator[LambdaRuntime]:
    """The Lambda of the towns in that DynamoDB, warm from the first call on that needs it."""
    runtime = LambdaRuntime.redeeming_tokens(dynamo, TABLE)
    yield runtime
    asyncio.run(runtime.close())


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
