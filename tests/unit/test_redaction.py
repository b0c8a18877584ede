import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_openai_connect.redaction import Redaction, mask_phone

REDACTION = Redaction(secrets=["the-console-token"])


@pytest.mark.parametrize(
    ("number", "seen"),
    [("+61255501234", "***234"), ("+61 2 5550 1234", "***234"), ("", ""), ("anonymous", "***"), ("+1", "***")],
)
def test_a_number_keeps_its_last_three_digits(number: str, seen: str) -> None:
    assert mask_phone(number) == seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("from +61255501234 to +1 (415) 555-0123.", "from ***234 to ***123."),
        ("token 0123456789", "token [digits]"),
        ("+61255501234 0123456789", "***234 [digits]"),
        ("+61 2 5550 1234 0123456789", "***234 [digits]"),
        ("0123456789#", "[digits]#"),
        ("61255501234", "[digits]"),
        ("key sk-proj-abcdef123456", "key [secret]"),
        ("pat-na1-1234abcd-12ab", "[secret]"),
        ("ek_68af296e8e408191", "[secret]"),
        ("AKIAIOSFODNN7EXAMPLE", "[secret]"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "[secret]"),
        ("Authorization: Bearer abc.def", "Authorization: [secret]"),
        ("Authorization: Basic QUMxMjM6c2VjcmV0", "Authorization: [secret]"),
        ("signed with 0123456789abcdef0123456789abcdef", "signed with [secret]"),
        ("in the-console-token", "in [secret]"),
    ],
)
def test_what_is_private_is_taken_out(text: str, seen: str) -> None:
    assert REDACTION.text(text) == seen


@pytest.mark.parametrize(
    "text",
    [
        "caller_asked",
        "CA0123456789abcdef0123456789abcdef",
        "6d1f9f4e-1d7e-5d43-9a8a-123456789012",
        "resp_1234567890",
        "2026-11-22T11:29:20+00:00",
        "a basic plan for the bearer",
        "1001 keepalive ping timeout; took 12345 ms",
        "naïve 日本",
    ],
)
def test_what_is_not_private_stays(text: str) -> None:
    assert REDACTION.text(text) == text


def test_whole_numbers_are_shown_on_request_and_tokens_are_not() -> None:
    seen = Redaction(full_numbers=True).text("+61255501234 0123456789")

    assert seen == "+61255501234 [digits]"


def test_audio_is_never_shown() -> None:
    frame = base64.b64encode(bytes(range(160))).decode()

    assert REDACTION.value({"payload": frame, "raw": bytes(160)}) == {"payload": "[data]", "raw": "[160 bytes]"}


@pytest.mark.parametrize("hostile", ["a\nb", "a\x1b[31m", "a\u2028b", "a\x00", "a\u202eb", "a\x85b", "a\U000e0001"])
def test_control_characters_become_visible(hostile: str) -> None:
    seen = REDACTION.text(hostile)

    assert seen.isprintable()
    assert "\\" in seen


def test_a_long_value_is_cut() -> None:
    assert len(REDACTION.text("ab " * 1_000_000)) == 200


def test_a_cut_shows_no_part_of_a_secret() -> None:
    assert "the-" not in REDACTION.text("x " * 95 + "the-console-token")


def test_a_number_that_could_be_a_token_is_taken_out_and_a_small_one_stays() -> None:
    assert REDACTION.value([1234567890, 1200, -1.5, True, None]) == ["[digits]", 1200, -1.5, True, None]


def test_objects_are_named_and_depth_is_bounded() -> None:
    deep = {"a": {"b": {"c": 1}}}

    assert REDACTION.value(object()) == "[object]"
    assert REDACTION.value(deep) == {"a": {"b": "[dict]"}}
    assert len(json.dumps(REDACTION.value(list(range(1000))))) < 200


@given(st.text() | st.integers() | st.floats() | st.binary() | st.dictionaries(st.text(), st.lists(st.text())))
def test_any_value_becomes_printable_json(value: object) -> None:
    assert json.dumps(REDACTION.value(value), ensure_ascii=False).isprintable()


@given(before=st.text(max_size=150), after=st.text(max_size=300))
def test_a_known_secret_is_found_wherever_it_stands(before: str, after: str) -> None:
    assert "the-console-token" not in REDACTION.text(f"{before}the-console-token{after}")
