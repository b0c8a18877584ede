"""Ten minutes of calls in which things fail all the time; at the end nothing may be left of them.

python -m bench.soak --seconds 600 --short 500 --long 20 --share 0.05
"""

import argparse
import asyncio
import random
import signal
from dataclasses import replace
from typing import Final

from bench.load.fleet import Instance
from bench.load.instance import PROBE, Held, held
from bench.load.model_session import Pace
from bench.load.moves import TALKS, all_leave, carry_out, options, reached, read_logs, stop
from bench.load.person import GOALS, Plan
from bench.load.report import Report
from bench.load.town import LoadTown, open_load_town
from bench.load.trouble import Trouble

QUICK: Final = Pace(answer_ms=(1_000, 2_500))
SHORT: Final = Plan(interrupts=0.3, pause_ms=(200, 600), speech_ms=(400, 1_200))
SHORT_TURNS: Final = (1, 2)
LEAVE_BEFORE_END_S: Final = 25.0
"""The last short call begins so long before the end."""
REST_S: Final = 45.0
"""A late ticket may keep a call's tasks for half a minute after the caller has gone; by then idle connections to other
services have been closed as well."""
TOLERANCE: Final = 0.05
LOOK_S: Final = 1.0


async def soak(told: argparse.Namespace, pace: Pace = QUICK) -> Report:
    """The whole run."""
    report = Report(f"{told.short} short and {told.long} long calls in {told.seconds:g} s, faults {told.share:.0%}")
    trouble = Trouble(0.0, seed=told.seed)
    async with open_load_town(("only",), pace=pace, seed=told.seed, trouble=trouble, crm=True) as town:
        instance = town.fleet.instances[0]
        before = await warm_up(town, instance, told)
        report.note("held after the warm-up", before)
        trouble.share = told.share
        await asyncio.gather(short_calls(town, told, trouble), long_calls(town, told))
        await all_leave(town, report)
        trouble.share = 0.0
        report.note("faults", dict(trouble.injected))
        await compare(instance, before, report, rest_s=told.rest_s)
        report.note("exit, s", round(await stop(instance, report), 2))
        read_logs(town, report)
        report.count_calls(town)
    return report


async def warm_up(town: LoadTown, instance: Instance, told: argparse.Namespace) -> Held:
    """As many calls at a time as there will be, each of every kind: what is loaded once must not look like a leak."""
    for number in range(told.warm_up):
        town.carrier.place_call(replace(SHORT, turns=1, goal=GOALS[number % len(GOALS)]))
        await asyncio.sleep(0.1)
    await town.carrier.finish(REST_S)
    return await at_rest(instance, told.rest_s)


async def at_rest(instance: Instance, rest_s: float) -> Held:
    """What the process holds when no call has been on the line for a while."""
    await asyncio.sleep(rest_s)
    return await look(instance)


async def look(instance: Instance) -> Held:
    """What the process holds at this moment."""
    log = instance.process.log
    seen = len(log)
    instance.process.signal(signal.SIGUSR1)
    if not await reached(lambda: any(line["message"] == PROBE for line in log[seen:]), within_s=REST_S):
        raise TimeoutError(f"the {instance.name} instance does not say how many tasks it has")
    tasks = next(int(line["tasks"]) for line in log[seen:] if line["message"] == PROBE)
    return held(instance.process.pid, tasks)


async def compare(instance: Instance, before: Held, report: Report, *, rest_s: float) -> None:
    """Memory, descriptors and tasks are back where they were."""
    after = await at_rest(instance, rest_s)
    report.note("held at the end", after)
    for what in ("rss_bytes", "descriptors", "tasks"):
        was, now = getattr(before, what), getattr(after, what)
        growth = (now - was) / was
        report.note(f"growth of {what}", f"{growth:+.1%}")
        report.expect(growth <= TOLERANCE, f"{what} grew from {was} to {now}")


async def short_calls(town: LoadTown, told: argparse.Namespace, trouble: Trouble) -> None:
    """Evenly spread, each with an end of its own."""
    chance = random.Random(told.seed)
    every_s = max(1.0, told.seconds - LEAVE_BEFORE_END_S) / told.short
    due = asyncio.get_running_loop().time()
    for _ in range(told.short):
        plan = replace(SHORT, turns=chance.randint(*SHORT_TURNS), goal=chance.choice(GOALS))
        town.carrier.place_call(plan)
        if town.crm is not None and trouble.strikes("crm_500"):
            town.crm.fail_next(status=500)
        due += every_s
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))


async def long_calls(town: LoadTown, told: argparse.Namespace) -> None:
    """So many at a time until the end; where a fault has taken one to a person, another one begins."""
    loop = asyncio.get_running_loop()
    end = loop.time() + told.seconds
    calls = [town.carrier.place_call(TALKS) for _ in range(told.long)]
    while loop.time() < end:
        await asyncio.sleep(LOOK_S)
        for place, call in enumerate(calls):
            if town.carrier.lives[call.book.number].done():
                calls[place] = town.carrier.place_call(TALKS)


def main() -> int:
    """The command."""
    parser = options(str(__doc__), calls=0)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long people call (%(default)s)")
    parser.add_argument("--short", type=int, default=500, help="short calls in that time (%(default)s)")
    parser.add_argument("--long", type=int, default=20, help="long calls at any moment (%(default)s)")
    parser.add_argument("--share", type=float, default=0.05, help="of occasions on which something fails (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=60, help="calls before the first look (%(default)s)")
    parser.add_argument("--rest-s", type=float, default=REST_S, help="quiet before each look (%(default)s s)")
    return carry_out(soak, parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
