"""What the simulated model remembers of a conversation: items in order, as the service keeps them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from voice_openai_connect.simulator.model_protocol import Json, RefusedError

ItemType = Literal["message", "function_call", "function_call_output"]
Status = Literal["in_progress", "completed", "incomplete"]


@dataclass
class Item:
    """One item. Audio itself is not kept, only how long it is."""

    id: str
    type: ItemType = "message"
    role: str = ""
    """`user`, `assistant` or `system`; empty for calls and their outputs."""
    content: list[Json] = field(default_factory=list[Json])
    status: Status = "completed"
    name: str = ""
    call_id: str = ""
    arguments: str = ""
    output: str = ""
    audio_ms: int = 0
    """How much audio the item holds: what the caller said, or what the model has made so far or kept when truncated."""
    truncated: bool = False

    @classmethod
    def written_by_client(cls, item_id: str, wire: Json) -> "Item":
        """An item from `conversation.item.create`."""
        return cls(
            id=item_id,
            type=wire["type"],
            role=wire.get("role", ""),
            content=[{key: value for key, value in part.items() if key != "audio"} for part in wire.get("content", ())],
            name=wire.get("name", ""),
            call_id=wire.get("call_id", ""),
            arguments=wire.get("arguments", ""),
            output=wire.get("output", ""),
        )

    @property
    def text(self) -> str:
        """The item's words: written, said, or transcribed. Empty while they are not known."""
        return " ".join(said for part in self.content if (said := part.get("text") or part.get("transcript")))

    @property
    def is_model_speech(self) -> bool:
        """Whether this is speech of the model's, the only thing that can be truncated."""
        return self.role == "assistant" and any(part["type"] == "output_audio" for part in self.content)

    def wire(self) -> Json:
        """The item as the service writes it."""
        head: Json = {"id": self.id, "object": "realtime.item", "type": self.type, "status": self.status}
        if self.type == "function_call":
            return {**head, "name": self.name, "call_id": self.call_id, "arguments": self.arguments}
        if self.type == "function_call_output":
            return {**head, "call_id": self.call_id, "output": self.output}
        return {**head, "role": self.role, "content": [dict(part) for part in self.content]}


@dataclass(frozen=True)
class Turn:
    """What one side said, in words."""

    role: str
    text: str


class Conversation:
    """Items in order."""

    def __init__(self, items: list[Item] | None = None) -> None:
        self.items: list[Item] = items or []

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    @property
    def turns(self) -> list[Turn]:
        """The words of both sides, without items whose words are not known."""
        return [Turn(item.role, item.text) for item in self.items if item.type == "message" and item.text]

    def find(self, item_id: str) -> Item | None:
        """The item of that id."""
        return next((item for item in self.items if item.id == item_id), None)

    def get(self, item_id: str, doing: str) -> Item:
        """The item of that id; raises `RefusedError` in the service's words when there is none."""
        item = self.find(item_id)
        if item is None:
            raise RefusedError(
                f"Error {doing[:-1]}ing item: the item with id '{item_id}' does not exist.",
                f"item_{doing}_invalid_item_id",
                "item_id",
            )
        return item

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Put an item at the end, or after another (`root`: first). Returns the id of the item before it."""
        if self.find(item.id):
            raise RefusedError(
                f"An item with id '{item.id}' already exists.", "item_create_duplicate_item_id", "item.id"
            )
        place = len(self.items)
        if after == "root":
            place = 0
        elif after is not None:
            place = self._index(after) + 1
        self.items.insert(place, item)
        return self.items[place - 1].id if place else None

    def _index(self, item_id: str) -> int:
        for index, item in enumerate(self.items):
            if item.id == item_id:
                return index
        raise RefusedError(
            f"Previous item with id '{item_id}' not found in conversation.",
            "item_create_invalid_previous_item_id",
            "previous_item_id",
        )

    def delete(self, item_id: str) -> None:
        """Take an item out."""
        self.items.remove(self.get(item_id, "delete"))

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> Item:
        """Keep only the first `audio_end_ms` of the model's speech, and none of its words."""
        item = self.get(item_id, "truncate")
        if not item.is_model_speech or not item.audio_ms or audio_end_ms <= 0 or content_index != 0:
            raise RefusedError(
                "Only model output audio messages can be truncated.", "unsupported_content_type", "item_id"
            )
        if audio_end_ms > item.audio_ms:
            raise RefusedError(f"Audio content of {item.audio_ms}ms is already shorter than {audio_end_ms}ms")
        item.audio_ms, item.truncated = audio_end_ms, True
        item.content = [{"type": "output_audio"}]
        return item

    def call(self, call_id: str) -> Item | None:
        """The function call of that id."""
        return next((item for item in self.items if item.type == "function_call" and item.call_id == call_id), None)

    def tokens(self) -> "Tokens":
        """What a response must read: roughly a token for 4 letters, and one for 100 ms of the caller's audio."""
        total = Tokens()
        for item in self.items:
            heard = item.audio_ms // (50 if item.role == "assistant" else 100)
            words = item.text if not heard else ""
            total += Tokens(text=tokens_of(words + item.arguments + item.output), audio=heard)
        return total


@dataclass(frozen=True)
class Tokens:
    """An amount of tokens, by kind."""

    text: int = 0
    audio: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.text + other.text, self.audio + other.audio)

    @property
    def total(self) -> int:
        """Both kinds."""
        return self.text + self.audio


def tokens_of(text: str) -> int:
    """Roughly how many tokens a text is."""
    return -(-len(text) // 4)


def usage(read: Tokens, cached: int, made: Tokens) -> dict[str, Any]:
    """A response's usage, as `response.done` states it. Cached tokens are part of those read."""
    cached_audio = min(cached, read.audio)
    return {
        "total_tokens": read.total + made.total,
        "input_tokens": read.total,
        "output_tokens": made.total,
        "input_token_details": {
            "text_tokens": read.text,
            "audio_tokens": read.audio,
            "image_tokens": 0,
            "cached_tokens": cached,
            "cached_tokens_details": {
                "text_tokens": cached - cached_audio,
                "audio_tokens": cached_audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": made.text, "audio_tokens": made.audio},
    }
