"""Writes a call's checkpoints in the background: one at a time, in order, and of several that wait only the last."""

import asyncio
from collections.abc import Callable

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.gateway.bounded import within
from voice_openai_connect.gateway.ports import HandoverStore
from voice_openai_connect.gateway.timers import Timer, timers


class CheckpointKeeper:
    """One call's. A write that fails is told and forgotten: the next turn brings another.

    `resumed` says that the call goes on from a checkpoint, so that there may be words of it in the store.
    """

    def __init__(
        self, store: HandoverStore, call_sid: str, on_failure: Callable[[str, BaseException], None], *, resumed: bool
    ) -> None:
        self._store = store
        self._call_sid = call_sid
        self._on_failure = on_failure
        self._words_kept = resumed
        self._next: Checkpoint | None = None
        self._writing: asyncio.Future[None] | None = None
        self._bound: Timer | None = None
        self._closing: asyncio.Task[None] | None = None
        self._stopped = False
        self._hastened = False
        self._gathering = False
        """Whether the store may be keeping one back, to write it with other calls'."""

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write this, after what is being written now. That a person is needed must be known at once."""
        if self._stopped:
            return
        if checkpoint.person_needed:
            self.hasten()
        self._next, self._words_kept = checkpoint, True
        if self._writing is None:
            self._write()

    def close(self, outcome: Outcome) -> None:
        """Keep how the call ended, instead of anything that was said in it. No checkpoint is kept after that."""
        if self._stopped:
            return
        self.stop()
        self._closing = asyncio.create_task(self._close(outcome), name=f"close call {self._call_sid}")

    def stop(self) -> None:
        """Write nothing more: somebody else does now."""
        self._stopped, self._next, self._gathering = True, None, False
        for work in (self._writing, self._closing):
            if work is not None:
                work.cancel()

    def hasten(self) -> None:
        """From now on nothing waits for other calls' checkpoints to be written with: the end of the stream is near."""
        self._hastened = True
        if self._gathering:
            self._store.hasten()

    async def settled(self) -> None:
        """Return when no checkpoint is on its way; each write is bounded, and waits for no other call's."""
        self.hasten()
        while self._writing is not None:
            await asyncio.wait({self._writing})

    async def closed(self) -> None:
        """Return when nothing at all is on its way. Nobody should wait for it: the last words of a call are removed
        together with those of others."""
        await self.settled()
        if self._closing is not None:
            await asyncio.wait({self._closing})

    def _write(self) -> None:
        """Begin with what is next, if anything is. Neither a task nor a timer of the loop: there are two an answer."""
        while self._next is not None and self._writing is None:
            checkpoint, self._next = self._next, None
            try:
                saving = self._store.save_checkpoint(self._call_sid, checkpoint, at_once=self._hastened)
            except Exception as error:  # noqa: BLE001 - the call goes on without
                self._failed(error)
                continue
            self._gathering = not self._hastened
            self._writing = saving
            self._bound = timers().set(saving.get_loop().time() + limits.CHECKPOINT_MS / 1_000, self._late)
            saving.add_done_callback(self._written)

    def _late(self) -> None:
        if self._writing is not None and self._writing.cancel():
            self._failed(TimeoutError())

    def _written(self, writing: asyncio.Future[None]) -> None:
        self._writing, self._gathering = None, False
        if self._bound is not None:
            self._bound.cancel()
        if not writing.cancelled() and (error := writing.exception()):
            self._failed(error)
        self._write()

    async def _close(self, outcome: Outcome) -> None:
        closing = self._store.close_call(self._call_sid, outcome, words_kept=self._words_kept)
        await within(limits.CLOSE_CALL_MS / 1_000, closing, self._failed)

    def _failed(self, error: BaseException) -> None:
        self._on_failure("checkpoint", error)
