"""The model's side of a call: one OpenAI Realtime session on a socket of our own.

The official client is not used here: it spends about a hundred times the processor time on each message, and when it
reconnects it sends stale audio into a session that is not configured.
"""

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from voice_openai_connect import __version__, limits
from voice_openai_connect.call import commands
from voice_openai_connect.call.commands import ModelCommand
from voice_openai_connect.call.events import Event, ModelConnected, ModelLost
from voice_openai_connect.call.model_settings import ModelSettings
from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.openai_realtime import (
    RealtimeReader,
    encode,
    handshake_refused,
    session_closed,
    session_update,
)

if TYPE_CHECKING:
    from voice_openai_connect.integrations.resampling import Transcoder

Post = Callable[[Event], None]

_log: Final = logging.getLogger(__name__)
_SILENT: Final = logging.Logger("unheard")  # noqa: LOG001 - in no registry, so that no configuration can switch it on
_SILENT.disabled = True
"""The library logs headers and messages at DEBUG: the key, and what the caller says. It gets no logger that writes."""


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

    def __init__(
        self,
        settings: ModelSettings,
        *,
        api_key: str,
        base_url: str,
        safety_identifier: str = "",
    ) -> None:
        self.bad_messages = 0
        """Messages of the model that could not be read."""
        self._settings = settings
        self._url = session_url(base_url, settings.model)
        self._headers = {"Authorization": f"Bearer {api_key}"}
        if safety_identifier:
            self._headers["OpenAI-Safety-Identifier"] = safety_identifier
        self._transcoder = _transcoder() if settings.audio_format == "audio/pcm" else None
        self._reader = RealtimeReader()
        self._requests = 0
        self._session: asyncio.Task[None] | None = None
        self._socket: ClientConnection | None = None
        self._outbox: asyncio.Queue[str] | None = None
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
        if isinstance(command, commands.DisconnectModel):
            self._hang_up()
        if self._outbox is None or isinstance(command, commands.ConnectModel):
            return
        try:
            self._outbox.put_nowait(self._written(command))
        except asyncio.QueueFull:
            self._give_up("outbox_full")

    async def close(self) -> None:
        """Close the socket and end `run`. May be called twice."""
        self._hang_up()
        if self._session is not None:
            await asyncio.wait({self._session})

    # --- The session

    async def _talk(self, post: Post) -> None:
        try:
            async with asyncio.timeout(limits.MODEL_CONNECT_MS / 1_000) as until_connected:
                self._socket = await self._open()
                await self._converse(self._socket, post, until_connected)
        except TimeoutError:
            post(ModelLost("connect_timeout"))
        except InvalidStatus as refused:
            post(handshake_refused(refused.response.status_code))
        except (OSError, WebSocketException):
            post(ModelLost("connect_failed"))

    async def _open(self) -> ClientConnection:
        return await _NoRedirects(
            self._url,
            additional_headers=self._headers,
            user_agent_header=f"voice-openai-connect/{__version__}",
            compression=None,  # base64 audio hardly shrinks, and the processor time is worth more
            proxy=True if self._url.startswith("wss:") else None,  # plain ws is loopback, which no proxy reaches
            open_timeout=None,  # the deadline of the caller covers more than the handshake
            ping_interval=limits.MODEL_PING_S,
            ping_timeout=limits.MODEL_PING_S,
            close_timeout=limits.MODEL_CLOSE_S,
            max_size=limits.MODEL_MESSAGE_BYTES,
            max_queue=limits.MODEL_MESSAGES_HELD,
            logger=_SILENT,
        )

    async def _converse(self, socket: ClientConnection, post: Post, until_connected: asyncio.Timeout) -> None:
        self._outbox = asyncio.Queue(limits.OUTBOX_MESSAGES)
        writer = asyncio.create_task(_write(socket, self._outbox), name="model writer")
        try:
            await self._listen(socket, post, until_connected)
        finally:
            self._outbox = None
            writer.cancel()
            try:
                if self._closing:  # a model that is lost is not waited for
                    await socket.close()
            finally:
                socket.transport.abort()

    async def _listen(self, socket: ClientConnection, post: Post, until_connected: asyncio.Timeout) -> None:
        connected = False
        while not self._closing:
            for event in await self._next_events(socket):
                if self._closing:
                    return
                if isinstance(event, ModelConnected):
                    connected = True
                    until_connected.reschedule(None)
                if connected or isinstance(event, ModelLost):
                    post(event)
                if isinstance(event, ModelLost):
                    return

    async def _next_events(self, socket: ClientConnection) -> tuple[Event, ...]:
        try:
            events = self._reader.read(await socket.recv())
        except ConnectionClosed as closed:
            return (self._given_up or _why(closed),)
        except WireError:
            self.bad_messages += 1
            return () if self.bad_messages < limits.MODEL_BAD_MESSAGES else (ModelLost("bad_messages"),)
        if self._transcoder is None:
            return events
        return tuple(heard for event in events for heard in self._transcoder.from_model(event))

    def _written(self, command: ModelCommand) -> str:
        if isinstance(command, commands.SendCallerAudio):
            payload = self._transcoder.to_model(command.payload) if self._transcoder else command.payload
            return encode(commands.SendCallerAudio(payload))
        if isinstance(command, commands.ConfigureModel):
            return session_update(self._settings)
        self._requests += 1
        return encode(command, event_id=f"{type(command).__name__}.{self._requests}")

    def _give_up(self, reason: str) -> None:
        self._given_up = ModelLost(reason)
        self._outbox = None
        if self._socket is not None:
            self._socket.transport.abort()

    def _hang_up(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._outbox = None
        # From inside `post` the session is the one that runs: it looks at `_closing` as soon as it goes on.
        if self._session is not None and self._session is not asyncio.current_task():
            self._session.cancel()


class _NoRedirects(connect):
    """Goes where the settings say, and nowhere else: a redirect would carry the call to another server."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """No redirect is ever followed."""
        return exc


async def _write(socket: ClientConnection, outbox: asyncio.Queue[str]) -> None:
    with contextlib.suppress(ConnectionClosed):  # the reading side meets it too, and says why
        while True:
            await socket.send(await outbox.get())


def _why(closed: ConnectionClosed) -> ModelLost:
    frame = closed.rcvd or closed.sent
    return session_closed(frame.code, frame.reason) if frame else session_closed(1006, "")


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
