"""The WebSocket that Twilio opens for a call, as the gateway sees it: text in, text out, never blocking.

There are two of them: this one over any ASGI server, and `picows_media`, which costs a fraction of it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voice_openai_connect import limits
from voice_openai_connect.gateway.token_bucket import TokenBucket
from voice_openai_connect.picows_socket import Heard

NORMAL: Final = 1000
POLICY_VIOLATION: Final = 1008


class MediaSocket(Protocol):
    """One open media socket. The peer may be slow, gone or hostile; whoever holds it is told, and never waits."""

    on_trouble: Callable[[str], None]
    """Called once if the peer does not read (``not_reading``) or sends more than any call could (``flood``)."""

    def send(self, message: bytes) -> None:
        """Queue a text message; messages leave in order. After `close` it does nothing."""
        ...

    async def receive(self) -> str | None:
        """The next text message, empty for a binary one; None once the peer is gone or is to be listened to no more."""
        ...

    async def deliver(self, heard: Heard) -> None:
        """Hand over every message from now on as it comes; return when `receive` would have given None, or when
        `heard` wants no more.

        What `heard` raises ends it, and is raised here. To be cancelled by whoever wants no more of it.
        """
        ...

    async def close(self, code: int = NORMAL) -> None:
        """Send what is queued, within reason, and close. May be called twice."""
        ...


def nobody_told(_: str) -> None:
    """Stands for `on_trouble` until somebody wants to know."""


class StarletteMediaSocket:
    """`MediaSocket` over the WebSocket of an ASGI server. One task writes; the queue in front of it is bounded."""

    def __init__(self, websocket: WebSocket) -> None:
        self.on_trouble: Callable[[str], None] = nobody_told
        self._websocket = websocket
        self._allowed = TokenBucket(limits.STREAM_MESSAGES_PER_S, limits.STREAM_MESSAGES_BURST)
        self._flooded = False
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._filled = asyncio.Event()
        self._closing = False
        self._writer = asyncio.get_running_loop().create_task(self._write(), name="media socket writer")

    def send(self, message: bytes) -> None:
        """Queue a text message."""
        if self._closing:
            return
        self._outbox.append(message)
        self._outbox_bytes += len(message)
        self._filled.set()
        if self._outbox_bytes > limits.OUTBOX_BYTES:
            self._writer.cancel()
            self._give_up()

    def _give_up(self) -> None:
        self._closing = True
        self._outbox.clear()
        self.on_trouble("not_reading")

    async def receive(self) -> str | None:
        """The next text message, or None once the peer is gone or has sent too many."""
        try:
            message = await self._websocket.receive()
        except (WebSocketDisconnect, RuntimeError):
            return None
        if message["type"] == "websocket.disconnect" or self._flooded:
            return None
        if not self._allowed.take(time.monotonic()):
            self._flooded = True
            self.on_trouble("flood")
            return None
        return message.get("text") or ""

    async def deliver(self, heard: Heard) -> None:
        """Hand over every message from now on as it comes."""
        while (text := await self.receive()) is not None:
            if not heard(text):
                return

    async def close(self, code: int = NORMAL) -> None:
        """Send what is queued, within a second, and close."""
        self._closing = True
        self._filled.set()
        await asyncio.wait({self._writer}, timeout=limits.SOCKET_CLOSE_S)
        self._writer.cancel()
        if self._websocket.application_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(limits.SOCKET_CLOSE_S):
                    await self._websocket.close(POLICY_VIOLATION if self._flooded else code)
            except (RuntimeError, TimeoutError, WebSocketDisconnect):
                return  # the peer was quicker, or does not answer: either way it is closed for us

    async def _write(self) -> None:
        while not self._closing or self._outbox:
            while self._outbox:
                message = self._outbox.popleft()
                try:
                    async with asyncio.timeout(limits.SEND_STALLED_S):
                        await self._websocket.send_text(message.decode())
                except TimeoutError:
                    return self._give_up()
                except (WebSocketDisconnect, RuntimeError):
                    self._closing = True
                    return None
                self._outbox_bytes -= len(message)
            self._filled.clear()
            if not self._closing:
                await self._filled.wait()
        return None
