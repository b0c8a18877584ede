"""What is written about the project, held against the project."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.core import TyperGroup
from typer.main import get_command

from voice_openai_connect import limits
from voice_openai_connect.call.escalation import Reason
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.cli import app
from voice_openai_connect.config import Settings
from voice_openai_connect.metrics import Metrics
from voice_openai_connect.own_tools import OwnTool
from voice_openai_connect.profile import load_profiles
from voice_openai_connect.simulator.carrier_webhooks import overrides
from voice_openai_connect.simulator.sound import write_stereo_wav

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BY_HAND = (ROOT / "docs" / "by_hand.md").read_text(encoding="utf-8")
DOCS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
VARIABLES = {name.upper() for name in Settings.model_fields}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands_in(path: Path) -> str:
    """What is set as code: blocks and pieces in backquotes."""
    return "\n".join(re.findall(r"```.*?```|`[^`]+`", path.read_text(encoding="utf-8"), re.DOTALL))


# --- Settings


def test_the_readme_lists_every_setting_and_no_other():
    table = README.partition("## Settings")[2].partition("\n## ")[0]

    assert sorted(re.findall(r"^\| `([A-Z0-9_]+)`", table, re.MULTILINE)) == sorted(VARIABLES)


def test_the_readme_says_which_settings_are_required():
    required = set(re.findall(r"^\| `([A-Z_]+)` \| required", README, re.MULTILINE))

    assert required == {name.upper() for name, field in Settings.model_fields.items() if field.is_required()}


@pytest.mark.parametrize(
    ("name", "default"),
    [
        (n, str(f.default).lower() if f.default is True else str(f.default))
        for n, f in Settings.model_fields.items()
        if isinstance(f.default, str | int) and f.default
    ],
)
def test_the_readme_gives_the_defaults_that_hold(name: str, default: str):
    assert f"| `{name.upper()}` | `{default}` |" in README


def test_the_example_file_lists_every_setting_and_no_other():
    names = re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", read(".env.example"), re.MULTILINE)

    assert sorted(set(names)) == sorted(VARIABLES)


# --- Facts and metrics


def test_the_readme_names_every_fact_and_reason():
    table = README.partition("| Fact |")[2].partition("\n\n")[0]

    assert set(re.findall(r"`([a-z_]+)`", table)) == {str(fact) for fact in Fact}
    assert ", ".join(Reason) in table


def test_the_readme_names_every_metric():
    table = README.partition("| Metric |")[2].partition("\n\n")[0]
    first_cells = "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))
    names = {family.name.removeprefix("voice_connect_") for family in Metrics().registry.collect()}

    assert set(re.findall(r"`([a-z_]+)`", first_cells)) == names


# --- Documents


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(path: Path):
    links = re.findall(
        r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    )
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]

    assert missing == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_file_of_the_package_that_is_named_exists(path: Path):
    text = path.read_text(encoding="utf-8")
    package = ROOT / "src" / "voice_openai_connect"
    named = re.findall(r"`((?:call|wire|gateway|integrations|aws|tests|src)/[\w./]+)`", text)
    missing = [name for name in named if not (ROOT / name).exists() and not (package / name).exists()]

    assert missing == []


def test_every_decision_is_in_the_list():
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))

    assert listed == sorted(path.name for path in folder.glob("0*.md"))


def test_every_try_that_the_number_s_address_asks_for_has_time_within_twilio_s_fifteen_seconds():
    (address,) = re.findall(r"`(https://voice\.example\.com/twilio/voice\S*)`", README)
    bare, rules = overrides(address)

    assert bare == "https://voice.example.com/twilio/voice"
    assert (rules.connect_ms, rules.read_ms) == (limits.WEBHOOK_CONNECT_MS, limits.WEBHOOK_READ_MS)
    assert (rules.retries, rules.retry_on) == (2, {"ct", "rt", "5xx"})
    assert (rules.retries + 1) * (rules.connect_ms + rules.read_ms) <= rules.total_ms


@pytest.mark.parametrize("number", range(len(blocks(read("docs/profile.md"), "toml"))))
def test_the_profiles_in_the_documents_load(number: int, tmp_path: Path):
    path, text = tmp_path / "agent.toml", blocks(read("docs/profile.md"), "toml")[number]
    path.write_text(text, encoding="utf-8")
    for recording in re.findall(r'holding_sound = "(.+?)"', text):
        write_stereo_wav(tmp_path / recording, holding_sound(), holding_sound())

    assert load_profiles(path).default.options.greeting


def test_the_queues_in_the_documents_are_known_to_the_contact_flow():
    flow = json.loads(read("aws/contact_flow/inbound_handover.json"))
    compare = next(action for action in flow["Actions"] if action["Identifier"] == "by-queue")
    known = {condition["Condition"]["Operands"][0] for condition in compare["Transitions"]["Conditions"]}
    profiles = [tomllib.loads(block)["profile"] for block in blocks(read("docs/profile.md"), "toml")]
    intents = [each for file in profiles for table in file.values() for each in table.get("intents", {}).values()]

    assert {intent["queue"] for intent in intents} <= known


@pytest.mark.parametrize("document", ["README.md", "docs/tools.md"])
def test_the_tools_in_the_documents_are_tools(document: str):
    namespace: dict[str, object] = {}
    exec(blocks(read(document), "python")[0], namespace)  # noqa: S102  our own document

    assert [value for value in namespace.values() if isinstance(value, OwnTool)]


# --- The set-up commands


def test_every_command_in_the_documents_exists():
    known = get_command(app)
    named = {line for path in DOCS for line in re.findall(r"voice-connect ([a-z]+(?: [a-z]+)?)", commands_in(path))}

    assert isinstance(known, TyperGroup)
    for command, *sub in (name.split() for name in named):
        assert command in known.commands
        assert not isinstance(group := known.commands[command], TyperGroup) or sub[0] in group.commands


def test_the_lambda_may_update_items_and_write_its_log_and_nothing_else():
    quoted = BY_HAND.partition("--policy-document '")[2].partition("}]}'")[0] + "}]}"
    policy = json.loads(re.sub(r"'\$\w+'", "x", quoted))
    actions = [statement["Action"] for statement in policy["Statement"]]

    assert actions == ["dynamodb:UpdateItem", ["logs:CreateLogStream", "logs:PutLogEvents"]]
    assert all("table/" in s["Resource"] or "log-group:" in s["Resource"] for s in policy["Statement"])


def test_connect_may_call_the_lambda_from_one_instance_of_one_account_only():
    command = re.search(r"aws lambda add-permission[^`]*?(?=\naws )", BY_HAND)

    assert command
    assert '--source-arn "$INSTANCE_ARN" --source-account "$ACCOUNT"' in command[0]


def test_every_blank_of_the_contact_flow_is_filled_in():
    blanks = {
        blank
        for path in (ROOT / "aws" / "contact_flow").glob("*.json")
        for blank in re.findall(r"\$\{(\w+)\}", path.read_text(encoding="utf-8"))
    }

    assert blanks == set(re.findall(r"s\|\\\$\{(\w+)\}\|", BY_HAND))


# --- Container and automation


def test_the_container_is_built_from_pinned_parts():
    dockerfile = read("Dockerfile")
    makefile_uv = re.search(r"^UV_VERSION := (\S+)$", read("Makefile"), re.MULTILINE)

    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"python:3.12-slim"}
    assert makefile_uv
    assert f"uv=={makefile_uv[1]}" in dockerfile
    assert dockerfile.count("uv sync --locked --no-dev") == dockerfile.count("uv sync ") == 2


def test_the_container_is_not_root_and_says_how_it_is():
    dockerfile = read("Dockerfile")

    assert re.search(r"^USER (?!0|root)\w+$", dockerfile, re.MULTILINE)
    assert "/healthz" in dockerfile.partition("HEALTHCHECK")[2]


def test_secrets_are_not_sent_to_the_builder():
    lines = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]

    assert lines[0] == "*"
    assert not [line for line in lines if line.startswith("!.")]


def test_compose_waits_for_the_table():
    services = yaml.safe_load(read("docker-compose.yml"))["services"]

    assert services["gateway"]["depends_on"]["table"]["condition"] == "service_completed_successfully"
    assert set(services["table"]["environment"]) <= VARIABLES
    assert set(services["gateway"]["environment"]) <= VARIABLES


def test_hooks_run_what_is_installed_and_download_nothing():
    repos = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]

    assert [repo["repo"] for repo in repos] == ["local"]
    assert all(hook["entry"].startswith(".venv/bin/") for hook in repos[0]["hooks"])


def test_the_workflow_runs_the_script_on_both_pythons():
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    steps = [job["steps"] for job in jobs.values()]

    assert [[s["run"] for s in each if "run" in s] for each in steps] == [[".ci/run"], [".ci/run"]]
    assert {s["with"]["python-version"] for each in steps for s in each if "python-version" in s.get("with", {})} == {
        "3.11",
        "3.12",
    }


def test_the_script_ends_with_the_tests():
    script = ROOT / ".ci" / "run"

    assert script.read_text(encoding="utf-8").rstrip().splitlines()[-1] == "make test"
    assert script.stat().st_mode & 0o111


# --- What must not be in the repository


def tracked() -> list[Path]:
    if shutil.which("git") is None:
        pytest.skip("only git knows what is in the repository")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# Written in pieces, so that this file does not hold them.
FORBIDDEN = re.compile(
    "|".join(
        (
            r"\bpypi\." + "org",
            r"python" + r"hosted\.org",
            r"registry\." + r"npmjs",
            r"(?<![\w.])/" + r"work/",
            r"(?<![\w.])/" + r"root/",
            r"(?<![\w.])/" + r"home/\w",
            "TO" + "DO",
            "FIX" + "ME",
            r"coming " + "soon",
            "NotImplemented" + "Error",
        )
    )
)
EXEMPT = {"uv.lock"}
"""Written by uv: it names where each package comes from."""


def test_no_file_names_a_machine_a_registry_or_unfinished_work():
    texts = {path: path.read_text(encoding="utf-8", errors="ignore") for path in tracked() if path.name not in EXEMPT}
    found = [f"{path.relative_to(ROOT)}: {hit[0]}" for path, text in texts.items() if (hit := FORBIDDEN.search(text))]

    assert found == []


def test_the_licence_is_whole():
    licence = read("LICENSE")

    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
