"""Twilio's question what is next, which must follow every stream whose caller has not left."""

import asyncio
import time
from collections.abc import Callable

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.next_step import HangUp
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.gateway.bounded import within
from voice_openai_connect.gateway.ports import HandoverStore


class Questions:
    """The questions that are still to come, and the callers whose question never came: nobody answers them any more.

    `on_lost` is called once for each such caller. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        store: HandoverStore,
        on_lost: Callable[[str], None],
        on_failure: Callable[[str, BaseException], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._on_lost = on_lost
        self._on_failure = on_failure
        self._clock = clock
        self._awaited: dict[str, asyncio.TimerHandle] = {}
        self._looking: set[asyncio.Task[None]] = set()
        self.none_awaited = asyncio.Event()
        """Set while there is nothing to wait for."""
        self.none_awaited.set()

    def expect(self, call_sid: str, *, broken: str = "") -> None:
        """A stream of this call ends. Twilio will ask this instance or another, unless the caller has left.

        `broken` is the stream's id if it broke off, as far as could be seen here: then the caller may have left in that
        moment, and Twilio's word for it has been lost with the rest.
        """
        if call_sid in self._awaited:
            return
        loop, since = asyncio.get_running_loop(), self._clock()
        self._awaited[call_sid] = loop.call_later(limits.CALLER_LOST_S, self._overdue, call_sid, since, broken)
        self.none_awaited.clear()

    def asked(self, call_sid: str) -> None:
        """Twilio has asked, or has gone on with the call as if it had."""
        if timer := self._awaited.pop(call_sid, None):
            timer.cancel()
        if not self._awaited:
            self.none_awaited.set()

    async def close(self) -> None:
        """Wait for nothing any more."""
        for call_sid in list(self._awaited):
            self.asked(call_sid)
        await asyncio.gather(*self._looking)

    def _overdue(self, call_sid: str, since: float, broken: str) -> None:
        self.asked(call_sid)
        task = asyncio.create_task(self._look(call_sid, since, broken), name=f"lost caller {call_sid}")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _look(self, call_sid: str, since: float, broken: str) -> None:
        """Whether anybody must be called lost. If the store cannot say, nobody is."""
        item = await within(
            limits.STEP_STORE_MS / 1_000,
            self._store.recall_call(call_sid),
            lambda error: self._on_failure("recall call", error),
        )
        if item is not None and not _accounted_for(item, since, broken):
            self._on_lost(call_sid)


def _accounted_for(item: CallItem, since: float, broken: str) -> bool:
    """Whether another instance was asked, or there was nothing left to ask about."""
    asked_since = item.asked_at is not None and item.asked_at >= since - limits.CLOCKS_APART_S
    left = item.outcome is Outcome.CALLER_LEFT or (broken != "" and item.stopped_stream == broken)
    had_goodbye = item.outcome is not None and item.step == HangUp()
    return asked_since or left or had_goodbye
