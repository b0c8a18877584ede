"""The model's voice on its way to the caller."""

from voice_openai_connect import limits
from voice_openai_connect.call.commands import ClearPlayback, DeleteItem, MarkPlayback, TruncateItem
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.events import ModelAudio
from voice_openai_connect.call.speech import Speech


def speech() -> Speech:
    return Speech(Conversation())


def test_stopping_silences_the_line_before_the_model_is_told() -> None:
    voice = speech()
    voice.audio(ModelAudio("r", "i", bytes(8_000)), now=0)
    for mark, ms in (("m1", 20), ("m2", 120), ("m3", 220)):
        voice.reached(mark, now=ms)

    assert voice.stop(now=300) == [ClearPlayback(), TruncateItem("i", 300)]


def test_hushing_silences_the_line_and_leaves_the_model_alone() -> None:
    voice = speech()
    voice.audio(ModelAudio("r", "i", bytes(8_000)), now=0)

    assert voice.hush(now=120) == [ClearPlayback()]
    assert voice.hush(now=120) == []


def test_an_item_nobody_heard_is_deleted_not_truncated_at_zero() -> None:
    voice = speech()
    voice.audio(ModelAudio("r", "i", bytes(8_000)), now=0)

    assert voice.stop(now=50) == [ClearPlayback(), DeleteItem("i")]


def test_the_words_nobody_heard_leave_the_conversation() -> None:
    conversation = Conversation()
    voice = Speech(conversation)
    conversation.assistant_said("i", "one two three four five six seven eight nine ten", final=True)
    voice.audio(ModelAudio("r", "i", bytes(8_000)), now=0)
    for mark, ms in (("m1", 20), ("m2", 120), ("m3", 220)):
        voice.reached(mark, now=ms)
    voice.stop(now=300)

    assert [turn.text for turn in conversation.turns] == ["one two three"]


def test_a_response_that_ends_without_ending_its_items_still_ends_them() -> None:
    voice = speech()
    voice.audio(ModelAudio("r", "i", bytes(1_000)), now=0)
    commands = voice.response_finished("r", now=0)

    last = commands[-1]
    assert isinstance(last, MarkPlayback)
    voice.reached(last.name, now=200)
    assert voice.all_heard


def test_a_muted_response_is_not_played_and_its_items_are_deleted_when_it_ends() -> None:
    voice = speech()
    voice.mute("r")

    assert voice.audio(ModelAudio("r", "i", bytes(800)), now=0) == []
    assert voice.response_finished("r", now=0) == [DeleteItem("i")]
    assert not voice.has_voiced("r")


def test_muted_ids_are_forgotten_only_after_many_others() -> None:
    voice = speech()
    for n in range(limits.REMEMBERED_IDS):
        voice.mute(f"r{n}")

    assert voice.is_muted("r0")
    voice.mute("one more")
    assert not voice.is_muted("r0")
