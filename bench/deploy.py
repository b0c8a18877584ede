"""Stop one of two gateway processes as a deploy does: its calls move to the other one, and it exits with 0.

python -m bench.deploy --calls 100
"""

import argparse
import asyncio

from bench.load.failover import fail_over, failover_options
from bench.load.fleet import Instance
from bench.load.model_session import LIFELIKE, Pace
from bench.load.moves import TALKS, carry_out, stop
from bench.load.person import Plan
from bench.load.report import Report, last_breaks


async def deploy(told: argparse.Namespace, pace: Pace = LIFELIKE, plan: Plan = TALKS) -> Report:
    """The whole run."""
    report = Report(f"SIGTERM to one of two processes, {told.calls} calls")
    signalled_at = 0.0

    async def terminate(first: Instance) -> None:
        nonlocal signalled_at
        signalled_at = asyncio.get_running_loop().time()
        report.note("exit of the stopped process, s", round(await stop(first, report), 2))

    victims = await fail_over(report, told, terminate, ending="closed", pace=pace, plan=plan)
    moved = [each.stream_at for each in last_breaks(victims) if each.stream_at is not None]
    report.note("until the last call had moved, s", round(max(moved, default=signalled_at) - signalled_at, 2))
    return report


def main() -> int:
    """The command."""
    return carry_out(deploy, failover_options(str(__doc__)).parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
