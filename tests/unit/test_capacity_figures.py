from dataclasses import fields

import pytest

from voice_openai_connect import limits
from voice_openai_connect.capacity_figures import MODELS, FigureError, Figures, with_own
from voice_openai_connect.config import Settings


def test_a_figure_of_one_s_own_takes_the_place_of_ours() -> None:
    own = with_own(Figures(), ["handover_share=0.1", " calls_per_core = 250 "])

    assert (own.handover_share, own.calls_per_core) == (0.1, 250)
    assert own.prompt_tokens == Figures().prompt_tokens


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("handover_shares=0.1", "Did you mean handover_share?"),
        ("zzz=1", "They are listed at the end"),
        ("prompt_tokens=many", "many is not a number"),
        ("prompt_tokens", "is not a number"),
        ("cached_share=1.5", "between 0 and 1"),
        ("prompt_tokens=-1", "of 0 or more"),
        ("prompt_tokens=nan", "of 0 or more"),
        ("prompt_tokens=inf", "of 0 or more"),
        ("calls_per_core=0", "of 1 or more"),
    ],
)
def test_a_figure_that_cannot_be_is_refused_with_what_to_do(typed: str, said: str) -> None:
    with pytest.raises(FigureError) as refused:
        with_own(Figures(), [typed])

    assert said in str(refused.value)
    assert str(refused.value).startswith(typed.partition("=")[0] + ": ")


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(FigureError) as refused:
        with_own(Figures(), ["caller_share=2", "busy_hours=9000", "minutes=3"])

    assert str(refused.value).count("\n") == 2


@pytest.mark.parametrize("name", [each.name for each in fields(Figures)])
def test_every_figure_says_its_unit_and_its_source_and_keeps_its_own_bounds(name: str) -> None:
    figure = next(each for each in fields(Figures) if each.name == name)

    assert figure.metadata["unit"]
    assert figure.metadata["source"]
    assert figure.metadata["least"] <= figure.default <= figure.metadata["most"]


def test_a_core_is_not_planned_for_more_calls_than_a_worker_takes() -> None:
    assert Figures().calls_per_core <= limits.MAX_CALLS


def test_the_model_that_the_gateway_takes_by_default_has_a_price() -> None:
    assert Settings.model_fields["openai_realtime_model"].default in MODELS
