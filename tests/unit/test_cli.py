import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from voice_openai_connect import __version__
from voice_openai_connect.cli import DEFAULT_FLOW, app
from voice_openai_connect.config import DEFAULT_PROFILE, Settings
from voice_openai_connect.simulator.connect_api import SimulatedConnectApi
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.dynamo import SimulatedDynamo


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that has been told nothing."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def env_file(folder: Path, **changes: str) -> str:
    settings = {
        "PUBLIC_HOST": "voice.example.com",
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "the-auth-token",
        "OPENAI_API_KEY": "the-api-key",
        "AWS_REGION": "ap-southeast-2",
        "DYNAMODB_TABLE_NAME": "cli-test",
        "CONNECT_PHONE_NUMBER": "+61255501234",
        **changes,
    }
    path = folder / "my.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return str(path)


@pytest.mark.parametrize(
    "command", [["serve"], ["reconcile"], ["setup", "table"], ["setup", "hubspot"], ["setup", "connect"]]
)
def test_settings_that_cannot_be_used_end_a_command_with_the_whole_list(command: Sequence[str]) -> None:
    result = run(*command)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert all(name in result.stderr for name in ("PUBLIC_HOST", "OPENAI_API_KEY", "CONNECT_PHONE_NUMBER"))
    assert "Traceback" not in result.stderr


def test_a_spoilt_profile_ends_serve_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[profile.default]\nspeed = 9\n")
    result = run("serve", "--env-file", env_file(tmp_path, AGENT_PROFILE=str(tmp_path / "mine.toml")))

    assert (result.exit_code, "mine.toml:2" in result.stderr) == (2, True)


def test_a_tools_module_that_is_not_there_ends_serve(tmp_path: Path) -> None:
    result = run("serve", "--env-file", env_file(tmp_path, TOOLS_MODULE="no_such_module_anywhere"))

    assert (result.exit_code, "TOOLS_MODULE" in result.stderr) == (2, True)


def test_serve_names_the_mistakes_of_settings_and_profile_in_one_run(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[profile.default]\nspeed = 9\n")
    result = run("serve", "--env-file", env_file(tmp_path, AGENT_PROFILE=str(tmp_path / "mine.toml"), PORT="high"))

    assert result.exit_code == 2
    assert "PORT" in result.stderr
    assert "mine.toml:2" in result.stderr


def test_a_misspelt_setting_is_pointed_out_also_where_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    path.write_text("OPENAI_API_KEYS=x\n")
    result = run("serve", "--env-file", str(path))

    assert "OPENAI_API_KEY: is not set" in result.stderr
    assert "Did you mean OPENAI_API_KEY?" in result.stderr


def test_a_misspelt_setting_is_pointed_out(tmp_path: Path) -> None:
    result = run("setup", "hubspot", "--env-file", env_file(tmp_path, HUBSPOT_ACESS_TOKEN="x"))

    assert result.exit_code == 2
    assert "Did you mean HUBSPOT_ACCESS_TOKEN?" in result.stderr
    assert "HUBSPOT_ACCESS_TOKEN is not set" in result.stderr


def test_a_good_profile_is_described(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[profile.sales]\nnumbers = ['+61 2 5550 1234']\n")
    result = run("profile", "check", str(tmp_path / "mine.toml"))

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "default: answers every other number in en-US; 4 intents",
        "sales: answers +61255501234 in en-US; 4 intents",
    ]


def test_the_packaged_profile_is_good() -> None:
    assert run("profile", "check", str(DEFAULT_PROFILE)).exit_code == 0


def test_a_bad_profile_is_refused_with_every_mistake(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[profile.default]\nspeed = 9\nvoice = 'fable'\n")
    result = run("profile", "check", str(tmp_path / "mine.toml"))

    assert result.exit_code == 2
    assert "mine.toml:2" in result.stderr
    assert "mine.toml:3" in result.stderr


def test_the_doctor_shows_its_table_and_says_with_its_exit_status_that_something_is_wrong() -> None:
    result = run("doctor")

    assert result.exit_code == 1
    assert "PUBLIC_HOST" in result.stdout


def test_setup_table_says_what_it_did_and_may_be_repeated(tmp_path: Path, dynamo: SimulatedDynamo) -> None:
    settings = env_file(
        tmp_path,
        AWS_ENDPOINT_URL_DYNAMODB=dynamo.endpoint_url,
        AWS_ACCESS_KEY_ID=dynamo.access_key_id,
        AWS_SECRET_ACCESS_KEY=dynamo.secret_access_key,
    )
    first, second = (run("setup", "table", "--env-file", settings) for _ in range(2))

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "created" in first.stdout
    assert "there already" in second.stdout


def test_a_service_that_cannot_be_reached_is_said_in_one_sentence(tmp_path: Path) -> None:
    settings = env_file(
        tmp_path,
        AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:9",
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
    )
    result = run("setup", "table", "--env-file", settings)

    assert result.exit_code == 1
    assert "DynamoDB: unreachable" in result.stderr
    assert "Traceback" not in result.stderr


def test_setup_connect_says_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = "11111111-2222-3333-4444-555555555555"
    connect = SimulatedConnectApi(instance, numbers={"+61255501234": "number-1"}, flows={DEFAULT_FLOW: "flow-1"})

    async def set_up() -> Result:
        async with connect.serving() as address:
            monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", address)
            keys = {"AWS_ACCESS_KEY_ID": "simulated", "AWS_SECRET_ACCESS_KEY": "simulated"}
            settings = env_file(tmp_path, CONNECT_INSTANCE_ID=instance, **keys)
            return await asyncio.to_thread(run, "setup", "connect", "--env-file", settings)

    result = asyncio.run(set_up())

    assert (result.exit_code, result.stderr) == (0, "")
    assert DEFAULT_FLOW in result.stdout
    assert connect.leads_to == {"number-1": "flow-1"}


def test_setup_connect_needs_to_know_the_instance(tmp_path: Path) -> None:
    result = run("setup", "connect", "--env-file", env_file(tmp_path))

    assert result.exit_code == 2
    assert "CONNECT_INSTANCE_ID" in result.stderr


def test_setup_hubspot_says_what_it_did(tmp_path: Path) -> None:
    """In a thread of its own, as the command brings its own event loop and the CRM needs one too."""

    async def set_up() -> Result:
        async with SimulatedCrm() as crm:
            settings = env_file(tmp_path, HUBSPOT_ACCESS_TOKEN=crm.token, HUBSPOT_API_BASE_URL=crm.base_url)
            return await asyncio.to_thread(run, "setup", "hubspot", "--env-file", settings)

    result = asyncio.run(set_up())

    assert result.exit_code == 0
    assert result.stdout.strip()


def test_the_version_can_be_asked_for() -> None:
    assert run("--version").stdout == f"voice-openai-connect {__version__}\n"


def test_the_command_line_starts_without_loading_what_it_may_not_need() -> None:
    heavy = {"fastapi", "aiobotocore", "botocore", "pydantic", "structlog", "httpx2", "websockets", "numpy"}
    code = f"import sys, voice_openai_connect.cli; print(sorted({heavy!r} & set(sys.modules)))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert seen.stdout.strip() == "[]"


def test_a_gateway_loads_nothing_that_only_the_demo_the_tests_or_another_audio_format_need() -> None:
    heavy = {
        "awscli",
        "boto3",
        "gruut",
        "hypothesis",
        "moonshine_voice",
        "numpy",
        "onnxruntime",
        "openai",
        "pytest",
        "soxr",
        "twilio",
    }
    ours = {
        f"voice_openai_connect.{name}"
        for name in ("capacity", "doctor", "reconcile", "recording.replay", "simulator", "supervisor")
    }
    code = (
        "import sys, voice_openai_connect.cli, voice_openai_connect.startup, voice_openai_connect.build;"
        f"print(sorted({heavy | ours!r} & set(sys.modules)))"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert seen.stdout.strip() == "[]"


def test_the_scenarios_of_the_demo_are_listed_and_others_are_refused() -> None:
    listed, refused = run("demo", "--list"), run("demo", "--scenario", "nonesuch")

    assert listed.exit_code == 0
    assert "escalation" in listed.stdout
    assert (refused.exit_code, "escalation" in refused.stderr) == (2, True)


def test_a_plan_is_reckoned_for_calls_of_one_s_own() -> None:
    planned = run("capacity", "--calls", "250", "--minutes", "2", "--set", "calls_per_core=50")

    assert planned.exit_code == 0
    assert "5, at 50 calls a core" in planned.stdout
    assert "2.08 a second" in planned.stdout  # 250 / 120 s
    assert "0.50 a second" in run("capacity", "--calls", "250", "--calls-per-second", "0.5").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "calls_per_cores=9"), "--set: calls_per_cores: is no figure. Did you mean calls_per_core?"),
        (("--model", "gpt-realtime-99"), "Choose one of: gpt-realtime-2.1, gpt-realtime-2.1-mini"),
    ],
)
def test_a_plan_from_what_is_not_known_is_refused(words: Sequence[str], said: str) -> None:
    refused = run("capacity", "--calls", "250", *words)

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert said in refused.stderr


def test_a_demo_without_its_packages_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    for name in [name for name in sys.modules if name.startswith("voice_openai_connect.simulator")]:
        monkeypatch.delitem(sys.modules, name)
    result = run("demo", "--list")

    assert result.exit_code == 2
    assert "make demo" in result.stderr
    assert "numpy" in result.stderr


@pytest.mark.parametrize(("hours", "bound"), [("0", "1"), ("49", "48")])
def test_one_can_look_back_only_as_far_as_anything_is_known(hours: str, bound: str) -> None:
    result = run("reconcile", "--hours", hours)

    assert result.exit_code == 2
    assert f"than or equal to {bound}" in result.stderr


def test_looking_back_without_a_number_says_which_setting_is_missing(tmp_path: Path) -> None:
    result = run("reconcile", "--env-file", env_file(tmp_path))

    assert result.exit_code == 2
    assert "TWILIO_PHONE_NUMBER: is not set" in result.stderr
