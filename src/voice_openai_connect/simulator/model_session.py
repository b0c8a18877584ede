"""One session of the simulated model: what a client sends is checked and carried out, what happens is told.

Tests hold a session in their hands: they look at what it received (`received_events`, `caller_audio`, `truncations`),
make the caller speak (`caller_said`), and break things (`wire.drop`, `wire.end`, `wire.send_raw`).
"""

import asyncio
import base64
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import uuid4

from websockets.asyncio.server import ServerConnection

from voice_openai_connect.simulator.model_audio import PCM, PCM_RATE, bytes_per_ms
from voice_openai_connect.simulator.model_conversation import Conversation, Item, Tokens, tokens_of, usage
from voice_openai_connect.simulator.model_mind import Mind, Mishap, ResponseRequest
from voice_openai_connect.simulator.model_protocol import (
    Json,
    RefusedError,
    check_new_item,
    check_response,
    check_session,
    decode_audio,
    dig,
)
from voice_openai_connect.simulator.model_response import AT_ONCE, Delivery, ResponseRun
from voice_openai_connect.simulator.model_senses import Senses
from voice_openai_connect.simulator.model_turns import CallerTurns
from voice_openai_connect.simulator.model_wire import DEADLINE_S, Faults, ModelWire

EXPIRED: Final = "Your session hit the maximum duration of 60 minutes."
LATE_MS: Final = 100
CACHE_STEP: Final = 64
"""Prompt caching counts in blocks of this many tokens."""
_TURN_DEFAULTS: Final[dict[str, Json]] = {
    "server_vad": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
    "semantic_vad": {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    },
}


@dataclass(frozen=True)
class Truncation:
    """A truncation that was accepted: how much was kept of how much."""

    item_id: str
    audio_end_ms: int
    item_ms: int


@dataclass(frozen=True)
class SessionPlan:
    """What a session is made of."""

    model: str
    mind: Mind
    senses: Senses
    faults: Faults = field(default_factory=Faults)
    delivery: Delivery = AT_ONCE
    session_s: float = 3_600
    hurry: float = 1.0
    """How much faster than life the idle time-out runs."""
    remember: bool = True
    """Whether events and audio are kept for a test to look at."""
    on_event: Callable[[str, Json], None] = lambda _kind, _fields: None
    """Told of every event that the service sends."""


class ModelSession:
    """A client's session, from `session.created` to the close."""

    def __init__(self, connection: ServerConnection, plan: SessionPlan) -> None:
        self.id = f"sess_{uuid4().hex[:20]}"
        self.conversation_id = f"conv_{uuid4().hex[:20]}"
        self.plan = plan
        self.mind, self.senses, self.delivery = plan.mind, plan.senses, plan.delivery
        self.wire = ModelWire(connection, plan.faults, remember=plan.remember, on_event=plan.on_event)
        self.conversation = Conversation()
        self.config = _default_config(self.id, plan)
        self.caller_audio = bytearray()
        """Everything the client appended, as it came."""
        self.caller_bytes = 0
        self.truncations: list[Truncation] = []
        self.turns = CallerTurns(self)
        self.active: ResponseRun | None = None
        """The response to the conversation that is being made now."""
        self._runs: set[ResponseRun] = set()
        self._idle: asyncio.TimerHandle | None = None
        self._cached_tokens = 0
        self._has_spoken = False
        self._carry_out: dict[str, Callable[[Json], None]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "output_audio_buffer.clear": self._clear_output,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.delete": self._delete_item,
            "conversation.item.truncate": self._truncate_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    async def run(self) -> None:
        """Serve the client until one of the two closes."""
        expiry = asyncio.create_task(self._expire())
        created = asyncio.create_task(self._announce())
        try:
            await self.wire.run(lambda event: self._carry_out[event["type"]](event))
        finally:
            expiry.cancel()
            created.cancel()
            self._rest()
            self.turns.abandon()
            for run in self._runs:
                run.abandon()

    async def _announce(self) -> None:
        if self.wire.faults.hold_created:
            await self.wire.held()
        self.emit("session.created", session=deepcopy(self.config))

    async def _expire(self) -> None:
        await asyncio.sleep(self.plan.session_s)
        self.wire.refuse(RefusedError(EXPIRED, "session_expired"))
        await self.wire.end(1001, EXPIRED)

    def emit(self, kind: str, **fields: Any) -> None:
        """Send a server event."""
        self.wire.emit(kind, **fields)

    # --- What tests look at and do ----------------------------------------------------------------------------------

    @property
    def received_events(self) -> list[Json]:
        """Every event the client sent, in order, refused ones included."""
        return self.wire.received_events

    @property
    def sent_events(self) -> list[Json]:
        """Every event sent to the client, in order."""
        return self.wire.sent_events

    @property
    def items(self) -> list[Item]:
        """The conversation."""
        return self.conversation.items

    @property
    def closed(self) -> asyncio.Event:
        """Set when the socket is closed; `wire.closed_by` and `wire.close_code` say how."""
        return self.wire.closed

    def received(self, kind: str) -> list[Json]:
        """The client's events of one kind."""
        return [event for event in self.received_events if event.get("type") == kind]

    def sent(self, kind: str) -> list[Json]:
        """The events of one kind sent to the client."""
        return [event for event in self.sent_events if event["type"] == kind]

    async def until(self, condition: Callable[["ModelSession"], bool], *, seconds: float = DEADLINE_S) -> None:
        """Return as soon as the condition holds. Raises `TimeoutError`, telling what did happen, at the deadline."""
        await self.wire.until(lambda: condition(self), seconds=seconds)

    def caller_starts_speaking(self) -> None:
        """The model hears the caller begin to speak."""
        self.turns.starts()

    def caller_stops_speaking(self, text: str | None = None) -> None:
        """The model hears the caller fall silent, having said `text` (without it, the ears are asked)."""
        self.turns.stops(text)

    def caller_said(self, text: str) -> None:
        """A whole turn of the caller's at once."""
        self.turns.starts()
        self.turns.stops(text)

    def caller_stays_silent(self) -> None:
        """The idle time-out passes."""
        self.turns.stays_silent()

    def go_on(self) -> None:
        """End a stall, or let a held `session.created` go out."""
        self.wire.go_on()

    # --- The session and the caller's audio -------------------------------------------------------------------------

    def _update(self, event: Json) -> None:
        faults = self.wire.faults
        if faults.refuse_updates > 0:
            faults.refuse_updates -= 1
            raise RefusedError("Invalid session configuration.", "invalid_value", "session")
        has_spoken = self._has_spoken or (self.active is not None and self.active.audio_ms > 0)
        check_session(
            event["session"],
            model=self.plan.model,
            tools=self.config["tools"],
            current_voice=self.config["audio"]["output"]["voice"],
            has_spoken=has_spoken,
        )
        if faults.ignore_updates:
            return
        self.config = _updated(self.config, event["session"])
        self.turns.configure()
        self.emit("session.updated", session=deepcopy(self.config))

    def _append(self, event: Json) -> None:
        audio = decode_audio(event["audio"])
        self.caller_bytes += len(audio)
        if self.plan.remember:
            self.caller_audio += audio
        self.turns.write(audio)

    def _commit(self, _: Json) -> None:
        self.turns.commit()

    def _clear(self, _: Json) -> None:
        self.turns.clear()
        self.emit("input_audio_buffer.cleared")

    def _clear_output(self, _: Json) -> None:
        raise RefusedError(
            "'output_audio_buffer.clear' is only supported over WebRTC and SIP.", "invalid_value", "type"
        )

    # --- Items ------------------------------------------------------------------------------------------------------

    def _create_item(self, event: Json) -> None:
        wire: Json = event["item"]
        check_new_item(wire)
        if wire["type"] == "function_call_output" and self.conversation.call(wire["call_id"]) is None:
            raise RefusedError(
                f"Tool call ID '{wire['call_id']}' not found in conversation.", "invalid_tool_call_id", "item.call_id"
            )
        item = Item.written_by_client(wire.get("id") or f"item_{uuid4().hex[:20]}", wire)
        previous = self.conversation.add(item, event.get("previous_item_id"))
        self.emit("conversation.item.added", item=item.wire(), previous_item_id=previous)
        self.emit("conversation.item.done", item=item.wire(), previous_item_id=previous)

    def _retrieve_item(self, event: Json) -> None:
        self.emit("conversation.item.retrieved", item=self.conversation.get(event["item_id"], "retrieve").wire())

    def _delete_item(self, event: Json) -> None:
        self.conversation.delete(event["item_id"])
        self.emit("conversation.item.deleted", item_id=event["item_id"])

    def _truncate_item(self, event: Json) -> None:
        item_id, end = event["item_id"], event["audio_end_ms"]
        before = self.conversation.find(item_id)
        item_ms = before.audio_ms if before else 0
        self.conversation.truncate(item_id, event["content_index"], end)
        self.truncations.append(Truncation(item_id, end, item_ms))
        self.emit(
            "conversation.item.truncated", item_id=item_id, content_index=event["content_index"], audio_end_ms=end
        )

    # --- Responses --------------------------------------------------------------------------------------------------

    def _create_response(self, event: Json) -> None:
        wanted: Json = event.get("response") or {}
        check_response(wanted, model=self.plan.model, tools=self.config["tools"])
        self._respond(self._request(wanted), self._other_conversation(wanted.get("input")), wanted)

    def _respond(self, request: ResponseRequest, conversation: Conversation | None, wanted: Json) -> None:
        if self.active and not request.out_of_band:
            raise RefusedError(
                f"Conversation already has an active response in progress: {self.active.id}. "
                "Wait until the response is finished before creating a new one.",
                "conversation_already_has_active_response",
            )
        output = self.config["audio"]["output"]
        run = ResponseRun(self, request, {**output, **(dig(wanted, "audio.output") or {})}, conversation)
        self._runs.add(run)
        if not request.out_of_band:
            self._rest()
            self.active = run
        run.start()

    def _request(self, wanted: Json, asked_by: Literal["client", "turn", "silence"] = "client") -> ResponseRequest:
        """The session's settings with those of one response on top."""
        settings = {**self.config, **{key: value for key, value in wanted.items() if value is not None}}
        choice = settings["tool_choice"]
        limit = settings["max_output_tokens"]
        return ResponseRequest(
            instructions=wanted.get("instructions") or "",
            session_instructions=self.config["instructions"],
            modality=settings["output_modalities"][0],
            tools=() if choice == "none" else tuple(settings["tools"]),
            must_call="*" if choice == "required" else dig(choice, "name") or "",
            out_of_band=wanted.get("conversation") == "none",
            metadata=wanted.get("metadata"),
            max_tokens=limit if isinstance(limit, int) else None,
            asked_by=asked_by,
        )

    def _other_conversation(self, inputs: list[Json] | None) -> Conversation | None:
        """What a response reads instead of the conversation, if it brings its own input."""
        if inputs is None:
            return None
        items: list[Item] = []
        for wire in inputs:
            if wire["type"] == "item_reference":
                items.append(self.conversation.get(wire["id"], "retrieve"))
            else:
                check_new_item(wire)
                items.append(Item.written_by_client(wire.get("id") or f"item_{uuid4().hex[:20]}", wire))
        return Conversation(items)

    def _cancel_response(self, event: Json) -> None:
        wanted = event.get("response_id")
        run = self.active if wanted is None else next((run for run in self._runs if run.id == wanted), None)
        if run is None:
            raise RefusedError("Cancellation failed: no active response found", "response_cancel_not_active")
        run.cancel("client_cancelled")

    # --- What turns and responses need of a session -----------------------------------------------------------------

    def caller_interrupts(self) -> None:
        """The caller has begun to speak: stop what is being said, if the session is set so."""
        self._rest()
        if self.active and dig(self.config, "audio.input.turn_detection.interrupt_response"):
            self.active.cancel("turn_detected")

    def caller_is_done(self, asked_by: Literal["turn", "silence"]) -> None:
        """Answer a turn, if the session is set so."""
        if not dig(self.config, "audio.input.turn_detection.create_response"):
            return
        try:
            self._respond(self._request({}, asked_by), None, {})
        except RefusedError as refusal:
            self.wire.refuse(refusal)

    async def heard_everything(self) -> None:
        """Return when the caller's words so far are known."""
        await self.turns.heard_everything()

    def output_format(self) -> str:
        """The format audio is really sent in."""
        return PCM if self.wire.faults.lie_about_format else self.config["audio"]["output"]["format"]["type"]

    def take_usage(self, read: Tokens, made: Tokens) -> Json:
        """Count a finished response; what was read before is read from the cache."""
        read += Tokens(text=tokens_of(self.config["instructions"]))
        cached = min(self._cached_tokens, read.total) // CACHE_STEP * CACHE_STEP
        self._cached_tokens = read.total + made.total
        return usage(read, cached, made)

    def response_over(self, run: ResponseRun) -> None:
        """Take note that a response has ended, and begin to wait for the caller."""
        self._runs.discard(run)
        self._has_spoken = self._has_spoken or run.audio_ms > 0
        if run is not self.active:
            return
        self.active = None
        if run.status == "cancelled" and run.last_item is not None:
            self._send_late_deltas(run.id, run.last_item.id)
        idle_ms = dig(self.config, "audio.input.turn_detection.idle_timeout_ms")
        if idle_ms and not self.turns.speaking:
            seconds = (run.audio_ms + idle_ms) / 1_000 / self.plan.hurry
            self._idle = asyncio.get_running_loop().call_later(seconds, self.turns.stays_silent)

    def _rest(self) -> None:
        """Stop waiting for the caller to say something."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _send_late_deltas(self, response_id: str, item_id: str) -> None:
        piece = base64.b64encode(b"\x55" * (LATE_MS * bytes_per_ms(self.output_format()))).decode("ascii")
        place = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
        for _ in range(self.wire.faults.late_deltas):
            self.emit("response.output_audio.delta", **place, delta=piece)

    async def suffer(self, mishap: Mishap) -> None:
        """Let something go wrong in the middle of an answer."""
        if isinstance(mishap.what, int):
            await self.wire.end(mishap.what)
        elif mishap.what == "reset":
            self.wire.drop()
        elif mishap.what == "stall":
            await self.wire.held()
        elif mishap.what == "malformed":
            self.wire.send_raw('{"type":"response.output_audio.delta","delta":')
        elif mishap.what == "oversize":
            self.wire.send_oversize()
        else:
            self.emit("session.weather", sky="clear")


def _default_config(session_id: str, plan: SessionPlan) -> Json:
    """What a session is before it is configured: 16-bit PCM at 24 kHz, both ways."""
    pcm: Json = {"type": PCM, "rate": PCM_RATE}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": plan.model,
        "output_modalities": ["audio"],
        "instructions": "You are a helpful, witty, and friendly AI.",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "include": None,
        "expires_at": int(time.time() + plan.session_s),
        "audio": {
            "input": {
                "format": dict(pcm),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": {**_TURN_DEFAULTS["server_vad"], "silence_duration_ms": 200},
            },
            "output": {"format": dict(pcm), "voice": "marin", "speed": 1.0},
        },
    }


def _updated(config: Json, change: Json) -> Json:
    """The configuration with what was sent laid over it; `null` clears, what was not sent stays."""
    audio: Json = change.get("audio") or {}
    sides: Json = {side: {**config["audio"][side], **(audio.get(side) or {})} for side in ("input", "output")}
    turns: Json | None = sides["input"]["turn_detection"]
    if turns is not None:
        sides["input"]["turn_detection"] = {**_TURN_DEFAULTS[turns["type"]], **turns}
    rest = {key: value for key, value in change.items() if key not in {"audio", "type"}}
    return deepcopy({**config, **rest, "audio": sides})
