"""Writes a call's checkpoints in the background: one at a time, in order, and of several that wait only the last."""

import asyncio
from collections.abc import Awaitable, Callable

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.gateway.ports import HandoverStore


class CheckpointKeeper:
    """One call's. A write that fails is told and forgotten: the next turn brings another."""

    def __init__(self, store: HandoverStore, call_sid: str, on_failure: Callable[[str, BaseException], None]) -> None:
        self._store = store
        self._call_sid = call_sid
        self._on_failure = on_failure
        self._next: Callable[[], Awaitable[None]] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._stopped = False
        self._hastened = False

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write this, after what is being written now. That a person is needed must be known at once."""
        if checkpoint.person_needed:
            self.hasten()
        self._enqueue(lambda: self._store.save_checkpoint(self._call_sid, checkpoint, at_once=self._hastened))

    def close(self, outcome: Outcome) -> None:
        """Keep how the call ended, instead of anything that was said in it."""
        self._enqueue(lambda: self._store.close_call(self._call_sid, outcome))

    def stop(self) -> None:
        """Write nothing more: somebody else does now."""
        self._stopped, self._next = True, None
        if self._writing is not None:
            self._writing.cancel()

    def hasten(self) -> None:
        """From now on nothing waits for other calls' checkpoints to be written with: the end of the stream is near."""
        self._hastened = True
        if self._writing is not None and not self._writing.done():
            self._store.hasten()

    async def settled(self) -> None:
        """Return when nothing more is on its way; each write is bounded, and waits for no other call's."""
        self.hasten()
        if self._writing is not None:
            await asyncio.wait({self._writing})

    def _enqueue(self, work: Callable[[], Awaitable[None]]) -> None:
        if self._stopped:
            return
        self._next = work
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name=f"checkpoints {self._call_sid}")

    async def _write(self) -> None:
        while self._next is not None:
            work, self._next = self._next, None
            try:
                async with asyncio.timeout(limits.CHECKPOINT_MS / 1_000):
                    await work()
            except Exception as error:  # noqa: BLE001 - the conversation goes on without it
                self._on_failure("checkpoint", error)
