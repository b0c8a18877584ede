"""The bench, for two seconds: it carries calls, and fails itself when a system lies."""

import asyncio
import shutil
import sys

import pytest

from bench.audio.row import Plan, Row, measure
from bench.audio.suts import SUTS, Sut

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
