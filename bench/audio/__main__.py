"""One row of the bench.

python -m bench.audio --sut gateway --calls 200 --seconds 10
"""

import argparse

import uvloop

from bench.audio.row import Plan, Row, measure
from bench.audio.suts import SUTS


def show(row: Row) -> None:
    """On the terminal."""
    up, down, clear = (" / ".join(f"{each:.2f}" for each in times) for times in (row.up, row.down, row.clear))
    print(f"{row.sut}, {row.calls} calls{', TLS' if row.tls else ''} ({row.scheduling})")
    print(f"  CPU  {row.cpu_ms:.2f} ms per call-second, {row.cpu_share:.0%} of its core; generator {row.generator_share:.0%}")
    print(f"  up   p50 / p99 / p99.9  {up} ms\n  down                    {down} ms\n  clear                   {clear} ms")
    print(f"  RSS  {row.rss_kb:.0f} KB per call; set-up p50 {row.set_up_p50:.0f} ms; generator late p99 {row.late_p99:.2f} ms")
    print(f"  {row.counts}")
    for what in (row.void, *row.examples):
        if what:
            print(f"  WRONG: {what}")
    if row.wrong:
        print(f"  WRONG: {row.wrong}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sut", choices=sorted(SUTS), default="gateway")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--ramp", type=float, default=20.0)
    parser.add_argument("--polite", action="store_true", help="leave the processes among all the others")
    told = parser.parse_args()
    plan = Plan(
        SUTS[told.sut], told.calls, told.seconds, tls=told.tls, ramp_per_s=told.ramp, real_time=not told.polite
    )
    row = uvloop.run(measure(plan))
    show(row)
    return 1 if row.wrong or row.void else 0


if __name__ == "__main__":
    raise SystemExit(main())
