"""One row: so many calls on one system under test, for so many seconds, measured and checked."""

import asyncio
import gc
import math
import os
import random
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.audio import cores, probe, suts
from bench.audio.engine import SAMPLES
from bench.audio.exchange import Exchange
from bench.audio.session import Manner
from bench.audio.suts import Running, Sut
from bench.audio.tally import Delays, Tally, delays

SUT_CORE: Final = 0
GENERATOR_CORE: Final = 1
WARM_UP_S: Final = 4.0
SETTLE_S: Final = 1.0
FIRST_CALLS: Final = 3
LATE_MS: Final = 5.0
"""The 99th percentile of the generator's own lateness beyond which a row is void."""
TAKEN: Final = 0.05
"""The share of the system's core that the host of a virtual machine may take; beyond it a row is void, because its
delays are the host's."""
FULL: Final = 0.96
"""The share of a core beyond which there is none left."""
CALL_S: Final = 180.0
"""How long a call lasts; in every such time each line has one new call."""
ESCALATES: Final = 0.2
"""The share of callers that ask for a person."""
AT_ONCE: Final = 8
"""Calls that are being set up at any moment, when it is measured how many can be."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    sut: Sut
    calls: int
    seconds: float = 8.0
    tls: bool = False
    set_up: bool = False
    """Not calls that talk: new calls, as fast as they are answered."""
    ramp_per_s: float = 40.0
    warm_up_s: float = WARM_UP_S
    settle_s: float = SETTLE_S
    call_s: float = CALL_S
    pinned: bool = True
    """Whether each of the two has a core to itself."""
    real_time: bool = True
    """Whether both processes are put before everything else on the machine, as far as that is permitted."""


@dataclass
class Row:
    """What came out. Times are milliseconds."""

    sut: str
    calls: int
    tls: bool = False
    set_up: bool = False
    scheduling: str = "ordinary"
    cpu_ms: float = math.nan
    """Of the system under test: for one second of one call, or for one call set up."""
    cpu_share: float = math.nan
    """Of its core."""
    generator_share: float = math.nan
    taken_share: float = 0.0
    """Of the system's core, by the host of a virtual machine, while there was work for it."""
    up: Delays = field(default_factory=Delays)
    down: Delays = field(default_factory=Delays)
    clear: Delays = field(default_factory=Delays)
    late: Delays = field(default_factory=Delays)
    set_up_ms: Delays = field(default_factory=Delays)
    set_up_per_s: float = math.nan
    rss_kb: float = math.nan
    """Of each call, over the idle process."""
    left_open: int = 0
    """Sessions of the model that were still open some time after all callers had gone: they would be billed."""
    counts: dict[str, int] = field(default_factory=dict[str, int])
    wrong: dict[str, int] = field(default_factory=dict[str, int])
    examples: list[str] = field(default_factory=list[str])
    rung: bool = False
    """Whether it was measured on the way to the largest number of calls, and for nothing else."""
    void: str = ""
    """Why the figures count for nothing, if they do not."""

    @property
    def sound(self) -> bool:
        """Whether every byte arrived as it was sent and the figures count."""
        return not self.wrong and not self.void

    @property
    def disturbed(self) -> bool:
        """Whether it is void for what another try may be spared: the generator was late and had room, or the host took
        the core away."""
        late = self.late.p99 > LATE_MS and self.generator_share <= FULL
        return bool(self.void) and (late or self.taken_share > TAKEN)

    @property
    def generator_full(self) -> bool:
        """Whether the generator had no room left: then its own limit was met, and not the system's."""
        return self.generator_share > FULL or self.late.p99 > LATE_MS

    def failed(self, within_ms: float) -> bool:
        """Whether so many calls were not carried well, and it was the system that did not."""
        return not self.void and not self.carried(within_ms)

    def carried(self, within_ms: float) -> bool:
        """Whether so many calls were carried well: nothing lost, a core not full, and the caller's voice in time."""
        return self.sound and self.cpu_share < FULL and self.up.p99 <= within_ms


async def measure(plan: Plan) -> Row:
    """Start everything, let people call, and measure a window of ordinary operation."""
    tally = Tally()
    row = Row(plan.sut.name, plan.calls, plan.tls, plan.set_up)
    manner = Manner(strict=plan.sut.gateway, pcm=plan.sut.transcodes)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, _no_collector():
        folder = Path(name)
        tls, certificate = suts.self_signed(folder) if plan.tls else (None, None)
        exchange = Exchange(manner, tally, tls=tls)
        async with suts.running(plan.sut, exchange.base_url, certificate=certificate, log=folder / "log") as sut:
            async with _cores(plan, row, sut):
                if plan.set_up:
                    await _measure_set_up(plan, row, exchange, sut, tally)
                else:
                    await _measure_talk(plan, row, exchange, sut, tally)
            row.left_open = await exchange.close(plan.settle_s)
    row.wrong, row.examples = dict(tally.wrong), tally.examples
    return row


@contextmanager
def _no_collector() -> Generator[None]:
    """A collector that stops the generator would be measured as delay."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@asynccontextmanager
async def _cores(plan: Plan, row: Row, sut: Running) -> AsyncGenerator[None]:
    """A core for the system, one for all that is around it; and if wanted before everybody else there."""
    if not plan.pinned:
        yield
        return
    allowed = os.sched_getaffinity(0)
    around = {os.getpid(), *probe.children(os.getpid())} - {sut.pid}  # the generator and the system's DynamoDB
    probe.pin(sut.pid, SUT_CORE)
    for pid in around:
        probe.pin(pid, GENERATOR_CORE)
    try:
        if not plan.real_time:
            yield
            return
        row.scheduling = probe.put_first(sut.pid)
        for pid in around:
            probe.put_first(pid)
        with cores.kept_awake() as awake:
            row.scheduling += ", cores kept awake" if awake else ""
            yield
    finally:
        probe.put_back(os.getpid(), allowed)


async def _measure_talk(plan: Plan, row: Row, exchange: Exchange, sut: Running, tally: Tally) -> None:
    idle_kb = await _idle(plan, exchange, sut)
    if not await _ramp(plan, exchange, sut):
        row.void = "not every call was answered"
        return
    turnover = asyncio.create_task(_turn_over(plan, exchange, sut))
    await asyncio.sleep(plan.warm_up_s)
    await _window(plan, row, exchange, sut, tally)
    row.rss_kb = (probe.resident_kb(sut.pid) - idle_kb) / plan.calls
    turnover.cancel()
    await asyncio.gather(turnover, return_exceptions=True)
    if missing := exchange.missing(plan.settle_s):
        tally.wrong["lost"] += missing
    row.void = _why_void(row)


def _why_void(row: Row) -> str:
    if row.late.p99 > LATE_MS:
        return f"the generator was late (p99 {row.late.p99:.1f} ms)"
    if row.taken_share > TAKEN:
        return f"the host took {row.taken_share:.0%} of the core"
    return ""


async def _idle(plan: Plan, exchange: Exchange, sut: Running) -> float:
    """What the process holds when it has had a few calls and has none: what is loaded once is not a call's."""
    for _ in range(FIRST_CALLS):
        with suppress(OSError, TimeoutError):
            await exchange.place(sut.edge)
    for _ in range(FIRST_CALLS):
        exchange.let_one_go(sut.edge, asks_for_person=False)
    await asyncio.sleep(plan.settle_s)
    return probe.resident_kb(sut.pid)


async def _ramp(plan: Plan, exchange: Exchange, sut: Running) -> bool:
    """Let everybody call, evenly spread. Whether all of them talk in the end."""
    placed: list[asyncio.Task[object]] = []
    for _ in range(plan.calls):
        placed.append(asyncio.create_task(exchange.place(sut.edge)))
        await asyncio.sleep(1 / plan.ramp_per_s)
        if plan.sut.transcodes:
            await asyncio.wait(placed)
    results = await asyncio.gather(*placed, return_exceptions=True)
    return not any(isinstance(result, BaseException) for result in results)


async def _turn_over(plan: Plan, exchange: Exchange, sut: Running) -> None:
    """Callers leave at the rate of a line that is always busy; each leaves the line to the next."""
    chance = random.Random(plan.calls)
    errands: set[asyncio.Task[object]] = set()
    while True:
        await asyncio.sleep(plan.call_s / plan.calls)
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
    taken = cores.taken_s(SUT_CORE)
    await asyncio.sleep(plan.seconds)
    took_s = loop.time() - began
    cpu, own = probe.cpu_ms(sut.pid) - cpu, probe.cpu_ms(os.getpid()) - own
    row.cpu_ms = cpu / took_s / plan.calls
    row.cpu_share, row.generator_share = cpu / took_s / 1_000, own / took_s / 1_000
    row.taken_share = (cores.taken_s(SUT_CORE) - taken) / took_s if plan.pinned else 0.0
    samples = [exchange.engine.samples(which) for which in SAMPLES]
    row.counts, set_up = dict(tally.counts), tally.set_up[:]
    await asyncio.sleep(plan.settle_s)  # what is on its way arrives before the arithmetic keeps the generator busy
    row.up, row.down, row.clear, row.late = (delays(each) for each in samples)
    row.set_up_ms = delays(set_up)


async def _measure_set_up(plan: Plan, row: Row, exchange: Exchange, sut: Running, tally: Tally) -> None:
    """Calls that are hung up as soon as the model is ready, so many at a time."""
    await _idle(plan, exchange, sut)
    loop = asyncio.get_running_loop()
    end = loop.time() + plan.seconds

    async def ring() -> None:
        while loop.time() < end:
            with suppress(OSError, TimeoutError):
                exchange.hang_up(await exchange.place(sut.edge))

    tally.begin()
    exchange.engine.call("engine_forget_samples")
    began, cpu, own = loop.time(), probe.cpu_ms(sut.pid), probe.cpu_ms(os.getpid())
    await asyncio.gather(*(ring() for _ in range(AT_ONCE)))
    took_s = loop.time() - began
    cpu, own = probe.cpu_ms(sut.pid) - cpu, probe.cpu_ms(os.getpid()) - own
    row.set_up_ms = delays(tally.set_up)
    row.cpu_ms = cpu / max(1, row.set_up_ms.count)
    row.cpu_share, row.generator_share = cpu / took_s / 1_000, own / took_s / 1_000
    row.set_up_per_s = row.set_up_ms.count / took_s
