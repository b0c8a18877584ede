"""The bench, for two seconds: it carries calls, and fails itself when a system lies."""

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from bench.audio.edges import Edge, Opened
from bench.audio.engine import Engine
from bench.audio.exchange import Exchange
from bench.audio.row import Plan, Row, measure
from bench.audio.session import Manner
from bench.audio.suts import SUTS, Sut, running
from bench.audio.tally import Tally

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="the generator is built with a C compiler, for Linux",
)


async def brief(sut: Sut) -> Row:
    plan = Plan(sut, calls=3, seconds=0.6, warm_up_s=0.1, settle_s=0.2, ramp_per_s=50, pinned=False, real_time=False)
    return await measure(plan)


def lying(lie: str) -> Sut:
    return Sut(f"lying_{lie}", "bench.peers.lying", settings=(("LIE", lie),))


async def test_the_bench_fails_a_bridge_that_lies_and_no_other():
    honest, *liars = await asyncio.gather(
        brief(SUTS["bare_picows"]), *(brief(lying(lie)) for lie in ("changed", "lost", "crossed"))
    )

    assert honest.wrong == {}
    assert honest.up.count > 50
    for row, what in zip(liars, ("changed", "lost", "crossed"), strict=True):
        assert what in row.wrong, f"{row.sut} was believed: {row.wrong}"
        assert not row.sound


class SlowToAnswer:
    """Lets the telephone ring until it is told to answer."""

    def __init__(self, edge: Edge) -> None:
        self.hands_over = edge.hands_over
        self.report, self.follow = edge.report, edge.follow
        self.rings, self.answers = asyncio.Event(), asyncio.Event()
        self._edge = edge

    async def open(self, engine: Engine, call_sid: str, caller: str) -> Opened:
        self.rings.set()
        await self.answers.wait()
        return await self._edge.open(engine, call_sid, caller)


@pytest.mark.parametrize("name", ["bare_picows", "gateway"])
async def test_a_caller_who_is_still_ringing_at_the_end_hangs_up_too_and_is_held_against_nobody(
    name: str, tmp_path: Path
) -> None:
    exchange = Exchange(Manner(strict=False), Tally())
    async with running(SUTS[name], exchange.base_url, certificate=None, log=tmp_path / "log") as sut:
        edge = SlowToAnswer(sut.edge)
        placing = asyncio.create_task(exchange.place(edge))
        await asyncio.wait_for(edge.rings.wait(), 30)
        closing = asyncio.create_task(exchange.close(1.0))
        edge.answers.set()

        assert await asyncio.wait_for(closing, 30) == 0
        placing.cancel()
