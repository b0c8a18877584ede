"""The tools that the model calls: which are refused, which are running, and what the model is answered."""

from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.commands import AnswerTool, CancelTimer, Command, RunTool, SetTimer, Tell
from voice_openai_connect.call.events import ModelToolCalled, ToolFailed, ToolFinished
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.instructions import MESSAGE_KEPT, MESSAGE_NOT_KEPT
from voice_openai_connect.call.tools import TAKE_MESSAGE, arguments_of, message_of

TIMER: Final = "tool:"
"""With the id of its call after it: a tool's deadline."""


class ToolCalls:
    """Every tool of one call. `names` are the tools that operators have registered."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._called: dict[str, str] = {}
        """The calls made so far, and the responses that made them."""
        self._running: set[str] = set()
        self._messages: set[str] = set()
        """Messages that are kept, or about to be."""

    @property
    def running(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._running)

    @property
    def message_taken(self) -> bool:
        """Whether the caller has left a message. One that is being kept counts: the caller may hang up meanwhile."""
        return bool(self._messages)

    def is_repeat(self, call_id: str) -> bool:
        """Whether this call was made before, or is one too many."""
        return call_id in self._called or len(self._called) >= limits.TOOL_CALLS

    def accept(self, event: ModelToolCalled) -> None:
        """From now on the same call is a repeat."""
        self._called[event.call_id] = event.response_id

    def called_by(self, response_id: str) -> bool:
        """Whether this response called a tool, and so need not have said anything."""
        return response_id in self._called.values()

    def is_running(self, call_id: str) -> bool:
        """Whether the answer of this one is still to come."""
        return call_id in self._running

    def start(self, event: ModelToolCalled, now: int) -> list[Command]:
        """Run a tool beside the conversation, or tell the model at once why not."""
        if event.name == TAKE_MESSAGE:
            if not message_of(arguments_of(event.arguments) or {}):
                return _refused(event, "arguments", "The message was empty. Ask the caller what to pass on.")
            self._messages.add(event.call_id)
            return self._begun(event, now + limits.MESSAGE_MS)
        if event.name not in self._names:
            return _refused(event, "unknown", "There is no such tool.")
        if arguments_of(event.arguments) is None:
            return _refused(event, "arguments", "The arguments were not a JSON object of reasonable size.")
        return self._begun(event, now + limits.TOOL_MS)

    def not_done(self, event: ModelToolCalled) -> list[Command]:
        """Answer a call that comes too late; left without an answer, the model may tell the caller that it is done."""
        self.accept(event)
        return [AnswerTool(event.call_id, "This was not done: the caller interrupted you.")]

    def _begun(self, event: ModelToolCalled, until: int) -> list[Command]:
        self._running.add(event.call_id)
        run = RunTool(event.call_id, event.name, event.arguments)
        return [Tell(Fact.TOOL_CALLED, event.name), run, SetTimer(TIMER + event.call_id, until)]

    def answered(self, event: ToolFinished | ToolFailed) -> list[Command]:
        """A tool has returned or raised. What comes after its deadline has been answered for already."""
        if isinstance(event, ToolFailed):
            return self._failed(event.call_id, f"The tool failed: {event.reason}")
        return self._over(event.call_id, MESSAGE_KEPT if event.call_id in self._messages else event.output)

    def late(self, timer: str) -> list[Command]:
        """A tool's deadline has passed."""
        return self._failed(timer.removeprefix(TIMER), "The tool took too long.")

    def _failed(self, call_id: str, why: str) -> list[Command]:
        if call_id not in self._messages:
            return self._over(call_id, why)
        self._messages.discard(call_id)
        return self._over(call_id, MESSAGE_NOT_KEPT)

    def _over(self, call_id: str, output: str) -> list[Command]:
        if call_id not in self._running:
            return []
        self._running.discard(call_id)
        return [CancelTimer(TIMER + call_id), AnswerTool(call_id, output)]

    def forget(self) -> None:
        """The session that asked is gone: nobody waits for these answers."""
        self._running.clear()


def _refused(event: ModelToolCalled, reason: str, why: str) -> list[Command]:
    return [Tell(Fact.TOOL_REFUSED, reason), AnswerTool(event.call_id, why)]
