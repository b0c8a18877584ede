"""One row of the bench.

python -m bench.audio --sut gateway --calls 200 --seconds 10
"""

import argparse

import uvloop

from bench.audio.row import CALL_S, Plan, Row, measure
from bench.audio.suts import SUTS
from bench.audio.tally import Delays


def show(row: Row) -> None:
    """On the terminal."""
    print(f"{row.sut}, {row.calls} calls{', TLS' if row.tls else ''} ({row.scheduling})")
    for_what = "a call set up" if row.set_up else "a second of a call"
    print(f"  CPU    {row.cpu_ms:.2f} ms for {for_what}, {row.cpu_share:.0%} of its core")
    if row.set_up:
        print(f"  rate   {row.set_up_per_s:.1f} calls a second")
    else:
        print(f"  up     {_times(row.up)}\n  down   {_times(row.down)}\n  clear  {_times(row.clear)}")
        print(f"  memory {row.rss_kb:.0f} KB a call")
    print(f"  set-up {_times(row.set_up_ms)}")
    print(f"  generator {row.generator_share:.0%} of its core, late {_times(row.late)}")
    print(f"  the host took {row.taken_share:.1%} of the system's core")
    print(f"  {row.counts}, {row.left_open} sessions left open")
    for what in (row.void, *row.examples, row.wrong):
        if what:
            print(f"  WRONG: {what}")


def _times(measured: Delays) -> str:
    return f"p50 {measured.p50:.2f}, p99 {measured.p99:.2f}, p99.9 {measured.p999:.2f} ms of {measured.count}"


def main() -> int:
    """The command. Its status is 1 when a byte was wrong, and 3 when the row is void."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sut", choices=sorted(SUTS), default="gateway")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--tls", action="store_true", help="TLS between the system and the model")
    parser.add_argument("--set-up", action="store_true", help="new calls as fast as they are answered, no talk")
    parser.add_argument("--ramp", type=float, default=40.0, help="new calls a second before the window (%(default)s)")
    parser.add_argument("--call-s", type=float, default=CALL_S, help="how long a call lasts (%(default)s s)")
    parser.add_argument("--polite", action="store_true", help="leave both processes among all the others")
    told = parser.parse_args()
    plan = Plan(
        SUTS[told.sut],
        told.calls,
        told.seconds,
        tls=told.tls,
        set_up=told.set_up,
        ramp_per_s=told.ramp,
        call_s=told.call_s,
        real_time=not told.polite,
    )
    row = uvloop.run(measure(plan))
    show(row)
    return 1 if row.wrong else 3 if row.void else 0


if __name__ == "__main__":
    raise SystemExit(main())
