"""Kill one of two gateway processes in the middle of its calls: they go on, on the other one.

    python -m bench.kill --calls 100

Half the calls are on each process, or all of them on the one that dies (`--all-on-one`).
"""

import argparse
import signal

from bench.load.failover import fail_over, failover_options
from bench.load.fleet import Instance
from bench.load.model_session import LIFELIKE, Pace
from bench.load.moves import TALKS, carry_out
from bench.load.person import Plan
from bench.load.report import Report


async def kill(told: argparse.Namespace, pace: Pace = LIFELIKE, plan: Plan = TALKS) -> Report:
    """The whole run."""
    report = Report(f"kill -9 of one of two processes, {told.calls} calls")

    async def strike(first: Instance) -> None:
        first.process.signal(signal.SIGKILL)

    await fail_over(report, told, strike, ending="dropped", pace=pace, plan=plan)
    return report


def main() -> int:
    """The command."""
    return carry_out(kill, failover_options(str(__doc__)).parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
