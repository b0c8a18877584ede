"""docs/performance.md, from the rows of a run. The sentences are written here; every figure is put in from the run."""

import math
import platform
import statistics
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Final

from bench.audio.plot import bars
from bench.audio.row import Row
from bench.audio.suts import SUTS
from bench.audio.tally import Delays
from voice_openai_connect import __version__

TEMPLATE: Final = Path(__file__).with_name("performance.md")
FLOOR: Final = "bare_picows"
OURS: Final = "gateway"
GOOD_MS: Final = (20.0, 10.0)
MARGINAL_AT: Final = (100, 400)
_Figure = Callable[[Row], float]
_DELAYS: Final[tuple[Callable[[Row], Delays], ...]] = (lambda row: row.up, lambda row: row.down, lambda row: row.clear)


@dataclass(frozen=True, slots=True)
class Group:
    """All rows of one system, one number of calls, with or without TLS."""

    sut: str
    calls: int
    tls: bool
    rows: tuple[Row, ...]

    def median(self, of: _Figure) -> float:
        """The median of the rounds that count."""
        return statistics.median([of(row) for row in self.counting])

    @property
    def counting(self) -> list[Row]:
        """The rounds whose figures count; all of them, marked, where none does."""
        return [row for row in self.rows if not row.void] or list(self.rows)

    @property
    def mark(self) -> str:
        """What has to be said about the rounds."""
        void = sum(1 for row in self.rows if row.void)
        wrong = sum(1 for row in self.rows if row.wrong)
        said = [f"{void} void"] if void else []
        return ", ".join([*said, *([f"**{wrong} wrong**"] if wrong else [])]) or "all sound"

    def spread(self, of: _Figure) -> str:
        """Median and range."""
        values = [of(row) for row in self.counting]
        return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def groups(rows: Sequence[Row], *, set_up: bool = False) -> list[Group]:
    """Rows put together, in the order of cost; without the rungs of ladders."""
    rows = [row for row in rows if not row.rung]
    keys = dict.fromkeys((row.tls, row.calls, row.sut) for row in rows if row.set_up is set_up)
    found = [
        Group(sut, calls, tls, tuple(r for r in rows if (r.tls, r.calls, r.sut, r.set_up) == (tls, calls, sut, set_up)))
        for tls, calls, sut in keys
    ]
    return sorted(found, key=lambda each: (each.tls, each.calls, each.median(lambda row: row.cpu_ms)))


def without_a_figure(rows: Sequence[Row]) -> bool:
    """Whether something was measured in void rows only."""
    return any(all(row.void for row in each.rows) for set_up in (False, True) for each in groups(rows, set_up=set_up))


def page(rows: Sequence[Row], *, minutes: float) -> str:
    """The whole document."""
    written = Template(TEMPLATE.read_text(encoding="utf-8"))
    return written.substitute(
        machine=machine(),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        version=__version__,
        scheduling=", ".join(sorted({row.scheduling for row in rows})),
        minutes=f"{minutes:.0f}",
        rows=len(rows),
        soundness=soundness(rows),
        ratios=ratios(rows),
        cost=cost_table(rows),
        delay=delay_table(rows),
        tls=tls_table(rows),
        marginal=marginal_table(rows),
        largest=largest_table(rows),
        set_up=set_up_table(rows),
        peers="\n".join(f"| `{sut.name}` | {sut.what} |" for sut in SUTS.values()),
    )


def terminal(rows: Sequence[Row]) -> str:
    """The two tables that matter most."""
    return "\n\n".join((ratios(rows), cost_table(rows), set_up_table(rows)))


def machine() -> str:
    """Processor, kernel and Python of this machine. How that was configured is worth a tenth of what a call costs."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    cores = sum(1 for line in lines if line.startswith("processor"))
    optimized = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    python = (
        f"Python {platform.python_version()} (configured {'with' if optimized else 'without'} `--enable-optimizations`)"
    )
    return f"{cores} x {processor}, Linux {platform.release()}, {python}"


def soundness(rows: Sequence[Row]) -> str:
    """Whether every byte arrived, in a sentence."""
    wrong, void = [row for row in rows if row.wrong], sum(1 for row in rows if row.void)
    which = ", ".join(dict.fromkeys(f"`{row.sut}`, {row.calls} calls{' set up' * row.set_up}" for row in wrong))
    blocks = sum(row.up.count + row.down.count for row in rows)
    checked = f"{len(rows)} rows, {blocks:,} pieces of sound compared byte by byte in the measured seconds"
    bad = f"{len(wrong)} rows in which not all was right ({which})" if wrong else "none lost, changed or crossed"
    left = ", ".join(sorted({f"`{row.sut}`" for row in rows if row.left_open})) or "none"
    after = f"Systems that left sessions of the model open after their callers had gone: {left}."
    return f"{checked}: {bad}; {void} rows void. {after}"


def ratios(rows: Sequence[Row]) -> str:
    """Cost over the floor's, at the same number of calls."""
    found = groups(rows)
    floor = {(each.calls, each.tls): each.median(lambda row: row.cpu_ms) for each in found if each.sut == FLOOR}
    body = [
        (each.sut, each.calls, "yes" if each.tls else "no", f"{each.median(lambda row: row.cpu_ms) / base:.2f}")
        for each in found
        if (base := floor.get((each.calls, each.tls)))
    ]
    return table(("system", "calls", "TLS", f"cost over `{FLOOR}`"), body)


def cost_table(rows: Sequence[Row]) -> str:
    """CPU and memory."""
    body = [
        (
            each.sut,
            each.calls,
            each.spread(lambda row: row.cpu_ms),
            f"{each.median(lambda row: row.cpu_share):.0%}",
            f"{each.median(lambda row: row.rss_kb):.0f}",
            f"{each.median(lambda row: row.generator_share):.0%}",
            f"{each.median(lambda row: row.taken_share):.1%}",
            f"{len(each.rows)}, {each.mark}",
        )
        for each in groups(rows)
        if not each.tls
    ]
    cost = ("system", "calls", "CPU ms per call-second (min..max)", "core", "KB per call")
    return table((*cost, "generator's core", "taken by the host", "rounds"), body)


def delay_table(rows: Sequence[Row]) -> str:
    """Added delay, both ways, and the time to `clear`."""
    body = [(each.sut, each.calls, *(three(each, of) for of in _DELAYS)) for each in groups(rows) if not each.tls]
    return table(("system", "calls", "up", "down", "speech started to `clear`"), body)


def three(group: Group, of: Callable[[Row], Delays]) -> str:
    """p50, p99 and p99.9 of a delay, medians of the rounds; a dash where too little was measured."""
    if not all(of(row).count for row in group.counting):
        return "-"
    values = (group.median(lambda row, name=name: getattr(of(row), name)) for name in ("p50", "p99", "p999"))
    return " / ".join(f"{value:.2f}" for value in values)


def tls_table(rows: Sequence[Row]) -> str:
    """What TLS to the model costs."""
    plain = {(each.sut, each.calls): each for each in groups(rows) if not each.tls}
    body = [
        (
            each.sut,
            each.calls,
            f"{without.median(lambda row: row.cpu_ms):.2f}",
            f"{each.median(lambda row: row.cpu_ms):.2f}",
            f"{each.median(lambda row: row.rss_kb) - without.median(lambda row: row.rss_kb):+.0f}",
        )
        for each in groups(rows)
        if each.tls and (without := plain.get((each.sut, each.calls)))
    ]
    return table(("system", "calls", "plain, ms per call-second", "TLS", "KB per call"), body)


def marginal_table(rows: Sequence[Row]) -> str:
    """What one more call costs, from the whole cost of smaller and larger numbers of calls."""
    body: list[tuple[object, ...]] = []
    for name in SUTS:
        costs = {
            each.calls: each.median(lambda row: row.cpu_ms)
            for each in groups(rows)
            if name == each.sut and not each.tls
        }
        cells = [marginal(costs, at) for at in MARGINAL_AT]
        body.append((name, *(f"{cell:.2f}" if cell is not None else "not measured" for cell in cells)))
    return table(("system", *(f"the {at}th call, ms per second" for at in MARGINAL_AT)), body)


def marginal(costs: dict[int, float], at: int) -> float | None:
    """The slope of the whole cost around `at` calls, in ms per second and call; None where it is not enclosed."""
    below, above = (sorted(n for n in costs if n < at), sorted(n for n in costs if n >= at))
    if not below or not above:
        return None
    low, high = below[-1], above[0]
    return (costs[high] * high - costs[low] * low) / (high - low)


def largest_table(rows: Sequence[Row]) -> str:
    """The largest number of calls that was carried within a delay."""
    body: list[tuple[object, ...]] = []
    for name, sut in SUTS.items():
        own = [row for row in rows if row.sut == name and not row.tls and not row.set_up]
        limits = [ms + sut.built_in_ms for ms in GOOD_MS]
        failing = [min((row.calls for row in own if row.failed(ms)), default=math.inf) for ms in limits]
        cells = [
            max((row.calls for row in own if row.carried(ms) and row.calls < too_many), default=0)
            for ms, too_many in zip(limits, failing, strict=True)
        ]
        tried = "no larger number was tried" if math.isinf(failing[0]) else f"{failing[0]} was too many"
        body.append((name, *cells, tried))
    return table(("system", *(f"up p99 <= {ms:g} ms" for ms in GOOD_MS), ""), body)


def set_up_table(rows: Sequence[Row]) -> str:
    """Calls answered a second."""
    body = [
        (
            each.sut,
            f"{each.median(lambda row: row.set_up_per_s):.0f}",
            f"{each.median(lambda row: row.cpu_ms):.1f}",
            f"{each.median(lambda row: row.set_up_ms.p50):.0f} / {each.median(lambda row: row.set_up_ms.p99):.0f}",
        )
        for each in groups(rows, set_up=True)
    ]
    return table(("system", "calls set up a second", "CPU ms for each", "until the model is ready, p50 / p99 ms"), body)


def table(head: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def compared(rows: Sequence[Row]) -> list[tuple[str, float]]:
    """Cost of each system in the row in which all are compared, the cheapest first."""
    found = [each for each in groups(rows) if not each.tls and each.calls == SUTS[each.sut].usual]
    costs = [(f"{each.sut}, {each.calls} calls", each.median(lambda row: row.cpu_ms)) for each in found]
    return sorted(costs, key=lambda each: each[1])


def picture(rows: Sequence[Row]) -> str:
    """docs/performance.svg."""
    return bars("CPU ms for one second of a call", compared(rows), ours=f"{OURS}, {SUTS[OURS].usual} calls")
