"""The model's side of a call: one OpenAI Realtime session on a socket of our own.

The official client is not used here: it spends about a hundred times the processor time on each message, and when it
reconnects it sends stale audio into a session that is not configured.
"""

import asyncio
import logging
import ssl
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from voice_openai_connect import limits
from voice_openai_connect.call import commands
from voice_openai_connect.call.commands import ModelCommand
from voice_openai_connect.call.events import Event, ModelConnected, ModelLost
from voice_openai_connect.call.model_settings import ModelSettings
from voice_openai_connect.integrations.model_socket import (
    HandshakeRefusedError,
    ModelSocket,
    OpenModelSocket,
    open_picows,
)
from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.openai_realtime import (
    RealtimeReader,
    encode,
    encode_audio,
    handshake_refused,
    session_closed,
    session_update,
)

if TYPE_CHECKING:
    from voice_openai_connect.integrations.resampling import Transcoder

Post = Callable[[Event], None]

_log: Final = logging.getLogger(__name__)


def session_url(base_url: str, model: str) -> str:
    """Where a session with `model` is opened, below an HTTP(S) or WS(S) base such as ``https://api.openai.com/v1``."""
    scheme, _, rest = base_url.partition("://")
    secure = {"https": "wss", "wss": "wss", "http": "ws", "ws": "ws"}
    if scheme not in secure or not rest:
        raise ValueError("the model's base URL must begin with https:// (or http:// on loopback)")
    return f"{secure[scheme]}://{rest.rstrip('/')}/realtime?model={quote(model, safe='')}"


class RealtimeLeg:
    """One session of the model, from connecting to the end. A call that lost its model makes a new one.

    Raises ValueError for a base URL that is not one, and RuntimeError if `audio/pcm` is asked for and numpy is not
    installed.
    """

    __slots__ = (
        "__weakref__",
        "_closing",
        "_connected",
        "_given_up",
        "_headers",
        "_open_socket",
        "_reader",
        "_requests",
        "_session",
        "_settings",
        "_socket",
        "_tls",
        "_transcoder",
        "_url",
        "bad_messages",
    )

    def __init__(
        self,
        settings: ModelSettings,
        *,
        api_key: str,
        base_url: str,
        safety_identifier: str = "",
        open_socket: OpenModelSocket = open_picows,
        tls: ssl.SSLContext | None = None,
        limit_left: Callable[[str, float], None] | None = None,
    ) -> None:
        self.bad_messages = 0
        """Messages of the model that could not be read."""
        self._settings = settings
        self._url = session_url(base_url, settings.model)
        self._headers = {"Authorization": f"Bearer {api_key}"}
        if safety_identifier:
            self._headers["OpenAI-Safety-Identifier"] = safety_identifier
        self._transcoder = _transcoder() if settings.audio_format == "audio/pcm" else None
        self._reader = RealtimeReader(limit_left)
        self._requests = 0
        self._open_socket = open_socket
        self._tls = tls
        self._session: asyncio.Task[None] | None = None
        self._socket: ModelSocket | None = None
        """While commands can be carried out."""
        self._connected = False
        self._closing = False
        self._given_up: ModelLost | None = None

    @property
    def unknown(self) -> dict[str, int]:
        """Types of messages we do not know, and how often they came."""
        return self._reader.unknown

    async def run(self, post: Post) -> None:
        """Connect, then post events until the session is over.

        `ModelConnected` or `ModelLost` comes first; `ModelLost` comes exactly once, unless `close` ended the session.
        """
        if self._closing:
            return
        session = self._session = asyncio.create_task(self._talk(post), name="model session")
        try:
            await asyncio.wait({session})
            if not session.cancelled() and (error := session.exception()) is not None:
                # Ours to repair. The message of an exception may carry what was said, so only its place is logged.
                _log.error("the model's session failed: %s\n%s", type(error).__name__, _place(error))
                post(ModelLost(f"internal:{type(error).__name__}"))
        finally:
            await self.close()

    def send(self, command: ModelCommand) -> None:
        """Carry out a command, in order. Does nothing before the socket is open and after it is closed.

        If the model has stopped reading and too much is waiting for it, the session is given up.
        """
        if isinstance(command, commands.SendCallerAudio):
            self.send_audio(command.audio)
        elif isinstance(command, commands.DisconnectModel):
            self._hang_up()
        elif not isinstance(command, commands.ConnectModel):
            self._send(self._written(command))

    def send_audio(self, audio: bytes) -> None:
        """Carry out `SendCallerAudio(audio)`: µ-law at 8 kHz."""
        if self._transcoder is not None:
            audio = self._transcoder.to_model(audio)
        if self._socket is not None and not self._socket.send(encode_audio(audio)):
            self._give_up(self._socket)

    def _send(self, message: bytes) -> None:
        if self._socket is not None and not self._socket.send(message):
            self._give_up(self._socket)

    async def close(self) -> None:
        """Close the socket and end `run`. May be called twice."""
        self._hang_up()
        if self._session is not None:
            await asyncio.wait({self._session})

    # --- The session

    async def _talk(self, post: Post) -> None:
        try:
            async with asyncio.timeout(limits.MODEL_CONNECT_MS / 1_000) as until_connected:
                socket = await self._open_socket(self._url, self._headers, self._tls)
                await self._converse(socket, post, until_connected)
        except asyncio.CancelledError:
            # A task that ends with it keeps the frames it came through, and by them the whole call in a cycle.
            if not self._closing:
                raise
        except TimeoutError:
            post(ModelLost("connect_timeout"))
        except HandshakeRefusedError as refused:
            post(handshake_refused(refused.status))
        except OSError:
            post(ModelLost("connect_failed"))

    async def _converse(self, socket: ModelSocket, post: Post, until_connected: asyncio.Timeout) -> None:
        def heard(text: str) -> bool:
            for event in self._events(text):  # noqa: SIM110 - a generator for each message costs more than it is worth
                if not self._pass_on(event, post, until_connected):
                    return False
            return True

        self._socket = socket
        try:
            closed = await socket.deliver(heard)
            if closed is not None:
                post(self._given_up or session_closed(*closed))
        finally:
            self._socket = None
            try:
                if self._closing:  # a model that is lost is not waited for
                    await socket.close()
            finally:
                socket.abort()

    def _pass_on(self, event: Event, post: Post, until_connected: asyncio.Timeout) -> bool:
        """Post an event, nothing before the session has begun; False if it was the last one."""
        if self._closing:
            return False
        if not self._connected and isinstance(event, ModelConnected):
            self._connected = True
            until_connected.reschedule(None)
        lost = isinstance(event, ModelLost)
        if self._connected or lost:
            post(event)
        return not lost and not self._closing

    def _events(self, text: str) -> tuple[Event, ...]:
        try:
            events = self._reader.read(text)
        except WireError:
            self.bad_messages += 1
            return () if self.bad_messages < limits.MODEL_BAD_MESSAGES else (ModelLost("bad_messages"),)
        if self._transcoder is None:
            return events
        return tuple(heard for event in events for heard in self._transcoder.from_model(event))

    def _written(self, command: ModelCommand) -> bytes:
        if isinstance(command, commands.ConfigureModel):
            return session_update(self._settings)
        self._requests += 1
        return encode(command, event_id=f"{type(command).__name__}.{self._requests}")

    def _give_up(self, socket: ModelSocket) -> None:
        self._given_up = ModelLost("outbox_full")
        self._socket = None
        socket.abort()

    def _hang_up(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._socket = None
        # From inside `post` the session may be the one that runs: it looks at `_closing` as soon as it goes on.
        if self._session is not None and self._session is not asyncio.current_task():
            self._session.cancel()


def _place(error: BaseException) -> str:
    return "".join(traceback.format_tb(error.__traceback__))


def _transcoder() -> "Transcoder":
    try:
        from voice_openai_connect.integrations.resampling import Transcoder
    except ModuleNotFoundError as missing:
        raise RuntimeError(
            f"OPENAI_AUDIO_FORMAT=pcm16 needs {missing.name}: install voice-openai-connect[pcm16]"
        ) from missing
    return Transcoder()
