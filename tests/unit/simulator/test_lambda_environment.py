"""One execution environment: loads a handler, answers events, and turns every failure into an answer."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from voice_openai_connect.simulator import lambda_environment


def handler(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "handler.py"
    path.write_text(f"def lambda_handler(event, context):\n    {body}\n", encoding="utf-8")
    return path


def served(path: Path, *events: object) -> list[dict[str, object]]:
    answers = io.StringIO()
    lambda_environment.serve(path, io.StringIO("".join(json.dumps(event) + "\n" for event in events)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_it_says_that_it_has_loaded_and_then_answers_each_event(tmp_path: Path) -> None:
    loaded, *answers = served(handler(tmp_path, "return {'twice': event * 2}"), 1, "a")

    assert "errorType" not in loaded
    assert answers == [{"result": {"twice": 2}}, {"result": {"twice": "aa"}}]


@pytest.mark.parametrize(("body", "kind"), [("raise KeyError('token')", "KeyError"), ("return {1, 2}", "TypeError")])
def test_an_exception_and_an_answer_that_is_not_json_are_errors(tmp_path: Path, body: str, kind: str) -> None:
    _, first, second = served(handler(tmp_path, body), 1, 2)

    assert first["errorType"] == second["errorType"] == kind


def test_a_handler_that_cannot_be_loaded_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "handler.py"
    path.write_text("import a_module_that_is_not_there", encoding="utf-8")

    assert [answer["errorType"] for answer in served(path, 1)] == ["ModuleNotFoundError"]


def test_what_is_no_python_file_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "handler.txt").write_text("hello", encoding="utf-8")

    assert served(tmp_path / "handler.txt")[0]["errorType"] == "ImportError"


def test_what_the_handler_prints_is_log_and_never_an_answer(tmp_path: Path) -> None:
    path = handler(tmp_path, "print('{\"result\": 1}'); return 2")

    ran = subprocess.run(
        [sys.executable, "-P", lambda_environment.__file__, str(path)],
        input="{}\n",
        capture_output=True,
        text=True,
        check=True,
    )

    assert [json.loads(line)["result"] for line in ran.stdout.splitlines()[1:]] == [2]
    assert ran.stderr == '{"result": 1}\n'
