"""One session of the simulated model: it checks what the caller said, and answers in bursts, as the service does."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bench.audio import script
from bench.audio.caller import Caller
from bench.audio.engine import Ending, EngineLine
from bench.audio.lines import Line
from bench.audio.script import Answer, Ids
from bench.audio.tally import Tally
from bench.load import model_messages as msg
from voice_openai_connect.call.tools import TRANSFER

PERIOD_S: Final = 6.0
"""From one answer to the next in a call."""
SPEAKS_S: Final = 0.8
"""How long the caller's turn is."""
WRITTEN_S: Final = 0.15
THINKS_S: Final = 0.35
ANSWER_FRAMES: Final = 150
"""Three seconds of the model's speech ..."""
BURST_S: Final = 0.6
"""... which come in little more than half a second."""
SENTENCE_FRAMES: Final = 60
"""What the model says before it hands a caller over."""
EARLY_S: Final = (2.0, 4.0)
"""By how much an interruption is earlier than the turn that it belongs to: the answer before it is still playing."""
PCM_FRAME_BYTES: Final = 960
"""20 ms of 16-bit PCM at 24 kHz ..."""
PCM_PER_ULAW: Final = 6
"""... for each byte of which µ-law has a sixth of one."""
_PCM: Final = bytes(n % 7 for n in range(2 * script.PIECE_BYTES * PCM_PER_ULAW))[: script.PIECE_BYTES * PCM_PER_ULAW]
"""Near silence; what it is does not matter, only how much."""
_APPEND: Final = b'{"type":"input_audio_buffer.append","audio":"'
_APPEND_END: Final = b'"}'
_TRANSFER_ARGUMENTS: Final = '{"reason":"the caller wants it"}'


@dataclass(frozen=True, slots=True)
class Manner:
    """What callers do. `strict` wants our gateway's whole settings and no message that it has no reason to send."""

    interrupts: float = 0.25
    """The share of answers that are interrupted."""
    strict: bool = True
    pcm: bool = False
    """The system speaks 24 kHz PCM with the model: its sound is counted and cannot be compared."""


class Session:
    """Serves one socket. `find` says whose voice an append carries, until it is known."""

    def __init__(
        self,
        line: Line,
        number: int,
        *,
        find: Callable[["Session", bytes], Caller | None],
        manner: Manner,
        tally: Tally,
        seed: int,
    ) -> None:
        self.caller: Caller | None = None
        self.on_ready: Callable[[], None] = lambda: None
        """Told when it is configured and the caller has been heard."""
        self.escalates = False
        """Whether the next answer is a call of the tool that fetches a person."""
        self.quiet = False
        """Whether the caller says nothing any more: somebody is being fetched."""
        self._loop = asyncio.get_running_loop()
        self._line = line
        self._ids = Ids(number)
        self._find = find
        self._manner = manner
        self._tally = tally
        self._random = random.Random(seed)
        self._configured = False
        self._active: Answer | None = None
        self._wanted: list[dict[str, str]] = []
        self._turn_item = ""
        self._pcm_bytes = 0
        self._timers: set[asyncio.TimerHandle] = set()
        line.on_text = self._receive
        line.on_end = self._over

    def begin(self) -> None:
        """The handshake is done."""
        self._line.begin()
        self._emit("session.created", {"session": {"type": "realtime", "id": self._ids.next("sess")}})

    @property
    def open(self) -> bool:
        """Whether the socket is."""
        return self._line.open

    def drop(self) -> None:
        """Break off."""
        if self._line.open:
            self._line.drop()

    # --- in

    def _receive(self, text: bytes, now: float) -> None:
        if text.startswith(_APPEND):
            self._append(text[len(_APPEND) : -len(_APPEND_END)], now)
            return
        try:
            self._obey(text, now)
        except (ValueError, KeyError) as error:
            self._tally.complain("refused by the model", f"{error}: {text[:160]!r}")

    def _append(self, payload: bytes, now: float) -> None:
        if self.caller is None:
            self.caller = self._find(self, payload)
            if self.caller is None:
                return
            self._recognised(now)
        if self._manner.pcm:
            self._pcm_bytes += len(payload) * 3 // 4
            frames, self._pcm_bytes = divmod(self._pcm_bytes, PCM_FRAME_BYTES)
            self.caller.counted_by_model(frames, now)
        else:
            self.caller.heard_by_model(payload, now)

    def _recognised(self, now: float) -> None:
        if self._configured and self.caller is not None:
            if isinstance(self._line, EngineLine) and not self._manner.pcm:
                self.caller.attach(self._line)
            self.caller.model_ready(now)
            self.on_ready()
            for metadata in self._wanted:
                self._speak(ANSWER_FRAMES, metadata)
            self._wanted.clear()

    def _obey(self, text: bytes, now: float) -> None:
        event: dict[str, Any] = msgspec.json.decode(text)
        if self._manner.strict:
            msg.read(text)
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            self._append(event["audio"].encode(), now)
        elif kind == "session.update":
            self._update(event["session"], now)
        elif kind == "response.create":
            self._create(event.get("response") or {}, event.get("event_id"))
        elif kind == "conversation.item.create":
            item = {"id": self._ids.next("item"), "type": event["item"]["type"]}
            self._emit("conversation.item.added", {"item": item, "previous_item_id": None})
            self._emit("conversation.item.done", {"item": item, "previous_item_id": None})
        elif kind == "response.cancel":
            self._cancel()
        elif kind == "conversation.item.truncate":
            self._give_up()
            done = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
            self._emit("conversation.item.truncated", done)
        elif kind == "conversation.item.delete":
            self._give_up()
            self._emit("conversation.item.deleted", {"item_id": event["item_id"]})

    def _update(self, session: dict[str, Any], now: float) -> None:
        described = {**session, "id": self._ids.next("sess"), "object": "realtime.session"}
        self._emit("session.updated", {"session": described})
        if not self._configured:
            self._configured = True
            self._recognised(now)
            self._later(self._random.uniform(0, PERIOD_S), self._turn)

    def _create(self, wanted: dict[str, Any], event_id: str | None) -> None:
        metadata: dict[str, str] = wanted.get("metadata") or {}
        if wanted.get("conversation") == "none":
            self._emit_all(Answer(self._ids, metadata).text(script.SUMMARY))
        elif self._active is not None:
            code, message = "conversation_already_has_active_response", "Conversation already has an active response."
            error = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
            self._emit("error", {"error": {**error, "event_id": event_id}})
        elif self.caller is None:
            self._wanted.append(metadata)
        else:
            self._speak(SENTENCE_FRAMES if self.quiet else ANSWER_FRAMES, metadata)

    def _cancel(self) -> None:
        """What is being said ends here."""
        if self._active is not None:
            answer, self._active = self._active, None
            self._give_up()
            self._emit(*answer.done("cancelled", []))

    def _give_up(self) -> None:
        if self.caller is not None:
            self.caller.give_up()

    # --- the caller's turns

    def _turn(self) -> None:
        """The caller speaks; unless interrupted in turn, the model answers, and the next turn comes in its time."""
        interrupts = self._random.random() < self._manner.interrupts
        self._later(PERIOD_S - (self._random.uniform(*EARLY_S) if interrupts else 0.0), self._starts)
        self._later(PERIOD_S, self._turn)
        self._later(SPEAKS_S, self._stops)
        if not self._turn_item:
            self._starts()

    def _starts(self) -> None:
        if self._turn_item or self.quiet or self._active is not None:
            return
        self._turn_item = self._ids.next("item")
        if self.caller is not None:
            self.caller.interrupts()
        self._emit("input_audio_buffer.speech_started", {"item_id": self._turn_item, "audio_start_ms": 0})

    def _stops(self) -> None:
        item_id, self._turn_item = self._turn_item, ""
        if not item_id:
            return
        self._emit_all(script.caller_stopped(item_id))
        self._later(WRITTEN_S, lambda: self._emit(*script.written_down(item_id)))
        self._later(THINKS_S, self._answer)

    def _answer(self) -> None:
        if self._active is not None or self.quiet or self.caller is None:
            return
        if self.escalates:
            self.quiet = True
            self._emit_all(Answer(self._ids).tool_call(TRANSFER, _TRANSFER_ARGUMENTS))
        else:
            self._speak(ANSWER_FRAMES)

    # --- the model's speech

    def _speak(self, frames: int, metadata: dict[str, str] | None = None) -> None:
        if self.caller is None:
            return
        answer = self._active = Answer(self._ids, metadata)
        self._emit_all(answer.opening())
        sound = self.caller.new_item(frames)
        pieces = -(-len(sound) // script.PIECE_BYTES)
        for piece in range(pieces):
            self._later(BURST_S * piece / pieces, lambda piece=piece: self._piece(answer, sound, piece, pieces))
        self._later(BURST_S, lambda: self._finish(answer))

    def _piece(self, answer: Answer, sound: bytes, piece: int, pieces: int) -> None:
        if answer is not self._active:
            return
        self._emit(*answer.words(piece, pieces))
        start = piece * script.PIECE_BYTES
        audio = sound[start : start + script.PIECE_BYTES]
        text = answer.delta(_PCM[: len(audio) * PCM_PER_ULAW] if self._manner.pcm else audio)
        if self.caller is not None:
            self.caller.piece_sent(start + len(audio))
        self._line.send(text)

    def _finish(self, answer: Answer) -> None:
        if answer is self._active:
            self._active = None
            self._emit_all(answer.closing())

    # --- out

    def _emit(self, kind: str, fields: dict[str, Any]) -> None:
        self._line.send(self._ids.written(kind, fields))

    def _emit_all(self, messages: list[script.Message]) -> None:
        for kind, fields in messages:
            self._emit(kind, fields)

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(handle)
            work()

        handle = self._loop.call_later(seconds, run)
        self._timers.add(handle)

    def _over(self, _: Ending) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
