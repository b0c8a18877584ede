"""The WebSocket that Twilio opens for a call, as the stream handler sees it: text in, text out, never blocking."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voice_openai_connect import limits
from voice_openai_connect.gateway.token_bucket import TokenBucket

NORMAL: Final = 1000
POLICY_VIOLATION: Final = 1008


class MediaSocket(Protocol):
    """One open media socket. Another implementation (faster, on the same port) has the same three methods."""

    def send(self, text: str) -> None:
        """Queue a text message; messages leave in order. After `close` it does nothing."""
        ...

    async def receive(self) -> str | None:
        """The next text message, or None once the peer is gone or is to be listened to no more. A binary message
        comes back as an empty text."""
        ...

    async def close(self) -> None:
        """Send what is queued, within reason, and close. May be called twice."""
        ...


class StarletteMediaSocket:
    """`MediaSocket` over the WebSocket of an ASGI server.

    One task writes; the queue in front of it is bounded. A peer that lets it fill up does not read any more; one that
    sends more than any call could is hostile. Either is reported to `on_trouble` once (``not_reading``, ``flood``).
    """

    def __init__(self, websocket: WebSocket, on_trouble: Callable[[str], None]) -> None:
        self._websocket = websocket
        self._on_trouble = on_trouble
        self._close_code = NORMAL
        self._allowed = TokenBucket(limits.STREAM_MESSAGES_PER_S, limits.STREAM_MESSAGES_BURST)
        self._outbox: deque[str] = deque()
        self._filled = asyncio.Event()
        self._closing = False
        self._writer = asyncio.get_running_loop().create_task(self._write(), name="media socket writer")

    def send(self, text: str) -> None:
        """Queue a text message."""
        if self._closing:
            return
        if len(self._outbox) >= limits.OUTBOX_MESSAGES:
            self._closing = True
            self._writer.cancel()
            self._on_trouble("not_reading")
            return
        self._outbox.append(text)
        self._filled.set()

    async def receive(self) -> str | None:
        """The next text message, or None once the peer is gone or has sent too many."""
        try:
            message = await self._websocket.receive()
        except (WebSocketDisconnect, RuntimeError):
            return None
        if message["type"] == "websocket.disconnect":
            return None
        if not self._allowed.take(time.monotonic()):
            self._close_code = POLICY_VIOLATION
            self._on_trouble("flood")
            return None
        return message.get("text") or ""

    async def close(self) -> None:
        """Send what is queued, within a second, and close."""
        self._closing = True
        self._filled.set()
        await asyncio.wait({self._writer}, timeout=limits.SOCKET_CLOSE_S)
        self._writer.cancel()
        if self._websocket.application_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(limits.SOCKET_CLOSE_S):
                    await self._websocket.close(code=self._close_code)
            except (RuntimeError, TimeoutError, WebSocketDisconnect):
                return  # the peer was quicker, or does not answer: either way it is closed for us

    async def _write(self) -> None:
        while True:
            while self._outbox:
                try:
                    await self._websocket.send_text(self._outbox.popleft())
                except (WebSocketDisconnect, RuntimeError):
                    self._closing = True
                    return
            if self._closing:
                return
            self._filled.clear()
            await self._filled.wait()
