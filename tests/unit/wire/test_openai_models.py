from datetime import date
from typing import Any, get_args

import pytest
from openai.types.realtime.realtime_audio_config_output import RealtimeAudioConfigOutput

from voice_openai_connect.call.model_settings import ModelSettings
from voice_openai_connect.wire.openai_models import (
    DEAD_MODELS,
    DEAD_VOICES,
    SHUTDOWN_DATES,
    VOICES,
    speaks_reasoning,
)


def literals(annotation: Any) -> set[str]:
    """The strings that a type names, however deep."""
    if isinstance(annotation, str):
        return {annotation}
    return {name for part in get_args(annotation) for name in literals(part)}


@pytest.mark.parametrize(
    "model",
    ["gpt-realtime-2", "gpt-realtime-2.1", "gpt-realtime-2.1-mini", "gpt-realtime-2-2026-05-07", "gpt-realtime-3"],
)
def test_the_second_generation_and_later_reason(model: str) -> None:
    assert speaks_reasoning(model)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-realtime",
        "gpt-realtime-1.5",
        "gpt-realtime-2025-08-28",
        "gpt-realtime-mini",
        "gpt-realtime-mini-2",
        "a-gpt-realtime-2",
    ],
)
def test_earlier_models_do_not_and_a_year_is_not_a_generation(model: str) -> None:
    assert not speaks_reasoning(model)


def test_a_replacement_is_alive_and_not_announced_to_end() -> None:
    for replacement in DEAD_MODELS.values():
        assert replacement not in DEAD_MODELS
        assert replacement not in SHUTDOWN_DATES


def test_a_model_is_dead_or_dated_but_not_both() -> None:
    assert not DEAD_MODELS.keys() & SHUTDOWN_DATES.keys()
    assert all(date.fromisoformat(day) > date(2026, 11, 22) for day in SHUTDOWN_DATES.values())


def test_the_replacement_of_a_dead_voice_is_a_voice() -> None:
    assert set(DEAD_VOICES.values()) <= VOICES
    assert not DEAD_VOICES.keys() & VOICES


def test_the_voices_are_those_of_the_official_types() -> None:
    annotation = RealtimeAudioConfigOutput.model_fields["voice"].annotation
    assert literals(annotation) == VOICES


def test_the_default_transcription_model_is_not_announced_to_end() -> None:
    settings = ModelSettings(model="m", voice="marin", instructions="", tools=())
    assert settings.transcription_model not in SHUTDOWN_DATES
