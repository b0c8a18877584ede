"""Words made safe to store, speak and show."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voice_openai_connect.call.handover import plain_text


def test_markup_and_control_characters_are_disarmed() -> None:
    assert plain_text("a<script>\x00\r\nb\u202e", 100) == "a(script) b"


def test_a_reference_to_a_contact_attribute_is_not_one_any_more() -> None:
    assert plain_text("see $.External.token", 100) == "see $External.token"
    assert "$." not in plain_text("$..$..", 100)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("see https://evil.example/a?b=c.d now", "see evil dot example/a?b=c dot d now"),
        ("see WWW.evil.example.", "see WWW dot evil dot example."),
        ("(http://evil.example)", "(evil dot example)"),
        ("https://https://evil.example", "https evil dot example"),
        ("見てhttps://evil.example", "見てevil dot example"),
        ("ftp://a://b.c", "a b dot c"),
    ],
)
def test_an_address_of_a_page_is_no_link_any_more(said: str, shown: str) -> None:
    assert plain_text(said, 100) == shown


@pytest.mark.parametrize(
    "said", ["kim@example.com", "It was 3.50 dollars. Then", "at 10:30 / 11:30", "Dr.Kim", "and/or"]
)
def test_what_is_no_address_of_a_page_stays_as_it_is(said: str) -> None:
    assert plain_text(said, 100) == said


def test_a_long_text_is_cut_at_a_word() -> None:
    assert plain_text("one two three four", 12) == "one two…"
    assert plain_text("one two three four", 18) == "one two three four"


def test_a_long_text_is_not_cut_at_a_word_that_would_cost_half_of_it() -> None:
    assert plain_text("one twothreefourfive", 12) == "one twothre…"


def test_what_is_left_of_several_spaces_is_one() -> None:
    assert plain_text("  one \t  two   three ", 100) == "one two three"


@given(st.text(), st.integers(1, 50))
@example("a://://b.c", 50)
@example("wwwww.a.b", 50)
@example("www..a www.", 7)
def test_the_result_is_never_too_long_and_stays_as_it_is_when_cleaned_again(text: str, max_chars: int) -> None:
    once = plain_text(text, max_chars)

    assert len(once) <= max_chars
    assert plain_text(once, max_chars) == once
    assert not set("<>\n\r\t\x00") & set(once)
