"""What is known about calls between their streams: in the store for every instance, and here for when it fails."""

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.next_step import DialPerson, NextStep
from voice_openai_connect.call.outcome import DialOutcome
from voice_openai_connect.gateway.bounded import within
from voice_openai_connect.gateway.ports import HandoverStore

_T = TypeVar("_T")


@dataclass(slots=True)
class _Own:
    """What this process has decided or seen itself."""

    step: NextStep | None = None
    in_store: bool = False
    """Whether the store has taken the step: then it knows better than we, for another instance may have gone on."""
    dials: dict[int, DialOutcome] = field(default_factory=dict[int, DialOutcome])
    left: bool = False
    """Whether the caller left the stream that was here."""


class CallMemory:
    """Asks the store first. What this process knows itself counts where the store did not take it, or does not answer.

    Nothing here raises, and nothing takes longer than `STEP_STORE_MS`: a caller waits in silence.
    """

    def __init__(self, store: HandoverStore, on_failure: Callable[[str, BaseException], None]) -> None:
        self._store = store
        self._on_failure = on_failure
        self._own: OrderedDict[str, _Own] = OrderedDict()

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        """Keep what Twilio is to be told next: here at once, and in the store so that any instance can answer."""
        own = self._ours(call_sid)
        own.step, own.in_store = step, False
        own.in_store = await self._did(self._store.remember_step(call_sid, step), "remember step")

    def note_dial(self, call_sid: str, attempt: int, outcome: DialOutcome) -> None:
        """A dial has ended; nobody may be dialled again for want of a store that knows."""
        self._ours(call_sid).dials[attempt] = outcome

    def note_left(self, call_sid: str) -> None:
        """The caller has left, as the stream that was here said itself."""
        self._ours(call_sid).left = True

    def has_left(self, call_sid: str) -> bool:
        """Whether that is known, so that Twilio's word for it is no news."""
        return call_sid in self._own and self._own[call_sid].left

    async def bring_back(self, call_sid: str, checkpoint: Checkpoint) -> None:
        """The caller goes back to the assistant: the conversation goes on from here, and no earlier step counts."""
        self._ours(call_sid).step = None
        await self._did(self._store.bring_back(call_sid, checkpoint), "bring back")

    async def recall(self, call_sid: str) -> CallItem:
        """What is known about this call; an empty item if nobody knows anything."""
        return self._with_own(call_sid, await self._answer(self._store.recall_call(call_sid), "recall call"))

    async def take_over(self, call_sid: str) -> CallItem:
        """As `recall`, for a stream that goes on with the call: what an earlier one still writes does not count."""
        return self._with_own(call_sid, await self._answer(self._store.take_over(call_sid), "take over"))

    def _with_own(self, call_sid: str, item: CallItem | None) -> CallItem:
        own = self._own.get(call_sid, _Own())
        if item is None:
            return CallItem(step=own.step, dials=own.dials)
        dials = {**own.dials, **item.dials}
        moved_on = isinstance(own.step, DialPerson) and bool(dials)
        ours = own.step is not None and not (own.in_store or moved_on)
        return replace(item, step=own.step if ours else item.step, dials=dials)

    def _ours(self, call_sid: str) -> _Own:
        """What we know ourselves of this call; the oldest calls are forgotten."""
        own = self._own.setdefault(call_sid, _Own())
        self._own.move_to_end(call_sid)
        while len(self._own) > limits.STEPS_KEPT:
            self._own.popitem(last=False)
        return own

    async def _did(self, work: Coroutine[Any, Any, None], what: str) -> bool:
        async def done() -> bool:
            await work
            return True

        return await self._answer(done(), what) or False

    async def _answer(self, work: Coroutine[Any, Any, _T], what: str) -> _T | None:
        return await within(limits.STEP_STORE_MS / 1_000, work, lambda error: self._on_failure(what, error))
