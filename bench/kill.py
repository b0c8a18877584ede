"""Kill one of two gateway processes in the middle of its calls: they go on, on the other one.

    python -m bench.kill --calls 100

Half the calls are on each process, or all of them on the one that dies (`--all-on-one`).
"""

import argparse
import asyncio
import signal

from bench.load import report as reports
from bench.load.carrier import CarriedCall
from bench.load.model_session import LIFELIKE, Pace
from bench.load.moves import (
    ANSWER_S,
    TALKS,
    TURNS_BEFORE,
    all_leave,
    all_talk,
    carry_out,
    let_call,
    options,
    read_logs,
    stop,
)
from bench.load.person import Plan
from bench.load.report import Report, gaps
from bench.load.town import open_load_town


async def kill(told: argparse.Namespace, pace: Pace = LIFELIKE, plan: Plan = TALKS) -> Report:
    """The whole run."""
    report = Report(f"kill -9 of one of two processes, {told.calls} calls")
    async with open_load_town(("first", "second"), pace=pace, seed=told.seed, check_s=told.check_s) as town:
        first, second = town.fleet.instances
        town.fleet.preferred = first if told.all_on_one else None
        calls = await let_call(town, told.calls, per_s=told.per_s, plan=plan)
        await all_talk(calls, report, turns=TURNS_BEFORE, within_s=ANSWER_S)
        victims = [call for call in calls if call.instance is first]
        report.note("calls on the killed process", len(victims))
        first.process.signal(signal.SIGKILL)
        await asyncio.sleep(0.05)
        await all_talk(calls, report, turns=TURNS_BEFORE, within_s=2 * ANSWER_S)
        judge(victims, report, then_on=second.name, ending="dropped")
        await all_leave(town, report)
        report.note("exit of the survivor, s", round(await stop(second, report), 2))
        read_logs(town, report)
        report.count_calls(town)
    return report


def judge(victims: list[CarriedCall], report: Report, *, then_on: str, ending: str) -> None:
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


def main() -> int:
    """The command."""
    parser = options(str(__doc__), calls=100)
    parser.add_argument("--all-on-one", action="store_true", help="all calls on the process that is killed")
    return carry_out(kill, parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
