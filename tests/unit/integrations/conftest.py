"""What the tests of the integrations share: a table of one's own, a record, and servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest

from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.simulator.dynamo import SimulatedDynamo

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_numbers = count(1)


class Table:
    """An empty table's name and how to reach it, as the repository's arguments; and a clock to move."""

    def __init__(self, dynamo: SimulatedDynamo) -> None:
        self.name = f"Handovers{next(_numbers)}"
        self.now = 1_800_000_000.0
        self.reach = {
            "region": dynamo.region,
            "endpoint_url": dynamo.endpoint_url,
            "access_key_id": dynamo.access_key_id,
            "secret_access_key": dynamo.secret_access_key,
        }

    def clock(self) -> float:
        return self.now


@pytest.fixture
def table(dynamo: SimulatedDynamo) -> Table:
    return Table(dynamo)


@pytest.fixture
def record() -> HandoverRecord:
    return HandoverRecord(
        handover_id="handover-1",
        conversation_id="conversation-1",
        call_sid="CA" + "1" * 32,
        caller_phone="+61412345678",
        summary="The caller cannot log in after changing the password.",
        intent="login",
        priority="high",
        escalation_reason="caller asked for a person",
        route_to_queue="Support",
        hubspot_contact_id="101",
    )


@pytest.fixture
def serve() -> Callable[[Handler], object]:
    """`async with serve(handler) as url`: a bare TCP server that does whatever the test wants."""

    @asynccontextmanager
    async def serving(handler: Handler) -> AsyncIterator[str]:
        tasks: set[asyncio.Task[None]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await handler(reader, writer)
            except (asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return serving


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One whole HTTP request, head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    return head + await reader.readexactly(length)


@pytest.fixture
def http_request() -> Callable[[asyncio.StreamReader], Awaitable[bytes]]:
    return read_request
