import tomllib
from pathlib import Path

import pytest

from voice_openai_connect.config import DEFAULT_PROFILE
from voice_openai_connect.profile_file import (
    IntentTable,
    ProfileError,
    ProfileTable,
    TurnDetectionTable,
    read_profile_file,
)

PACKAGED = read_profile_file(DEFAULT_PROFILE).tables["default"]


def tables(folder: Path, text: str) -> dict[str, ProfileTable]:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    file = read_profile_file(path, PACKAGED)
    file.raise_mistakes()
    return file.tables


def mistakes(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ProfileError) as caught:
        tables(folder, text)
    return caught.value.mistakes


def test_the_packaged_profile_states_every_key_that_has_no_better_default() -> None:
    stated = tomllib.loads(DEFAULT_PROFILE.read_text(encoding="utf-8"))["profile"]["default"]

    assert ProfileTable.model_fields.keys() - stated.keys() == {"numbers", "voice", "say_voice", "phrase_languages"}
    assert TurnDetectionTable.model_fields.keys() == stated["turn_detection"].keys()
    assert all(IntentTable.model_fields.keys() == intent.keys() for intent in stated["intents"].values())


def test_every_key_is_explained_in_the_packaged_profile() -> None:
    text = DEFAULT_PROFILE.read_text(encoding="utf-8")

    assert not [name for name in ProfileTable.model_fields if name not in text]


def test_an_empty_file_is_the_packaged_profile(tmp_path: Path) -> None:
    assert tables(tmp_path, "") == {"default": PACKAGED}


def test_a_profile_takes_what_it_leaves_out_from_the_default_below_it(tmp_path: Path) -> None:
    found = tables(
        tmp_path,
        """
        [profile.default]
        goodbye = "Bye."
        turn_detection.threshold = 0.7
        [profile.sales]
        numbers = ["+61 2 5550 1234"]
        greeting = "Sales, hello?"
        turn_detection = { silence_ms = 700 }
        """,
    )

    sales = found["sales"]
    assert (sales.greeting, sales.goodbye, sales.disclosure) == ("Sales, hello?", "Bye.", PACKAGED.disclosure)
    assert (sales.turn_detection.threshold, sales.turn_detection.silence_ms) == (0.7, 700)
    assert sales.numbers == ("+61255501234",)
    assert found["default"].greeting == PACKAGED.greeting


def test_numbers_are_not_taken_over(tmp_path: Path) -> None:
    found = tables(
        tmp_path,
        '[profile.default]\nnumbers = ["+61255501234"]\n[profile.sales]\nnumbers = ["+61255505678"]\n',
    )

    assert found["sales"].numbers == ("+61255505678",)


def test_a_profile_that_lists_intents_lists_all_of_its_own(tmp_path: Path) -> None:
    found = tables(
        tmp_path, '[profile.default]\ndefault_intent = "order"\n[profile.default.intents.order]\nqueue = "Orders"\n'
    )

    assert list(found["default"].intents) == ["order"]


WRONG = '''\
[profile.default]
gretting = "Hello"
voice = "fable"
speed = "fast"
default_intent = "orders"
keywords = ["<b>"]
person_key = "12"
instructions = """
[not.a.header]
"""
[profile.default.turn_detection]
threshold = 1.5
idle_timeout_ms = 40000
interrupt_response = "yes"
treshold = 0.5
[profile.sales]
numbers = ["0255501234"]
[profile.one]
numbers = ["+61255501234"]
[profile.two]
numbers = ["+61 2 5550 1234"]
noise_reduction = "loud"
language = "english"
[profile.none]
goodbye = ""
'''


def test_all_mistakes_are_named_at_once_with_their_lines(tmp_path: Path) -> None:
    found = mistakes(tmp_path, WRONG)

    assert [line.split(":")[1] for line in found] == [
        "2", "3", "4", "5", "6", "7", "12", "13", "14", "15", "17", "21", "22", "23", "24", "25",
    ]  # fmt: skip
    assert all(line.startswith("mine.toml:") and ". " in line for line in found), "what is wrong, then what to do"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[profile.default]\ngretting = "x"', "Did you mean greeting?"),
        ("[profile.default]\nzzz = 1", "Take it out"),
        ('[profile.default]\nvoice = "onyx"', "Use cedar"),
        ("[profile.default]\ngreeting = 5", "Put it in quotes"),
        ("[profile.default]\nspeed = 9", "from 0.25 to 1.5"),
        ("[profile.default.turn_detection]\nthreshold = -0.1", "from 0 to 1"),
        ("[profile.default.turn_detection]\nidle_timeout_ms = 4999", "5000 to 30000"),
        ("[profile.default.turn_detection]\ntreshold = 1", "Did you mean threshold?"),
        ('[profile.default]\nkeywords = ["a\\nb"]', "line break"),
        ('[profile.default]\nkeywords = "human"', "square brackets"),
        (f"[profile.default]\nkeywords = {['a'] * 101}", "Keep it to 100"),
        ("[profile.default.intents.a]\npriority = 'low'", "queue is missing"),
        ("[profile.default.intents.a]\nqueue = ''", "is empty"),
        ("[profile.default.intents.a]\nqueue = 'Q'\npriority = 'soon'", "'low', 'normal', 'high' or 'urgent'"),
        ("[profile.default.intents.a]\nqueu = 'Q'", "Did you mean queue?"),
        ("[profile.default.intents.'A B']\nqueue = 'Q'", "small letters"),
        ("[profile.default]\nintents = 5", "must be a table"),
        ("[profile.default]\ndefault_intent = 'biling'", "Did you mean billing?"),
        ("[profile.default]\ngreeting = 'a <b> c'", "plain words"),
        (f"[profile.default]\ngreeting = '{'a' * 501}'", "below 500 characters"),
        ("[profile.sales]\ngreeting = 'Hi'", "answers no number"),
        ("[profile]\ngreeting = 'Hi'", "is in no profile"),
        ("greeting = 'Hi'", "Move it below"),
        ("profile = 5", "must be a table"),
        ("[profile.default\n", "is not TOML"),
        ("[profile.default]\nlanguage = 'en'", "as in en-AU"),
        ("[profile.default]\nsay_voice = 'Polly Joanna'", "Polly.Joanna-Neural"),
    ],
)
def test_each_mistake_says_what_to_do(tmp_path: Path, text: str, complaint: str) -> None:
    assert complaint in "\n".join(mistakes(tmp_path, text))


def test_a_mistake_that_is_taken_over_is_named_once(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "[profile.default]\ndefault_intent = 'x'\n[profile.a]\nnumbers = ['+61255501234']\n")

    assert line.startswith("mine.toml:2:")


def test_a_spoilt_intent_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    (line,) = mistakes(
        tmp_path, "[profile.default]\ndefault_intent = 'order'\n[profile.default.intents.order]\nqueue = 5\n"
    )

    assert "queue must be text" in line


def test_a_spoilt_number_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "[profile.sales]\nnumbers = ['123']\n")

    assert "E.164" in line


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ProfileError, match=r"mine\.toml"):
        read_profile_file(path)
