"""The configuration of the flows: what it may say, and that every mistake is named with its line, all at once."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from aws.contact_flow.config import FILE, ConfigError, load_config

ROOT = Path(__file__).parents[3]
TEXT = FILE.read_text(encoding="utf-8")
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        path = tmp_path / "flow.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def line_of(text: str, start: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), start=1) if line.startswith(start))


def test_queues_are_parameters_to_fill_in_or_arns(write: Write) -> None:
    arn = "arn:aws:connect:ap-southeast-2:123456789012:instance/11-22/queue/33-44"
    config = load_config(write(TEXT.replace('"EscalationQueueArn"', f'"{arn}"')))

    assert config.queues == {"priority": "${PriorityQueueArn}", "escalation": arn}


def test_a_language_can_be_asked_for() -> None:
    assert load_config(language="de-DE").languages["de-DE"].voice == "Vicki"
    assert load_config(language="de-DE").language == "de-DE"


MISTAKES = {
    "a misspelt key": ("tries = 3", "trys = 3", "token.trys", "Did you mean tries?"),
    "a number in quotes": ("tries = 3", 'tries = "3"', "token.tries", "from 1 to 3"),
    "more tries than a guesser should have": ("tries = 3", "tries = 4", "token.tries", "from 1 to 3"),
    "a truth for a number": ("tries = 3", "tries = true", "token.tries", "whole number"),
    "a text for a truth": ("guide = true", 'guide = "yes"', "agent.guide", "true or false"),
    "a number for a text": ('voice = "Joanna"', "voice = 5", "languages.en-US.voice", "in quotes"),
    "an empty prompt": ('sorry = "We cannot', 'sorry = "" # "We cannot', "languages.en-US.sorry", "Write plain words"),
    "markup in a prompt": ('sorry = "We', 'sorry = "<b>We', "languages.en-US.sorry", "angle bracket"),
    "a queue that is no queue": (
        'priority = "PriorityQueueArn"',
        'priority = "arn:aws:connect:x"',
        "queues.priority",
        "neither a queue's ARN nor the name",
    ),
    "a queue with a bad name": ('escalation = "Esc', '"To Us" = "Esc', "queues.To Us", "small letters"),
    "a default that is not there": (
        'default_queue = "escalation"',
        'default_queue = "escalaton"',
        "routing.default_queue",
        "Did you mean escalation?",
    ),
    "a priority nobody has": ("urgent = 1", "urgnet = 1", "priorities.urgnet", "Did you mean urgent?"),
    "a priority of nought": ("urgent = 1", "urgent = 0", "priorities.urgent", "from 1 to 100"),
    "an engine there is not": ('engine = "neural"', 'engine = "neutral"', "languages.en-US.engine", "standard, neural"),
    "a language that is none": ("[languages.fr-FR]", "[languages.french]", "languages.french", "as in en-AU"),
    "a language nobody wrote": ('language = "en-US"', 'language = "it-IT"', "language", "Add [languages.it-IT]"),
    "a table nobody knows": ("[agent]", "[agents]", "agents", "Did you mean agent?"),
}


@pytest.mark.parametrize(("old", "new", "name", "remedy"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named_with_its_line_and_what_to_do(
    write: Write, old: str, new: str, name: str, remedy: str
) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new, 1)

    with pytest.raises(ConfigError) as caught:
        load_config(write(text))

    (mistake,) = [each for each in caught.value.mistakes if f" {name} " in each]
    line = line_of(text, f"[{new.strip('[]')}]" if new.startswith("[") else new.split("=", maxsplit=1)[0].strip())
    assert mistake.startswith(f"flow.toml:{line}: ")
    assert remedy in mistake


def test_a_key_that_is_missing_is_named_at_its_table(write: Write) -> None:
    text = TEXT.replace("tries = 3\n", "")

    with pytest.raises(ConfigError) as caught:
        load_config(write(text))

    assert caught.value.mistakes == (f"flow.toml:{line_of(text, '[token]')}: token.tries is missing. Add the line",)


def test_all_mistakes_are_named_at_once_in_the_order_of_the_lines(write: Write) -> None:
    text = TEXT.replace("tries = 3", "tries = 9").replace("high = 2", "high = -2").replace('"en-US"', '"en"', 1)

    with pytest.raises(ConfigError) as caught:
        load_config(write(text))

    assert [mistake.split()[1] for mistake in caught.value.mistakes] == ["language", "token.tries", "priorities.high"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tries = ", "is not TOML"),
        ("", "language is missing"),
        ("queues = 5", "queues must be a table"),
        ("[queues]\n", "names no queue"),
        ("languages.en-US = 5", "languages.en-US must be a table"),
    ],
)
def test_a_file_that_is_quite_something_else_is_refused_with_words(write: Write, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_config(write(text))


def test_a_file_that_is_not_there_is_refused_with_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read \(No such file or directory\)"):
        load_config(tmp_path / "gone.toml")


def test_a_file_that_is_no_text_is_refused_with_words(tmp_path: Path) -> None:
    (tmp_path / "flow.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "flow.toml")


# --- The command


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """With nothing but Python: neither our package nor any other."""
    command = [sys.executable, "-S", "-m", "aws.contact_flow", *arguments]
    return subprocess.run(command, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, check=False)


def test_the_command_needs_nothing_but_python_and_finds_the_committed_files_as_they_should_be() -> None:
    ran = run("--check")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_the_command_writes_the_flows_of_a_configuration_of_ones_own(write: Write, tmp_path: Path) -> None:
    own = write(TEXT.replace('"One moment, please."', '"Hang on."'))

    assert run(str(own), "--out", str(tmp_path / "out"), "--check").returncode == 1
    assert run(str(own), "--out", str(tmp_path / "out")).returncode == 0
    assert run(str(own), "--out", str(tmp_path / "out"), "--check").returncode == 0
    assert "Hang on." in (tmp_path / "out" / "inbound_handover.json").read_text(encoding="utf-8")
    assert run("--out", str(tmp_path / "out"), "--check").returncode == 1


def test_the_command_writes_nothing_when_there_are_mistakes(write: Write, tmp_path: Path) -> None:
    ran = run(str(write(TEXT.replace("tries = 3", "tries = 9"))), "--out", str(tmp_path / "out"))

    assert ran.returncode == 2
    assert "token.tries" in ran.stderr
    assert not (tmp_path / "out").exists()
