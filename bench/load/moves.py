"""The moves that runs are made of: let people call, wait for something, let them leave, look at what is left."""

import argparse
import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.load.carrier import CarriedCall
from bench.load.fleet import Instance
from bench.load.person import Plan
from bench.load.report import Report, machine_load
from bench.load.town import LoadTown
from voice_openai_connect.simulator.gateway_process import LogLine

TALKS: Final = Plan(interrupts=0.2)
"""Somebody who talks, and now and then interrupts, until told to leave."""
ANSWER_S: Final = 30.0
LEAVE_S: Final = 60.0
EXIT_S: Final = 90.0
STORE_WORK: Final = frozenset(
    {"checkpoint", "bring back", "remember step", "recall call", "take over", "close call"}
    | {"note asked", "note stopped", "note dial", "read redemption", "revoke token", "save handover", "attach ticket"}
)
"""What a gateway's log calls the work that the table does for it."""


async def reached(condition: Callable[[], object], *, within_s: float) -> bool:
    """Whether it came to hold in time; looked at every 20 ms."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def let_call(town: LoadTown, count: int, *, per_s: float, plan: Plan = TALKS) -> list[CarriedCall]:
    """So many people call, one after the other."""
    calls: list[CarriedCall] = []
    for _ in range(count):
        calls.append(town.carrier.place_call(plan))
        await asyncio.sleep(1 / per_s)
    return calls


async def all_talk(calls: Sequence[CarriedCall], report: Report, *, turns: int, within_s: float = ANSWER_S) -> bool:
    """Every call gets so many more turns. The caller waits for an answer before the next: two turns are one answer."""
    wanted = {call.book.number: len(call.book.turns) + turns for call in calls}
    talking = await reached(
        lambda: all(len(call.book.turns) >= wanted[call.book.number] for call in calls), within_s=within_s
    )
    silent = [call.book.number for call in calls if len(call.book.turns) < wanted[call.book.number]]
    report.expect(talking, f"not {turns} more turns within {within_s:g} s: calls {silent}")
    return talking


async def all_leave(town: LoadTown, report: Report) -> None:
    """Everybody hangs up after the next answer; nothing of their calls may stay."""
    for call in town.carrier.calls:
        call.person.leave()
    await town.carrier.finish(LEAVE_S)
    closed = await reached(lambda: not town.model.live, within_s=2.0)
    report.expect(closed, f"{len(town.model.live)} sessions of the model are open after all calls have ended")


async def stop(instance: Instance, report: Report) -> float:
    """SIGTERM; returns how long the process took to exit, in seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    status = await instance.process.stop(signal.SIGTERM, within_s=EXIT_S)
    report.expect(status == 0, f"the {instance.name} instance exited with {status}")
    return loop.time() - began


def read_logs(town: LoadTown, report: Report) -> None:
    """Nothing in an instance's log may be an error, nothing may stand beside it, and its store may not have failed.

    But in a run that throttles the store itself: there that is counted, at whatever level it was logged.
    """
    throttled = town.trouble is not None and town.trouble.injected["dynamo_throttled"] > 0
    for instance in town.fleet.instances:
        found = wrong_lines(instance.process.log, store_may_fail=throttled)
        report.wrong += [f"the {instance.name} instance logged {line}" for line in found]
        report.wrong += [f"the {instance.name} instance printed {text}" for text in instance.process.other_output]
    if throttled:
        logs = [line for instance in town.fleet.instances for line in instance.process.log]
        report.note("times that the store was slow or throttled", sum(map(_says_the_store_failed, logs)))


def wrong_lines(log: Sequence[LogLine], *, store_may_fail: bool) -> list[LogLine]:
    """The lines that no run may have: errors, and those that tell of a store that failed, unless it was made to."""
    return [
        line
        for line in log
        if (not store_may_fail if _says_the_store_failed(line) else line["level"] in {"error", "critical"})
    ]


def _says_the_store_failed(line: LogLine) -> bool:
    return line.get("what") in STORE_WORK and line.get("error") in {"TimeoutError", "StoreError"}


def options(description: str, *, calls: int) -> argparse.ArgumentParser:
    """What every run can be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--calls", type=int, default=calls, help="calls at a time (%(default)s)")
    parser.add_argument("--per-s", type=float, default=10.0, help="how many people call in a second (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="other people, other pauses (%(default)s)")
    parser.add_argument("--check-s", type=float, default=0.1, help="how often the balancer looks (%(default)s s)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser


def carry_out(run: Callable[[argparse.Namespace], Coroutine[Any, Any, Report]], told: argparse.Namespace) -> int:
    """Run it on uvloop, print the report, save it if asked. Returns the exit status."""
    before, began, used = machine_load(), time.monotonic(), time.process_time()
    report = uvloop.run(run(told))
    share = (time.process_time() - used) / (time.monotonic() - began)
    report.note("the generator's share of a core", f"{share:.0%}")
    report.note("the machine before", before)
    report.note("the machine after", machine_load())
    print("\n".join(report.lines()), flush=True)
    if told.json is not None:
        report.save(told.json)
    return report.status
