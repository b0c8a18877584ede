"""Stop one of two gateway processes as a deploy does: its calls move to the other one, and it exits with 0.

python -m bench.deploy --calls 100
"""

import argparse
import asyncio

from bench.kill import judge
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
from bench.load.report import Report, last_breaks
from bench.load.town import open_load_town


async def deploy(told: argparse.Namespace, pace: Pace = LIFELIKE, plan: Plan = TALKS) -> Report:
    """The whole run."""
    report = Report(f"SIGTERM to one of two processes, {told.calls} calls")
    async with open_load_town(("first", "second"), pace=pace, seed=told.seed, check_s=told.check_s) as town:
        first, second = town.fleet.instances
        town.fleet.preferred = first if told.all_on_one else None
        calls = await let_call(town, told.calls, per_s=told.per_s, plan=plan)
        await all_talk(calls, report, turns=TURNS_BEFORE, within_s=ANSWER_S)
        victims = [call for call in calls if call.instance is first]
        report.note("calls on the stopped process", len(victims))
        signalled_at = asyncio.get_running_loop().time()
        report.note("exit of the stopped process, s", round(await stop(first, report), 2))
        await all_talk(calls, report, turns=TURNS_BEFORE, within_s=2 * ANSWER_S)
        judge(victims, report, then_on=second.name, ending="closed")
        moved = [each.stream_at for each in last_breaks(victims) if each.stream_at is not None]
        report.note("until the last call had moved, s", round(max(moved, default=signalled_at) - signalled_at, 2))
        await all_leave(town, report)
        report.note("exit of the other process, s", round(await stop(second, report), 2))
        read_logs(town, report)
        report.count_calls(town)
    return report


def main() -> int:
    """The command."""
    parser = options(str(__doc__), calls=100)
    parser.add_argument("--all-on-one", action="store_true", help="all calls on the process that is stopped")
    return carry_out(deploy, parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
