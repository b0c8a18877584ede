"""Writes a call's checkpoints in the background: one at a time, in order, and of several that wait only the last."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.gateway.bounded import within
from voice_openai_connect.gateway.ports import HandoverStore


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
        self._writing: asyncio.Task[None] | None = None
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
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name=f"checkpoints {self._call_sid}")

    def close(self, outcome: Outcome) -> None:
        """Keep how the call ended, instead of anything that was said in it. No checkpoint is kept after that."""
        if self._stopped:
            return
        self.stop()
        self._closing = asyncio.create_task(self._close(outcome), name=f"close call {self._call_sid}")

    def stop(self) -> None:
        """Write nothing more: somebody else does now."""
        self._stopped, self._next, self._gathering = True, None, False
        for task in (self._writing, self._closing):
            if task is not None:
                task.cancel()

    def hasten(self) -> None:
        """From now on nothing waits for other calls' checkpoints to be written with: the end of the stream is near."""
        self._hastened = True
        if self._gathering:
            self._store.hasten()

    async def settled(self) -> None:
        """Return when no checkpoint is on its way; each write is bounded, and waits for no other call's."""
        self.hasten()
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def closed(self) -> None:
        """Return when nothing at all is on its way. Nobody should wait for it: the last words of a call are removed
        together with those of others."""
        await self.settled()
        if self._closing is not None:
            await asyncio.wait({self._closing})

    async def _write(self) -> None:
        while self._next is not None:
            checkpoint, self._next = self._next, None
            self._gathering = not self._hastened
            saving = self._store.save_checkpoint(self._call_sid, checkpoint, at_once=self._hastened)
            await self._within(limits.CHECKPOINT_MS, saving)
            self._gathering = False

    async def _close(self, outcome: Outcome) -> None:
        closing = self._store.close_call(self._call_sid, outcome, words_kept=self._words_kept)
        await self._within(limits.CLOSE_CALL_MS, closing)

    async def _within(self, bound_ms: int, work: Coroutine[Any, Any, None]) -> None:
        await within(bound_ms / 1_000, work, lambda error: self._on_failure("checkpoint", error))
