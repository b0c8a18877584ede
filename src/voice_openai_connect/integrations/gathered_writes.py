"""Changes that come within a short while, written in one request: it costs little more than that of one of them alone.

DynamoDB makes up to 100 changes of 100 items in one transaction, or none of them (API reference, `TransactWriteItems`).
Here they have nothing to do with each other, so what stands in the way of one is taken out, and the others go on.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.integrations.dynamo_client import (
    Change,
    ConditionNotMetError,
    DynamoClient,
    NotTogetherError,
    StoreError,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A change, and what becomes of it: done, failed, or cancelled by whoever wanted it."""

    change: Change
    kept: asyncio.Future[None]

    def tell(self, error: StoreError | None = None) -> None:
        """It is kept, or why not."""
        if self.kept.done():
            return
        if error is None:
            self.kept.set_result(None)
        else:
            self.kept.set_exception(error)


class GatheredWrites:
    """Each change waits for `CHECKPOINTS_GATHERED_MS` at the most, then all go that have come meanwhile. From then on
    the table has `STEP_STORE_MS`, tries again included.

    A request does not wait for the one before it, unless both would change the same item. There is neither a task nor
    a timer while nothing waits.
    """

    def __init__(self, client: DynamoClient) -> None:
        self._client: Final = client
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._rounds: set[asyncio.Task[None]] = set()
        self._under_way: set[str] = set()
        """Keys of what is being written: another change of the same item waits, so that the later one stays."""

    async def write(self, change: Change, *, at_once: bool = False) -> None:
        """Return when this is kept. `at_once` takes along whatever waits. Whoever stops waiting before it is sent takes
        it back.

        Raises `ConditionNotMetError` and `StoreError` for this change alone.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(change, loop.create_future())
        self._waiting.append(waiting)
        if at_once:
            self.hasten()
        elif self._timer is None:
            self._timer = loop.call_later(limits.CHECKPOINTS_GATHERED_MS / 1_000, self.hasten)
        try:
            await waiting.kept
        except asyncio.CancelledError:
            self._forget(waiting)
            raise

    def hasten(self) -> None:
        """Write now what waits; only a second change of the same item goes after the first."""
        self._stop_timer()
        going: dict[str, _Waiting] = {}
        staying: list[_Waiting] = []
        for each in self._waiting:
            key = each.change.key
            if each.kept.done():
                continue
            if key in self._under_way or key in going:
                staying.append(each)
            else:
                going[key] = each
        self._waiting = staying
        self._under_way.update(going)
        rest = iter(going.values())
        while batch := tuple(islice(rest, limits.CHECKPOINTS_TOGETHER)):
            task = asyncio.create_task(self._send(batch), name="gathered writes")
            self._rounds.add(task)
            task.add_done_callback(partial(self._over, batch))

    async def close(self) -> None:
        """Write what waits, within `SAVE_MS`; what is not written then is not kept."""
        try:
            async with asyncio.timeout(limits.SAVE_MS / 1_000):
                self.hasten()
                while self._rounds:
                    await asyncio.wait(self._rounds)
        except TimeoutError:
            _tell(self._waiting, "timeout")
            for task in self._rounds:
                task.cancel()
            await asyncio.gather(*self._rounds, return_exceptions=True)

    def _forget(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        if not self._waiting:
            self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self, batch: Sequence[_Waiting], task: asyncio.Task[None]) -> None:
        _tell(batch, "failed")  # who has been told nothing: the task was cancelled, or is at fault itself
        self._rounds.discard(task)
        keys = {each.change.key for each in batch}
        self._under_way -= keys
        if any(each.change.key in keys for each in self._waiting):
            self.hasten()

    async def _send(self, batch: Sequence[_Waiting]) -> None:
        """Together, without those that stand in the way; these one by one. What is wrong with all is told to all."""
        together, alone = batch, list[_Waiting]()
        try:
            async with asyncio.timeout(limits.STEP_STORE_MS / 1_000):
                while len(together) > 1:
                    together, apart = await self._send_together(together)
                    alone += apart
                for each in (*together, *alone):
                    await self._send_alone(each)
        except StoreError as error:
            _tell(batch, error.reason)
        except TimeoutError:
            _tell(batch, "timeout")

    async def _send_together(self, batch: Sequence[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
        """Returns what can be tried together once more, and what only by itself. Raises `StoreError`."""
        try:
            await self._client.together_at_once([each.change for each in batch])
        except NotTogetherError as error:
            if any(cause and cause.reason == "throttled" for cause in error.errors):
                raise StoreError("throttled") from None
            return _sorted_out(batch, error.errors)
        for each in batch:
            each.tell()
        return [], []

    async def _send_alone(self, each: _Waiting) -> None:
        if each.kept.done():
            return
        change = each.change
        try:
            await self._client.update(change.key, change.change, change.values, only_if=change.only_if)
        except StoreError as error:
            each.tell(error)
        else:
            each.tell()


def _tell(batch: Iterable[_Waiting], reason: str) -> None:
    for each in batch:
        each.tell(StoreError(reason))


def _sorted_out(
    batch: Sequence[_Waiting], causes: Sequence[StoreError | None]
) -> tuple[list[_Waiting], list[_Waiting]]:
    """As `_send_together`. A condition that does not hold now will not hold later: that is told at once."""
    again: list[_Waiting] = []
    alone: list[_Waiting] = []
    for each, cause in zip(batch, causes, strict=False):
        if isinstance(cause, ConditionNotMetError):
            each.tell(cause)
        if not each.kept.done():
            (alone if cause else again).append(each)
    nobody_is_to_blame = not any(causes) or len(causes) != len(batch)
    return ([], list(batch)) if nobody_is_to_blame else (again, alone)
