"""Every row of the bench, round after round, and the page that is written from them: `make bench`.

python -m bench.audio.rounds            about eleven minutes, more where rows are void
python -m bench.audio.rounds --full     ladders too; about an hour and a half on a machine that does nothing else

A row that is void because the machine was disturbed is measured again, `TRIES` times in all. Exits with 1 when a block
was lost, changed, out of order or crossed in any row, and with 3 when all rows of a figure are void.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench.audio import document
from bench.audio.__main__ import show
from bench.audio.row import Plan, Row, measure
from bench.audio.suts import SUTS

OUT: Final = Path(__file__).parents[2] / "out"
ROWS: Final = OUT / "bench.json"
PAGE: Final = Path(__file__).parents[2] / "docs" / "performance.md"
GOOD_MS: Final = 20.0
LADDER: Final = 1.25
STEP: Final = 0.05
"""How close, in shares of the number of calls, the largest number is looked for."""
LARGEST: Final = 1_000
WORTH_A_TRY_MS: Final = 1_400
"""Of processor time a second, by what a call costs where there are fewer; one more call costs less than that."""
ROOMY_MS: Final = 850
"""The same where nothing shall be tried that may fail for want of a core."""
FULL_COUNTS: Final = (50, 100, 200, 400)
TRIES: Final = 3
"""A neighbour of a virtual machine that takes a core is mostly gone some seconds later."""


class Rounds:
    """Measures one row after another, and keeps them on disk as they come."""

    def __init__(self, *, seconds: float, polite: bool) -> None:
        self.rows: list[Row] = []
        """Every row that was measured, the void tries included."""
        self._seconds = seconds
        self._polite = polite

    def measure(self, name: str, calls: int, *, tls: bool = False, set_up: bool = False, rung: bool = False) -> Row:
        """One more row; of several tries, the last."""
        row = self.try_once(name, calls, tls=tls, set_up=set_up, rung=rung)
        for _ in range(TRIES - 1):
            if not row.disturbed:
                break
            row = self.try_once(name, calls, tls=tls, set_up=set_up, rung=rung)
        return row

    def try_once(self, name: str, calls: int, *, tls: bool, set_up: bool, rung: bool) -> Row:
        """One try at a row, kept whatever came of it."""
        plan = Plan(
            SUTS[name],
            calls,
            self._seconds,
            tls=tls,
            set_up=set_up,
            ramp_per_s=SUTS[name].ramp_per_s,
            real_time=not self._polite,
        )
        row = uvloop.run(measure(plan))
        row.rung = rung
        self.rows.append(row)
        show(row)
        OUT.mkdir(exist_ok=True)
        ROWS.write_text(written(self.rows), encoding="utf-8")
        return row

    def compare(self, times: int) -> None:
        """Every system, and with as many calls the floor and ours: costs are compared at equal numbers only."""
        for _ in range(times):
            for name, sut in SUTS.items():
                self.measure(name, sut.usual)
            for calls in sorted({sut.usual for sut in SUTS.values()} - {SUTS[document.FLOOR].usual}):
                self.measure(document.FLOOR, calls)
                self.measure(document.OURS, calls)

    def alternate(self, names: tuple[str, ...], calls: int, *, rounds: int, tls: bool = False) -> None:
        """The same row of each system, and again: what the machine does meanwhile meets all of them."""
        for _ in range(rounds):
            for name in names:
                self.measure(name, calls, tls=tls)

    def climb(self, name: str) -> None:
        """The largest number of calls that is carried well: a ladder upward, then the middle of what is left."""
        lowest, highest, calls = 0, LARGEST, SUTS[name].first_rung
        while 1 <= calls <= LARGEST and highest - lowest > max(1, STEP * highest):
            row = self.measure(name, calls, rung=True)
            if row.generator_full or row.disturbed:
                return
            if row.carried(GOOD_MS + SUTS[name].built_in_ms):
                lowest = calls
            else:
                highest = calls
            calls = int(lowest * LADDER) if highest == LARGEST and lowest else (lowest + highest) // 2


def quick(rounds: Rounds) -> None:
    """What can be said in some minutes."""
    rounds.compare(2)
    rounds.alternate(("gateway", "bare_picows", "bare_fastapi"), 100, rounds=2)
    rounds.alternate(("gateway", "bare_picows"), 200, rounds=3)
    rounds.alternate(("gateway", "bare_picows"), 300, rounds=1)
    if rounds_can(rounds.rows, "gateway", 400, within_ms=ROOMY_MS):
        rounds.alternate(("gateway", "bare_picows"), 400, rounds=1)
    rounds.alternate(("gateway", "bare_picows"), 50, rounds=1, tls=True)
    for name in ("gateway", "bare_picows", "bare_fastapi"):
        rounds.measure(name, 50, set_up=True)


def full(rounds: Rounds) -> None:
    """Everything, five times, and the largest numbers."""
    rounds.compare(5)
    strong = tuple(name for name in SUTS if SUTS[name].usual >= FULL_COUNTS[0])
    for calls in FULL_COUNTS[1:]:
        able = tuple(name for name in strong if rounds_can(rounds.rows, name, calls))
        rounds.alternate(able, calls, rounds=3)
    for calls in FULL_COUNTS[:2]:
        rounds.alternate(strong, calls, rounds=3, tls=True)
    for _ in range(3):
        for name in SUTS:
            rounds.measure(name, 50, set_up=True)
        for name in SUTS:
            rounds.climb(name)


def rounds_can(rows: list[Row], name: str, calls: int, *, within_ms: float = WORTH_A_TRY_MS) -> bool:
    """Whether it is worth a try, after what smaller numbers have cost."""
    cost = [row.cpu_ms for row in rows if row.sut == name and not row.tls and not row.set_up]
    return min(cost) * calls < within_ms


def written(rows: list[Row]) -> str:
    """For `read`. As JSON, and NaN where a row that failed has no figure."""
    return json.dumps([asdict(row) for row in rows], indent=1)


def read(text: str) -> list[Row]:
    """What `written` has written."""
    return msgspec.convert(json.loads(text), list[Row])


def faults(rows: list[Row]) -> Iterator[str]:
    """What was wrong, one line for each row that is not sound."""
    for row in rows:
        what = ", ".join(f"{count} {kind}" for kind, count in row.wrong.items()) or row.void
        if what:
            yield f"{row.sut} with {row.calls} calls{', TLS' if row.tls else ''}: {what}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="ladders and more rounds")
    parser.add_argument("--seconds", type=float, default=0.0, help="of each window (6, or 10 with --full)")
    parser.add_argument("--polite", action="store_true", help="leave all processes among all the others")
    parser.add_argument("--only-write", action="store_true", help=f"write the page again from {ROWS.name}")
    told = parser.parse_args()
    began = time.monotonic()
    if told.only_write:
        rows = read(ROWS.read_text(encoding="utf-8"))
    else:
        rounds = Rounds(seconds=told.seconds or (10.0 if told.full else 6.0), polite=told.polite)
        (full if told.full else quick)(rounds)
        rows = rounds.rows
    PAGE.write_text(document.page(rows, minutes=(time.monotonic() - began) / 60), encoding="utf-8")
    PAGE.with_suffix(".svg").write_text(document.picture(rows), encoding="utf-8")
    print(document.terminal(rows))
    for line in faults(rows):
        print(f"WRONG: {line}")
    print(f"written to {PAGE}")
    return 1 if any(row.wrong for row in rows) else 3 if document.without_a_figure(rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
