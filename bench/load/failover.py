"""Two processes with calls on them, one of which goes: its calls must talk on, on the other."""

import argparse
from collections.abc import Awaitable, Callable
from typing import Final

from bench.load import report as reports
from bench.load.carrier import CarriedCall
from bench.load.fleet import Instance
from bench.load.model_session import Pace
from bench.load.moves import ANSWER_S, all_leave, all_talk, let_call, options, read_logs, stop
from bench.load.person import Plan
from bench.load.report import Report, gaps
from bench.load.sockets import Ending
from bench.load.town import open_load_town

TURNS: Final = 2
"""Of every call before its process goes, and again after it: one whole answer at least."""


async def fail_over(
    report: Report,
    told: argparse.Namespace,
    end: Callable[[Instance], Awaitable[None]],
    *,
    ending: Ending,
    pace: Pace,
    plan: Plan,
) -> list[CarriedCall]:
    """Let people call and talk, `end` the first process, and see what becomes of its calls, which are returned.

    `ending` is how each of their streams must have ended.
    """
    async with open_load_town(("first", "second"), pace=pace, seed=told.seed, check_s=told.check_s) as town:
        first, second = town.fleet.instances
        town.fleet.preferred = first if told.all_on_one else None
        calls = await let_call(town, told.calls, per_s=told.per_s, plan=plan)
        await all_talk(calls, report, turns=TURNS, within_s=ANSWER_S)
        victims = [call for call in calls if call.instance is first]
        report.note("calls on the first process", len(victims))
        await end(first)
        await all_talk(calls, report, turns=TURNS, within_s=2 * ANSWER_S)
        judge(victims, report, then_on=second.name, ending=ending)
        await all_leave(town, report)
        report.note("exit of the other process, s", round(await stop(second, report), 2))
        read_logs(town, report)
        report.count_calls(town)
    return victims


def judge(victims: list[CarriedCall], report: Report, *, then_on: str, ending: Ending) -> None:
    """Every victim has lost one stream, has another where it should be, and has heard the model there."""
    breaks = reports.last_breaks(victims)
    moved = [each for each in breaks if each.then_on == then_on and each.voice_at is not None]
    report.note("calls that talk again on the other", len(moved))
    report.expect(len(moved) == len(victims), f"{len(victims) - len(moved)} calls do not talk on the other process")
    wrong = [each for each in breaks if each.ending != ending]
    report.expect(not wrong, f"{len(wrong)} streams were not {ending}")
    report.note("from the loss to the next stream", reports.to_stream(breaks))
    report.note("from the loss to the first sound", gaps(breaks, until_voice=False))
    report.note("from the loss to the model's voice", gaps(breaks))


def failover_options(description: str) -> argparse.ArgumentParser:
    """What either run can be told."""
    parser = options(description, calls=100)
    parser.add_argument("--all-on-one", action="store_true", help="all calls on the process that goes")
    return parser
