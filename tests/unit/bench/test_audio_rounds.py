"""The search for the largest number of calls, without a system: a row is a sum."""

import pytest

from bench.audio import document
from bench.audio.rounds import TRIES, Rounds, faults, quick, read, written
from bench.audio.row import Row
from bench.audio.tally import Delays


class Pretended(Rounds):
    """Carries so many calls well, and no more."""

    def __init__(self, carries: int, *, cpu_ms: float = 4.0) -> None:
        super().__init__(seconds=1.0, polite=True)
        self._carries = carries
        self._cpu_ms = cpu_ms

    def measure(self, name: str, calls: int, *, tls: bool = False, set_up: bool = False, rung: bool = False) -> Row:
        delay = Delays(100, 1.0, 5.0 if calls <= self._carries else 90.0, 99.0)
        row = Row(
            name, calls, tls, set_up, cpu_ms=self._cpu_ms, up=delay, cpu_share=0.5, generator_share=0.3, rung=rung
        )
        self.rows.append(row)
        return row


@pytest.mark.parametrize("carries", [7, 50, 173, 612])
def test_the_ladder_ends_close_below_the_largest_number_that_is_carried(carries: int):
    pretended = Pretended(carries)

    pretended.climb("gateway")

    carried = max(row.calls for row in pretended.rows if row.calls <= carries)
    assert carries * 0.9 - 1 <= carried <= carries
    assert len(pretended.rows) < 20
    assert all(row.rung for row in pretended.rows)


def test_the_ladder_ends_where_nothing_is_carried():
    pretended = Pretended(0)

    pretended.climb("gateway")

    assert min(row.calls for row in pretended.rows) == 1


@pytest.mark.parametrize("system", ["bare_picows", "gateway"])
def test_the_floor_and_ours_are_measured_with_as_many_calls_as_every_other_system(system: str):
    pretended = Pretended(1_000)

    pretended.compare(1)

    assert {row.calls for row in pretended.rows if row.sut == system} == {row.calls for row in pretended.rows}


@pytest.mark.parametrize(("cpu_ms", "tried"), [(1.7, ["bare_picows", "gateway"]), (2.3, list[str]())])
def test_400_calls_are_tried_by_themselves_only_where_a_core_has_room_for_them(cpu_ms: float, tried: list[str]):
    pretended = Pretended(1_000, cpu_ms=cpu_ms)

    quick(pretended)

    assert sorted(row.sut for row in pretended.rows if row.calls == 400) == tried
    assert any(row.calls == 300 for row in pretended.rows)


class Disturbed(Rounds):
    """Measures void rows, so many of them before the first good one."""

    def __init__(self, void: int, *, share: float = 0.3) -> None:
        super().__init__(seconds=1.0, polite=True)
        self._void = void
        self._share = share

    def try_once(self, name: str, calls: int, *, tls: bool, set_up: bool, rung: bool) -> Row:
        late = Delays(100, 0.1, 9.0, 9.0) if len(self.rows) < self._void else Delays(100, 0.1, 0.2, 0.3)
        void = "the generator was late" if late.p99 > 5 else ""
        row = Row(name, calls, tls, set_up, void=void, late=late, generator_share=self._share)
        self.rows.append(row)
        return row


@pytest.mark.parametrize("void", range(TRIES))
def test_a_row_whose_generator_was_disturbed_is_measured_again(void: int):
    disturbed = Disturbed(void)

    assert disturbed.measure("gateway", 50).sound
    assert len(disturbed.rows) == void + 1
    assert not document.without_a_figure(disturbed.rows)


def test_after_some_tries_there_is_no_figure():
    disturbed = Disturbed(99)

    assert not disturbed.measure("gateway", 50).sound
    assert len(disturbed.rows) == TRIES
    assert document.without_a_figure([*disturbed.rows, Row("gateway", 100)])


def test_a_row_whose_core_was_taken_away_is_measured_again():
    taken = Row("gateway", 50, void="the host took 17% of the core", late=Delays(9, 0.1, 0.2, 0.3), taken_share=0.17)

    assert taken.disturbed
    assert not Row("gateway", 50, void="not every call was answered").disturbed


def test_a_generator_without_room_is_not_tried_again():
    full = Disturbed(99, share=0.99)
    full.measure("gateway", 50)

    assert len(full.rows) == 1


def test_a_wrong_or_void_row_is_named():
    rows = [Row("gateway", 50, wrong={"lost": 3}), Row("bare_picows", 9, void="the generator was late"), Row("x", 1)]

    assert list(faults(rows)) == ["gateway with 50 calls: 3 lost", "bare_picows with 9 calls: the generator was late"]


def test_rows_are_read_as_they_were_written_even_one_that_came_to_nothing():
    rows = [
        Row("gateway", 50, tls=True, cpu_ms=3.25, up=Delays(100, 1.0, 5.0, 9.0), wrong={"lost": 2}),
        Row("gateway", 400, void="the generator was late"),
    ]

    assert repr(read(written(rows))) == repr(rows)
    assert "nan" in repr(rows[1])
