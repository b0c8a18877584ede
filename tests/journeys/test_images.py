"""The images, without an engine to build them: linted, and their own steps carried out in an empty folder.

What needs root is left out, and named below; so are the base images. What stands in a Dockerfile's RUN lines is run as
it is written, with the image's folders moved into the empty one.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATEWAY, REDEEMER = ROOT / "Dockerfile", ROOT / "aws" / "connect_lambda" / "Dockerfile"
NEEDS_ROOT = ["useradd"]
BASE_PYTHON = "/usr/local/bin/python"
"""Where the base image has its interpreter."""
LAMBDA_ROOT = "/var/task"
ONLY_SLOWER = {"UV_COMPILE_BYTECODE", "UV_LINK_MODE"}
"""They change how long an installation takes, and not what is installed."""


downloads = pytest.mark.skipif(not os.environ.get("IMAGES"), reason="downloads packages: make images, and CI")


@dataclass(frozen=True)
class Step:
    word: str
    rest: str


def steps(dockerfile: Path) -> list[Step]:
    lines = [line for line in dockerfile.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in whole.splitlines() if line.strip()]


class Room:
    """An empty folder as the root of the image's file system."""

    def __init__(self, root: Path, context: Path) -> None:
        self.root = root
        self.context = context
        self.folder = root
        self.env = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("AWS_", "UV_PROJECT", "PUBLIC_"))
            },
            "LAMBDA_TASK_ROOT": str(root) + LAMBDA_ROOT,
        }
        self.skipped: list[str] = []

    def moved(self, text: str) -> str:
        """A path or command of the image, as it is here."""
        text = text.replace(BASE_PYTHON, sys.executable).replace("${LAMBDA_TASK_ROOT}", self.env["LAMBDA_TASK_ROOT"])
        return re.sub(r"(?<![\w.:$/-])/(uv|app|var)(?=[/\s:]|$)", rf"{self.root}/\1", text)

    def carry_out(self, step: Step) -> None:
        match step.word:
            case "ENV":
                stated = dict(pair.split("=", 1) for pair in shlex.split(step.rest))
                moved = {name: self.moved(value).replace("$PATH", self.env["PATH"]) for name, value in stated.items()}
                self.env |= {name: value for name, value in moved.items() if name not in ONLY_SLOWER}
            case "WORKDIR":
                self.folder = Path(self.moved(step.rest))
                self.folder.mkdir(parents=True, exist_ok=True)
            case "COPY" if "--from" not in step.rest:
                *names, to = step.rest.split()
                self._copy(names, Path(self.folder, self.moved(to)))
            case "RUN" if step.rest.split()[0] in NEEDS_ROOT:
                self.skipped.append(step.rest)
            case "RUN":
                self.run(step.rest)
            case _:
                pass

    def run(self, command: str, *, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        python = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}; '
        done = subprocess.run(
            ["bash", "-ec", python + self.moved(command)],
            cwd=self.folder, env={**self.env, **(env or {})}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}"
        return done

    def _copy(self, names: list[str], to: Path) -> None:
        for name in names:
            source = self.context / name
            if source.is_dir():
                shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, to)


@pytest.mark.parametrize("dockerfile", [GATEWAY, REDEEMER], ids=["gateway", "lambda"])
def test_the_linter_has_nothing_to_say(dockerfile: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is there for Linux only")
    done = subprocess.run([hadolint, str(dockerfile)], capture_output=True, text=True, check=False)

    assert (done.stdout, done.returncode) == ("", 0)


def test_whatever_an_image_copies_is_sent_to_its_builder() -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"
    }
    copied = {
        name
        for step in steps(GATEWAY)
        if step.word == "COPY" and "--from" not in step.rest
        for name in step.rest.split()[:-1]
    }

    assert copied <= allowed
    for step in steps(REDEEMER):
        if step.word == "COPY":
            assert (REDEEMER.parent / step.rest.split()[0]).is_file()


@downloads
def test_the_gateway_s_steps_leave_a_gateway_that_starts(tmp_path: Path) -> None:
    room = Room(tmp_path, ROOT)
    for step in steps(GATEWAY):
        room.carry_out(step)
    (command,) = [step.rest for step in steps(GATEWAY) if step.word == "CMD" and step.rest.startswith('["voice')]
    told = subprocess.run(
        json.loads(command), cwd=room.folder, env=room.env, capture_output=True, text=True, check=False
    )
    installed = room.run(f"{tmp_path}/uv/bin/uv pip list --python {tmp_path}/app/.venv/bin/python").stdout

    assert room.skipped == [step.rest for step in steps(GATEWAY) if step.word == "RUN" and "useradd" in step.rest]
    assert told.returncode == 2
    assert "PUBLIC_HOST" in told.stderr
    assert not re.search(r"^(pytest|ministack|onnxruntime) ", installed, re.MULTILINE)


@downloads
def test_the_function_s_steps_leave_a_function_that_answers(tmp_path: Path) -> None:
    room = Room(tmp_path, REDEEMER.parent)
    room.carry_out(Step("WORKDIR", LAMBDA_ROOT))  # as in the base image
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "python"], check=True)
    room.env["PATH"] = f"{tmp_path / 'python' / 'bin'}:{room.env['PATH']}"
    for step in steps(REDEEMER):
        room.carry_out(step)
    (handler,) = [re.findall(r'"(\w+)\.(\w+)"', step.rest)[0] for step in steps(REDEEMER) if step.word == "CMD"]
    asked = f"import {handler[0]}; print({handler[0]}.{handler[1]}({{}}, None)['success'])"
    answer = room.run(
        f"cd {tmp_path}{LAMBDA_ROOT}; {tmp_path}/python/bin/python -c {shlex.quote(asked)}",
        env={"AWS_DEFAULT_REGION": "ap-southeast-2", "DYNAMODB_TABLE_NAME": "none"},
    )

    assert answer.stdout.splitlines()[-1] == "false"
