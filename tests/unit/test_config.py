import traceback
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from voice_openai_connect.config import DEFAULT_PROFILE, ConfigError, Settings, load_settings, misspelt

GOOD = {
    "PUBLIC_HOST": "voice.example.com",
    "TWILIO_ACCOUNT_SID": "AC" + "0123456789abcdef" * 2,
    "TWILIO_AUTH_TOKEN": "the-auth-token",
    "OPENAI_API_KEY": "sk-the-api-key",
    "AWS_REGION": "ap-southeast-2",
    "DYNAMODB_TABLE_NAME": "Handovers",
    "CONNECT_PHONE_NUMBER": "+61255501234",
}


def load(**changes: str) -> Settings:
    return load_settings({**GOOD, **changes}, env_file=None)


def mistakes(**changes: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(**changes)
    return caught.value.mistakes


def test_what_is_required_is_enough() -> None:
    settings = load()

    assert settings.openai_realtime_model == "gpt-realtime-2.1"
    assert settings.openai_voice == "marin"
    assert settings.hubspot_access_token is None
    assert settings.console_token is None
    assert settings.agent_profile == DEFAULT_PROFILE
    assert (settings.host, settings.port, settings.log_level) == ("0.0.0.0", 8000, "INFO")


def test_every_missing_variable_is_named_at_once_with_where_to_find_it() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({}, env_file=None)

    assert [line.split(":")[0] for line in caught.value.mistakes] == list(GOOD)
    assert "Twilio console" in str(caught.value)
    assert str(caught.value).count("\n") == len(GOOD)


def test_mistakes_of_every_kind_are_named_together() -> None:
    found = mistakes(
        PORT="high",
        MAX_CALLS="0",
        MAX_CALLS_PER_SECOND="0",
        LOG_LEVEL="loud",
        OPENAI_VOICE="fable",
        CONNECT_PHONE_NUMBER="123",
    )

    assert {line.split(":")[0] for line in found} == {
        "PORT", "MAX_CALLS", "MAX_CALLS_PER_SECOND", "LOG_LEVEL", "OPENAI_VOICE", "CONNECT_PHONE_NUMBER",
    }  # fmt: skip


def test_an_empty_variable_counts_as_unset() -> None:
    assert load(HUBSPOT_ACCESS_TOKEN="", OPENAI_VOICE="  ").hubspot_access_token is None
    assert mistakes(OPENAI_API_KEY="")[0].startswith("OPENAI_API_KEY: is not set")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_VOICE=cedar\nMAX_CALLS=7\nHUBSPOT_PORTAL_ID=\n")

    settings = load_settings({**GOOD, "MAX_CALLS": "9"}, env_file=tmp_path / ".env")

    assert (settings.openai_voice, settings.max_calls, settings.hubspot_portal_id) == ("cedar", 9, "")


def test_without_an_environment_given_the_process_s_own_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MAX_CALLS", "3")

    assert load_settings(env_file=None).max_calls == 3


def test_a_given_environment_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CALLS", "3")

    assert load().max_calls == 100


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"OPENAI_API_KEY=\xff\xfe")

    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(GOOD, env_file=tmp_path / ".env")


def test_https_and_wss_are_implied() -> None:
    settings = load()

    assert settings.public_base_url == "https://voice.example.com"
    assert settings.stream_base_url == "wss://voice.example.com"


def test_loopback_stays_http_and_ws() -> None:
    settings = load(PUBLIC_HOST="http://127.0.0.1:8000")

    assert settings.public_base_url == "http://127.0.0.1:8000"
    assert settings.stream_base_url == "ws://127.0.0.1:8000"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load().port = 1  # pyright: ignore[reportAttributeAccessIssue]  (that is the test)


SECRETS = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]


def test_every_variable_that_sounds_secret_is_one() -> None:
    sounds = {name for name in Settings.model_fields if any(w in name for w in ("token", "secret", "key"))}

    assert sounds == set(SECRETS)


SPOILT = "sk-canary with spaces\x00"


def with_every_secret(**changes: str) -> dict[str, str]:
    secrets = {name.upper(): f"canary-of-{name}-0123456789" for name in SECRETS}
    return {**GOOD, **secrets, **changes}


def test_no_secret_can_be_seen_in_the_settings() -> None:
    settings = load_settings(with_every_secret(), env_file=None)

    assert "canary" not in f"{settings!r}{settings}{settings.model_dump()}{settings.model_dump_json()}"
    assert len(settings.secrets()) == len(SECRETS)


def shown(error: ConfigError) -> str:
    """Everything that a log or a tracker could get hold of."""
    report = traceback.TracebackException.from_exception(error).format()
    return f"{error!r}{error}{error.args}{error.mistakes}{error.__cause__}{error.__context__}{''.join(report)}"


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_can_be_seen_in_an_error(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(with_every_secret(**{name.upper(): SPOILT, "PORT": SPOILT}), env_file=None)

    assert name.upper() in shown(caught.value)
    assert caught.value.__context__ is None, "whatever is chained to it holds the values"
    assert "canary" not in shown(caught.value)


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_a_secret_pasted_into_the_wrong_line_is_not_repeated(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({**GOOD, name.upper(): SPOILT}, env_file=None)

    assert "canary" not in shown(caught.value)


def test_the_settings_class_does_not_show_its_input_either() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"openai_api_key": SPOILT, "port": SPOILT})

    assert "canary" not in str(caught.value)


def test_half_a_pair_of_aws_keys_is_named() -> None:
    assert "AWS_ACCESS_KEY_ID is" in mistakes(AWS_ACCESS_KEY_ID="AKIA1")[0]
    assert "without AWS_ACCESS_KEY_ID" in mistakes(AWS_SECRET_ACCESS_KEY="s3cret")[0]
    assert load(AWS_ACCESS_KEY_ID="AKIA1", AWS_SECRET_ACCESS_KEY="s3cret").aws_access_key_id


def test_a_call_is_not_handed_to_ourselves() -> None:
    (line,) = mistakes(TWILIO_PHONE_NUMBER="+61 2 5550 1234")

    assert line.startswith("CONNECT_PHONE_NUMBER: is the same as TWILIO_PHONE_NUMBER")


def test_a_console_token_is_hard_to_guess() -> None:
    assert "16" in mistakes(CONSOLE_TOKEN="short")[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TWILIO_ACCOUNT_SID", "AC123"),
        ("TWILIO_ACCOUNT_SID", "SK" + "0" * 32),
        ("TWILIO_API_BASE_URL", "https://api.au1.twilio.com"),
        ("AWS_REGION", "Sydney"),
        ("DYNAMODB_TABLE_NAME", "a b"),
        ("CONNECT_INSTANCE_ID", "arn:aws:connect:::instance/x"),
        ("CONNECT_DIGITS_AFTER_MS", "1200"),
        ("CONNECT_DIGITS_AFTER_MS", "10500"),
        ("CONNECT_QUEUES", "escalation"),
        ("CONNECT_QUEUES", "escalation=A,,priority=B"),
        ("CONNECT_QUEUES", "escalation==A"),
        ("TARGET_GROUP_ARN", "voice-tasks"),
        (
            "TARGET_GROUP_ARN",
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/voice/0123456789abcdef",
        ),
        ("ECS_CONTAINER_METADATA_URI_V4", "169.254.170.2"),
        ("OPENAI_AUDIO_FORMAT", "mp3"),
        ("OPENAI_REALTIME_MODEL", "gpt-4o-realtime-preview-2024-12-17"),
        ("TOOLS_MODULE", "shop/tools.py"),
        ("AGENT_PROFILE", "/nowhere/agent.toml"),
        ("HUBSPOT_PORTAL_ID", "mine"),
        ("HUBSPOT_UI_DOMAIN", "https://app.hubspot.com"),
        ("HUBSPOT_PIPELINE", "a b"),
        ("LOG_FULL_NUMBERS", "perhaps"),
    ],
)
def test_a_wrong_value_is_named_with_what_to_do(name: str, value: str) -> None:
    (line,) = mistakes(**{name: value})

    variable, _, rest = line.partition(": ")
    assert variable == name
    assert ". " in rest, "what is wrong, then what to do"


def test_a_model_close_to_its_end_is_warned_of() -> None:
    settings = load(OPENAI_REALTIME_MODEL="gpt-realtime")

    assert "in 59 days" in settings.warnings(date(2026, 11, 22))[0]
    assert "was shut down" in settings.warnings(date(2027, 2, 1))[0]
    assert settings.warnings(date(2026, 10, 22)) == ()


def test_a_number_in_no_known_range_is_a_warning_only() -> None:
    (line,) = load(CONNECT_PHONE_NUMBER="+15551234567").warnings(date(2026, 11, 22))

    assert line.startswith("CONNECT_PHONE_NUMBER")


def test_whole_numbers_in_logs_are_warned_of() -> None:
    (line,) = load(LOG_FULL_NUMBERS="true").warnings(date(2026, 11, 22))

    assert line.startswith("LOG_FULL_NUMBERS")


def test_a_misspelt_name_in_the_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HUBSPOT_ACESS_TOKEN=x\nexport OPENAI_VOICE=marin\nSOMETHING_ELSE=1\n")

    assert misspelt(tmp_path / ".env") == ("HUBSPOT_ACESS_TOKEN: is not a setting. Did you mean HUBSPOT_ACCESS_TOKEN?",)
    assert misspelt(tmp_path / "none") == ()


EXAMPLE = Path(__file__).parents[2] / ".env.example"
EXAMPLE_LINES = [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def test_the_example_file_has_every_setting_once_and_nothing_else() -> None:
    assert sorted(line.partition("=")[0] for line in EXAMPLE_LINES) == sorted(map(str.upper, Settings.model_fields))


def test_the_example_file_filled_in_is_good_and_states_the_defaults() -> None:
    given = dict(line.split("=", 1) for line in EXAMPLE_LINES)

    assert load_settings({**given, **GOOD}, env_file=None) == load()


def test_the_example_file_left_empty_names_exactly_what_is_needed() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({}, env_file=EXAMPLE)

    assert [line.split(":")[0] for line in caught.value.mistakes] == list(GOOD)
