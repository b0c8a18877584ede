import traceback
from pathlib import Path

import pytest

from voice_openai_connect.config import ConfigError
from voice_openai_connect.startup import load_start

USUAL = {
    "PUBLIC_HOST": "voice.example.com",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "the-auth-token",
    "OPENAI_API_KEY": "the-api-key",
    "AWS_REGION": "ap-southeast-2",
    "DYNAMODB_TABLE_NAME": "handovers",
    "CONNECT_PHONE_NUMBER": "+61255501234",
}


def refused(**changes: str) -> ConfigError:
    env = {name: value for name, value in {**USUAL, **changes}.items() if value}
    with pytest.raises(ConfigError) as caught:
        load_start(env, None)
    return caught.value


@pytest.fixture
def spoilt_profile(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text("[profile.default]\nspeed = 9\nvoice = 'fable'\n")
    return str(path)


def test_without_mistakes_everything_is_there() -> None:
    start = load_start(USUAL, None)

    assert start.settings.dynamodb_table_name == "handovers"
    assert start.profiles.default.name == "default"
    assert start.tools == ()


def test_mistakes_in_settings_profile_and_tools_are_named_together(spoilt_profile: str) -> None:
    error = refused(PORT="high", OPENAI_API_KEY="", AGENT_PROFILE=spoilt_profile, TOOLS_MODULE="no_such_module")

    starts = ("PORT: ", "OPENAI_API_KEY: ", "mine.toml:2: ", "mine.toml:3: ", "TOOLS_MODULE: ")
    assert len(error.mistakes) == len(starts)
    assert all(sum(mistake.startswith(start) for mistake in error.mistakes) == 1 for start in starts)
    assert all(mistake in str(error) for mistake in error.mistakes)


def test_a_profile_is_looked_at_although_the_tools_setting_is_a_mistake(spoilt_profile: str) -> None:
    error = refused(AGENT_PROFILE=spoilt_profile, TOOLS_MODULE="not a module")

    assert [mistake.partition(":")[0] for mistake in error.mistakes] == ["TOOLS_MODULE", "mine.toml", "mine.toml"]


def test_a_profile_that_is_not_there_is_one_mistake_and_not_two() -> None:
    error = refused(AGENT_PROFILE="/nowhere/mine.toml")

    assert [mistake.partition(":")[0] for mistake in error.mistakes] == ["AGENT_PROFILE"]


def test_a_settings_file_that_cannot_be_read_is_the_only_mistake(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    path.write_bytes(b"OPENAI_API_KEY=\xff\xfe\n")
    with pytest.raises(ConfigError) as caught:
        load_start({}, path)

    assert len(caught.value.mistakes) == 1
    assert "plain UTF-8" in str(caught.value)


def test_no_secret_is_in_what_is_said(spoilt_profile: str) -> None:
    error = refused(TWILIO_AUTH_TOKEN="very secret", OPENAI_API_KEY="sk-sécret", AGENT_PROFILE=spoilt_profile)

    told = "".join(traceback.format_exception(error))
    assert len(error.mistakes) == 4
    assert "very secret" not in told
    assert "sécret" not in told
