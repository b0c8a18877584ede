"""What the model is told when the call asks it for something in particular."""

from collections.abc import Callable
from typing import Any

from voice_openai_connect.call.instructions import summary_note, word_for_word


def test_a_sentence_is_asked_for_word_for_word() -> None:
    assert '"One moment, please."' in word_for_word("One moment, please.")


def test_the_summary_is_asked_to_name_one_of_the_profiles_intents(make_line: Callable[..., Any]) -> None:
    note = summary_note(make_line().call.settings)

    assert "general, billing" in note
    assert "intent:" in note
