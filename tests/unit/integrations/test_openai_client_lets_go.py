"""What a session keeps once it is over: nothing, and Python's collector is not needed for that."""

import asyncio
import gc
import json
import weakref

import pytest
from websockets.asyncio.server import ServerConnection, serve

from voice_openai_connect.call.events import Event, ModelConnected
from voice_openai_connect.call.model_settings import ModelSettings
from voice_openai_connect.integrations.model_socket import OpenModelSocket, open_picows, open_websockets
from voice_openai_connect.integrations.openai_client import RealtimeLeg

DEADLINE_S = 20
SETTINGS = ModelSettings(model="gpt-realtime-2.1", voice="marin", instructions="Be brief.", tools=())
CREATED = {"type": "session.created", "event_id": "e", "session": {"type": "realtime"}}


class Caller:
    """Hears what happens."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()

    def post(self, event: Event) -> None:
        if isinstance(event, ModelConnected):
            self.connected.set()


async def greet(socket: ServerConnection) -> None:
    await socket.send(json.dumps(CREATED))
    await socket.wait_closed()


@pytest.mark.parametrize("open_socket", [open_picows, open_websockets], ids=["picows", "websockets"])
async def test_a_session_that_is_over_holds_on_to_nobody(open_socket: OpenModelSocket) -> None:
    gc.disable()
    try:
        async with asyncio.timeout(DEADLINE_S), serve(greet, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            leg = RealtimeLeg(SETTINGS, api_key="key", base_url=url, open_socket=open_socket)
            caller = Caller()
            running = asyncio.create_task(leg.run(caller.post))
            await caller.connected.wait()
            await leg.close()
            await running
        gone = weakref.ref(caller)
        del caller
        assert gone() is None
    finally:
        gc.enable()
