"""Runs a contact flow block by block, as Amazon Connect does, for one caller on a line.

Time is counted in frames: each 20 ms said is 20 ms passed, however long it took. Only a function's time limit is real.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar, cast

from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.contact_flow_rules import Action, Flow, FlowRefusedError
from voice_openai_connect.simulator.contact_flow_state import FlowState
from voice_openai_connect.simulator.telephone import FRAME_MS, SILENCE

BUFFERED_KEYS: Final = 30
DEFAULT_INTERDIGIT_S: Final = 5
LAMBDA_ATTEMPTS: Final = 4
"""Connect invokes, and when that fails tries up to three times more, within the block's time limit."""
RESPONSE_BYTES: Final = 32_768
BLOCKS: Final = 1_000
"""Run for one contact before the flow counts as running in circles."""
MS_PER_CHARACTER: Final = 60
"""How long a prompt takes when nobody has a voice: about the pace of speech."""

Result = TypeVar("Result")


class LambdaError(Exception):
    """The function failed: an exception, a crash, or more time than it may have."""


class LineDownError(Exception):
    """The caller has hung up."""


class ContactLine(Protocol):
    """The caller, as a flow hears and addresses them. Both methods raise `LineDownError`."""

    async def step(self, frame: bytes) -> str:
        """Say 20 ms; return the keys heard meanwhile."""
        ...

    async def wait_for(self, work: Awaitable[Result], heard: Callable[[str], None]) -> Result:
        """Say nothing until the work is done, passing on keys as they are heard; return or raise as the work does."""
        ...


Invoke = Callable[[dict[str, Any]], Awaitable[object]]
"""Invokes the function with an event and returns its JSON answer. Raises `LambdaError`."""
Say = Callable[[str], bytes]
"""Speech for a text, as µ-law. May take its time: it is called in a thread."""


@dataclass
class FlowRunner:
    """One contact's way through a flow."""

    flow: Flow
    state: FlowState
    line: ContactLine
    invoke: Invoke
    say: Say | None = None
    walked: list[str] = field(default_factory=list[str])
    """Identifiers of the blocks run, in order."""
    log: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What Connect would write while flow logging is on: each block with its parameters filled in."""
    _buffering: bool = False
    _buffer: deque[str] = field(default_factory=deque[str])

    async def run(self) -> bool:
        """Run to the end: True when the contact is in its queue, False when the flow has disconnected it.

        Raises `LineDownError` when the caller hangs up first, `FlowRefusedError` for a flow that runs in circles.
        """
        following = self.flow.start
        while len(self.walked) < BLOCKS:
            action = self.flow.actions[following]
            self.walked.append(action.identifier)
            if self.state.logging:
                self.log.append({"block": action.identifier, **self.state.filled_in(action.parameters)})
            following = await self._run_block(action)
            if not following:
                return action.type == "TransferContactToQueue"
        raise FlowRefusedError(f"{BLOCKS} blocks were run and the flow has not ended")

    async def _run_block(self, action: Action) -> str:
        """Run one block; return the next one's identifier, empty when the flow is over."""
        match action.type:
            case "GetParticipantInput" if "EnableDTMFBuffer" in action.parameters:
                self._buffering = action.parameters["EnableDTMFBuffer"] == "True"
                self._buffer.clear()
                return action.next_action
            case "GetParticipantInput":
                return await self._store_input(action)
            case "InvokeLambdaFunction":
                return await self._invoke_lambda(action)
            case "MessageParticipant":
                await self._play(action, interruptible=False)
                return action.next_action
            case "DisconnectParticipant" | "EndFlowExecution":
                return ""
            case _:
                return self.state.decide(action)

    async def _store_input(self, action: Action) -> str:
        """Take an entry: from the buffer first, else from the caller after the prompt, which the first key ends."""
        entry = _Entry(action.parameters)
        while self._buffer and not entry.complete:
            entry.press(self._buffer.popleft())
        if not entry.complete and not entry.begun:
            self._enter(entry, await self._play(action, interruptible=True))
        while not (entry.complete or entry.timed_out):
            keys = await self.line.step(SILENCE)
            entry.wait(FRAME_MS)
            self._enter(entry, keys)
        self.state.stored_input = entry.value
        return action.next_action

    def _enter(self, entry: "_Entry", keys: str) -> None:
        """Keys after a complete entry are for the next one."""
        for key in keys:
            if entry.complete:
                self._keep(key)
            else:
                entry.press(key)

    async def _play(self, action: Action, *, interruptible: bool) -> str:
        """Say the block's text. Returns the keys that interrupted it; keys that may not interrupt are kept."""
        audio = await self._spoken(self.state.spoken(action.parameters["Text"]))
        for frame in sound.frames(audio):
            if interruptible and self._buffer:
                return self._buffer.popleft()
            keys = await self.line.step(frame)
            if keys and interruptible:
                return keys
            self._keep(keys)
        return ""

    async def _spoken(self, text: str) -> bytes:
        if self.say is None:
            return sound.silence(len(text) * MS_PER_CHARACTER)
        return await self.line.wait_for(asyncio.to_thread(self.say, text), self._keep)

    def _keep(self, keys: str) -> None:
        """Put keys into the touchtone buffer. Without it, Connect drops what is pressed between inputs."""
        if self._buffering:
            self._buffer.extend(keys[: BUFFERED_KEYS - len(self._buffer)])

    async def _invoke_lambda(self, action: Action) -> str:
        limit_s = int(action.parameters["InvocationTimeLimitSeconds"])
        event = self.state.event(action.parameters.get("LambdaInvocationAttributes", {}))
        self.state.external = {}
        try:
            answer = await self.line.wait_for(asyncio.wait_for(self._attempt(event), limit_s), self._keep)
        except (LambdaError, TimeoutError):
            return action.errors["NoMatchingError"]
        strict = action.parameters["ResponseValidation"]["ResponseType"] == "STRING_MAP"
        if not _understood(answer, strict=strict):
            return action.errors["NoMatchingError"]
        self.state.external = cast("dict[str, Any]", answer)
        return action.next_action

    async def _attempt(self, event: dict[str, Any]) -> object:
        for _ in range(LAMBDA_ATTEMPTS - 1):
            try:
                return await self.invoke(event)
            except LambdaError:
                continue
        return await self.invoke(event)


def _understood(answer: object, *, strict: bool) -> bool:
    """Whether Connect takes this answer. STRING_MAP means what it says: flat, and nothing but strings."""
    if (
        not isinstance(answer, dict)
        or len(json.dumps(answer, ensure_ascii=False).encode(errors="replace")) > RESPONSE_BYTES
    ):
        return False
    values = cast("dict[str, object]", answer).values()
    return not strict or all(isinstance(value, str) for value in values)


class _Entry:
    """Digits being entered: until the terminator, the maximum length, or a pause that is too long."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        dtmf = parameters.get("DTMFConfiguration", {})
        self._maximum = int(parameters["InputValidation"]["CustomValidation"]["MaximumLength"])
        self._terminator: str = dtmf.get("InputTerminationSequence", "")
        self._star_clears = dtmf.get("DisableCancelKey", "False") == "False"
        self._first_ms = 1_000 * int(parameters["InputTimeLimitSeconds"])
        self._next_ms = 1_000 * int(dtmf.get("InterdigitTimeLimitSeconds", DEFAULT_INTERDIGIT_S))
        self._silent_ms = 0
        self._keys = ""
        self.complete = False

    @property
    def begun(self) -> bool:
        """Whether there is a key in it."""
        return bool(self._keys)

    @property
    def timed_out(self) -> bool:
        """Whether the pause is too long, before the first key or between two."""
        return self._silent_ms >= (self._next_ms if self._keys else self._first_ms)

    @property
    def value(self) -> str:
        """What Connect stores: the keys without the terminator, or the word it has for silence."""
        return self._keys if self.complete or self._keys else "Timeout"

    def wait(self, ms: int) -> None:
        """That long has passed."""
        self._silent_ms += ms

    def press(self, key: str) -> None:
        """One key."""
        self._silent_ms = 0
        if key == "*" and self._star_clears:
            self._keys = ""
            return
        self._keys += key
        if self._terminator and self._keys.endswith(self._terminator):
            self._keys = self._keys.removesuffix(self._terminator)
            self.complete = True
        self.complete = self.complete or len(self._keys) >= self._maximum
