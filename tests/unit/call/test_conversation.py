"""The turns so far, as the people on the line experienced them."""

from voice_openai_connect import limits
from voice_openai_connect.call.conversation import Conversation


def sounding(*items: str) -> Conversation:
    """One in which something of these items goes to the caller's line."""
    conversation = Conversation()
    for item in items:
        conversation.assistant_sounds(item)
    return conversation


def texts(conversation: Conversation) -> list[tuple[str, str]]:
    return [(turn.who, turn.text) for turn in conversation.turns]


def test_turns_stand_in_the_order_they_were_begun_even_if_their_words_come_later() -> None:
    conversation = Conversation()
    conversation.caller_began("u1")
    conversation.assistant_said("a1", "Hello.", final=True)
    conversation.assistant_sounds("a1")
    conversation.caller_said("u1", "Hi there.")

    assert texts(conversation) == [("caller", "Hi there."), ("assistant", "Hello.")]


def test_pieces_add_up_and_the_whole_replaces_them() -> None:
    conversation = sounding("a1")
    conversation.assistant_said("a1", "Hel", final=False)
    conversation.assistant_said("a1", "lo", final=False)
    assert texts(conversation) == [("assistant", "Hello")]

    conversation.assistant_said("a1", "Hello!", final=True)
    assert texts(conversation) == [("assistant", "Hello!")]


def test_words_that_come_after_a_cut_were_never_heard() -> None:
    conversation = sounding("a1")
    conversation.assistant_said("a1", "one two three four", final=False)
    conversation.assistant_was_cut("a1", heard_ms=500, received_ms=1_000)
    conversation.assistant_said("a1", "one two three four five", final=True)

    assert texts(conversation) == [("assistant", "one two")]


def test_an_item_heard_not_at_all_leaves_no_words() -> None:
    conversation = sounding("a1")
    conversation.assistant_said("a1", "one two", final=True)
    conversation.assistant_was_cut("a1", heard_ms=0, received_ms=0)

    assert texts(conversation) == []


def test_a_summary_says_why_and_what_was_said_and_is_safe_to_show() -> None:
    conversation = sounding("a1")
    conversation.caller_said("u1", "My order <b>1234</b>\nnever came")
    conversation.caller_said("u2", "yes")
    conversation.assistant_said("a1", "I am sorry to hear that.", final=True)

    summary = conversation.summary("The caller asked for a person.")

    assert summary == (
        "The caller asked for a person. The caller said: My order (b)1234(/b) never came "
        "The assistant's last words: I am sorry to hear that."
    )


def test_a_summary_of_a_call_without_words_is_still_a_sentence() -> None:
    assert Conversation().summary("The caller pressed the key.") == "The caller pressed the key."


def test_memory_is_bounded() -> None:
    conversation = Conversation()
    for n in range(limits.TURNS_KEPT + 50):
        conversation.caller_said(f"u{n}", "x" * 10_000)

    assert len(conversation.turns) == limits.TURNS_KEPT
    assert len(conversation.turns[0].text) == limits.TURN_CHARS
    assert conversation.turns[0].item_id == "u50"


def test_words_of_which_no_sound_ever_came_were_not_said() -> None:
    conversation = sounding("a1")
    conversation.assistant_said("a1", "One moment.", final=True)
    conversation.assistant_said("a2", "I have cancelled your order.", final=True)

    assert [turn.text for turn in conversation.history()] == ["One moment."]
    assert "cancelled" not in conversation.summary("The assistant could not go on.")
