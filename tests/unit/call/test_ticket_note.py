"""Notes: what people read on a ticket."""

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import Turn
from voice_openai_connect.call.outcome import Absence, DialOutcome
from voice_openai_connect.call.ticket_note import HOW_IT_ENDED, WHO_IS_MISSING, Notes

NOTES = Notes("conv-1", "+61491570006")


def test_every_end_of_a_dial_can_be_put_into_words() -> None:
    assert set(HOW_IT_ENDED) == set(DialOutcome)


@pytest.mark.parametrize("absence", Absence)
def test_every_absence_is_on_the_note_whatever_the_caller_leaves(absence: Absence) -> None:
    notes = Notes("conv-1", "+61491570006", absence)

    for note in (notes.nobody_there("support", absence), notes.message("Call me."), notes.promised()):
        assert note.urgent
        assert f"the queue {'support ' if note.kind == 'nobody_reached' else ''}{WHO_IS_MISSING[absence]}" in note.text


def test_a_message_names_the_number_what_was_said_and_how_the_transfer_ended() -> None:
    note = Notes("conv-1", "+61491570006", DialOutcome.BUSY).message("My order never came.")

    assert (note.conversation_id, note.kind, note.urgent) == ("conv-1", "call_back", True)
    for part in ("+61491570006", "My order never came.", "the line was busy"):
        assert part in note.text


def test_a_message_without_a_transfer_says_nothing_of_one() -> None:
    assert "transfer" not in NOTES.message("Call me.").text


def test_a_withheld_number_is_said_to_be_withheld() -> None:
    assert "withheld" in Notes("conv-1", "").promised().text


@pytest.mark.parametrize("words", ["x" * 10_000, "<script>\n\u202e$.name</script>"])
def test_a_note_is_plain_and_bounded_whatever_was_said(words: str) -> None:
    text = NOTES.message(words).text

    assert len(text) <= limits.NOTE_CHARS
    assert not set("<>\n\u202e") & set(text)


def test_nobody_reached_tells_of_every_dial_in_order() -> None:
    note = NOTES.nobody_reached({2: DialOutcome.TOO_SHORT, 1: DialOutcome.BUSY})

    assert note.urgent
    assert note.text.index("dial 1: the line was busy") < note.text.index("dial 2: it was answered and cut off")


def test_an_interrupted_transfer_leaves_what_was_said() -> None:
    text = NOTES.handover_lost([Turn("caller", "My order has never arrived"), Turn("assistant", "One moment.")]).text

    assert text.startswith("The transfer to a person was interrupted")
    assert "My order has never arrived" in text


def test_what_needs_no_hurry_is_not_urgent() -> None:
    assert not NOTES.caller_left().urgent
    assert not NOTES.context_not_delivered().urgent
    assert not NOTES.handover_lost(()).urgent
    assert NOTES.promised().urgent
