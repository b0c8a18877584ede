import re
from dataclasses import fields
from pathlib import Path

import pytest

from voice_openai_connect.capacity import Load, plan
from voice_openai_connect.capacity_figures import Figures
from voice_openai_connect.capacity_report import NOT_COUNTED, report

OURS = Figures()


def reported(calls: int, figures: Figures = OURS, minutes: float = 4, calls_per_s: float | None = None) -> str:
    load = Load(calls, minutes, calls_per_s) if calls_per_s else Load.steady(calls, minutes)
    return report(plan(load, figures), figures)


def test_the_table_in_the_documents_is_what_the_command_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ([\d,]+) \| ([\d,]+) \| ([\d.]+) GB \| ([\d.]+) \| ([\d,]+) \| ([\d,]+) \|", page, re.MULTILINE
    )

    assert len(rows) == 4
    for calls, *said in rows:
        found = plan(Load.steady(int(calls.replace(",", "")), 4), OURS)
        assert said == [
            f"{found.gateway.workers:,}",
            f"{found.gateway.memory_mb / 1_000:.1f}",
            f"{found.model.tokens_per_minute / 1e6:.1f}",
            f"{found.table.writes_per_s:,.0f}",
            f"{found.contacts:,.0f}",
        ]


def test_a_small_load_meets_no_limit() -> None:
    text = reported(5)

    assert "Build is enough" in text
    assert not any(word in text for word in ("MORE THAN", "TOO", "DOES NOT FIT"))


def test_every_limit_that_is_met_is_named_with_what_to_do() -> None:
    text = reported(20_000)

    assert "MORE THAN Grow (15,000,000 tokens a minute): agree on more with OpenAI" in text
    assert "MORE THAN 10, have it raised" in text
    assert "TOO MANY, tickets will come late" in text


def test_calls_that_come_faster_than_workers_take_them_are_pointed_out() -> None:
    two_workers = Figures(calls_per_core=50)
    assert "TOO FEW, raise it or add workers" in reported(100, two_workers, calls_per_s=21)
    assert "TOO FEW" not in reported(100, two_workers, calls_per_s=20)


def test_a_conversation_that_the_model_cannot_hold_is_pointed_out() -> None:
    assert "DOES NOT FIT" in reported(5, Figures(context_tokens=30_000), minutes=55)


def test_every_figure_is_shown_with_its_value_unit_and_source() -> None:
    text = reported(5)

    for figure in fields(Figures):
        line = next(line for line in text.splitlines() if line.startswith(f"  {figure.name} "))
        assert f"{figure.default:,.8g}" in line
        assert figure.metadata["unit"] in line
        assert figure.metadata["source"] in line


def test_a_figure_of_one_s_own_is_not_given_our_source() -> None:
    line = next(line for line in reported(5, Figures(prompt_tokens=9_000)).splitlines() if "prompt_tokens" in line)

    assert "9,000" in line
    assert "yours" in line


def test_the_parts_of_the_price_add_up_and_what_is_not_in_it_is_said() -> None:
    found = plan(Load.steady(100, 4), Figures())
    money = report(found, Figures()).partition("Money")[2].partition("Reckoned")[0]
    rows = [line.split() for line in money.splitlines() if " a call " in line]
    per_call = [float(row[row.index("a") - 1]) for row in rows]

    assert sum(per_call[:-1]) == pytest.approx(per_call[-1], abs=1e-4)
    assert NOT_COUNTED in money
