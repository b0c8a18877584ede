import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from voice_openai_connect import limits
from voice_openai_connect.gateway.lifeline import BEAT, supervised

DEADLINE_S = 10


@dataclass
class Line:
    """The supervisor's end, and what the worker does."""

    supervisor: socket.socket
    started: asyncio.Event
    lost: asyncio.Event

    async def hears(self) -> bytes:
        self.supervisor.setblocking(False)
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.supervisor, 1), DEADLINE_S)


@asynccontextmanager
async def worker() -> AsyncGenerator[Line]:
    ours, theirs = socket.socketpair()
    line = Line(ours, asyncio.Event(), asyncio.Event())

    async def until_started() -> None:
        await line.started.wait()

    with ours, theirs:
        async with supervised(until_started, line=theirs.fileno(), on_lost=line.lost.set):
            yield line


async def test_nothing_is_heard_of_a_worker_before_it_takes_calls() -> None:
    async with worker() as line:
        line.supervisor.setblocking(False)
        for _ in range(10):
            await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            line.supervisor.recv(1)

        line.started.set()
        assert await line.hears() == BEAT


async def test_it_is_heard_of_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WORKER_BEAT_S", 0.001)
    async with worker() as line:
        line.started.set()

        assert [await line.hears() for _ in range(3)] == [BEAT] * 3


async def test_a_worker_whose_supervisor_is_gone_stops() -> None:
    async with worker() as line:
        assert not line.lost.is_set()
        line.supervisor.close()

        await asyncio.wait_for(line.lost.wait(), DEADLINE_S)


async def test_a_worker_that_ends_does_not_take_its_own_end_for_its_supervisor_s() -> None:
    async with worker() as line:
        line.started.set()
        await line.hears()

    assert not line.lost.is_set()
