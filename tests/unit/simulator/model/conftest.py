"""A plain client of the simulated model, which accepts nothing that the official types do not know."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, get_args

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter
from websockets.asyncio.client import ClientConnection, connect

from voice_openai_connect.simulator.model import SimulatedModel

Json = dict[str, Any]
OFFICIAL: dict[str, TypeAdapter[Any]] = {
    get_args(kind.model_fields["type"].annotation)[0]: TypeAdapter(kind)
    for kind in get_args(get_args(RealtimeServerEvent)[0])
}
ON_THE_WIRE_ONLY = {"id", "object", "expires_at"}
"""What the service adds to a session, and the official types leave out."""


def extras(value: Any) -> set[str]:
    if isinstance(value, BaseModel):
        inner = [extras(getattr(value, name)) for name in type(value).model_fields]
        return set(value.model_extra or ()).union(*inner)
    if isinstance(value, list):
        return set[str]().union(*[extras(part) for part in value])  # pyright: ignore[reportUnknownVariableType]
    return set()


class Client:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[Json] = []
        self.unread: list[Json] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> Json:
        """The next event, which must be one that the official types know in every detail."""
        if self.unread:
            return self.unread.pop(0)
        async with asyncio.timeout(20):  # generous: a busy machine listens and speaks slowly
            event: Json = json.loads(await self.connection.recv())
        if event["type"] in OFFICIAL:
            official = OFFICIAL[event["type"]].validate_python(event, strict=True)
            assert extras(official) <= ON_THE_WIRE_ONLY, event
        self.events.append(event)
        return event

    async def expect(self, kind: str) -> Json:
        """The next event of this kind; those before it are passed over."""
        while (event := await self.next())["type"] != kind:
            pass
        return event

    async def refusal(self) -> Json:
        return (await self.expect("error"))["error"]

    async def nothing_but(self, *kinds: str) -> None:
        """Everything the server says before it answers a question put now is of these kinds."""
        await self.send("conversation.item.retrieve", item_id="the_end")
        while (event := await self.next())["type"] != "error":
            assert event["type"] in kinds, event

    async def configure(self, **session: Any) -> Json:
        await self.send("session.update", session={"type": "realtime", **session})
        return (await self.expect("session.updated"))["session"]

    async def use_pcmu(self, **turn_detection: Any) -> Json:
        ulaw = {"type": "audio/pcmu"}
        turns = {"type": "server_vad", **turn_detection} if turn_detection else None
        listening = {"format": ulaw, "turn_detection": turns, "transcription": {"model": "gpt-transcribe"}}
        return await self.configure(audio={"input": listening, "output": {"format": ulaw}})


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def client_of() -> AsyncIterator[Connect]:
    """Connects to a simulated model, as it should be done unless told otherwise, and reads `session.created`."""
    opened: list[ClientConnection] = []

    async def open_client(
        model: SimulatedModel,
        *,
        query: str = "?model=gpt-realtime-2.1",
        headers: dict[str, str] | None = None,
        greeted: bool = True,
    ) -> Client:
        url = model.base_url.replace("http://", "ws://") + "/realtime" + query
        given = {"Authorization": f"Bearer {model.api_key}", **(headers or {})}
        connection = await connect(url, additional_headers=given, max_size=None, max_queue=None, proxy=None)
        opened.append(connection)
        client = Client(connection)
        if greeted:
            assert (await client.next())["type"] == "session.created"
        return client

    yield open_client
    for connection in opened:
        await connection.close()


@pytest.fixture
async def model() -> AsyncIterator[SimulatedModel]:
    async with SimulatedModel.scripted() as scripted:
        yield scripted
