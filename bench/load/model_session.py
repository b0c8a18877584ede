"""One session of the load generator's model: it hears the caller's marked audio, and answers in marked audio."""

import asyncio
import base64
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec

from bench.load import blocks
from bench.load import model_messages as msg
from bench.load.ledger import CallBook, CallerTrack, Item, Ledger
from bench.load.sockets import Ending, LightSocket
from bench.load.trouble import Kind, Trouble
from voice_openai_connect.call.tools import TRANSFER
from voice_openai_connect.limits import BYTES_PER_MS, FRAME_BYTES, STEP_STORE_MS

PIECE_BYTES: Final = 3_042
"""Of one delta: 4,056 characters of base64, the largest that the service sends. No whole number of frames."""
STOP_AFTER_BLOCKS: Final = 10
"""200 ms of silence end a turn."""
WRITE_DOWN_S: Final = 0.15
IDENTIFY_S: Final = 5.0
CHECKPOINT_S: Final = STEP_STORE_MS / 1_000
"""The longest that a turn may be on its way into the store. One said later may be forgotten when a process dies."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the model takes for what. Ranges are drawn from evenly."""

    connect_ms: int = 100
    think_ms: tuple[int, int] = (250, 450)
    answer_ms: tuple[int, int] = (2_000, 5_000)
    speed: float = 5.0
    """How much faster than it plays the audio is sent."""


LIFELIKE: Final = Pace()


@dataclass(eq=False)
class _Response:
    """One that is being made."""

    id: str
    purpose: str
    metadata: dict[str, str]
    out_of_band: bool
    item_id: str = ""
    task: asyncio.Task[None] | None = None


@dataclass
class _Spoken:
    """An item of this session's that has sound."""

    item: Item
    sent_bytes: int = 0


@dataclass(eq=False)
class ModelSession:
    """Serves one socket. `on_over` is called once it is closed, whoever closed it."""

    number: int
    socket: LightSocket
    ledger: Ledger
    pace: Pace
    trouble: Trouble
    random: random.Random
    on_over: Callable[["ModelSession"], None]
    book: CallBook | None = None
    spoke_at: float | None = None
    """When the first sound of it was sent, in seconds of the loop's clock."""
    opened_at: float = 0.0
    told: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """The turns it was given as text: role and words."""

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._track = CallerTrack(self.ledger)
        self._known = asyncio.Event()
        self._ids = itertools.count(1)
        self._configured = False
        self._turn = 0
        self._turn_item = ""
        self._silent = 0
        self._active: _Response | None = None
        self._responses: set[_Response] = set()
        self._spoken: dict[str, _Spoken] = {}
        self._tool_calls: set[str] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self.socket.on_text = self._receive
        self.socket.on_end = self._over
        self.socket.on_open = self._opened

    # --- its life

    def _opened(self) -> None:
        self.opened_at = self._loop.time()
        self._later(self.pace.connect_ms / 1_000, self._announce)

    def _announce(self) -> None:
        self.emit("session.created", session={"type": "realtime", "id": f"sess_{self.number}"})

    def _over(self, _: Ending) -> None:
        for timer in self._timers:
            timer.cancel()
        for response in self._responses:
            if response.task is not None:
                response.task.cancel()
        self.on_over(self)

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.when() > self._loop.time() and not timer.cancelled()]
        self._timers.append(self._loop.call_later(seconds, work))

    # --- out

    def emit(self, kind: str, **fields: Any) -> None:
        """Send an event."""
        self.socket.send(msgspec.json.encode({"type": kind, "event_id": self._id("event"), **fields}))

    def _refuse(self, code: str, message: str, event_id: str | None) -> None:
        error = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
        self.emit("error", error={**error, "event_id": event_id})

    def _id(self, kind: str) -> str:
        return f"{kind}_{self.number}_{next(self._ids)}"

    # --- in

    def _receive(self, text: bytes) -> None:
        try:
            event = msg.read(text)
            if not self._configured and not isinstance(event, msg.Update):
                raise ValueError(f"{type(event).__name__} before the session was configured")  # noqa: TRY301
            self._on[type(event)](self, event)
        except ValueError as error:
            self._complain(f"the model received a wrong message: {error}: {text[:200]!r}")

    def _complain(self, what: str) -> None:
        self.ledger.complain(self.book.number if self.book else 0, what)

    def _append(self, event: msg.Append) -> None:
        block = self._track.take(event.audio, self._loop.time())
        if block is None:
            return
        if self.book is None:
            self._recognise(block.call)
        if block.turn and block.turn != self._turn:
            self._starts(block.turn)
        elif self._turn and not block.turn:
            self._silent += 1
            if self._silent == STOP_AFTER_BLOCKS:
                self._stops()

    def _recognise(self, call: int) -> None:
        """Whose voice it is. Whoever takes over from another session must have been told what was said."""
        book = self.book = self.ledger.calls[call]
        book.sessions += 1
        if book.sessions > 1 and book.turns:
            self.ledger.check_history(book, self.told, known_since=self.opened_at - 1 - CHECKPOINT_S)
        self._known.set()

    def _update(self, event: msg.Update) -> None:
        self._configured = True
        described = {**event.session, "id": f"sess_{self.number}", "object": "realtime.session"}
        self.emit("session.updated", session=described)

    def _new_item(self, event: msg.NewItem) -> None:
        item = event.item
        if isinstance(item, msg.CallOutput):
            if item.call_id not in self._tool_calls:
                raise ValueError(f"a result for {item.call_id}, which was never called")
            described = {"id": self._id("item"), "type": "function_call_output", "call_id": item.call_id}
        else:
            self.told.append((item.role, item.content[0].text))
            described = {"id": self._id("item"), "type": "message", "role": item.role, "status": "completed"}
        self.emit("conversation.item.added", item=described, previous_item_id=None)
        self.emit("conversation.item.done", item=described, previous_item_id=None)

    def _truncate(self, event: msg.Truncate) -> None:
        sent_ms = self._spoken[event.item_id].sent_bytes // BYTES_PER_MS if event.item_id in self._spoken else 0
        if not 0 < event.audio_end_ms <= sent_ms:
            raise ValueError(f"{event.item_id} has {sent_ms} ms of audio")
        self.emit(
            "conversation.item.truncated", item_id=event.item_id, content_index=0, audio_end_ms=event.audio_end_ms
        )

    def _delete(self, event: msg.Delete) -> None:
        if event.item_id not in self._spoken:
            raise ValueError(f"{event.item_id} is unknown")
        self.emit("conversation.item.deleted", item_id=event.item_id)

    # --- the caller's turns

    def _starts(self, turn: int) -> None:
        self._turn, self._silent = turn, 0
        self._turn_item = self._id("item")
        self.emit("input_audio_buffer.speech_started", item_id=self._turn_item, audio_start_ms=0)
        if self._active is not None:
            self._end(self._active, "cancelled", {"type": "cancelled", "reason": "turn_detected"})

    def _stops(self) -> None:
        turn, item_id, self._turn = self._turn, self._turn_item, 0
        self.emit("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=0)
        self.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        item = {"id": item_id, "type": "message", "role": "user", "status": "completed"}
        self.emit("conversation.item.added", item=item, previous_item_id=None)
        self.emit("conversation.item.done", item=item, previous_item_id=None)
        self._later(WRITE_DOWN_S, lambda: self._write_down(turn, item_id))
        if self._active is None:
            self._respond(msg.Wanted())

    def _write_down(self, turn: int, item_id: str) -> None:
        assert self.book is not None  # noqa: S101 - somebody spoke
        text = self.book.words(turn)
        kind = "conversation.item.input_audio_transcription.completed"
        self.emit(kind, item_id=item_id, content_index=0, transcript=text, usage={"type": "duration", "seconds": 1})
        if self.socket.open:
            self.book.said(turn, text, self._loop.time())

    # --- responses

    def _create(self, event: msg.Create) -> None:
        wanted = event.response
        if self._active is not None and wanted.conversation == "auto":
            message = f"Conversation already has an active response in progress: {self._active.id}."
            self._refuse("conversation_already_has_active_response", message, event.event_id)
            return
        self._respond(wanted)

    def _cancel(self, event: msg.Cancel) -> None:
        if self._active is None or self._active.id != event.response_id:
            message = "Cancellation failed: no active response found"
            self._refuse("response_cancel_not_active", message, event.event_id)
            return
        self._end(self._active, "cancelled", {"type": "cancelled", "reason": "client_cancelled"})

    def _respond(self, wanted: msg.Wanted) -> None:
        purpose = wanted.metadata.get("purpose", "reply")
        response = _Response(self._id("resp"), purpose, wanted.metadata, wanted.conversation == "none")
        self._responses.add(response)
        if not response.out_of_band:
            self._active = response
        self.emit(
            "response.created", response={"id": response.id, "status": "in_progress", "metadata": wanted.metadata}
        )
        response.task = asyncio.create_task(self._make(response))

    async def _make(self, response: _Response) -> None:
        """Think, then do what the response is for."""
        await asyncio.sleep(self.random.randint(*self.pace.think_ms) / 1_000)
        async with asyncio.timeout(IDENTIFY_S):
            await self._known.wait()
        assert self.book is not None  # noqa: S101 - waited for
        if response.out_of_band:
            self._write(response)
        elif response.purpose == "reply" and (tool := self.book.tool_due):
            self._call(response, tool)
        else:
            if response.purpose == "greeting" and self.book.turns:
                self._complain("it was greeted again in the middle of the conversation")
            await self._suffer_or_say(response)

    async def _suffer_or_say(self, response: _Response) -> None:
        mishap = self.trouble.strikes("model_drops", "model_closes", "model_fails", "model_stalls")
        if mishap == "model_stalls":
            return
        await self._say(response, mishap)

    def _write(self, response: _Response) -> None:
        """The summary: text beside the conversation."""
        text = "intent: general\nThe caller has a question about an order."
        item = {"id": self._id("item"), "type": "message", "role": "assistant", "status": "completed"}
        item |= {"content": [{"type": "output_text", "text": text}]}
        place = {"response_id": response.id, "output_index": 0}
        self.emit("response.output_item.added", **place, item={**item, "content": []})
        self.emit("response.output_text.done", **place, item_id=item["id"], content_index=0, text=text)
        self.emit("response.output_item.done", **place, item=item)
        self._end(response, "completed", output=[item])

    def _call(self, response: _Response, tool: str) -> None:
        call_id = self._id("call")
        self._tool_calls.add(call_id)
        arguments = '{"reason":"the caller wants it"}' if tool == TRANSFER else "{}"
        item = {"id": self._id("item"), "type": "function_call", "status": "completed", "call_id": call_id}
        item |= {"name": tool, "arguments": arguments}
        place = {"response_id": response.id, "output_index": 0}
        self.emit("response.output_item.added", **place, item={**item, "status": "in_progress", "arguments": ""})
        done = {"item_id": item["id"], "call_id": call_id, "name": tool, "arguments": arguments}
        self.emit("response.function_call_arguments.done", **place, **done)
        self.emit("response.output_item.done", **place, item=item)
        self._end(response, "completed", output=[item])

    # --- speech

    async def _say(self, response: _Response, mishap: Kind | None) -> None:
        """An item with sound, in bursts; with a mishap, half of it."""
        assert self.book is not None  # noqa: S101 - known by now
        number = self.book.answer()
        response.item_id = self._id("item")
        spoken = self._spoken[response.item_id] = _Spoken(self.book.items[number])
        count = self.random.randint(*self.pace.answer_ms) // 20 // (2 if mishap else 1)
        item = {"id": response.item_id, "type": "message", "role": "assistant", "status": "in_progress"}
        place: dict[str, Any] = {"response_id": response.id, "item_id": response.item_id}
        place |= {"output_index": 0, "content_index": 0}
        self.emit("response.output_item.added", response_id=response.id, output_index=0, item=item)
        self.emit("conversation.item.added", item=item, previous_item_id=None)
        self.emit("response.content_part.added", **place, part={"type": "audio", "transcript": ""})
        await self._send_audio(place, spoken, number, count)
        if mishap:
            self._break_off(response, mishap)
            return
        self.emit("response.output_audio.done", **place)
        self.emit("response.output_audio_transcript.done", **place, transcript=spoken.item.text)
        self._close_item(response, place, spoken.item.text, "completed")
        self._end(response, "completed")

    async def _send_audio(self, place: dict[str, Any], spoken: _Spoken, number: int, count: int) -> None:
        """`count` blocks, each stamped when it leaves, in pieces that are no whole blocks."""
        assert self.book is not None  # noqa: S101 - known by now
        words = spoken.item.text.split()
        held = b""
        pieces = -(-count * FRAME_BYTES // PIECE_BYTES)
        due = self._loop.time()
        for piece in range(pieces):
            now = self._loop.time()
            while len(held) < PIECE_BYTES and spoken.item.blocks < count:
                held += blocks.write(self.book.number, number, spoken.item.blocks, blocks.stamp(now))
                spoken.item.blocks += 1
            audio, held = held[:PIECE_BYTES], held[PIECE_BYTES:]
            spoken.sent_bytes += len(audio)
            share = words[piece * len(words) // pieces : (piece + 1) * len(words) // pieces]
            if share:
                delta = (" " if piece else "") + " ".join(share)
                self.emit("response.output_audio_transcript.delta", **place, delta=delta)
            self.emit("response.output_audio.delta", **place, delta=base64.b64encode(audio).decode("ascii"))
            self.spoke_at = self.spoke_at or now
            due += len(audio) / BYTES_PER_MS / 1_000 / self.pace.speed
            await asyncio.sleep(max(0.0, due - self._loop.time()))

    def _break_off(self, response: _Response, mishap: Kind) -> None:
        if mishap == "model_drops":
            self.socket.drop()
        elif mishap == "model_closes":
            self.socket.close(1011, "internal error")
        else:
            error = {"type": "server_error", "code": "server_error", "message": "The server had an error."}
            self._end(response, "failed", {"type": "failed", "error": error})

    def _close_item(self, response: _Response, place: dict[str, Any], text: str, status: str) -> None:
        item = {"id": place["item_id"], "type": "message", "role": "assistant", "status": status}
        item |= {"content": [{"type": "output_audio", "transcript": text}]}
        self.emit("response.content_part.done", **place, part={"type": "audio", "transcript": text})
        self.emit("response.output_item.done", response_id=response.id, output_index=0, item=item)
        self.emit("conversation.item.done", item=item, previous_item_id=None)

    def _end(
        self,
        response: _Response,
        status: str,
        details: dict[str, Any] | None = None,
        output: list[dict[str, Any]] | None = None,
    ) -> None:
        """`response.done`, whatever became of it."""
        self._responses.discard(response)
        if self._active is response:
            self._active = None
        if response.task is not None and response.task is not asyncio.current_task():
            response.task.cancel()
        described = {"id": response.id, "object": "realtime.response", "status": status, "status_details": details}
        usage = {"total_tokens": 100, "input_tokens": 60, "output_tokens": 40}
        self.emit(
            "response.done",
            response={**described, "output": output or [], "metadata": response.metadata, "usage": usage},
        )

    _on: ClassVar[dict[type[msg.Event], Callable[["ModelSession", Any], None]]] = {
        msg.Append: _append,
        msg.Update: _update,
        msg.NewItem: _new_item,
        msg.Truncate: _truncate,
        msg.Delete: _delete,
        msg.Create: _create,
        msg.Cancel: _cancel,
    }
