"""Every setting, validated once, then frozen. All mistakes are named at once; no secret is ever printed.

Settings come from the environment or from a `.env` file; the environment wins. `.env.example` lists them all.
An empty variable counts as unset.
"""

import os
import re
from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from voice_openai_connect import limits, values
from voice_openai_connect.wire.openai_models import SHUTDOWN_DATES

DEFAULT_PROFILE: Final = Path(__file__).with_name("agent.toml")
SHUTDOWN_NOTICE_DAYS: Final = 90


class ConfigError(Exception):
    """The settings cannot be used. `mistakes` has one line for each: variable, what is wrong, what to do."""

    def __init__(self, mistakes: tuple[str, ...], heading: str = "These settings need your attention:") -> None:
        super().__init__("\n".join([heading, *(f"  {mistake}" for mistake in mistakes)]))
        self.mistakes = mistakes


def _one_word(secret: SecretStr) -> SecretStr:
    if re.search(r"[\s\x00-\x1f\x7f]", secret.get_secret_value()) or not secret.get_secret_value().isascii():
        raise ValueError("holds a space, a line break or a character that keys do not have. Copy it again")
    return secret


def _matching(pattern: str, complaint: str) -> AfterValidator:
    """A check that a value has this shape; the complaint says what is wrong and what to do."""

    def check(value: str) -> str:
        if value and not re.fullmatch(pattern, value):
            raise ValueError(complaint)
        return value

    return AfterValidator(check)


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("names a file that is not there. Give the path of a profile (TOML), or leave it unset")
    return path


Secret = Annotated[SecretStr, AfterValidator(_one_word)]
ServiceUrl = Annotated[str, AfterValidator(values.service_url)]
PhoneNumber = Annotated[str, AfterValidator(values.phone_number)]


class OwnFiles(BaseSettings):
    """Where the owner's own files are. They can be looked at whatever the other settings are like."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        validate_default=False,
    )

    agent_profile: Annotated[Path, AfterValidator(_existing_file)] = Field(
        DEFAULT_PROFILE, description="The TOML file that says how the assistant speaks and whom it transfers to"
    )
    tools_module: Annotated[
        str, _matching(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", "is not a Python module. Give a name such as shop.tools")
    ] = Field("", description="A Python module with tools of your own")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only `load_settings` reads the environment, so that a test's settings never depend on the machine's."""
        return (init_settings,)


class Settings(OwnFiles):
    """Every setting of the gateway. Made by `load_settings`; field names are the variables in lower case."""

    public_host: Annotated[str, AfterValidator(values.public_host)] = Field(
        description="The host name at which Twilio reaches this gateway, such as voice.example.com"
    )
    host: str = Field("0.0.0.0", description="The address to listen on")
    port: int = Field(8000, ge=0, le=65_535, description="The port to listen on; 0 takes any free one")
    log_level: Literal["INFO", "DEBUG"] = Field("INFO", description="How much is logged")
    log_full_numbers: bool = Field(default=False, description="Whether logs show whole phone numbers")
    workers: int = Field(
        1, ge=1, le=limits.WORKERS_MAX, description="Processes that share the port, no more than there are cores"
    )
    max_calls: int = Field(limits.MAX_CALLS, ge=1, le=10_000, description="Calls at a time on each process")
    max_calls_per_second: float = Field(
        limits.CALLS_PER_SECOND, gt=0, le=1_000, description="New calls a second on each process, in the long run"
    )
    media_socket: Literal["picows", "websockets"] = Field(
        "picows", description="What carries the audio: picows, or websockets, which is plainer and twice as dear"
    )
    record_calls: Annotated[
        str, _matching(r"[\w./~-]{1,255}", "is not the path of a folder. Give one without spaces, such as recordings")
    ] = Field("", description="A folder in which each call is written down, nothing private in it")
    checkpoints: bool = Field(
        default=True, description="Whether a call whose stream broke goes on elsewhere; keeps its turns for minutes"
    )
    cloudwatch_service: Annotated[
        str, _matching(r"[\w.-]{1,64}", "is not a name. Use letters, digits, and any of _ . -")
    ] = Field("", description="Writes the metrics into the log each minute, for CloudWatch, under this name")
    target_group_arn: Annotated[
        str,
        _matching(
            r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup/[A-Za-z0-9-]+/[0-9a-f]+",
            "is not the ARN of a target group. Copy it from the load balancer: arn:aws:elasticloadbalancing:…",
        ),
    ] = Field("", description="Calls move as soon as the load balancer takes this process out of that target group")
    ecs_container_metadata_uri_v4: Annotated[
        str, _matching(r"https?://[\w.:/-]{1,255}", "is not an address. ECS sets it by itself; leave it unset")
    ] = Field("", description="Where a task on ECS learns its own address; set by ECS itself")
    console_token: Secret | None = Field(None, description="Opens the operators' commands; unset switches them off")

    twilio_account_sid: Annotated[
        str,
        _matching(r"AC[0-9a-f]{32}", "is not an Account SID: AC and 32 hex digits. Copy it from the Twilio console"),
    ] = Field(description="The Account SID (AC…) from the first page of the Twilio console")
    twilio_auth_token: Secret = Field(description="The auth token, below the Account SID in the Twilio console")
    twilio_auth_token_secondary: Secret | None = Field(
        None, description="A second auth token whose signatures count too, while tokens are rotated"
    )
    twilio_phone_number: PhoneNumber = Field("", description="The number that callers dial")
    twilio_api_base_url: Annotated[str, AfterValidator(values.twilio_url)] = Field(
        "https://api.twilio.com", description="Twilio's REST address, for another region or a test"
    )

    openai_api_key: Secret = Field(description="An API key from platform.openai.com, API keys")
    openai_realtime_model: Annotated[str, AfterValidator(values.realtime_model)] = Field(
        "gpt-realtime-2.1", description="The Realtime model that speaks with callers"
    )
    openai_voice: Annotated[str, AfterValidator(values.realtime_voice)] = Field(
        "marin", description="Its voice, unless the profile names another"
    )
    openai_transcription_model: Annotated[str, AfterValidator(values.transcription_model)] = Field(
        "gpt-transcribe", description="The model that writes down what callers say"
    )
    openai_base_url: ServiceUrl = Field("https://api.openai.com/v1", description="OpenAI's address, with the /v1")
    openai_audio_format: Literal["pcmu", "pcm16"] = Field(
        "pcmu", description="pcmu passes the caller's audio on untouched; pcm16 is for models without G.711"
    )

    aws_region: Annotated[
        str, _matching(r"[a-z]{2}(-[a-z]+)+-\d", "is not a region. Give one such as ap-southeast-2")
    ] = Field(description="The region of the DynamoDB table, such as ap-southeast-2")
    aws_access_key_id: Secret | None = Field(None, description="Only where no role gives the credentials")
    aws_secret_access_key: Secret | None = Field(
        None, validate_default=True, description="The other half of AWS_ACCESS_KEY_ID"
    )
    aws_session_token: Secret | None = Field(None, description="The third part of temporary credentials")
    dynamodb_table_name: Annotated[
        str, _matching(r"[A-Za-z0-9_.-]{3,255}", "is not a table name: 3 to 255 letters, digits, and any of _ . -")
    ] = Field(description="The name of the DynamoDB table of the handovers, shared with the Lambda")
    aws_endpoint_url_dynamodb: ServiceUrl = Field("", description="Another address of DynamoDB, for tests")
    connect_phone_number: PhoneNumber = Field(description="The number in Amazon Connect that leads to a person")
    connect_digits_after_ms: int = Field(
        limits.DIGITS_AFTER_MS,
        ge=0,
        le=limits.DIGITS_AFTER_MOST_MS,
        multiple_of=limits.DIGITS_STEP_MS,
        description="From Connect's answer to the token's first tone, in steps of 500",
    )
    connect_instance_id: Annotated[
        str,
        _matching(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "is not an instance id. Copy what follows instance/"),
    ] = Field("", description="The Connect instance, asked whether anyone is there before a call is moved")
    connect_queues: Annotated[
        str,
        _matching(
            r"[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*",
            "is not a list of queues. Write escalation=BasicQueue, priority=VIP: the profile's name, then Connect's",
        ),
    ] = Field("", description="What the profiles' queues are called in Connect, where the names differ")
    aws_endpoint_url_connect: ServiceUrl = Field("", description="Another address of Amazon Connect's API, for tests")

    hubspot_access_token: Secret | None = Field(None, description="Unset switches the CRM off")
    hubspot_api_base_url: ServiceUrl = Field("https://api.hubapi.com", description="HubSpot's address")
    hubspot_pipeline: str = Field("0", description="The internal id of the tickets' pipeline")
    hubspot_pipeline_stage: str = Field("1", description="The internal id of the stage of new tickets")
    hubspot_portal_id: Annotated[
        str, _matching(r"\d{1,12}", "is not a portal id. Give the number beside your account's name")
    ] = Field("", description="With it, agents get a link to the ticket")
    hubspot_ui_domain: Annotated[str, AfterValidator(values.host_name)] = Field(
        "app.hubspot.com", description="The host of that link; EU portals have app-eu1.hubspot.com"
    )

    @field_validator("host", "hubspot_pipeline", "hubspot_pipeline_stage")
    @classmethod
    def _is_one_word(cls, value: str) -> str:
        if not re.fullmatch(r"[\w.:\[\]-]{1,255}", value):
            raise ValueError("holds a character that it cannot have. Leave out spaces and quotes")
        return value

    @field_validator("console_token")
    @classmethod
    def _is_hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value and len(value.get_secret_value()) < limits.CONSOLE_TOKEN_CHARS:
            raise ValueError(f"is too short. Use {limits.CONSOLE_TOKEN_CHARS} random characters or more")
        return value

    @field_validator("aws_secret_access_key")
    @classmethod
    def _comes_with_its_key_id(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        key_id = info.data.get("aws_access_key_id")
        if "aws_access_key_id" in info.data and bool(value) != bool(key_id):
            missing = "is not set, but AWS_ACCESS_KEY_ID is" if key_id else "is set without AWS_ACCESS_KEY_ID"
            raise ValueError(f"{missing}. Set both, or neither where a role gives the credentials")
        return value

    @field_validator("connect_phone_number")
    @classmethod
    def _is_not_ourselves(cls, value: str, info: ValidationInfo) -> str:
        if value == info.data.get("twilio_phone_number"):
            raise ValueError("is the same as TWILIO_PHONE_NUMBER: calls would come back here. Give Connect's number")
        return value

    @property
    def public_base_url(self) -> str:
        """``https://host``, without a trailing slash: where webhooks are posted."""
        return self.public_host if "://" in self.public_host else f"https://{self.public_host}"

    @property
    def stream_base_url(self) -> str:
        """``wss://host``, without a trailing slash: where media sockets are opened."""
        return "ws" + self.public_base_url.removeprefix("http")

    @property
    def queue_names(self) -> dict[str, str]:
        """Name, id or ARN of queues in Amazon Connect, by their names in the profiles."""
        pairs = (entry.partition("=") for entry in self.connect_queues.split(",") if entry)
        return {name.strip(): there.strip() for name, _, there in pairs}

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be printed, for whoever has to look out for them."""
        stated = (value for _, value in self if isinstance(value, SecretStr))
        return tuple(secret.get_secret_value() for secret in stated)

    def warnings(self, today: date) -> tuple[str, ...]:
        """What works today and needs attention soon: one line each, variable first."""
        models = {
            "OPENAI_REALTIME_MODEL": self.openai_realtime_model,
            "OPENAI_TRANSCRIPTION_MODEL": self.openai_transcription_model,
        }
        numbers = {"TWILIO_PHONE_NUMBER": self.twilio_phone_number, "CONNECT_PHONE_NUMBER": self.connect_phone_number}
        found = [_shutdown_warning(variable, model, today) for variable, model in models.items()]
        found += [
            f"{variable}: is in no range that is known to be in use. Check the digits"
            for variable, number in numbers.items()
            if number and not values.is_known_number(number)
        ]
        if self.log_full_numbers:
            found.append("LOG_FULL_NUMBERS: whole phone numbers go into the logs. Unset it when you need them no more")
        return tuple(line for line in found if line)


def load_settings(env: Mapping[str, str] | None = None, env_file: Path | str | None = ".env") -> Settings:
    """Read the settings from `env` (default: this process's environment), then from `env_file` if it exists.

    Raises `ConfigError` with every mistake at once. Its text, and what can be reached from it, holds no value that
    was typed.
    """
    return settings_from(stated_settings(env, env_file))


def stated_settings(env: Mapping[str, str] | None, env_file: Path | str | None) -> dict[str, Any]:
    """What is set, as it was typed. Raises `ConfigError` if the file cannot be read."""
    return {**_from_file(env_file), **_from_environment(os.environ if env is None else env)}


def settings_from(stated: Mapping[str, Any]) -> Settings:
    """The settings, from what is set. Raises `ConfigError` as `load_settings` does."""
    try:
        return Settings.model_validate(stated)
    except ValidationError as error:
        mistakes = tuple(_mistake(detail) for detail in error.errors(include_input=False, include_url=False))
    raise ConfigError(mistakes)  # outside `except`, so that nothing that holds the values is chained to it


def own_files_from(stated: Mapping[str, Any]) -> OwnFiles:
    """The owner's own files, from what is set; those whose setting is a mistake are left at the default."""
    try:
        return OwnFiles.model_validate(stated)
    except ValidationError as error:
        wrong = {detail["loc"][0] for detail in error.errors(include_input=False, include_url=False)}
    return OwnFiles.model_validate({name: value for name, value in stated.items() if name not in wrong})


def _from_environment(env: Mapping[str, str]) -> dict[str, str]:
    found = {name: env.get(name.upper(), "").strip() for name in Settings.model_fields}
    return {name: value for name, value in found.items() if value}


def _from_file(env_file: Path | str | None) -> dict[str, Any]:
    if env_file is None:
        return {}
    try:
        return DotEnvSettingsSource(Settings, env_file=env_file, env_file_encoding="utf-8")()
    except (OSError, UnicodeDecodeError) as error:
        problem = type(error).__name__
    raise ConfigError((f"{env_file}: cannot be read ({problem}). Save it as plain UTF-8 text",))


def _mistake(detail: ErrorDetails) -> str:
    """One line for a person, from one of pydantic's errors."""
    name = str(detail["loc"][0])
    where = Settings.model_fields[name].description or ""
    if detail["type"] == "missing":
        return f"{name.upper()}: is not set. Set it to {where[:1].lower()}{where[1:]}"
    if detail["type"] == "value_error":
        return (
            f"{name.upper()}: {detail['ctx']['error']}" if "ctx" in detail else f"{name.upper()}: is not valid. {where}"
        )
    return f"{name.upper()}: {_plain(detail['msg'])}. {where}"


def _plain(message: str) -> str:
    """Pydantic's sentences are about an input; ours are about the variable."""
    return message.replace("Input should be", "must be").replace("Input", "It").split(", unable")[0]


def misspelt(env_file: Path | str) -> tuple[str, ...]:
    """Names in `env_file` that are no setting but look much like one. A misspelt name is otherwise silently unset."""
    path = Path(env_file)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    names = re.findall(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=", text, re.MULTILINE)
    known = [field.upper() for field in Settings.model_fields]
    near = [(name, _nearest(name.upper(), known)) for name in names if name.upper() not in known]
    return tuple(f"{name}: is not a setting. Did you mean {match}?" for name, match in near if match)


def _nearest(name: str, known: list[str]) -> str:
    return next(iter(get_close_matches(name, known, n=1, cutoff=0.85)), "")


def _shutdown_warning(variable: str, model: str, today: date) -> str:
    stated = SHUTDOWN_DATES.get(model)
    if stated is None:
        return ""
    days = (date.fromisoformat(stated) - today).days
    if days >= SHUTDOWN_NOTICE_DAYS:
        return ""
    when = f"is shut down on {stated}, in {days} days" if days > 0 else f"was shut down on {stated}"
    return f"{variable}: {model} {when}. Choose its successor"
