"""One row: so many calls on one system under test, for so many seconds, measured and checked."""

import asyncio
import gc
import math
import os
import random
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.audio import probe, suts
from bench.audio.engine import SAMPLES
from bench.audio.exchange import Exchange
from bench.audio.session import Manner
from bench.audio.suts import Running, Sut
from bench.audio.tally import Tally, percentile

SUT_CORE: Final = 0
GENERATOR_CORE: Final = 1
WARM_UP_S: Final = 4.0
SETTLE_S: Final = 1.0
FIRST_CALLS: Final = 3
LATE_MS: Final = 5.0
"""The 99th percentile of the generator's own lateness beyond which a row is void."""
CALL_S: Final = 180.0
"""How long a call lasts; in every such time each line has one new call."""
ESCALATES: Final = 0.2
"""The share of callers that ask for a person."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    sut: Sut
    calls: int
    seconds: float = 10.0
    tls: bool = False
    ramp_per_s: float = 20.0
    real_time: bool = True
    """Whether both processes are put before everything else on the machine, as far as that is permitted."""


@dataclass
class Row:
    """What came out. Times are milliseconds."""

    sut: str
    calls: int
    tls: bool
    scheduling: str = ""
    cpu_ms: float = math.nan
    """Of the system under test for one second of one call."""
    cpu_share: float = math.nan
    """Of its core."""
    generator_share: float = math.nan
    up: tuple[float, float, float] = (math.nan,) * 3
    down: tuple[float, float, float] = (math.nan,) * 3
    clear: tuple[float, float, float] = (math.nan,) * 3
    rss_kb: float = math.nan
    """Of each call, over the idle process."""
    late_p99: float = math.nan
    set_up_p50: float = math.nan
    counts: dict[str, int] = field(default_factory=dict[str, int])
    wrong: dict[str, int] = field(default_factory=dict[str, int])
    examples: list[str] = field(default_factory=list[str])
    void: str = ""
    """Why the figures count for nothing, if they do not."""


async def measure(plan: Plan) -> Row:
    """Start everything, let people call, and measure a window of ordinary operation."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        tls, certificate = suts.self_signed(folder) if plan.tls else (None, None)
        exchange = Exchange(Manner(strict=plan.sut.gateway), tally, tls=tls)
        try:
            async with suts.running(plan.sut, exchange.base_url, certificate=certificate, log=folder / "log") as sut:
                probe.pin(sut.pid, SUT_CORE)
                probe.pin(os.getpid(), GENERATOR_CORE)
                row = await _measured(plan, exchange, sut, tally)
        finally:
            probe.pin(os.getpid(), GENERATOR_CORE)
    row.wrong, row.examples = dict(tally.wrong), tally.examples
    return row


async def _measured(plan: Plan, exchange: Exchange, sut: Running, tally: Tally) -> Row:
    row = Row(plan.sut.name, plan.calls, plan.tls)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        idle_kb = await _idle(exchange, sut)
        if plan.real_time:
            probe.give_way_to_nobody(os.getpid())
            row.scheduling = probe.give_way_to_nobody(sut.pid)
        turnover = asyncio.create_task(_turn_over(plan, exchange, sut, tally))
        if await _ramp(plan, exchange, sut):
            await asyncio.sleep(WARM_UP_S)
            await _window(plan, row, exchange, sut, tally)
            row.rss_kb = (probe.resident_kb(sut.pid) - idle_kb) / plan.calls
            await _look_for_losses(exchange, tally)
        else:
            row.void = "not every call was answered"
        turnover.cancel()
        await asyncio.gather(turnover, return_exceptions=True)
        await exchange.close()
    finally:
        gc.enable()
        probe.ordinary(os.getpid())
    return row


async def _idle(exchange: Exchange, sut: Running) -> float:
    """What the process holds when it has had a few calls and has none: what is loaded once is not a call's."""
    for _ in range(FIRST_CALLS):
        with suppress(OSError, TimeoutError):
            await exchange.place(sut.edge)
    for _ in range(FIRST_CALLS):
        exchange.let_one_go(sut.edge, asks_for_person=False)
    await asyncio.sleep(SETTLE_S)
    return probe.resident_kb(sut.pid)


async def _ramp(plan: Plan, exchange: Exchange, sut: Running) -> bool:
    """Let everybody call, evenly spread. Whether all of them talk in the end."""
    placed: list[asyncio.Task[object]] = []
    for _ in range(plan.calls):
        placed.append(asyncio.create_task(exchange.place(sut.edge)))
        await asyncio.sleep(1 / plan.ramp_per_s)
    results = await asyncio.gather(*placed, return_exceptions=True)
    return not any(isinstance(result, BaseException) for result in results)


async def _turn_over(plan: Plan, exchange: Exchange, sut: Running, tally: Tally) -> None:
    """Callers leave at the rate of a line that is always busy; each leaves the line to the next."""
    chance = random.Random(plan.calls)
    errands: set[asyncio.Task[object]] = set()
    while True:
        await asyncio.sleep(CALL_S / plan.calls)
        if len(exchange.calls) < plan.calls:
            continue
        exchange.let_one_go(sut.edge, asks_for_person=chance.random() < ESCALATES)
        errand = asyncio.create_task(exchange.place(sut.edge))
        errands.add(errand)
        errand.add_done_callback(errands.discard)


async def _window(plan: Plan, row: Row, exchange: Exchange, sut: Running, tally: Tally) -> None:
    """The seconds that count."""
    loop = asyncio.get_running_loop()
    tally.begin()
    exchange.engine.call("engine_forget_samples")
    began, cpu, own = loop.time(), probe.cpu_ms(sut.pid), probe.cpu_ms(os.getpid())
    await asyncio.sleep(plan.seconds)
    took_s = loop.time() - began
    cpu, own = probe.cpu_ms(sut.pid) - cpu, probe.cpu_ms(os.getpid()) - own
    row.cpu_ms = cpu / took_s / plan.calls
    row.cpu_share, row.generator_share = cpu / took_s / 1_000, own / took_s / 1_000
    up, down, clear, late = (exchange.engine.samples(which) for which in SAMPLES)
    row.up, row.down, row.clear = (
        (percentile(each, 0.5), percentile(each, 0.99), percentile(each, 0.999)) for each in (up, down, clear)
    )
    row.late_p99, row.set_up_p50 = percentile(late, 0.99), percentile(tally.set_up, 0.5)
    row.counts = {**tally.counts, "frames up": len(up), "pieces down": len(down), "interruptions cleared": len(clear)}
    if row.late_p99 > LATE_MS:
        row.void = f"the generator was late (p99 {row.late_p99:.1f} ms)"


async def _look_for_losses(exchange: Exchange, tally: Tally) -> None:
    """What was sent and should have come by now."""
    missing = exchange.missing()
    if missing:
        tally.wrong["lost"] += missing
