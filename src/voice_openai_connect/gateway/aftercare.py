"""What is done once for every dial that has ended, whichever instance Twilio tells and however often.

Never in Twilio's way: the answer is on the line before any of this begins. The first instance that notes a dial in the
store does the rest; a store that cannot say leaves it to whoever was told, for all of it may be repeated.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.next_step import DialPerson, NextStep, PromiseCallBack, ResumeStream
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.call.settings import CallIdentity
from voice_openai_connect.call.ticket_note import Notes, TicketNote
from voice_openai_connect.gateway.bounded import within
from voice_openai_connect.gateway.ports import HandoverStore, Outbox

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class EndedDial:
    """One dial to the contact centre, as it ended."""

    identity: CallIdentity
    attempt: int
    outcome: DialOutcome
    suspicious: bool
    """Connected, and over again very soon."""
    item: CallItem
    """What was known about the call before this dial ended."""
    answer: NextStep
    """What the caller's line does next."""

    @property
    def token(self) -> str:
        """The token that was dialled in this call; empty for none. Only the first dial carries it."""
        return self.item.step.token if isinstance(self.item.step, DialPerson) else ""

    @property
    def dials(self) -> Mapping[int, DialOutcome]:
        """Every dial of the call, this one included."""
        return {**self.item.dials, self.attempt: self.outcome}


class AftercareObserver(Protocol):
    """Where the facts go that are known only after the assistant's part is over."""

    def transfer_ended(self, identity: CallIdentity, outcome: DialOutcome, *, suspicious: bool) -> None:
        """A dial to the contact centre is over; told once for each."""
        ...

    def call_ended(self, identity: CallIdentity, outcome: Outcome) -> None:
        """How a call ended; told once for each whose end the assistant did not see."""
        ...

    def person_reached(self, identity: CallIdentity, seconds: float) -> None:
        """The contact centre fetched the record so long after it had been stored."""
        ...

    def context_not_delivered(self, identity: CallIdentity) -> None:
        """A token was dialled, the caller was connected, and nobody fetched the record."""
        ...

    def failed(self, what: str, error: BaseException) -> None:
        """Something could not be done."""
        ...


class Aftercare:
    """In the background, bounded in number and in time; awaited when the process stops."""

    def __init__(self, store: HandoverStore, outbox: Outbox | None, observer: AftercareObserver) -> None:
        self._store = store
        self._outbox = outbox
        self._observer = observer
        self._tasks: set[asyncio.Task[None]] = set()

    def dial_ended(self, ended: EndedDial) -> None:
        """A dial is over, and Twilio has its answer."""
        self._start(self._after_dial(ended), f"after dial {ended.identity.call_sid}")

    def caller_left(self, identity: CallIdentity) -> None:
        """The caller left between the assistant and the dial."""
        self._start(self._after_leaving(identity), f"after leaving {identity.call_sid}")

    def handover_lost(self, identity: CallIdentity, item: CallItem) -> None:
        """A transfer broke off, and with it perhaps the ticket: what was said is kept for people all the same."""
        self._start(self._after_lost_handover(identity, item), f"after lost handover {identity.call_sid}")

    def asked(self, call_sid: str) -> None:
        """Twilio has asked what is next; the instance that had the stream wants to know."""
        self._start(self._note_asked(call_sid), f"note asked {call_sid}")

    def stream_stopped(self, call_sid: str, stream_sid: str) -> None:
        """A stream ended in good order, says Twilio; the instance that had it may have seen it break."""
        self._start(self._note_stopped(call_sid, stream_sid), f"note stopped {call_sid}")

    async def settled(self) -> None:
        """Return when nothing is left to be done; each piece of it is bounded."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- what is done

    async def _after_dial(self, ended: EndedDial) -> None:
        identity, outcome = ended.identity, ended.outcome
        first = await self._try("note dial", self._store.note_dial(identity.call_sid, ended.attempt, outcome))
        if first is False:
            return
        self._observer.transfer_ended(identity, outcome, suspicious=ended.suspicious)
        if outcome is DialOutcome.CONNECTED:
            await self._connected(ended)
            return
        await self._revoke(ended.token)
        notes = Notes(identity.conversation_id, identity.caller_phone)
        if outcome is DialOutcome.CALLER_LEFT:
            await self._keep(notes.caller_left())
            await self._close(identity, Outcome.CALLER_LEFT)
        if isinstance(ended.answer, ResumeStream | PromiseCallBack):
            await self._keep(notes.nobody_reached(ended.dials))
        if isinstance(ended.answer, PromiseCallBack):
            await self._keep(notes.promised())
            await self._close(identity, Outcome.CALLED_BACK)

    async def _connected(self, ended: EndedDial) -> None:
        """Whether the agent's side received the context is known from the record itself."""
        identity, token = ended.identity, ended.token if ended.attempt == 1 else ""
        found = await self._try("read redemption", self._store.redemption(token)) if token else None
        if found is not None and found.redeemed_by:
            if found.redeemed_at is not None:
                self._observer.person_reached(identity, max(0, found.redeemed_at - found.created_at))
            await self._close(identity, Outcome.CONNECTED_WITH_CONTEXT)
            return
        if found is not None:
            self._observer.context_not_delivered(identity)
            await self._keep(Notes(identity.conversation_id, identity.caller_phone).context_not_delivered())
        await self._close(identity, Outcome.CONNECTED_WITHOUT_CONTEXT)

    async def _after_leaving(self, identity: CallIdentity) -> None:
        item = await self._try("recall call", self._store.recall_call(identity.call_sid))
        if item is None or item.outcome is not None:
            return
        if item.handover_lost:
            await self._after_lost_handover(identity, item)
        if isinstance(item.step, DialPerson):
            await self._revoke(item.step.token)
            await self._keep(Notes(identity.conversation_id, identity.caller_phone).caller_left())
        await self._close(identity, Outcome.CALLER_LEFT)

    async def _after_lost_handover(self, identity: CallIdentity, item: CallItem) -> None:
        turns = item.checkpoint.turns if item.checkpoint else ()
        await self._keep(Notes(identity.conversation_id, identity.caller_phone).handover_lost(turns))

    async def _note_asked(self, call_sid: str) -> None:
        await self._try("note asked", self._store.note_asked(call_sid))

    async def _note_stopped(self, call_sid: str, stream_sid: str) -> None:
        await self._try("note stopped", self._store.note_stopped(call_sid, stream_sid))

    # --- its parts, none of which stops another

    async def _revoke(self, token: str) -> None:
        if token:
            await self._try("revoke token", self._store.revoke(token))

    async def _keep(self, note: TicketNote) -> None:
        if self._outbox is not None:
            await self._try("keep note", self._outbox.keep_note(note))

    async def _close(self, identity: CallIdentity, outcome: Outcome) -> None:
        self._observer.call_ended(identity, outcome)
        await self._try("close call", self._store.close_call(identity.call_sid, outcome))

    async def _try(self, what: str, work: Coroutine[Any, Any, _T]) -> _T | None:
        return await within(limits.AFTERCARE_S, work, lambda error: self._observer.failed(what, error))

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if len(self._tasks) >= limits.AFTERCARE_TASKS:
            work.close()
            self._observer.failed("aftercare", _TOO_MUCH)
            return
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class TooMuchToDoError(Exception):
    """More calls ended at once than can be looked after."""

    reason = "too_much"


_TOO_MUCH: Final = TooMuchToDoError("more calls ended at once than can be looked after")
