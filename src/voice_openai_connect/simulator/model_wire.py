"""The server's end of one Realtime socket: events out in order, messages in, and every way of breaking off."""

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, cast
from uuid import uuid4

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from voice_openai_connect.simulator.model_protocol import Json, RefusedError, read_event

DEADLINE_S: Final = 30.0
"""For what comes in a moment: a busy machine may need much longer, and no one is helped by giving up early."""
FLUSH_S: Final = 1.0
OVERSIZE_BYTES: Final = 2 * 1_048_576
"""Twice what the gateway accepts in one message."""


@dataclass
class Faults:
    """What is wrong with the service. All off at first; may be changed at any time."""

    handshake_status: int | None = None
    """Answer the WebSocket handshake with this HTTP status (401, 429, 503 …)."""
    hold_created: bool = False
    """Accept the socket and say nothing until `session.go_on()`."""
    refuse_updates: int = 0
    """So many `session.update`s are refused; the session keeps what it had, at first PCM16 at 24 kHz."""
    ignore_updates: bool = False
    """`session.update` is never answered."""
    lie_about_format: bool = False
    """Confirm µ-law and send PCM16 all the same."""
    unknown_events: bool = False
    """Before each event comes one of a kind that nobody has heard of."""
    late_deltas: int = 0
    """After a cancelled response, so many pieces of its audio (100 ms each) still arrive."""
    transcription_fails: bool = False
    """The caller's turns cannot be written down."""


Watcher = Callable[[str, Json], None]
"""Told of an event that is sent: its type and its fields."""


def _nobody(_kind: str, _fields: Json) -> None:
    """Watches nothing."""


class ModelWire:
    """Sends and receives for a session. Sending never waits: events leave in the order they were emitted."""

    def __init__(
        self, connection: ServerConnection, faults: Faults, *, remember: bool = True, on_event: Watcher = _nobody
    ) -> None:
        self.faults = faults
        self._on_event = on_event
        self.received_events: list[Json] = []
        """Every event the client sent, refused ones included; empty when nothing is remembered."""
        self.sent_events: list[Json] = []
        self.sent_kinds: Counter[str] = Counter()
        self.closed = asyncio.Event()
        self.closed_by: Literal["client", "server", ""] = ""
        self.close_code: int | None = None
        self.headers = dict(connection.request.headers.raw_items()) if connection.request else {}
        self._connection = connection
        self._remember = remember
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._may_go_on = asyncio.Event()

    # --- Out --------------------------------------------------------------------------------------------------------

    def emit(self, kind: str, **fields: Any) -> None:
        """Send one event; lost when the socket is closed."""
        if self.faults.unknown_events:
            self.send_raw(json.dumps({"type": "session.weather", "event_id": _event_id(), "sky": "clear"}))
        event = {"type": kind, "event_id": _event_id(), **fields}
        self.sent_kinds[kind] += 1
        if self._remember:
            self.sent_events.append(json.loads(json.dumps(event)))
        self.send_raw(json.dumps(event))
        self._on_event(kind, fields)
        self._notify()

    def refuse(self, refusal: RefusedError, event_id: str | None = None) -> None:
        """Answer a client event with an `error` event."""
        error = {"type": "invalid_request_error", "code": refusal.code, "message": refusal.message}
        self.emit("error", error={**error, "param": refusal.param, "event_id": event_id})

    def send_raw(self, text: str) -> None:
        """Send any text at all, well-formed or not."""
        if not self.closed.is_set():
            self._outbox.put_nowait(text)

    def send_oversize(self) -> None:
        """Send an event far larger than a client should accept."""
        self.send_raw(json.dumps({"type": "session.weather", "event_id": _event_id(), "sky": "x" * OVERSIZE_BYTES}))

    async def _write(self) -> None:
        while True:
            message = await self._outbox.get()
            try:
                await self._connection.send(message)
            except ConnectionClosed:
                return
            finally:
                self._outbox.task_done()

    # --- In ---------------------------------------------------------------------------------------------------------

    async def run(self, carry_out: Callable[[Json], None]) -> None:
        """Carry on until the socket is closed. `carry_out` gets each sound event and may raise `RefusedError`."""
        writer = asyncio.create_task(self._write())
        try:
            async for message in self._connection:
                self._receive(message, carry_out)
        except ConnectionClosed:
            pass  # how it was closed is told below
        finally:
            writer.cancel()
            self.close_code = self._connection.close_code
            self.closed_by = self.closed_by or "client"
            self.closed.set()
            self._notify()

    def _receive(self, message: str | bytes, carry_out: Callable[[Json], None]) -> None:
        event_id = None
        try:
            if self._remember:
                self.received_events.append(_as_far_as_readable(message))
            event = read_event(message)
            event_id = event.get("event_id")
            carry_out(event)
        except RefusedError as refusal:
            self.refuse(refusal, event_id or _event_id_of(message))
        self._notify()

    # --- The end ----------------------------------------------------------------------------------------------------

    async def end(self, code: int = 1000, reason: str = "") -> None:
        """Close the socket from the server's side, after what has been sent."""
        self.closed_by = self.closed_by or "server"
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._outbox.join()
        except TimeoutError:
            pass  # the client does not read; it gets the close all the same
        await self._connection.close(code, reason)

    def drop(self) -> None:
        """Break the connection off (TCP reset), as a crashed server or a failing network does."""
        self.closed_by = self.closed_by or "server"
        transport = self._connection.transport
        tcp: socket.socket | None = transport.get_extra_info("socket")
        if tcp is not None:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    # --- For tests --------------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Let whatever was held or stalled go on."""
        self._may_go_on.set()

    async def held(self) -> None:
        """Wait for `go_on`."""
        self._may_go_on.clear()
        await self._may_go_on.wait()

    async def until(self, condition: Callable[[], bool], *, seconds: float = DEADLINE_S) -> None:
        """Return as soon as the condition holds. Raises `TimeoutError`, telling what did happen, at the deadline."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            received = Counter(event.get("type") for event in self.received_events)
            raise TimeoutError(
                f"not within {seconds} s; received {dict(received)}, sent {dict(self.sent_kinds)}, "
                f"closed by {self.closed_by or 'nobody'}"
            ) from None

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _event_id() -> str:
    return f"event_{uuid4().hex[:20]}"


def _as_far_as_readable(message: str | bytes) -> Json:
    try:
        event: Any = json.loads(message)
    except ValueError:
        event = None
    return cast("Json", event) if isinstance(event, dict) else {"type": "unreadable", "message": message}


def _event_id_of(message: str | bytes) -> str | None:
    event_id = _as_far_as_readable(message).get("event_id")
    return event_id if isinstance(event_id, str) else None
