"""The caller's turns as the simulated model notices them: speech that starts, stops, and is written down."""

import asyncio
from typing import Any, Final, Literal, Protocol
from uuid import uuid4

from voice_openai_connect.limits import BYTES_PER_MS
from voice_openai_connect.simulator.model_audio import CallerAudio
from voice_openai_connect.simulator.model_conversation import Conversation, Item, tokens_of
from voice_openai_connect.simulator.model_protocol import KEYWORD_TRANSCRIBERS, Json, dig
from voice_openai_connect.simulator.model_senses import Senses, TurnDetector
from voice_openai_connect.simulator.model_wire import ModelWire

HEARD_BEFORE_SPEECH_MS: Final = 1_000
"""Kept of the caller's audio while nobody speaks; more than any prefix padding in use."""


class TurnHost(Protocol):
    """The session the turns belong to."""

    wire: ModelWire
    conversation: Conversation
    senses: Senses
    config: Json

    def caller_interrupts(self) -> None:
        """The caller has begun to speak."""
        ...

    def caller_is_done(self, asked_by: Literal["turn", "silence"]) -> None:
        """A turn is in the conversation and wants an answer, if the session is set so."""
        ...


class CallerTurns:
    """Turns of one caller."""

    def __init__(self, host: TurnHost) -> None:
        self._host = host
        self._wire = host.wire
        self._audio = CallerAudio()
        self._detector: TurnDetector | None = None
        self._detects_from_ms = -1
        self._listened_ms = 0
        self._item_id = ""
        self._hearing: set[asyncio.Task[None]] = set()

    @property
    def speaking(self) -> bool:
        """Whether the caller is in the middle of a turn."""
        return bool(self._item_id)

    @property
    def _detection(self) -> Json | None:
        return self._host.config["audio"]["input"]["turn_detection"]

    def configure(self) -> None:
        """Follow the session's settings, which have changed."""
        self._audio.audio_format = self._host.config["audio"]["input"]["format"]["type"]
        self._detector = None
        self._detects_from_ms = -1

    def write(self, data: bytes) -> None:
        """Take in caller audio in the session's format."""
        for frame in self._audio.write(data):
            change = self._listen(frame)
            if change == "started":
                self.starts()
            elif change == "stopped":
                self.stops()
        if self._detection and not self.speaking:
            self._audio.keep_last(HEARD_BEFORE_SPEECH_MS)

    def _listen(self, frame: bytes) -> Literal["started", "stopped"] | None:
        if self._detects_from_ms < 0:  # made when it is first needed: a session is configured before it is spoken to
            self._detects_from_ms = self._listened_ms
            self._detector = self._host.senses.detector(self._detection) if self._detection else None
        self._listened_ms += len(frame) // BYTES_PER_MS
        return self._detector.feed(frame) if self._detector else None

    def starts(self) -> None:
        """The caller begins to speak. Does nothing in the middle of a turn."""
        if self.speaking:
            return
        self._item_id = _item_id()
        padding = (self._detection or {}).get("prefix_padding_ms") or 0
        start = max(0, self._audio.position_ms - padding)
        if self._detector and self._detector.started_ms:
            start = self._detects_from_ms + self._detector.started_ms
        self._audio.keep_last(self._audio.position_ms - start)
        self._wire.emit("input_audio_buffer.speech_started", item_id=self._item_id, audio_start_ms=start)
        self._host.caller_interrupts()

    def stops(self, text: str | None = None) -> None:
        """The caller falls silent, having said `text` (without it, the ears are asked)."""
        if not self.speaking:
            self.starts()
        item_id, self._item_id = self._item_id, ""
        end = self._listened_ms if self._detector else self._audio.position_ms
        self._wire.emit("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=end)
        self._add_turn(item_id, self._audio.take(), text)
        self._host.caller_is_done("turn")

    def stays_silent(self) -> None:
        """The idle time-out passes: the silence becomes a turn of its own."""
        item_id, end = _item_id(), self._audio.position_ms
        idle = dig(self._detection, "idle_timeout_ms") or 0
        self._wire.emit(
            "input_audio_buffer.timeout_triggered",
            item_id=item_id,
            audio_start_ms=max(0, end - idle),
            audio_end_ms=end,
        )
        self._audio.clear()
        self._add_turn(item_id, b"", "")
        self._host.caller_is_done("silence")

    def commit(self) -> None:
        """End a turn because the client says so. Nothing is answered until it asks. Raises `RefusedError`."""
        self._audio.check_commit()
        item_id, self._item_id = self._item_id or _item_id(), ""
        self._add_turn(item_id, self._audio.take(), None)

    def clear(self) -> None:
        """Forget what has been said since the last turn."""
        self._audio.clear()
        self._item_id = ""

    def _add_turn(self, item_id: str, ulaw: bytes, text: str | None) -> None:
        item = Item(item_id, role="user", content=[{"type": "input_audio", "transcript": None}])
        item.audio_ms = len(ulaw) // BYTES_PER_MS
        previous = self._host.conversation.add(item)
        self._wire.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        self._wire.emit("conversation.item.added", item=item.wire(), previous_item_id=previous)
        self._wire.emit("conversation.item.done", item=item.wire(), previous_item_id=previous)
        task = asyncio.create_task(self._write_down(item, ulaw, text))
        self._hearing.add(task)
        task.add_done_callback(self._hearing.discard)

    # --- Words ------------------------------------------------------------------------------------------------------

    async def heard_everything(self) -> None:
        """Return when all turns so far have been understood."""
        if self._hearing:
            await asyncio.wait(set(self._hearing))

    def abandon(self) -> None:
        """Stop listening: the connection is gone."""
        for task in self._hearing:
            task.cancel()

    async def _write_down(self, item: Item, ulaw: bytes, text: str | None) -> None:
        """Understand a turn, and tell the client its words if it wants to know them."""
        heard = await self._host.senses.listen(ulaw) if text is None else text
        item.content[0]["transcript"] = heard
        transcription = self._host.config["audio"]["input"]["transcription"]
        if transcription is None:
            return
        place = {"item_id": item.id, "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        if self._wire.faults.transcription_fails:
            error = {"type": "server_error", "code": "transcription_failed", "message": "It was not understood."}
            self._wire.emit(f"{kind}.failed", **place, error={**error, "param": None})
            return
        if heard:
            self._wire.emit(f"{kind}.delta", **place, delta=heard)
        self._wire.emit(f"{kind}.completed", **place, transcript=heard, **_account(transcription, item, heard))


def _account(transcription: Json, item: Item, heard: str) -> dict[str, Any]:
    """What a transcription costs, and in which language it was, where the model tells."""
    if transcription.get("model") == "whisper-1":
        return {"usage": {"type": "duration", "seconds": item.audio_ms / 1_000}}
    read, made = item.audio_ms // 100, tokens_of(heard)
    usage = {"type": "tokens", "input_tokens": read, "output_tokens": made, "total_tokens": read + made}
    if transcription.get("model") not in KEYWORD_TRANSCRIBERS:
        return {"usage": usage}
    codes = transcription.get("languages") or ["en"]
    return {"usage": usage, "languages": [{"code": codes[0]}] if heard else []}


def _item_id() -> str:
    return f"item_{uuid4().hex[:20]}"
