"""Is anyone there? Which of the contact centre's queues are known to have nobody, asked in the background.

A call reads what is known and waits for nothing. What is not known, too old, or cannot be asked counts as somebody
being there. Questions are asked one at a time, each again and again at its own pace, so that however many queues and
calls there are, Amazon Connect is asked no more than `limits.PRESENCE_TICK_S` allows.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Final, Generic, Protocol, Self, TypeVar

from voice_openai_connect import limits
from voice_openai_connect.call.events import QueuesUnattended
from voice_openai_connect.gateway.pause import doubled
from voice_openai_connect.gateway.ports import ContactCenter
from voice_openai_connect.wire.opening_hours import OpeningHours

_T = TypeVar("_T")
_BACK: Final = timedelta(days=limits.PRESENCE_DAYS_BACK)
_AHEAD: Final = timedelta(days=limits.PRESENCE_DAYS_AHEAD)


class PresenceObserver(Protocol):
    """Where facts about the contact centre's queues go."""

    def unattended(self, known: QueuesUnattended) -> None:
        """These have nobody from now on; told when it changes."""
        ...

    def queues_unknown(self, names: frozenset[str]) -> None:
        """The contact centre has no queues of these names; told when it changes."""
        ...

    def presence_unknown(self, what: str, error: Exception) -> None:
        """The contact centre cannot be asked; told once, until it can be again."""
        ...

    def presence_known(self) -> None:
        """The contact centre answers everything again."""
        ...


class _Question(Generic[_T]):
    """Something that is asked again every `every_s`, and whose answer is believed for `believed_s`."""

    def __init__(self, what: str, every_s: float, believed_s: float) -> None:
        self.what = what
        self._every_s = every_s
        self._believed_s = believed_s
        self._answer: _T | None = None
        self._answered_at = 0.0
        self.due_at = 0.0
        self.failures = 0

    def answer(self, now: float) -> _T | None:
        """What is known; None if nothing is, or it is too old."""
        return self._answer if now - self._answered_at < self._believed_s else None

    async def ask(self, ask: Callable[[], Awaitable[_T]], clock: Callable[[], float]) -> Exception | None:
        """Ask once; what went wrong, if something did."""
        try:
            self._answer = await ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next time will tell
            wait_s = doubled(limits.PRESENCE_RETRY_S, self.failures, at_most_s=limits.PRESENCE_RETRY_MAX_S)
            self.failures += 1
            self.due_at = clock() + wait_s
            return error
        self._answered_at, self.failures = clock(), 0
        self.due_at = self._answered_at + self._every_s
        return None


class QueuePresence:
    """Who is at the queues with these names. `async with` opens the contact centre's door and keeps asking there."""

    def __init__(
        self,
        center: ContactCenter,
        names: frozenset[str],
        observer: PresenceObserver,
        *,
        on_change: Callable[[QueuesUnattended], None] = lambda _: None,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._center = center
        self._names = names
        self._observer = observer
        self._on_change = on_change
        self._today = today
        self._clock = clock
        self._ids = _Question[Mapping[str, str]]("queues", limits.PRESENCE_QUEUES_S, limits.PRESENCE_QUEUES_BELIEVED_S)
        self._staffed = _Question[Mapping[str, int]](
            "agents at work", limits.PRESENCE_STAFFED_S, limits.PRESENCE_STAFFED_BELIEVED_S
        )
        self._hours: dict[str, _Question[OpeningHours | None]] = {}
        self._failing = False
        self._missing: frozenset[str] = frozenset()
        self._told = QueuesUnattended()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._center.__aenter__()
        self._task = asyncio.create_task(self._keep_looking(), name="queue presence")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._center.__aexit__(kind, error, trace)

    def unattended(self) -> QueuesUnattended:
        """The queues that are known to have nobody at this moment."""
        now, today = self._clock(), self._today()
        ids, staffed = self._ids.answer(now) or {}, self._staffed.answer(now) or {}
        closed = frozenset(name for name, queue in ids.items() if self._is_closed(queue, now, today))
        unstaffed = frozenset(name for name, queue in ids.items() if staffed.get(queue) == 0)
        return QueuesUnattended(closed, unstaffed - closed)

    async def look(self) -> bool:
        """Ask the next question that is due, and tell what has changed. False if there was none to ask."""
        asked = await self._ask_next()
        known = self.unattended()
        if known != self._told:
            self._told = known
            self._observer.unattended(known)
            self._on_change(known)
        return asked

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(limits.PRESENCE_TICK_S)

    async def _ask_next(self) -> bool:
        now = self._clock()
        if self._ids.due_at <= now:
            await self._ask(self._ids, lambda: self._center.find_queues(self._names))
            self._tell_missing()
            return True
        queues = sorted({*(self._ids.answer(now) or {}).values()})
        if queues and self._staffed.due_at <= now:
            await self._ask(self._staffed, lambda: self._center.staffed(queues))
            return True
        for queue in queues:
            hours = self._hours_of(queue)
            if hours.due_at <= now:
                await self._ask(hours, partial(self._ask_hours, queue))
                return True
        return False

    async def _ask_hours(self, queue: str) -> OpeningHours | None:
        day = self._today().date()
        return await self._center.opening_hours(queue, day - _BACK, day + _AHEAD)

    async def _ask(self, question: _Question[_T], ask: Callable[[], Awaitable[_T]]) -> None:
        error = await question.ask(ask, self._clock)
        if error is not None and not self._failing:
            self._failing = True
            self._observer.presence_unknown(question.what, error)
        if self._failing and not any(each.failures for each in (self._ids, self._staffed, *self._hours.values())):
            self._failing = False
            self._observer.presence_known()

    def _tell_missing(self) -> None:
        known = self._ids.answer(self._clock())
        missing = self._names - known.keys() if known is not None else self._missing
        if missing != self._missing:
            self._missing = missing
            self._observer.queues_unknown(missing)

    def _hours_of(self, queue: str) -> _Question[OpeningHours | None]:
        if queue not in self._hours:
            self._hours[queue] = _Question("opening hours", limits.PRESENCE_HOURS_S, limits.PRESENCE_HOURS_BELIEVED_S)
        return self._hours[queue]

    def _is_closed(self, queue: str, now: float, today: datetime) -> bool:
        hours = self._hours_of(queue).answer(now)
        return hours is not None and hours.open_at(today) is False
