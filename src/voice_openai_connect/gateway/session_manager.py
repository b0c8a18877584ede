"""Who is on the line: admission, one stream a call, what each call's line does next, and the end of the shift."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.next_step import NextStep
from voice_openai_connect.gateway.admission import Admission
from voice_openai_connect.gateway.call_memory import CallMemory
from voice_openai_connect.gateway.ports import HandoverStore
from voice_openai_connect.gateway.questions import Questions
from voice_openai_connect.gateway.siblings import LiveCall, Seat
from voice_openai_connect.gateway.stream_handler import StreamHandler


@dataclass(slots=True, eq=False)
class Claim:
    """One stream's right to the line of its call, until it is released, or another stream takes the line over."""

    call_sid: str
    handler: StreamHandler | None = None
    """Who serves the stream, once its `start` has come."""
    lost: bool = False


class SessionManager:
    """The live calls of this process, and the little that must be known about them after their stream has closed."""

    def __init__(
        self,
        store: HandoverStore,
        *,
        max_calls: int,
        on_failure: Callable[[str, BaseException], None],
        on_lost: Callable[[str], None] = lambda _: None,
        admission: Admission | None = None,
        seat: Seat | None = None,
    ) -> None:
        self.memory = CallMemory(store, on_failure)
        self.questions = Questions(store, on_lost, on_failure)
        self._max_calls = max_calls
        self._admission = admission or Admission()
        self._seat = seat
        self._claimed: dict[str, Claim] = {}
        self._used_tickets: OrderedDict[bytes, float] = OrderedDict()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    # --- admission

    @property
    def state(self) -> Literal["ready", "full", "draining", "busy"]:
        """Whether another call can be answered here, and if not, why."""
        if reason := self._no_room():
            return reason
        return "busy" if self._admission.trouble(time.monotonic()) else "ready"

    def refusal(self, call_sid: str, *, resumed: bool = False) -> str:
        """Why this call cannot be answered here; nothing if it can. To be asked once, when it is about to be answered.

        `resumed` says that it is in the middle of a conversation.
        """
        return self._no_room(call_sid) or self._admission.refusal(time.monotonic(), resumed=resumed)

    def _no_room(self, call_sid: str = "") -> Literal["full", "draining"] | None:
        if self.draining:
            return "draining"
        others = len(self._claimed) - (call_sid in self._claimed)
        return "full" if others >= self._max_calls else None

    @property
    def live(self) -> Mapping[str, StreamHandler]:
        """The calls on the line, by CallSid."""
        return {sid: claim.handler for sid, claim in self._claimed.items() if claim.handler is not None}

    def use_ticket(self, nonce: bytes, expires_at_s: float, now_s: float) -> bool:
        """True the first time a ticket is shown to any worker here. Expired tickets need not be remembered."""
        while self._used_tickets and next(iter(self._used_tickets.values())) < now_s:
            expired, _ = self._used_tickets.popitem(last=False)
            if self._seat is not None:
                self._seat.forget(expired)
        if nonce in self._used_tickets or (self._seat is not None and not self._seat.is_first_use(nonce)):
            return False
        self._used_tickets[nonce] = expires_at_s
        return True

    def claim(self, call_sid: str, *, takes_over: bool = False) -> Claim | None:
        """Take the line of this call; None if it is taken or there is no room. To be released in `finally`.

        With `takes_over` a line that is taken is given up by whoever had it: Twilio has left that stream, and nobody
        has closed its socket.
        """
        earlier = self._claimed.get(call_sid)
        if earlier is None and len(self._claimed) >= self._max_calls:
            return None
        if earlier is not None:
            if not takes_over:
                return None
            earlier.lost = True
            if earlier.handler is not None:
                earlier.handler.give_way()
        self.questions.asked(call_sid)  # here or elsewhere: Twilio would not have opened this stream otherwise
        self._claimed[call_sid] = claim = Claim(call_sid)
        self._idle.clear()
        return claim

    def started(self, claim: Claim, handler: StreamHandler) -> bool:
        """The claimed line has its call; False if another stream has taken the line over meanwhile."""
        claim.handler = handler
        return not claim.lost

    def release(self, claim: Claim) -> None:
        """The line is free again, unless another stream has taken it over."""
        if self._claimed.get(claim.call_sid) is not claim:
            return
        del self._claimed[claim.call_sid]
        if claim.handler is None:
            self.questions.expect(claim.call_sid)
        elif claim.handler.caller_left:
            self.memory.note_left(claim.call_sid)
        else:
            self.questions.expect(claim.call_sid, broken=claim.handler.broken_stream)
        if not self._claimed:
            self._idle.set()

    # --- what is next

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        """Keep what Twilio is to be told next, for whichever instance it asks."""
        self.questions.expect(call_sid)
        await self.memory.remember_step(call_sid, step)

    def calls(self) -> Sequence[LiveCall]:
        """The calls on the line, as operators see them."""
        return [
            LiveCall(sid, handler.call.identity.conversation_id, handler.call.phase.value)
            for sid, handler in self.live.items()
        ]

    # --- commands from outside

    def order_handover(self, call_sid: str) -> bool:
        """Send a live call to a person. False if there is no such call here."""
        handler = self.live.get(call_sid)
        if handler is None:
            return False
        handler.post(ev.HandoverOrdered())
        return True

    def tell_who_is_there(self, known: ev.QueuesUnattended) -> None:
        """Let every live call know which queues have nobody from now on."""
        self._order_all(known)

    async def drain(self) -> None:
        """Take no more calls; move those on the line to other instances, then hand over the rest.

        Returns when all are gone.

        Each wait is bounded. The last one is for Twilio, which asks what is next only after a stream has closed.
        """
        self.draining = True
        self._order_all(ev.MoveOrdered())
        if not await _within(limits.SHUTDOWN_S, self._idle):
            self._order_all(ev.HandoverOrdered(stopping=True))
            await _within(limits.SHUTDOWN_S, self._idle)
        await _within(limits.NEXT_ASKED_S, self.questions.none_awaited)

    def hasten(self) -> None:
        """While draining: let no call wait for the end of a turn any more. Calls that cannot move go to a person."""
        self._order_all(ev.MoveOrdered(at_once=True))

    def _order_all(self, order: ev.Event) -> None:
        for handler in self.live.values():
            handler.post(order)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Whether the event came in time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
