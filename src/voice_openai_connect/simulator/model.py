"""OpenAI's Realtime service, simulated: a real server on loopback that speaks the GA protocol and nothing older.

    async with SimulatedModel.scripted(["Hello, how can I help?"]) as model:
        ...  # point a client at model.base_url with model.api_key
        session = await model.next_session()
        session.caller_said("I want to speak to a person")
        await session.until(lambda s: s.truncations)

What the real service refuses is refused here too, in the same way. `SimulatedModel.live()` listens and speaks for real.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from voice_openai_connect.simulator import model_protocol
from voice_openai_connect.simulator.model_mind import Mind, Reply, ScriptedMind
from voice_openai_connect.simulator.model_protocol import MODELS, TRANSCRIBERS, Json, RefusedError
from voice_openai_connect.simulator.model_response import AT_ONCE, LIFELIKE, Delivery
from voice_openai_connect.simulator.model_senses import LiveSenses, ScriptedSenses, Senses
from voice_openai_connect.simulator.model_session import ModelSession, SessionPlan
from voice_openai_connect.simulator.model_support_mind import SupportMind
from voice_openai_connect.simulator.model_wire import DEADLINE_S, Faults
from voice_openai_connect.simulator.ports import free_port

API_KEY: Final = "sk-simulated"
MESSAGE_BYTES: Final = 24 * 1_048_576
"""Room for an append of 15 MiB in base64."""
CLOSE_S: Final = 1.0
"""How long a client that no longer reads is waited for when the socket is closed."""
_REFUSED: Final[dict[str, str]] = {
    "beta_api_shape_disabled": (
        "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
    ),
    "missing_model": "You must provide a model parameter.",
}


class SimulatedModel:
    """The service. Use as an async context manager; may be told to go away and come back on the same port.

    `mind` makes a mind for each session. `faults` may be changed while it runs.
    """

    def __init__(
        self,
        mind: Callable[[], Mind],
        senses: Senses,
        *,
        delivery: Delivery = AT_ONCE,
        api_key: str = API_KEY,
        session_s: float = 3_600,
        hurry: float = 1.0,
        remember: bool = True,
    ) -> None:
        self.api_key = api_key
        self.faults = Faults()
        self.delivery = delivery
        self.sessions: list[ModelSession] = []
        self.senses = senses
        self.on_event: Callable[[str, Json], None] = lambda _kind, _fields: None
        """Told of every event that is sent to anybody."""
        self.load_first = True
        """Whether entering it also loads everything; if not, it listens at once and `load` is left to others."""
        self.refused_handshakes: list[int] = []
        """The HTTP statuses that handshakes were answered with, other than success."""
        self._mind = mind
        self._session_s = session_s
        self._hurry = hurry
        self._remember = remember
        self._server: Server | None = None
        self._port = free_port()
        self._handed_out = 0
        self._arrived = asyncio.Event()

    @classmethod
    def scripted(
        cls,
        replies: Sequence[Reply | str] = (),
        *,
        heard: Sequence[str] = (),
        hear_energy: bool = False,
        summary: str = "The caller asked for help and wants to speak to a person.",
        **options: Any,
    ) -> "SimulatedModel":
        """A model that follows a script, shared by all its sessions. Needs no speech packages.

        With `hear_energy` it takes loud caller audio for speech, and `heard` are the words of the turns in order;
        otherwise the test makes the caller speak.
        """
        mind = ScriptedMind(replies, summary=summary)
        return cls(lambda: mind, ScriptedSenses(heard, hear_energy=hear_energy), **options)

    @classmethod
    def live(
        cls, senses: LiveSenses | None = None, *, delivery: Delivery = LIFELIKE, **options: Any
    ) -> "SimulatedModel":
        """A model that listens, thinks a little and speaks. Entering it reads the speech models."""
        return cls(SupportMind, senses or LiveSenses(), delivery=delivery, **options)

    @property
    def base_url(self) -> str:
        """What `OPENAI_BASE_URL` should be."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> Self:
        await self.come_back()
        if self.load_first:
            await self.load()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.go_away()

    async def load(self) -> None:
        """Read everything now that would make the first session slow (some 7 s for a live model)."""
        senses = self.senses.load() if isinstance(self.senses, LiveSenses) else asyncio.sleep(0)
        await asyncio.gather(asyncio.to_thread(model_protocol.load), senses)

    async def come_back(self) -> None:
        """Listen, on the same port as before."""
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            process_request=self._answer_http,
            compression=None,
            max_size=MESSAGE_BYTES,
            close_timeout=CLOSE_S,
        )

    async def go_away(self, code: int = 1001) -> None:
        """Close every session and refuse connections."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close(close_connections=False)
        for session in self.sessions:
            if not session.closed.is_set():
                await session.wire.end(code)
        await server.wait_closed()

    async def next_session(self, *, seconds: float = DEADLINE_S) -> ModelSession:
        """The next session that nobody has asked for yet, waiting for it to open."""
        try:
            async with asyncio.timeout(seconds):
                while self._handed_out >= len(self.sessions):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise TimeoutError(
                f"no new session within {seconds} s; {len(self.sessions)} so far, handshakes refused with "
                f"{self.refused_handshakes}"
            ) from None
        self._handed_out += 1
        return self.sessions[self._handed_out - 1]

    # --- HTTP -------------------------------------------------------------------------------------------------------

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Anything that is not a welcome handshake. None lets the handshake go on."""
        path = urlsplit(request.path).path
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return self._refuse(connection, 401, "invalid_api_key", "Incorrect API key provided.")
        if path == "/v1/models" or path.startswith("/v1/models/"):
            return self._models(connection, path.removeprefix("/v1/models").removeprefix("/"))
        if path != "/v1/realtime":
            return self._refuse(connection, 404, "unknown_url", f"Invalid URL (GET {path})")
        if status := self.faults.handshake_status:
            return self._refuse(connection, status, "simulated_fault", HTTPStatus(status).phrase)
        return None

    def _refuse(self, connection: ServerConnection, status: int, code: str, message: str) -> Response:
        self.refused_handshakes.append(status)
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        return _json(connection, status, {"error": error})

    def _models(self, connection: ServerConnection, wanted: str) -> Response:
        known = {**MODELS, **TRANSCRIBERS}
        if wanted and wanted not in known:
            return self._refuse(connection, 404, "model_not_found", _not_found(wanted))
        if wanted:
            return _json(connection, 200, _model(wanted, known[wanted]))
        models = [_model(name, shutdown) for name, shutdown in known.items()]
        return _json(connection, 200, {"object": "list", "data": models})

    # --- WebSocket --------------------------------------------------------------------------------------------------

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None  # noqa: S101 - the handshake is over
        model = parse_qs(urlsplit(connection.request.path).query).get("model", [""])[0]
        session = ModelSession(
            connection,
            SessionPlan(
                model=model,
                mind=self._mind(),
                senses=self.senses,
                faults=self.faults,
                delivery=self.delivery,
                session_s=self._session_s,
                hurry=self._hurry,
                remember=self._remember,
                on_event=self.on_event,
            ),
        )
        if refusal := _unwelcome(connection.request, model):
            await _turn_away(connection, refusal)
            return
        self.sessions.append(session)
        self._arrived.set()
        await session.run()


def _unwelcome(request: Request, model: str) -> RefusedError | None:
    """Why a client that got through the handshake is turned away all the same."""
    if "OpenAI-Beta" in request.headers:
        return RefusedError(_REFUSED["beta_api_shape_disabled"], "beta_api_shape_disabled")
    if not model:
        return RefusedError(_REFUSED["missing_model"], "missing_model", "model")
    if model not in MODELS:
        return RefusedError(_not_found(model), "model_not_found", "model")
    return None


async def _turn_away(connection: ServerConnection, refusal: RefusedError) -> None:
    """An `error` event, then close code 4000 with the reason `<type>.<code>`."""
    kind = "invalid_request_error"
    error = {"type": kind, "code": refusal.code, "message": refusal.message, "param": refusal.param, "event_id": None}
    await connection.send(json.dumps({"type": "error", "event_id": "event_refused", "error": error}))
    await connection.close(4000, f"{kind}.{refusal.code}")


def _not_found(model: str) -> str:
    return f"The model `{model}` does not exist or you do not have access to it."


def _model(name: str, shutdown: str | None) -> Json:
    return {"id": name, "object": "model", "created": 1_770_000_000, "owned_by": "system", "shutdown_date": shutdown}


def _json(connection: ServerConnection, status: int, body: Json) -> Response:
    response = connection.respond(status, json.dumps(body))
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response
