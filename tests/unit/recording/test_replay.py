from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voice_openai_connect.cli import app
from voice_openai_connect.recording.replay import replay


@pytest.fixture
def file(run_call: Callable[[], None], tmp_path: Path) -> Path:
    run_call()
    return tmp_path / "CA1.jsonl"


def changed(file: Path, old: bytes, new: bytes) -> Path:
    text = file.read_bytes()
    assert old in text
    file.write_bytes(text.replace(old, new, 1))
    return file


def test_a_call_that_decides_as_it_did_is_no_news(file: Path) -> None:
    result = CliRunner().invoke(app, ["replay", str(file)])

    assert result.exit_code == 0, result.output
    assert "0 with a difference" in result.output


def test_a_difference_is_told_with_its_line(file: Path) -> None:
    number = next(n for n, line in enumerate(file.read_bytes().splitlines(), 1) if b"FindContact" in line)
    result = CliRunner().invoke(app, ["replay", str(changed(file, b'"FindContact"', b'"LoseContact"'))])

    assert result.exit_code == 1
    assert f"line {number}, CallerTranscribed:" in result.output
    assert "- LoseContact" in result.output
    assert "+ FindContact" in result.output


def test_a_line_that_cannot_be_read_is_an_error_with_its_number(file: Path) -> None:
    result = CliRunner().invoke(app, ["replay", str(changed(file, b'"StreamStarted"', b'"Nonsense"'))])

    assert result.exit_code == 2
    assert "line 2: " in result.output


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "none.jsonl")])

    assert result.exit_code == 2
    assert "No such file" in result.output


def test_a_last_line_without_an_end_is_left_out(file: Path) -> None:
    whole = replay(file).steps
    file.write_bytes(file.read_bytes()[:-10])

    result = replay(file)
    assert result.unfinished
    assert (result.steps, result.differences) == (whole - 1, [])
