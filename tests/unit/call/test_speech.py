"""The model's voice on its way to the caller."""

from voice_openai_connect import limits
from voice_openai_connect.call.commands import (
    CancelResponse,
    ClearPlayback,
    Command,
    DeleteItem,
    MarkPlayback,
    PlayAudio,
    Tell,
    TruncateItem,
)
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.events import ModelAudio
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.speech import Speech, _Remembered  # pyright: ignore[reportPrivateUsage]


def speech() -> Speech:
    return Speech(Conversation())


def begun(voice: Speech) -> None:
    """What was sent at 0 has been heard for as long as it might have been about to run dry."""
    for mark in range(1, limits.PLAYOUT_MARGIN_MS // limits.UNSURE_MARK_INTERVAL_MS + 1):
        voice.reached(f"m{mark}", now=mark * limits.UNSURE_MARK_INTERVAL_MS)


def test_stopping_silences_the_line_before_the_model_is_told() -> None:
    voice = speech()
    voice.audio(ModelAudio("r", "i", bytes(8_000)), now=0)
    begun(voice)

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
    begun(voice)
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


def sent_ms(commands: list[Command]) -> int:
    return sum(len(command.audio) for command in commands if isinstance(command, PlayAudio)) // limits.BYTES_PER_MS


def test_of_one_piece_that_is_too_long_only_a_minute_is_sent_and_the_model_knows() -> None:
    commands = speech().audio(ModelAudio("r", "i", bytes(90_000 * limits.BYTES_PER_MS)), now=0)

    assert sent_ms(commands) == limits.UNHEARD_AUDIO_MS
    assert commands[-3:] == [
        CancelResponse("r"),
        TruncateItem("i", limits.UNHEARD_AUDIO_MS),
        Tell(Fact.FRAMES_DROPPED, "unheard_limit", 30_000),
    ]


def test_however_much_comes_while_nothing_is_heard_no_more_than_a_minute_is_sent() -> None:
    voice = speech()
    commands: list[Command] = []
    for response in range(50):
        for item in range(3):
            for _ in range(30):
                event = ModelAudio(f"r{response}", f"i{response}.{item}", bytes(1_001 * limits.BYTES_PER_MS))
                commands += voice.audio(event, now=response)
        commands += voice.response_finished(f"r{response}", now=response)

    assert sent_ms(commands) <= limits.UNHEARD_AUDIO_MS + 100


def test_an_item_that_finds_no_room_at_all_leaves_the_model_s_memory_when_its_response_ends() -> None:
    voice = speech()
    voice.audio(ModelAudio("r1", "i1", bytes(limits.UNHEARD_AUDIO_MS * limits.BYTES_PER_MS)), now=0)
    voice.response_finished("r1", now=0)
    commands = voice.audio(ModelAudio("r2", "i2", bytes(8_000)), now=0)

    assert commands == [CancelResponse("r2"), Tell(Fact.FRAMES_DROPPED, "unheard_limit", 1_000)]
    assert voice.audio(ModelAudio("r2", "i2", bytes(8_000)), now=0) == []
    assert voice.response_finished("r2", now=0) == [DeleteItem("i2")]


def test_once_something_has_been_heard_there_is_room_for_as_much() -> None:
    voice = speech()
    voice.audio(ModelAudio("r1", "i1", bytes(limits.UNHEARD_AUDIO_MS * limits.BYTES_PER_MS)), now=0)
    voice.response_finished("r1", now=0)
    begun(voice)
    for mark in range(11, 60):
        voice.reached(f"m{mark}", now=200 + (mark - 10) * 200)
    commands = voice.audio(ModelAudio("r2", "i2", bytes(20_000 * limits.BYTES_PER_MS)), now=10_000)

    assert sent_ms(commands) == 10_000


def test_muted_ids_are_forgotten_only_after_many_others() -> None:
    voice = speech()
    for n in range(limits.REMEMBERED_IDS):
        voice.mute(f"r{n}")

    assert voice.is_muted("r0")
    voice.mute("one more")
    assert not voice.is_muted("r0")


def test_an_id_is_new_only_the_first_time() -> None:
    known = _Remembered()

    assert known.add("a")
    assert not known.add("a")
    assert "a" in known


def test_the_holding_sound_gives_way_to_the_answer() -> None:
    voice = speech()
    voice.hold(bytes(16_000), now=0)
    voice.hold(bytes(16_000), now=2_000)

    assert voice.audio(ModelAudio("r", "i", bytes(160)), now=2_500)[0] == ClearPlayback()
    assert ClearPlayback() not in voice.audio(ModelAudio("r", "i", bytes(160)), now=2_510)


def test_the_model_hears_nothing_of_a_holding_sound_that_was_cut() -> None:
    voice = speech()
    voice.hold(bytes(16_000), now=0)

    assert voice.stop(now=900) == [ClearPlayback()]


def test_a_response_that_is_still_being_played_is_not_cut_by_its_own_next_piece() -> None:
    voice = speech()
    voice.audio(ModelAudio("r", "i", bytes(8_000)), now=0)

    assert ClearPlayback() not in voice.audio(ModelAudio("r", "i", bytes(8_000)), now=5)


def test_what_goes_beyond_the_limit_of_unheard_audio_is_cut_off_and_stays_so() -> None:
    voice, minute = speech(), bytes(limits.UNHEARD_AUDIO_MS * limits.BYTES_PER_MS)
    assert CancelResponse("r") not in voice.audio(ModelAudio("r", "i", minute), now=0)

    commands = voice.audio(ModelAudio("r", "i", bytes(200)), now=0)
    assert commands[-3:] == [
        CancelResponse("r"),
        TruncateItem("i", limits.UNHEARD_AUDIO_MS),
        Tell(Fact.FRAMES_DROPPED, "unheard_limit", 25),
    ]
    assert voice.audio(ModelAudio("r", "i", bytes(200)), now=0) == []
    assert voice.audio(ModelAudio("r", "j", bytes(200)), now=0) == []
    assert voice.response_finished("r", now=0) == [DeleteItem("j")]


def test_late_audio_of_an_item_that_was_cut_is_not_played() -> None:
    voice = speech()
    voice.audio(ModelAudio("r", "i", bytes(8_000)), now=0)
    voice.stop(now=50)

    assert voice.audio(ModelAudio("r", "i", bytes(8_000)), now=60) == []


def test_one_heard_millisecond_is_enough_to_truncate_and_not_to_delete() -> None:
    voice = speech()
    voice.audio(ModelAudio("r", "i", bytes(8_000)), now=0)
    voice.reached("m1", now=20)

    assert voice.stop(now=20) == [ClearPlayback(), TruncateItem("i", limits.UNSURE_MARK_INTERVAL_MS)]


def test_a_response_ends_all_of_its_items() -> None:
    voice = speech()
    for item in ("i", "j"):
        voice.audio(ModelAudio("r", item, bytes(200)), now=0)
    voice.response_finished("r", now=0)
    for number in range(1, 9):
        voice.reached(f"m{number}", now=200)

    assert voice.all_heard
