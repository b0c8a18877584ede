"""A table of one's own in the town's DynamoDB, looked at behind the repositories' backs; and a clock to move."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, cast
from urllib.parse import urlsplit

from voice_openai_connect.integrations.aws_session import aws_session
from voice_openai_connect.integrations.dynamo_client import AwsKey, DynamoClient
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.simulator.dynamo import SimulatedDynamo

_WRITES: Final = (b"PutItem", b"UpdateItem", b"TransactWriteItems", b"BatchWriteItem")
BEGINNING: Final = 1_800_000_000.0
_numbers = count(1)


@dataclass
class OwnTable:
    """`now` is the time of every repository that is made here: seconds since the epoch."""

    server: SimulatedDynamo
    client: Any
    name: str
    now: float = BEGINNING

    def repository(
        self,
        *,
        at: str = "",
        draw: Callable[[], int] | None = None,
        on_throttle: Callable[[], None] = lambda: None,
    ) -> DynamoRepository:
        """An instance's way to the table, `at` another address if need be; to be entered with `async with`."""
        more = {"draw": draw} if draw else {}
        return DynamoRepository(
            self.name,
            region=self.server.region,
            endpoint_url=at or self.server.endpoint_url,
            key=AwsKey(self.server.access_key_id, self.server.secret_access_key),
            clock=lambda: self.now,
            on_throttle=on_throttle,
            **more,
        )

    def client_at(self, address: str = "", *, on_throttle: Callable[[], None] = lambda: None) -> DynamoClient:
        """The client below a repository; to be entered with `async with`."""
        return DynamoClient(
            self.name,
            region=self.server.region,
            endpoint_url=address or self.server.endpoint_url,
            key=AwsKey(self.server.access_key_id, self.server.secret_access_key),
            clock=lambda: self.now,
            on_throttle=on_throttle,
        )

    async def item(self, key: str) -> dict[str, Any]:
        """An item as it is, each attribute without its type; empty if there is none."""
        found = await self.client.get_item(TableName=self.name, Key={"token": {"S": key}}, ConsistentRead=True)
        return {name: next(iter(value.values())) for name, value in found.get("Item", {}).items()}

    async def keys(self) -> set[str]:
        """The keys of all items."""
        found = await self.client.scan(TableName=self.name, ConsistentRead=True)
        return {item["token"]["S"] for item in found["Items"]}

    async def write(self, key: str, **texts: str) -> None:
        """An item that nobody here wrote, with an hour to live."""
        item = {name: {"S": text} for name, text in texts.items()}
        expires = {"N": str(int(self.now) + 3_600)}
        await self.client.put_item(TableName=self.name, Item={"token": {"S": key}, "expires_at": expires, **item})

    async def consume(self, token: str) -> None:
        """What the contact centre does when it takes a record."""
        await self.client.update_item(
            TableName=self.name,
            Key={"token": {"S": token}},
            UpdateExpression="SET consumed_by = :c, consumed_at = :n",
            ExpressionAttributeValues={":c": {"S": "contact-1"}, ":n": {"N": str(int(self.now))}},
        )

    @asynccontextmanager
    async def losing_reply(self, *, hang: bool = False) -> AsyncGenerator[str]:
        """An address of the table where the first write is carried out and its reply is lost: cut off, or never coming.

        Fails at the end if nothing was lost.
        """
        line = _LossyLine(self.server.endpoint_url, hang=hang)
        server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            line.over.set()
            server.close()
            await asyncio.gather(*line.busy, return_exceptions=True)
        if not line.lost.startswith(b"HTTP/1.1 200"):
            raise AssertionError("no reply to a write was lost")


class _LossyLine:
    """Carries one request a connection, and loses the reply to the first write."""

    def __init__(self, upstream: str, *, hang: bool) -> None:
        self.over = asyncio.Event()
        self.busy: set[asyncio.Task[None]] = set()
        self.lost = b""
        self._upstream = urlsplit(upstream)
        self._hang = hang

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.busy.add(cast("asyncio.Task[None]", asyncio.current_task()))
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        request = head + await reader.readexactly(int(lengths[0].split(b":")[1]))
        reply = await self._asked(request)
        if self.lost or not any(write in request for write in _WRITES):
            writer.write(reply)
            await writer.drain()
        else:
            self.lost = reply
            if self._hang:
                await self.over.wait()
        writer.close()

    async def _asked(self, request: bytes) -> bytes:
        replies, requests = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        requests.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        reply = await replies.read()
        requests.close()
        return reply


@asynccontextmanager
async def own_table(server: SimulatedDynamo) -> AsyncGenerator[OwnTable]:
    """A new table that nobody else uses."""
    client = aws_session().create_client(
        "dynamodb",
        region_name=server.region,
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
    )
    async with client as opened:
        table = OwnTable(server, opened, f"Own{next(_numbers)}")
        async with table.repository() as repository:
            await repository.setup_table()
        yield table
