"""The load tests themselves, small: so that they still run, and still see, when they are needed."""

import argparse
import asyncio
import signal
from typing import Final, cast

from bench import deploy, kill, soak
from bench.load.model_session import Pace
from bench.load.moves import all_leave, all_talk, let_call
from bench.load.person import Plan
from bench.load.report import Report
from bench.load.town import open_load_town

QUICK: Final = Pace(connect_ms=5, think_ms=(20, 60), answer_ms=(200, 400))
BRIEF: Final = Plan(pause_ms=(40, 100), speech_ms=(100, 300), interrupts=0.2, interrupt_after_ms=(60, 150))


def told(**more: object) -> argparse.Namespace:
    usual: dict[str, object] = {"calls": 4, "per_s": 20.0, "seed": 1, "check_s": 0.05, "all_on_one": False}
    return argparse.Namespace(**{**usual, **more})


async def test_four_calls_outlive_a_killed_process():
    report = await kill.kill(told(), QUICK, BRIEF)

    assert report.wrong == []
    assert report.figures["calls that talk again on the other"] == 2


async def test_four_calls_move_when_their_process_is_stopped():
    report = await deploy.deploy(told(all_on_one=True), QUICK, BRIEF)

    assert report.wrong == []
    assert report.figures["calls that talk again on the other"] == 4


async def test_a_soak_of_a_few_seconds_loses_nobody():
    report = await soak.soak(told(seconds=4.0, short=8, long=1, share=0.1, warm_up=2, rest_s=0.5), QUICK)

    assert [what for what in report.wrong if "grew" not in what] == []  # whether it is at rest takes a minute to see
    # 2 + 8 + 1, and another one for each that a fault takes to a person before its time.
    calls, faults = report.figures["calls"], report.figures["faults"]
    assert isinstance(calls, int)
    assert isinstance(faults, dict)
    assert 11 <= calls <= 11 + sum(cast("dict[str, int]", faults).values())


async def test_a_caller_whom_nobody_answers_any_more_is_seen_to_be_lost():
    report = Report("one process, killed")
    async with open_load_town(("only",), pace=QUICK, seed=1) as town:
        calls = await let_call(town, 2, per_s=20.0, plan=BRIEF)
        assert await all_talk(calls, report, turns=2)
        town.fleet.instances[0].process.signal(signal.SIGKILL)
        await asyncio.wait(town.carrier.lives.values(), timeout=30)
        await all_leave(town, report)
        report.count_calls(town)

    assert report.figures["callers lost"] == 2
    assert report.status == 1
