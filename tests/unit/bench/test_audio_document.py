import math
import sysconfig
from array import array

import pytest

from bench.audio import document
from bench.audio.row import Row
from bench.audio.tally import Delays, delays


def row(sut: str = "gateway", calls: int = 50, cpu_ms: float = 4.0, **more: object) -> Row:
    usual = {"up": Delays(1_000, 0.2, 0.9, 2.0), "cpu_share": 0.3, "generator_share": 0.2, "rss_kb": 80.0}
    return Row(sut, calls, cpu_ms=cpu_ms, **{**usual, **more})  # type: ignore[arg-type]


def test_percentiles_are_samples_that_were_measured():
    measured = delays(array("d", [5.0, 1.0, 2.0, 3.0, 4.0]))

    assert (measured.count, measured.p50, measured.p99) == (5, 3.0, 5.0)


def test_no_samples_are_no_figures():
    assert math.isnan(delays(array("d")).p50)


def test_ratios_compare_with_the_floor_at_the_same_number_of_calls():
    rows = [row("bare_picows", cpu_ms=2.0), row("gateway", cpu_ms=5.0), row("gateway", calls=100, cpu_ms=3.0)]

    said = document.ratios(rows)

    assert "| gateway | 50 | no | 2.50 |" in said
    assert "100" not in said


@pytest.mark.parametrize(
    ("configured", "said"), [("'--enable-optimizations'", "with"), ("", "without"), (None, "without")]
)
def test_the_page_says_how_python_was_built(monkeypatch: pytest.MonkeyPatch, configured: str | None, said: str):
    monkeypatch.setattr(sysconfig, "get_config_var", {"CONFIG_ARGS": configured}.get)

    assert f"(configured {said} `--enable-optimizations`)" in document.machine()


def test_a_void_round_is_marked_and_does_not_count():
    rows = [row(cpu_ms=4.0), row(cpu_ms=9.0, void="the generator was late")]

    assert "4.00 (4.00..4.00)" in document.cost_table(rows)
    assert "2, 1 void" in document.cost_table(rows)


def test_what_the_host_took_of_the_core_stands_beside_the_cost():
    assert "| 1.4% | 1, all sound |" in document.cost_table([row(taken_share=0.014)])


def test_a_row_with_a_wrong_byte_is_marked_wrong():
    assert "**1 wrong**" in document.cost_table([row(wrong={"changed": 1})])


def test_one_more_call_costs_the_slope_of_the_whole():
    assert document.marginal({50: 4.0, 150: 2.0}, 100) == 1.0
    assert document.marginal({50: 4.0}, 100) is None


def test_the_largest_number_is_the_largest_that_was_carried_well():
    rows = [row(calls=50), row(calls=80, up=Delays(9, 1.0, 15.0, 16.0)), row(calls=100, up=Delays(9, 9.0, 40.0, 50.0))]

    said = document.largest_table(rows)

    assert "| gateway | 80 | 50 | 100 was too many |" in said


def test_a_number_that_was_carried_once_and_once_not_was_too_many():
    late = Delays(9, 9.0, 40.0, 50.0)
    rows = [row(calls=50), row(calls=60), row(calls=60, up=late), row(calls=80), row(calls=40, void="late", up=late)]

    assert "| gateway | 50 | 50 | 60 was too many |" in document.largest_table(rows)


def test_the_rungs_of_a_ladder_are_compared_with_nothing():
    rows = [row(cpu_ms=4.0), row(cpu_ms=9.0, rung=True), row(calls=62, rung=True)]

    assert "4.00 (4.00..4.00)" in document.cost_table(rows)
    assert "62" not in document.cost_table(rows)
    assert "| gateway | 62 | 62 |" in document.largest_table(rows)


def test_the_page_says_where_something_went_wrong():
    wrong = {"lost": 1}
    rows = [row(), row(calls=566, wrong=wrong, rung=True), row("pipecat", wrong=wrong, set_up=True)]

    assert "not all was right (`gateway`, 566 calls, `pipecat`, 50 calls set up)" in document.soundness(rows)
    assert "none lost" in document.soundness([row()])


def test_calls_set_up_are_no_calls_that_talk():
    rows = [row(), row(cpu_ms=15.0, set_up=True, set_up_per_s=62.0)]

    assert "| gateway | 62 | 15.0 |" in document.set_up_table(rows)
    assert "15.00" not in document.cost_table(rows)


def test_the_page_fills_every_place_of_its_template():
    page = document.page([row(), row("bare_picows", cpu_ms=2.0)], minutes=1)

    assert "$" not in page
    assert "# What a call costs" in page


def test_the_picture_has_a_bar_for_each_system_compared():
    picture = document.picture([row(), row("bare_picows", cpu_ms=2.0), row(calls=100)])

    assert picture.count("<rect") == 2
