"""The load generator's OpenAI: the handshake, and the sessions there are and were. GA protocol, and nothing else of it.

For what it leaves out, see the strict simulator; what it does, it checks to the byte.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

from websockets.http11 import Request
from websockets.server import ServerProtocol

from bench.load.ledger import Ledger
from bench.load.model_session import LIFELIKE, ModelSession, Pace
from bench.load.sockets import LightSocket
from bench.load.trouble import Trouble

API_KEY: Final = "sk-load"
MODEL: Final = "gpt-realtime-2.1"
MESSAGE_BYTES: Final = 1_048_576


class LoadModel:
    """`async with LoadModel(ledger) as model`, then point gateways at `base_url` with `API_KEY`."""

    def __init__(self, ledger: Ledger, *, pace: Pace = LIFELIKE, trouble: Trouble | None = None, seed: int = 1) -> None:
        self.pace = pace
        self.live: set[ModelSession] = set()
        self.on_session: Callable[[ModelSession], None] = lambda _: None
        """Told of each session as it is opened."""
        self._ledger = ledger
        self._trouble = trouble or Trouble()
        self._random = random.Random(seed)
        self._count = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._socket, "127.0.0.1", 0, backlog=1_024)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for session in list(self.live):
            session.socket.drop()

    @property
    def base_url(self) -> str:
        """What `OPENAI_BASE_URL` should be."""
        return f"http://127.0.0.1:{self.port}/v1"

    def _socket(self) -> LightSocket:
        light = LightSocket(ServerProtocol(max_size=MESSAGE_BYTES))
        light.on_request = lambda request: self._welcome(request, light)
        return light

    def _welcome(self, request: Request, light: LightSocket) -> tuple[int, str] | None:
        parts = urlsplit(request.path)
        if request.headers.get("Authorization") != f"Bearer {API_KEY}" or "OpenAI-Beta" in request.headers:
            self._ledger.complain(0, "a handshake with the model had the wrong headers")
            return 401, "Incorrect API key provided."
        if parts.path != "/v1/realtime" or parse_qs(parts.query) != {"model": [MODEL]}:
            self._ledger.complain(0, f"a handshake with the model asked for {request.path}")
            return 404, "Invalid URL"
        if self._trouble.strikes("model_refuses"):
            return 503, "Service Unavailable"
        self._begin(light)
        return None

    def _begin(self, light: LightSocket) -> None:
        self._count += 1
        own = random.Random(self._random.random())
        session = ModelSession(
            self._count, light, self._ledger, self.pace, self._trouble, own, on_over=self.live.discard
        )
        self.live.add(session)
        self.on_session(session)
