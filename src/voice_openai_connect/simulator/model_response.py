"""One response of the simulated model: a mind's reply turned into events, in the service's order and at its pace."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Protocol
from uuid import uuid4

from voice_openai_connect.simulator.model_audio import bytes_per_ms, to_wire
from voice_openai_connect.simulator.model_conversation import Conversation, Item, Tokens, tokens_of
from voice_openai_connect.simulator.model_mind import Failure, Mind, Mishap, ResponseRequest, Speech, ToolCall, Written
from voice_openai_connect.simulator.model_protocol import Json
from voice_openai_connect.simulator.model_senses import Senses


@dataclass(frozen=True)
class Delivery:
    """How the model's audio arrives: in which pieces (ms of audio, taken in turn), and how much faster than it plays.

    Without a speed everything is sent at once. The sizes are odd on purpose: no piece is a whole number of frames.
    """

    pieces_ms: Sequence[float] = (384, 200.125, 384, 333.5)
    speed: float | None = None


AT_ONCE = Delivery()
LIFELIKE = Delivery(speed=5.0)


class Stage(Protocol):
    """The session a response happens in."""

    conversation: Conversation
    mind: Mind
    senses: Senses
    delivery: Delivery
    conversation_id: str

    def emit(self, kind: str, **fields: Any) -> None:
        """Send a server event."""
        ...

    def output_format(self) -> str:
        """The format audio is really sent in."""
        ...

    def take_usage(self, read: Tokens, made: Tokens) -> Json:
        """Count a finished response; returns its usage."""
        ...

    def response_over(self, run: "ResponseRun") -> None:
        """Take note that a response has ended."""
        ...

    async def heard_everything(self) -> None:
        """Return when the caller's words so far are known."""
        ...

    async def suffer(self, mishap: Mishap) -> None:
        """Let something go wrong."""
        ...


class CutShortError(Exception):
    """The reply is longer than `max_output_tokens`."""


class ResponseRun:
    """A response from `response.created` to `response.done`. Runs beside the session until it ends or is cancelled."""

    def __init__(
        self, stage: Stage, request: ResponseRequest, settings: Json, conversation: Conversation | None = None
    ) -> None:
        self.id = f"resp_{uuid4().hex[:20]}"
        self.request = request
        self.status = "in_progress"
        self.reason: str | None = None
        self.audio_ms = 0
        self.last_item: Item | None = None
        self._stage = stage
        self._settings = settings
        self._conversation = conversation or stage.conversation
        self._output: list[Item] = []
        self._open: Item | None = None
        self._error: Failure | None = None
        self._made = Tokens()
        self._said = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Announce the response and begin to think."""
        self._stage.emit("response.created", response=self.wire())
        limits = [("requests", 400, 399), ("tokens", 200_000, 199_000 - self._conversation.tokens().total)]
        self._stage.emit(
            "rate_limits.updated",
            rate_limits=[
                {"name": name, "limit": limit, "remaining": remaining, "reset_seconds": 0.3}
                for name, limit, remaining in limits
            ],
        )
        self._task = asyncio.create_task(self._run())

    def cancel(self, reason: str) -> None:
        """End the response now, in the same instant: what is half said is closed as incomplete."""
        if self.status == "in_progress":
            self._end("cancelled", reason)
            self.abandon()

    def abandon(self) -> None:
        """Stop without a word: the connection is gone."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self) -> None:
        try:
            await self._stage.heard_everything()
            reply = await self._stage.mind.reply(self._conversation, self.request)
            for output in reply.outputs:
                await self._perform(output)
        except CutShortError:
            self._end("incomplete", "max_output_tokens")
        except Exception as error:  # noqa: BLE001 - whatever a mind raises, the caller's side sees a failed response
            self._error = Failure(message=f"The server had an error: {error!r}")
            self._end("failed")
        else:
            self._error = reply.failure
            self._end("failed" if reply.failure else "completed")

    async def _perform(self, output: Speech | Written | ToolCall) -> None:
        if isinstance(output, ToolCall):
            await self._call(output)
        elif isinstance(output, Speech) and self.request.modality == "audio":
            await self._say(output)
        else:
            await self._write(output.text)

    # --- Items ------------------------------------------------------------------------------------------------------

    def _place(self, *, content: bool = True) -> Json:
        """Where the open item's events belong."""
        assert self._open is not None  # noqa: S101 - only called between _begin and _finish_item
        place: Json = {"response_id": self.id, "item_id": self._open.id, "output_index": len(self._output)}
        return {**place, "content_index": 0} if content else place

    def _begin(self, item: Item) -> Item:
        self._open = self.last_item = item
        self._stage.emit(
            "response.output_item.added", response_id=self.id, output_index=len(self._output), item=item.wire()
        )
        if not self.request.out_of_band:
            previous = self._stage.conversation.add(item)
            self._stage.emit("conversation.item.added", item=item.wire(), previous_item_id=previous)
        return item

    def _begin_message(self, part: Json) -> Item:
        item = self._begin(Item(f"item_{uuid4().hex[:20]}", role="assistant", status="in_progress"))
        item.content.append({**part, "type": f"output_{part['type']}"})
        self._stage.emit("response.content_part.added", **self._place(), part=part)
        return item

    def _finish_item(self, status: str) -> None:
        """Close the open item with all its closing events; does nothing when none is open."""
        item = self._open
        if item is None:
            return
        item.status = "completed" if status == "completed" else "incomplete"
        self._close_content(item)
        self._stage.emit(
            "response.output_item.done", response_id=self.id, output_index=len(self._output), item=item.wire()
        )
        if not self.request.out_of_band:
            self._stage.emit("conversation.item.done", item=item.wire(), previous_item_id=self._previous(item))
        self._output.append(item)
        self._open = None

    def _close_content(self, item: Item) -> None:
        if item.type == "function_call":
            self._stage.emit(
                "response.function_call_arguments.done",
                **self._place(content=False),
                call_id=item.call_id,
                name=item.name,
                arguments=item.arguments,
            )
            return
        place = self._place()
        if item.is_model_speech:
            part = {"type": "audio", "transcript": self._said}
            self._stage.emit("response.output_audio.done", **place)
            self._stage.emit("response.output_audio_transcript.done", **place, transcript=self._said)
            self._stage.emit("response.content_part.done", **place, part=part)
        else:
            self._stage.emit("response.output_text.done", **place, text=item.text)
            self._stage.emit("response.content_part.done", **place, part={"type": "text", "text": item.text})

    def _previous(self, item: Item) -> str | None:
        items = self._stage.conversation.items
        index = items.index(item) if item in items else 0
        return items[index - 1].id if index else None

    # --- What an item is made of ------------------------------------------------------------------------------------

    async def _say(self, speech: Speech) -> None:
        item = self._begin_message({"type": "audio", "transcript": ""})
        self._said = ""
        audio_format = self._stage.output_format()
        sizes = cycle([round(ms * bytes_per_ms(audio_format)) for ms in self._stage.delivery.pieces_ms])
        item_bytes = 0
        if speech.mishap and speech.mishap.at_ms <= 0:
            await self._stage.suffer(speech.mishap)
        async for text, ulaw in self._spoken(speech):
            self._add_words(item, text)
            for piece in _pieces(to_wire(ulaw, audio_format), sizes):
                self._spend(Tokens(audio=len(piece) // bytes_per_ms(audio_format) // 50))
                before_ms = item_bytes // bytes_per_ms(audio_format)
                item_bytes += len(piece)
                sent_ms = item_bytes // bytes_per_ms(audio_format)
                self.audio_ms += sent_ms - before_ms
                if not item.truncated:
                    item.audio_ms = sent_ms
                self._stage.emit("response.output_audio.delta", **self._place(), delta=_base64(piece))
                if speech.mishap and before_ms < speech.mishap.at_ms <= sent_ms:
                    await self._stage.suffer(speech.mishap)
                await self._keep_pace(sent_ms - before_ms)
        self._finish_item("completed")

    async def _spoken(self, speech: Speech) -> AsyncIterator[tuple[str, bytes]]:
        if speech.audio is not None:
            yield speech.text, speech.audio
            return
        async for text, ulaw in self._stage.senses.speak(speech.text):
            yield text, ulaw

    def _add_words(self, item: Item, text: str) -> None:
        delta = f" {text}" if self._said else text
        self._said += delta
        if not item.truncated:
            item.content[0]["transcript"] = self._said
        self._spend(Tokens(text=tokens_of(delta)))
        self._stage.emit("response.output_audio_transcript.delta", **self._place(), delta=delta)

    async def _keep_pace(self, ms: int) -> None:
        if self._stage.delivery.speed is not None:
            await asyncio.sleep(ms / 1_000 / self._stage.delivery.speed)

    async def _write(self, text: str) -> None:
        item = self._begin_message({"type": "text", "text": ""})
        for start in range(0, len(text), 24):
            delta = text[start : start + 24]
            item.content[0]["text"] += delta
            self._spend(Tokens(text=tokens_of(delta)))
            self._stage.emit("response.output_text.delta", **self._place(), delta=delta)
        self._finish_item("completed")

    async def _call(self, call: ToolCall) -> None:
        item = Item(f"item_{uuid4().hex[:20]}", "function_call", name=call.name, call_id=call.call_id)
        item.status = "in_progress"
        self._begin(item)
        for start in range(0, len(call.arguments), 40):
            delta = call.arguments[start : start + 40]
            item.arguments += delta
            self._spend(Tokens(text=tokens_of(delta)))
            place = self._place(content=False)
            self._stage.emit("response.function_call_arguments.delta", **place, call_id=call.call_id, delta=delta)
        self._finish_item("completed")

    def _spend(self, tokens: Tokens) -> None:
        self._made += tokens
        if self.request.max_tokens is not None and self._made.total > self.request.max_tokens:
            raise CutShortError

    # --- The end ----------------------------------------------------------------------------------------------------

    def _end(self, status: str, reason: str | None = None) -> None:
        if self.status != "in_progress":
            return
        self._finish_item(status)
        self.status, self.reason = status, reason
        usage = self._stage.take_usage(self._conversation.tokens(), self._made)
        response = {**self.wire(), "status_details": self._status_details(), "usage": usage}
        self._stage.emit("response.done", response=response)
        self._stage.response_over(self)

    def _status_details(self) -> Json | None:
        if self.status == "completed":
            return None
        details: Json = {"type": self.status}
        if self.reason:
            details["reason"] = self.reason
        if self._error:
            error = self._error
            details["error"] = {"type": error.type, "code": error.code, "message": error.message}
        return details

    def wire(self) -> Json:
        """The response as the service writes it."""
        audio = {"output": {"format": self._settings["format"], "voice": self._settings["voice"]}}
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": None,
            "output": [item.wire() for item in self._output],
            "conversation_id": None if self.request.out_of_band else self._stage.conversation_id,
            "output_modalities": [self.request.modality],
            "max_output_tokens": self.request.max_tokens or "inf",
            "audio": audio,
            "usage": None,
            "metadata": self.request.metadata,
        }


def _pieces(audio: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    start = 0
    while start < len(audio):
        size = next(sizes)
        yield audio[start : start + size]
        start += size


def _base64(audio: bytes) -> str:
    return base64.b64encode(audio).decode("ascii")
