"""The model's settings leave nothing to a service's defaults."""

from voice_openai_connect.call.model_settings import ModelSettings, TurnDetection


def test_the_defaults_pass_the_callers_audio_on_untouched() -> None:
    assert ModelSettings("m", "v", "i", ()).audio_format == "audio/pcmu"


def test_a_silent_line_is_spoken_to_within_what_the_service_allows() -> None:
    assert 5_000 <= (TurnDetection().idle_timeout_ms or 0) <= 30_000
