"""Every AWS command in the documents, as bash passes it on, held against the AWS command line's parser and models."""

import base64
import contextlib
import hmac
import io
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, cast

import pytest
from awscli import (
    botocore,  # pyright: ignore[reportMissingTypeStubs]
    clidriver,  # pyright: ignore[reportMissingTypeStubs]
)
from awscli.botocore.utils import ArgumentGenerator  # pyright: ignore[reportMissingTypeStubs]
from awscli.botocore.validate import ParamValidator  # pyright: ignore[reportMissingTypeStubs]
from awscli.customizations.cloudformation.deploy import DeployCommand  # pyright: ignore[reportMissingTypeStubs]
from awscli.customizations.ecr import ECRGetLoginPassword  # pyright: ignore[reportMissingTypeStubs]
from awscli.customizations.s3.subcommands import SyncCommand  # pyright: ignore[reportMissingTypeStubs]

from voice_openai_connect.cli import DEFAULT_FLOW
from voice_openai_connect.config import Settings
from voice_openai_connect.profile import load_profiles
from voice_openai_connect.wire.twilio_webhooks import Form, issue_ticket, read_ticket, signature_is_valid

ROOT = Path(__file__).parents[3]
INSTANCE = "11111111-2222-3333-4444-555555555555"
ARN = "arn:aws"
ANSWERS: Final = {
    "sts get-caller-identity": "123456789012",
    "connect list-security-profiles": INSTANCE,
    "connect list-routing-profiles": INSTANCE,
    "connect list-phone-numbers-v2": INSTANCE,
    "secretsmanager get-random-password": "aB3dE5gH7jK9mN1pQ3sT",
    "connect create-instance": INSTANCE,
    "connect search-available-phone-numbers": "+61255505678",
    "connect list-instances": f"{ARN}:connect:ap-southeast-2:123456789012:instance/{INSTANCE}",
    "connect list-queues": f"{ARN}:connect:ap-southeast-2:123456789012:instance/{INSTANCE}/queue/abc",
    "OutputKey=='FunctionArn'": f"{ARN}:lambda:ap-southeast-2:123456789012:function:voice-connect-data-redeem",
    "OutputKey=='GatewayPolicyArn'": f"{ARN}:iam::123456789012:policy/voice-connect-data-GatewayPolicy-ABC",
    "OutputKey=='TestCaseArn'": f"{ARN}:connect:ap-southeast-2:123456789012:instance/{INSTANCE}/test-case/abc",
    "secretsmanager create-secret": f"{ARN}:secretsmanager:ap-southeast-2:123456789012:secret:voice-connect-AbCdEf",
    "acm request-certificate": f"{ARN}:acm:ap-southeast-2:123456789012:certificate/{INSTANCE}",
    "ec2 describe-vpcs": "vpc-0123456789abcdef0",
    "ec2 describe-subnets": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
}
"""What AWS would say, as far as later commands need it; for anything else a word."""
STUB = """#!/bin/sh
printf '%s\\0' "$@" >> "$RECORD"
printf '\\n\\0' >> "$RECORD"
case "$*" in
{cases}
*) echo anything;;
esac
"""


def blocks(document: str) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)


def recorded(room: Path, document: str) -> list[list[str]]:
    """The document's commands, run by bash in an empty room where `aws` only writes down what it was given."""
    tools = room / "tools"
    tools.mkdir()
    cases = "\n".join(f"*\"{asked}\"*) echo '{answer}';;" for asked, answer in ANSWERS.items())
    for name in ("aws", "docker", "curl", "git", "make", "python3"):
        (tools / name).write_text(
            STUB.format(cases=cases) if name == "aws" else "#!/bin/sh\ncat >/dev/null\necho abc1234\n"
        )
        (tools / name).chmod(0o755)
    (room / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(tools / "git", room / ".venv" / "bin" / "voice-connect")
    shutil.copytree(ROOT / "aws", room / "aws", ignore=shutil.ignore_patterns("__pycache__"))
    (room / "answer.json").write_text("{}", encoding="utf-8")
    script = "set -eu\n" + "\n".join(blocks(document))
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "RECORD": str(room / "record"), "HOME": str(room)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=room, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = (room / "record").read_bytes().decode().split("\n\0")[:-1]
    return [command.split("\0")[:-1] for command in written]


AT_LEAST: Final = {"docs/deploy.md": 11, "docs/by_hand.md": 11, "docs/agent_page.md": 6}
"""How many commands a document has: fewer were not found."""


@pytest.fixture(scope="module", params=AT_LEAST)
def commands(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    document = cast("str", request.param)
    found = recorded(tmp_path_factory.mktemp("docs"), document)
    assert len(found) >= AT_LEAST[document]
    return found


@pytest.fixture(scope="module")
def deploy_commands(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Those that deploy: the stacks in their order, and the optional one after them."""
    documents = ("docs/deploy.md", "docs/agent_page.md")
    return [words for document in documents for words in recorded(tmp_path_factory.mktemp("deploy"), document)]


class Parser:
    """The AWS command line, stopped at the moment when it would send a request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._driver = cast("Any", clidriver).create_clidriver()
        self._driver.session.register("calling-command", self._stop)
        self.complaints: list[str] = []
        for custom in (DeployCommand, ECRGetLoginPassword, SyncCommand):
            monkeypatch.setattr(cast("Any", custom), "_run_main", self._stop_custom)

    def parse(self, words: list[str]) -> None:
        said, self._service = io.StringIO(), words[0]
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = self._driver.main(words)
        if status:
            self.complaints.append(f"aws {' '.join(words)}: {said.getvalue().strip()[-300:]}")

    def _stop(self, call_parameters: dict[str, Any], parsed_globals: Any, event_name: str, **_: object) -> int:
        service, command = event_name.split(".")[1:]
        if service != "wait":  # a waiter's name is checked by the parser, and its operation is read only
            self._check(self._model(command), call_parameters, parsed_globals.query)
        return 0

    def _check(self, model: Any, parameters: dict[str, Any], query: Any) -> None:
        report = cast("Any", ParamValidator)().validate(parameters, model.input_shape)
        if report.has_errors():
            self.complaints.append(f"{model.name}: {report.generate_report()}")
        if query is not None:
            self._try_query(query, model)

    def _model(self, command: str) -> Any:
        model = self._driver.session.get_service_model(self._service)
        (name,) = [name for name in model.operation_names if cast("Any", botocore).xform_name(name, "-") == command]
        return model.operation_model(name)

    def _try_query(self, query: Any, model: Any) -> None:
        """Asked of a made-up answer with everything in it, it must find something."""
        sample = cast("Any", ArgumentGenerator)(use_member_names=True).generate_skeleton(model.output_shape)
        if query.search(sample) is None:
            self.complaints.append(f"{model.name}: nothing in the answer is {query.expression}")

    def _stop_custom(self, parsed_args: Any, parsed_globals: Any) -> int:
        """Commands that the AWS command line makes itself out of several requests."""
        return 0


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Parser:
    """No region, no credentials and no profile but these; files that a command reads are here."""
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_DATA_PATH"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("secrets.json", "question.json", "handover-flow.json"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    shutil.copytree(ROOT / "aws", tmp_path / "aws", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.make_archive(str(tmp_path / "handover"), "zip", tmp_path / "aws" / "connect_lambda")
    monkeypatch.chdir(tmp_path)
    return Parser(monkeypatch)


def test_the_aws_command_line_understands_every_command(commands: list[list[str]], parser: Parser) -> None:
    for words in commands:
        parser.parse(words)

    assert parser.complaints == []


def inline(document: str) -> list[list[str]]:
    """The commands with options that stand in a sentence."""
    prose = re.sub(r"```.*?```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    return [shlex.split(found)[1:] for found in re.findall(r"`(aws [^`]*--[^`]*)`", prose)]


def test_the_aws_command_line_understands_the_commands_in_sentences(parser: Parser) -> None:
    said = [words for document in AT_LEAST for words in inline(document)]
    for words in said:
        parser.parse(words)

    assert ["cloudformation", "delete-stack", "--stack-name", "voice-connect-gateway"] in said
    assert parser.complaints == []


def test_a_command_that_is_wrong_is_noticed(parser: Parser) -> None:
    """As older instructions have it: a table's expiry cannot be set when it is made."""
    key = [
        "--attribute-definitions",
        "AttributeName=token,AttributeType=S",
        "--key-schema",
        "AttributeName=token,KeyType=HASH",
    ]
    parser.parse(
        ["dynamodb", "create-table", "--table-name", "T", *key, "--time-to-live-specification", "Enabled=true"]
    )
    parser.parse(["connect", "list-queues", "--instance-id", "x", "--query", "Queues[0].Arn"])

    assert len(parser.complaints) == 2


def options(words: list[str]) -> dict[str, str]:
    return {word: words[index + 1] for index, word in enumerate(words[:-1]) if word.startswith("--")}


def overrides(words: list[str]) -> dict[str, str]:
    """What follows `--parameter-overrides`, up to the next option."""
    if "--parameter-overrides" not in words:
        return {}
    after = words[words.index("--parameter-overrides") + 1 :]
    pairs = [word.partition("=") for word in itertools.takewhile(lambda word: not word.startswith("--"), after)]
    return {name: value for name, _, value in pairs}


def test_every_stack_is_given_what_its_template_asks_for(deploy_commands: list[list[str]], template: Any) -> None:
    """What is missing at first stops the deployment; what is given later is known; every value has the right shape."""
    seen: set[str] = set()
    for words in [each for each in deploy_commands if each[:2] == ["cloudformation", "deploy"]]:
        stated = template(Path(options(words)["--template-file"]).name)["Parameters"]
        given, stack = overrides(words), options(words)["--stack-name"]
        required = {name for name, each in stated.items() if "Default" not in each}
        assert set(given) <= set(stated)
        assert required <= set(given) or stack in seen
        for name, value in given.items():
            assert re.fullmatch(stated[name].get("AllowedPattern", ".*"), value), name
            assert value in stated[name].get("AllowedValues", [value]), name
        seen.add(stack)

    assert seen == {"voice-connect-data", "voice-connect", "voice-connect-gateway", "voice-connect-agent-page"}


def test_a_stack_that_makes_roles_is_allowed_to(deploy_commands: list[list[str]], template: Any) -> None:
    for words in [each for each in deploy_commands if each[:2] == ["cloudformation", "deploy"]]:
        kinds = {each["Type"] for each in template(Path(options(words)["--template-file"]).name)["Resources"].values()}

        assert ("--capabilities" in words) == any(kind.startswith("AWS::IAM::") for kind in kinds)


def test_every_output_that_is_read_is_one_that_the_stack_has(deploy_commands: list[list[str]], template: Any) -> None:
    templates = {
        options(words)["--stack-name"]: template(Path(options(words)["--template-file"]).name)
        for words in deploy_commands
        if words[:2] == ["cloudformation", "deploy"]
    }
    for words in [each for each in deploy_commands if each[:2] == ["cloudformation", "describe-stacks"]]:
        asked = re.findall(r"OutputKey=='(\w+)'", options(words).get("--query", ""))

        assert set(asked) <= set(templates[options(words)["--stack-name"]]["Outputs"])


# --- One queue for every name


def test_the_gateway_watches_the_queue_that_the_flows_lead_to(deploy_commands: list[list[str]]) -> None:
    """Unless it is told, it looks for queues of the profile's names, and a new instance has none."""
    deployed = [words for words in deploy_commands if words[1] == "deploy"]
    first = {options(words)["--stack-name"]: overrides(words) for words in reversed(deployed)}
    watched = Settings.model_construct(connect_queues=first["voice-connect-gateway"]["ConnectQueues"]).queue_names

    assert watched.keys() == load_profiles().queues_that_may_be_empty
    assert watched == {
        "escalation": first["voice-connect"]["EscalationQueueArn"],
        "priority": first["voice-connect"]["PriorityQueueArn"],
    }


# --- Making and removing

REMOVED_BY: Final = {
    "connect create-instance": "connect delete-instance",
    "connect claim-phone-number": "connect release-phone-number",
    "secretsmanager create-secret": "secretsmanager delete-secret",
    "ecr create-repository": "ecr delete-repository",
    "acm request-certificate": "acm delete-certificate",
}
NOT_REMOVED: Final = {"connect create-user", "iam create-service-linked-role"}
"""One goes with its instance; the other is the account's, costs nothing, and other services of it may need it."""


def test_everything_that_is_made_is_removed_again_what_is_used_last(deploy_commands: list[list[str]]) -> None:
    """Else a number is paid for every day that leads nowhere."""
    ran = [" ".join(words[:2]) for words in deploy_commands]
    made = {each for each in ran if re.search(r" (create|claim|request)-", each)}
    stacks = [options(words)["--stack-name"] for words in deploy_commands if words[1] == "deploy"]
    gone = [options(words)["--stack-name"] for words in deploy_commands if words[1] == "delete-stack"]

    assert made == {*REMOVED_BY, *NOT_REMOVED}
    assert set(REMOVED_BY.values()) <= set(ran)
    assert gone == [each for each in reversed(dict.fromkeys(stacks)) if each in gone], "the last one made goes first"
    assert {*gone, "voice-connect-agent-page"} == set(stacks)
    first, last = ran.index("cloudformation delete-stack"), len(ran) - ran[::-1].index("cloudformation delete-stack")
    assert ran.index("connect disassociate-phone-number-contact-flow") < first
    assert all(ran.index(each) > last for each in REMOVED_BY.values())


def test_a_stack_is_gone_before_the_next_one_goes(deploy_commands: list[list[str]]) -> None:
    for index, words in enumerate(deploy_commands):
        if words[:2] == ["cloudformation", "delete-stack"]:
            assert deploy_commands[index + 1] == ["cloudformation", "wait", "stack-delete-complete", *words[2:]]


def test_the_number_at_twilio_leads_elsewhere_before_anything_is_removed() -> None:
    section = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8").partition("**Removing everything**")[2]

    assert re.search(r"webhook.*fallback", section.partition("```bash")[0], re.DOTALL)


# --- A new auth token at Twilio

OLD, NEW = "old", "new"
SIGNED: Final = ("https://voice.example.com/twilio/next", Form.parse(b"CallSid=CA1"))
CALL_SID: Final = "CA" + "1" * 32


def steps_of_a_new_token() -> list[str]:
    """What the document does to the secret, the stack, its tasks and Twilio, in its order."""
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"\*\*A new auth token at Twilio\*\*(.*?)\n\*\*", text, re.DOTALL)
    steps = r"^{.*}$|put-secret-value|TwilioRotation=\w+|[Pp]romote|--force-new-deployment|services-stable"
    return re.findall(steps, section, re.MULTILINE)


def accepts(task: list[str], signer: str, others: list[list[str]]) -> bool:
    """Whether a task lets in what Twilio signs, and the streams that it and others have announced."""
    signature = base64.b64encode(hmac.digest(signer.encode(), (SIGNED[0] + "CallSidCA1").encode(), "sha1")).decode()
    tickets = [issue_ticket(other[0], call_sid=CALL_SID, expires_at_s=60, nonce=bytes(8)) for other in others]
    return signature_is_valid(signature, *SIGNED, task) and all(read_ticket(task, each, now_s=0) for each in tickets)


def test_nobody_is_refused_while_the_token_at_twilio_is_changed() -> None:
    """Old and new tasks run side by side after every step, and scaling may start one at any moment."""
    secret = written = {"TWILIO_AUTH_TOKEN": OLD}
    second, signer, running = False, OLD, [[OLD]]
    for step in steps_of_a_new_token():
        if step.startswith("{"):
            written = json.loads(step)
        elif step == "put-secret-value":
            secret = written
        elif step.startswith("TwilioRotation="):
            second = step.endswith("=yes")
        elif step.lower() == "promote":
            signer = NEW
        started = [secret["TWILIO_AUTH_TOKEN"], *([secret["TWILIO_AUTH_TOKEN_SECONDARY"]] if second else [])]
        running.append(started)
        assert all(accepts(task, signer, running) for task in running), step
        if step.startswith(("TwilioRotation=", "services-stable")):  # both return when the old tasks are gone
            running = [started]

    assert (list(secret.values())[1:], signer, running[-1]) == ([NEW], NEW, [NEW])


def test_the_flow_is_called_what_its_stack_calls_it(template: Any) -> None:
    name = template("connect.yaml")["Resources"]["Handover"]["Properties"]["Name"]["Fn::Sub"]

    assert name.replace("${AWS::StackName}", "voice-connect") == DEFAULT_FLOW
