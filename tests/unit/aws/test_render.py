"""The templates hold the files that they are made from, word for word."""

from pathlib import Path
from typing import Any

import pytest

TEMPLATES = Path(__file__).parents[3] / "aws" / "templates"
LAMBDA = TEMPLATES.parent / "connect_lambda" / "handler.py"


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_committed_template_is_what_the_files_render(path: Path, aws_module: Any) -> None:
    committed = path.read_text(encoding="utf-8")

    assert aws_module("templates/render.py").render(committed) == committed, "run: python aws/templates/render.py"


def test_the_function_is_deployed_word_for_word(template: Any) -> None:
    deployed = template("data.yaml")["Resources"]["Redeemer"]["Properties"]["Code"]["ZipFile"]

    assert deployed.rstrip() == LAMBDA.read_text(encoding="utf-8").rstrip()


def test_what_was_rendered_before_is_replaced_and_nothing_else(aws_module: Any) -> None:
    head = "A: 1\nCode:\n  # rendered from ../connect_lambda/requirements.txt\n  ZipFile: |\n"
    after = aws_module("templates/render.py").render(f"{head}    old\n\n      older\n\nB: 2\n")
    text = (LAMBDA.parent / "requirements.txt").read_text(encoding="utf-8")

    assert after.startswith(f"{head}    # ")
    assert "old" not in after.replace(text, "")
    assert after.endswith("\n\nB: 2\n")
    assert aws_module("templates/render.py").render(after) == after


def test_a_file_that_is_gone_is_named(aws_module: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        aws_module("templates/render.py").render("# rendered from gone.json\nContent: |\n  x\n")
