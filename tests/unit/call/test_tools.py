"""What the model may put into its tools."""

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.tools import TransferWish, arguments_of, transfer_wish


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", '"x"', "[" * 5_000, "{" + " " * limits.TOOL_ARGUMENTS_CHARS + "}"]
)
def test_what_is_not_a_reasonable_object_still_is_a_wish_for_a_person(text: str) -> None:
    assert transfer_wish(text) == TransferWish()


def test_wrong_types_and_unknown_words_are_left_out() -> None:
    assert (
        transfer_wish('{"reason": 7, "priority": "HIGH", "intent": null, "summary": ["x"], "phone": "+1"}')
        == TransferWish()
    )


def test_words_are_bounded_and_plain() -> None:
    wish = transfer_wish('{"reason": "' + "<i>" * 500 + '", "priority": "urgent"}')

    assert len(wish.reason) <= limits.REASON_CHARS
    assert "<" not in wish.reason
    assert wish.priority == "urgent"


def test_no_arguments_at_all_are_an_empty_object() -> None:
    assert arguments_of("") == {}
