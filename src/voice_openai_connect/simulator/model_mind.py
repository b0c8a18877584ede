"""What the simulated model thinks: a mind is asked for a reply, the session turns the reply into events."""

import json
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol
from uuid import uuid4

from voice_openai_connect.simulator.model_conversation import Conversation
from voice_openai_connect.simulator.model_protocol import Json


@dataclass(frozen=True)
class Mishap:
    """What goes wrong in the middle of an answer, once `at_ms` of its audio has been sent.

    `stall` waits for `session.go_on()`; `reset` breaks the connection off; a number closes it with that code;
    `malformed`, `oversize` and `unknown` send a broken message, one of 2 MiB, one of a new kind, and go on.
    """

    at_ms: int
    what: Literal["stall", "reset", "malformed", "oversize", "unknown"] | int


@dataclass(frozen=True)
class Speech:
    """Something to be said. Without `audio` (µ-law) the session's voice makes it."""

    text: str
    audio: bytes | None = None
    mishap: Mishap | None = None


@dataclass(frozen=True)
class Written:
    """Something to be written instead of said."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A tool to be called. `arguments` is JSON text, sent as it is, also when it is broken."""

    name: str
    arguments: str
    call_id: str = field(default_factory=lambda: f"call_{uuid4().hex[:16]}")


@dataclass(frozen=True)
class Failure:
    """Why a response failed. Waits are told in the message, as the service does: "… try again in 166ms"."""

    code: str = "server_error"
    message: str = "The server had an error while processing your request."
    type: str = "server_error"


@dataclass(frozen=True)
class Reply:
    """What one response consists of, in order; with `failure` it fails after that."""

    outputs: Sequence[Speech | Written | ToolCall] = ()
    failure: Failure | None = None


def say(text: str, *, audio: bytes | None = None, mishap: Mishap | None = None) -> Reply:
    """A reply that says one thing."""
    return Reply((Speech(text, audio, mishap),))


def call(name: str, **arguments: Any) -> Reply:
    """A reply that only calls a tool."""
    return Reply((ToolCall(name, json.dumps(arguments)),))


def fail(code: str = "server_error", message: str = "The server had an error.") -> Reply:
    """A reply that fails before it says anything."""
    return Reply(failure=Failure(code, message))


@dataclass(frozen=True)
class ResponseRequest:
    """What a response is asked for: the session's settings, with what `response.create` says on top."""

    instructions: str = ""
    """Those of this response alone; empty when it follows the session's."""
    session_instructions: str = ""
    modality: Literal["audio", "text"] = "audio"
    tools: Sequence[Json] = ()
    """The function tools that may be called now: none with `tool_choice` `none`."""
    must_call: str = ""
    """The one tool that `tool_choice` insists on; `*` for any."""
    out_of_band: bool = False
    """Beside the conversation: `conversation` is `none`."""
    metadata: Json | None = None
    max_tokens: int | None = None
    asked_by: Literal["client", "turn", "silence"] = "client"
    """Who wants it: `response.create`, a caller's turn that ended, or the idle time-out."""

    def tool(self, name: str) -> Json | None:
        """The tool of that name, if it may be called."""
        return next((tool for tool in self.tools if tool.get("name") == name), None)


class Mind(Protocol):
    """Decides what to answer. One per session."""

    async def reply(self, conversation: Conversation, request: ResponseRequest) -> Reply:
        """The answer to a conversation. May be cancelled while it thinks."""
        ...


_QUOTED: Final = re.compile(r"[\"“](.+?)[\"”](?=\W|$)", re.DOTALL)


def quoted_sentence(instructions: str) -> str:
    """The longest text in double quotes, which instructions like `Say exactly: "…"` ask for. Empty if none."""
    return max((found.strip() for found in _QUOTED.findall(instructions)), key=len, default="")


class ScriptedMind:
    """Follows a script, for tests. What it is told to say in quotes it says; a written response is the `summary`;
    everything else takes the next reply of the script, and `otherwise` when the script is used up."""

    def __init__(
        self,
        replies: Sequence[Reply | str] = (),
        *,
        summary: str = "The caller asked for help and wants to speak to a person.",
        otherwise: Reply | str = "I see.",
    ) -> None:
        self.replies = deque(replies)
        self.summary = summary
        self.otherwise = otherwise
        self.asked: list[ResponseRequest] = []

    async def reply(self, conversation: Conversation, request: ResponseRequest) -> Reply:
        """The next reply."""
        del conversation
        self.asked.append(request)
        if sentence := quoted_sentence(request.instructions):
            return say(sentence)
        if request.modality == "text":
            return Reply((Written(self.summary),))
        reply = self.replies.popleft() if self.replies else self.otherwise
        return say(reply) if isinstance(reply, str) else reply
