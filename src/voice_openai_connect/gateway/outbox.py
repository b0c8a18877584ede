"""What the CRM could not take when it was due: kept on a shelf that every instance sees, and delivered from there.

Delivery is repeated until the CRM has taken it, and each piece of it finds what an earlier try has made: so it arrives
exactly once, whichever instance delivers it, and whatever becomes of that instance. Trouble of the CRM's own makes
this instance pause, longer each time; an entry that the CRM refuses for what it is waits by itself, and is given up
after a few refusals.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.outbox_entry import FOR_A_PERSON, Expired, NotDue, OutboxEntry
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.gateway.pause import doubled
from voice_openai_connect.gateway.ports import Crm, OutboxShelf


class OutboxObserver(Protocol):
    """Where the facts of the outbox go. None of them carries a word of a conversation."""

    def pending(self, count: int) -> None:
        """So many conversations have something on the shelf, as far as this instance knows."""
        ...

    def delivered(self, conversation_id: str) -> None:
        """The CRM has taken everything that was kept of this conversation."""
        ...

    def given_up(self, conversation_id: str, reason: str) -> None:
        """The CRM will not get it: ``expired``, or why it was refused."""
        ...

    def paused(self, reason: str, seconds: float, *, for_a_person: bool) -> None:
        """The CRM is in trouble, or, `for_a_person`, does not want us; nothing is tried for so long."""
        ...

    def not_kept(self, conversation_id: str, error: BaseException) -> None:
        """Neither the shelf took it, for this `error`, nor then the CRM: it is lost, unless it is kept once more."""
        ...

    def bypassed(self, conversation_id: str, error: BaseException) -> None:
        """The shelf did not take it, for this `error`; the CRM has taken it at once."""
        ...

    def failed(self, what: str, error: BaseException) -> None:
        """Something could not be done, and is tried again later."""
        ...


class CrmOutbox:
    """The gateway's outbox: `async with CrmOutbox(...) as outbox` delivers in the background until the block is left.

    `jitter` makes a wait of its own out of a number of seconds, so that instances do not come all at once. `clock`
    gives seconds on any clock that only goes forward.
    """

    def __init__(
        self,
        shelf: OutboxShelf,
        crm: Crm,
        observer: OutboxObserver,
        *,
        jitter: Callable[[float], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shelf = shelf
        self._crm = crm
        self._observer = observer
        self._jitter = jitter
        self._clock = clock
        self._not_before: dict[str, float] = {}
        self._failures = 0
        self._paused_until = 0.0
        self._news = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None
        self._at_once: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._run(), name="outbox")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """One last look, bounded. What it does not deliver stays on the shelf, for another instance."""
        self._stopping = True
        self._news.set()
        tasks = {*self._at_once, *([self._loop] if self._loop else [])}
        if tasks:
            await asyncio.wait(tasks, timeout=limits.OUTBOX_LAST_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- keeping

    async def keep_ticket(self, record: HandoverRecord) -> None:
        """This conversation is to have a ticket; the CRM has just failed to take it. Raises if it cannot be kept."""
        await self._keep(OutboxEntry(record.conversation_id, record), limits.OUTBOX_FIRST_WAIT_S)

    async def keep_note(self, note: TicketNote) -> None:
        """This note is to be on the conversation's ticket, soon. Raises if it cannot be kept."""
        await self._keep(OutboxEntry(note.conversation_id, notes=(note,)), 0)

    async def _keep(self, entry: OutboxEntry, wait_s: int) -> None:
        try:
            await self._shelf.keep(entry, wait_s=wait_s)
        except Exception as error:  # noqa: BLE001 - without a shelf there is still the CRM itself
            await self._deliver_at_once(entry, error)
        else:
            self._not_before[entry.conversation_id] = self._clock() + wait_s
            self._news.set()

    async def _deliver_at_once(self, entry: OutboxEntry, not_kept: Exception) -> None:
        """Without the shelf; goes on also when whoever keeps it has no more time. Raises what the CRM does."""
        task = asyncio.create_task(self._bypass(entry, not_kept), name=f"deliver {entry.conversation_id}")
        self._at_once.add(task)
        task.add_done_callback(self._done_at_once)
        await asyncio.shield(task)

    async def _bypass(self, entry: OutboxEntry, not_kept: Exception) -> None:
        try:
            await self._within_its_time(entry)
        except BaseException:  # also when the process has no time left for it
            self._observer.not_kept(entry.conversation_id, not_kept)
            raise
        self._observer.bypassed(entry.conversation_id, not_kept)

    def _done_at_once(self, task: asyncio.Task[None]) -> None:
        self._at_once.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._observer.failed("deliver", error)

    # --- delivering

    async def _run(self) -> None:
        while not self._stopping:
            self._news.clear()
            wait_s = await self._looked()
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                continue
        await self._looked()

    async def _looked(self) -> float:
        try:
            return await self.look()
        except Exception as error:  # noqa: BLE001 - a shelf that does not answer now is asked again
            self._observer.failed("outbox", error)
            return self._jitter(limits.OUTBOX_LOOK_S)

    async def look(self) -> float:
        """Deliver what is due, and say after how many seconds another look is worth it. Raises what the shelf does."""
        pending = await self._shelf.pending()
        self._not_before = {name: at for name, at in self._not_before.items() if name in pending}
        left = len(pending)
        self._observer.pending(left)
        for conversation_id in sorted(pending, key=lambda name: self._not_before.get(name, 0.0)):
            if self._paused_until > self._clock():
                break
            if self._not_before.get(conversation_id, 0.0) <= self._clock() and await self._settled(conversation_id):
                left -= 1
                self._observer.pending(left)
        return self._until_the_next_look()

    def _until_the_next_look(self) -> float:
        now = self._clock()
        if self._paused_until > now:
            return self._paused_until - now
        soonest = min(self._not_before.values(), default=now + limits.OUTBOX_LOOK_S)
        return min(max(soonest - now, 0.0), self._jitter(limits.OUTBOX_LOOK_S))

    async def _settled(self, conversation_id: str) -> bool:
        """Whether nothing is left on the shelf of this conversation."""
        match await self._shelf.lease(conversation_id):
            case OutboxEntry() as entry:
                return await self._try(entry)
            case NotDue(wait_s=wait_s):
                self._not_before[conversation_id] = self._clock() + max(wait_s, 1)
                return False
            case Expired():
                self._observer.given_up(conversation_id, "expired")
                return True

    async def _try(self, entry: OutboxEntry) -> bool:
        try:
            await self._within_its_time(entry)
        except Exception as error:  # noqa: BLE001 - every failure has its wait
            return await self._put_off(entry, error)
        self._failures = 0
        await self._shelf.delivered(entry)
        self._observer.delivered(entry.conversation_id)
        return True

    async def _within_its_time(self, entry: OutboxEntry) -> None:
        async with asyncio.timeout(limits.OUTBOX_DELIVERY_S):
            await self._deliver(entry)

    async def _deliver(self, entry: OutboxEntry) -> None:
        """First the ticket, then the notes on it; all of it may have been done before."""
        if record := entry.record:
            if not record.hubspot_contact_id:
                record = replace(record, hubspot_contact_id=await self._contact(record.caller_phone))
            await self._crm.open_ticket(record)
        for note in entry.notes:
            await self._crm.note(note)

    async def _contact(self, caller_phone: str) -> str:
        """A ticket without a contact is better than none; a CRM that is in trouble will know the caller later."""
        try:
            return await self._crm.find_contact(caller_phone)
        except Exception as error:
            if not _permanent(error) or _reason(error) in FOR_A_PERSON:
                raise
            return ""

    # --- what failed

    async def _put_off(self, entry: OutboxEntry, error: Exception) -> bool:
        """Whether it is given up. If not, it waits, and after trouble that is not its own so does everything else."""
        if not _permanent(error) or _reason(error) in FOR_A_PERSON:
            wait_s = self._pause(error)
        elif entry.refusals + 1 >= limits.OUTBOX_REFUSALS:
            await self._shelf.delivered(entry)
            self._observer.given_up(entry.conversation_id, _reason(error))
            return True
        else:
            wait_s = self._jitter(limits.OUTBOX_REFUSED_FIRST_S * 2**entry.refusals)
            entry = replace(entry, refusals=entry.refusals + 1)
            self._observer.failed("deliver", error)
        self._not_before[entry.conversation_id] = self._clock() + wait_s
        await self._shelf.put_off(entry, wait_s=int(wait_s))
        return False

    def _pause(self, error: Exception) -> float:
        """Seconds until anything is tried again; also the time for which this entry rests for everybody."""
        for_a_person = _reason(error) in FOR_A_PERSON
        longer = doubled(limits.OUTBOX_PAUSE_FIRST_S, self._failures, at_most_s=limits.OUTBOX_PAUSE_MAX_S)
        wait_s = self._jitter(limits.OUTBOX_DENIED_S if for_a_person else longer)
        wait_s = max(wait_s, min(getattr(error, "wait_s", None) or 0.0, limits.OUTBOX_DENIED_S))
        self._failures += 1
        self._paused_until = self._clock() + wait_s
        self._observer.paused(_reason(error), wait_s, for_a_person=for_a_person)
        return wait_s


def _reason(error: Exception) -> str:
    """The short reason that the error names."""
    return str(getattr(error, "reason", type(error).__name__))


def _permanent(error: Exception) -> bool:
    """Whether the CRM says that asking again is useless."""
    return bool(getattr(error, "permanent", False))
