"""Words made safe to store, speak and show."""

from hypothesis import given
from hypothesis import strategies as st

from voice_openai_connect.call.handover import plain_text


def test_markup_and_control_characters_are_disarmed() -> None:
    assert plain_text("a<script>\x00\r\nb\u202e", 100) == "a(script) b"


def test_a_reference_to_a_contact_attribute_is_not_one_any_more() -> None:
    assert "$." not in plain_text("see $.External.token", 100)
    assert "$." not in plain_text("$..$..", 100)


def test_a_long_text_is_cut_at_a_word() -> None:
    assert plain_text("one two three four", 12) == "one two…"


@given(st.text(), st.integers(1, 50))
def test_the_result_is_never_too_long_and_stays_as_it_is_when_cleaned_again(text: str, max_chars: int) -> None:
    once = plain_text(text, max_chars)

    assert len(once) <= max_chars
    assert plain_text(once, max_chars) == once
    assert not set("<>\n\r\t\x00") & set(once)
