"""What the simulated model says, and in which messages: the GA events of a turn, in the order the service has them."""

import base64
from typing import Any, Final

import msgspec

PIECE_BYTES: Final = 3_042
"""Of one delta: 4,056 characters of base64, the largest that the service sends. No whole number of frames."""
SAID: Final = "thank you for waiting I have looked at your order and it will be with you on Thursday morning"
WORDS: Final = tuple(SAID.split())
CALLER_SAID: Final = "I would like to know where my order is."
SUMMARY: Final = "intent: general\nThe caller has a question about an order."
_USAGE: Final = {
    "total_tokens": 1_204,
    "input_tokens": 1_120,
    "output_tokens": 84,
    "input_token_details": {
        "text_tokens": 700,
        "audio_tokens": 420,
        "image_tokens": 0,
        "cached_tokens": 960,
        "cached_tokens_details": {"text_tokens": 640, "audio_tokens": 320, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 24, "audio_tokens": 60},
}
_LIMITS: Final = [
    {"name": "requests", "limit": 20_000, "remaining": 19_999, "reset_seconds": 0.003},
    {"name": "tokens", "limit": 15_000_000, "remaining": 14_995_000, "reset_seconds": 0.02},
]
_DELTA: Final = (
    b'{"type":"response.output_audio.delta","event_id":"%b","response_id":"%b","item_id":"%b","output_index":0,'
    b'"content_index":0,"delta":"%b"}'
)

Message = tuple[str, dict[str, Any]]


class Ids:
    """Ids of one session, as long as the service's."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._count = 0

    def next(self, kind: str) -> str:
        """A new one."""
        self._count += 1
        return f"{kind}_{self._session:08x}{self._count:012x}"

    def written(self, kind: str, fields: dict[str, Any]) -> bytes:
        """An event as it goes over the wire."""
        return msgspec.json.encode({"type": kind, "event_id": self.next("event"), **fields})


class Answer:
    """The ids of one spoken response, and the messages around its sound."""

    def __init__(self, ids: Ids, metadata: dict[str, str] | None = None) -> None:
        self._ids = ids
        self._metadata = metadata
        self.response_id = ids.next("resp")
        self.item_id = ids.next("item")
        self._place = {
            "response_id": self.response_id,
            "item_id": self.item_id,
            "output_index": 0,
            "content_index": 0,
        }

    def opening(self) -> list[Message]:
        """Before the first sound."""
        item = self._item("in_progress", [])
        return [
            ("response.created", {"response": self._response("in_progress", [])}),
            ("rate_limits.updated", {"rate_limits": _LIMITS}),
            ("response.output_item.added", {"response_id": self.response_id, "output_index": 0, "item": item}),
            ("conversation.item.added", {"item": item, "previous_item_id": None}),
            ("response.content_part.added", {**self._place, "part": {"type": "audio", "transcript": ""}}),
        ]

    def words(self, piece: int, pieces: int) -> Message:
        """What is said in a piece of the sound."""
        share = WORDS[piece * len(WORDS) // pieces : (piece + 1) * len(WORDS) // pieces]
        return "response.output_audio_transcript.delta", {**self._place, "delta": " ".join([*share, ""])}

    def delta(self, audio: bytes) -> bytes:
        """A piece of the sound, as it goes over the wire."""
        ids = (self._ids.next("event"), self.response_id, self.item_id)
        return _DELTA % (*(each.encode() for each in ids), base64.b64encode(audio))

    def closing(self) -> list[Message]:
        """After the last sound."""
        item = self._item("completed", [{"type": "output_audio", "transcript": SAID}])
        return [
            ("response.output_audio.done", dict(self._place)),
            ("response.output_audio_transcript.done", {**self._place, "transcript": SAID}),
            ("response.content_part.done", {**self._place, "part": {"type": "audio", "transcript": SAID}}),
            ("response.output_item.done", {"response_id": self.response_id, "output_index": 0, "item": item}),
            ("conversation.item.done", {"item": item, "previous_item_id": None}),
            self.done("completed", [item]),
        ]

    def done(self, status: str, output: list[dict[str, Any]]) -> Message:
        """The response is over."""
        return "response.done", {"response": self._response(status, output)}

    def text(self, text: str) -> list[Message]:
        """A response in writing, beside the conversation."""
        item = self._item("completed", [{"type": "output_text", "text": text}])
        place = {"response_id": self.response_id, "output_index": 0}
        return [
            ("response.created", {"response": self._response("in_progress", [])}),
            ("response.output_item.added", {**place, "item": self._item("in_progress", [])}),
            ("response.output_text.done", {**self._place, "text": text}),
            ("response.output_item.done", {**place, "item": item}),
            self.done("completed", [item]),
        ]

    def tool_call(self, name: str, arguments: str) -> list[Message]:
        """A response that calls a function instead of speaking."""
        call = {"id": self.item_id, "type": "function_call", "call_id": self._ids.next("call"), "name": name}
        item = {**call, "status": "completed", "arguments": arguments}
        place = {"response_id": self.response_id, "output_index": 0}
        called = {"item_id": self.item_id, "call_id": call["call_id"], "name": name, "arguments": arguments}
        return [
            ("response.created", {"response": self._response("in_progress", [])}),
            ("rate_limits.updated", {"rate_limits": _LIMITS}),
            ("response.output_item.added", {**place, "item": {**call, "status": "in_progress", "arguments": ""}}),
            ("response.function_call_arguments.done", {**place, **called}),
            ("response.output_item.done", {**place, "item": item}),
            self.done("completed", [item]),
        ]

    def _item(self, status: str, content: list[dict[str, str]]) -> dict[str, Any]:
        return {"id": self.item_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.response_id,
            "object": "realtime.response",
            "status": status,
            "status_details": None,
            "output": output,
            "output_modalities": ["audio"],
            "metadata": self._metadata,
            "usage": _USAGE if status != "in_progress" else None,
        }


def caller_stopped(item_id: str) -> list[Message]:
    """The end of the caller's turn, before the transcript of it."""
    item = {"id": item_id, "type": "message", "role": "user", "status": "completed"}
    item |= {"content": [{"type": "input_audio", "transcript": None}]}
    return [
        ("input_audio_buffer.speech_stopped", {"item_id": item_id, "audio_end_ms": 0}),
        ("input_audio_buffer.committed", {"item_id": item_id, "previous_item_id": None}),
        ("conversation.item.added", {"item": item, "previous_item_id": None}),
        ("conversation.item.done", {"item": item, "previous_item_id": None}),
    ]


def written_down(item_id: str) -> Message:
    """The caller's words."""
    kind = "conversation.item.input_audio_transcription.completed"
    usage = {"type": "duration", "seconds": 1}
    return kind, {"item_id": item_id, "content_index": 0, "transcript": CALLER_SAID, "usage": usage}
