"""Items that come within a short while, written in one request: it costs little more than that of one of them alone.

DynamoDB puts or removes up to 25 whole items in one request, each for itself, none of them twice, and at the price of
as many requests (API reference, `BatchWriteItem`). Those that it has no capacity for it leaves out, and says so.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.integrations.dynamo_client import DynamoClient, StoreError, Whole


@dataclass(slots=True)
class _Waiting:
    """An item to be written, and what becomes of it: done, failed, or cancelled by whoever wanted it."""

    item: Whole
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
    """Each item waits for `CHECKPOINTS_GATHERED_MS` at the most, then all go that have come meanwhile. From then on
    the table has `STEP_STORE_MS`, tries again included.

    A request does not wait for the one before it, unless both would write the same item. No item has a task or a timer
    of its own: one timer runs from the first that waits, also if that is taken back meanwhile.
    """

    def __init__(self, client: DynamoClient) -> None:
        self._client: Final = client
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._rounds: set[asyncio.Task[None]] = set()
        self._under_way: set[str] = set()
        """Keys of what is being written: the same item written again waits, so that the later one stays."""

    def put(self, item: Whole, *, at_once: bool = False) -> asyncio.Future[None]:
        """Done when this is kept; has a `StoreError` for this alone if it cannot be. Whoever cancels it before it is
        sent takes the item back. `at_once` takes along whatever waits.
        """
        loop = asyncio.get_running_loop()
        kept = loop.create_future()
        self._waiting.append(_Waiting(item, kept))
        if at_once:
            self.hasten()
        elif self._timer is None:
            self._timer = loop.call_later(limits.CHECKPOINTS_GATHERED_MS / 1_000, self.hasten)
        return kept

    def hasten(self) -> None:
        """Write now what waits; only what is to be the same item again goes after the first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        going: dict[str, _Waiting] = {}
        staying: list[_Waiting] = []
        for each in self._waiting:
            key = each.item.key
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

    def _over(self, batch: Sequence[_Waiting], task: asyncio.Task[None]) -> None:
        _tell(batch, "failed")  # who has been told nothing: the task was cancelled, or is at fault itself
        self._rounds.discard(task)
        keys = {each.item.key for each in batch}
        self._under_way -= keys
        if any(each.item.key in keys for each in self._waiting):
            self.hasten()

    async def _send(self, batch: Sequence[_Waiting]) -> None:
        """What the table leaves out because it has too much to do is tried once more. What is wrong with the request is
        told to all."""
        try:
            async with asyncio.timeout(limits.STEP_STORE_MS / 1_000):
                if left_out := await self._try(batch):
                    await asyncio.sleep(limits.DYNAMODB_LEFT_OUT_WAIT_S)
                    _tell(await self._try(left_out), "throttled")
        except StoreError as error:
            _tell(batch, error.reason)
        except TimeoutError:
            _tell(batch, "timeout")

    async def _try(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """Returns those that the table left out; the others are kept. Nobody who no longer waits is sent."""
        sent = [each for each in batch if not each.kept.done()]
        if not sent:
            return []
        left_out = await self._client.write_all([each.item for each in sent])
        for each in sent:
            if each.item.key not in left_out:
                each.tell()
        return [each for each in sent if each.item.key in left_out]


def _tell(batch: Iterable[_Waiting], reason: str) -> None:
    for each in batch:
        each.tell(StoreError(reason))
