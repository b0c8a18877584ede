"""The sentence before a caller is moved."""

from voice_openai_connect import limits
from voice_openai_connect.call.commands import MarkPlayback, RequestResponse, SetTimer, Tell
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.events import ModelAudio, ModelResponseFinished
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.floor import Floor
from voice_openai_connect.call.sentence import SENTENCE_TIMER, TransferSentence
from voice_openai_connect.call.speech import Speech


def sentence() -> tuple[TransferSentence, Speech]:
    speech = Speech(Conversation())
    return TransferSentence("One moment.", Floor(), speech), speech


def finished(status: str) -> ModelResponseFinished:
    return ModelResponseFinished("r", "transfer", status)  # pyright: ignore[reportArgumentType]


def test_it_is_asked_for_word_for_word_and_waited_for_so_long() -> None:
    spoken, _ = sentence()
    commands = spoken.ask(0, until=12_000)

    assert SetTimer(SENTENCE_TIMER, 12_000) in commands
    assert any(isinstance(c, RequestResponse) and '"One moment."' in c.instructions for c in commands)


def test_it_is_over_when_its_last_mark_has_come_back_and_not_when_it_was_made() -> None:
    spoken, speech = sentence()
    spoken.ask(0, until=12_000)
    marks = [c for c in speech.audio(ModelAudio("r", "i", bytes(8_000)), 0) if isinstance(c, MarkPlayback)]
    marks += [c for c in speech.item_finished("i", 0) if isinstance(c, MarkPlayback)]
    spoken.response_finished(finished("completed"), 0, until=12_000)
    assert not spoken.over

    speech.reached(marks[-1].name, 1_000)
    spoken.look()
    assert (spoken.over, spoken.spoken) == (True, True)


def test_a_sentence_that_was_made_is_not_said_again_by_twilio_when_its_end_is_not_waited_for() -> None:
    spoken, speech = sentence()
    spoken.ask(0, until=12_000)
    speech.audio(ModelAudio("r", "i", bytes(8_000)), 0)
    spoken.response_finished(finished("completed"), 0, until=12_000)
    assert spoken.give_up(400) == [SetTimer(SENTENCE_TIMER, 1_000 + limits.MARKS_GONE_MS)]
    assert not spoken.over
    spoken.give_up(1_000 + limits.MARKS_GONE_MS)

    assert (spoken.over, spoken.spoken) == (True, True)


def test_a_sentence_that_never_came_is_waited_for_no_longer_and_is_left_to_twilio() -> None:
    spoken, speech = sentence()
    spoken.ask(0, until=12_000)
    speech.hold(bytes(80_000), 11_000)

    assert spoken.give_up(12_000)[0] == Tell(Fact.TRANSFER_SENTENCE_CUT)
    assert (spoken.over, spoken.spoken) == (True, False)


def test_a_sentence_that_fails_twice_is_left_to_twilio() -> None:
    spoken, _ = sentence()
    spoken.ask(0, until=12_000)
    assert spoken.response_finished(finished("failed"), 10, until=12_000) != []
    assert not spoken.over
    spoken.response_finished(finished("failed"), 20, until=12_000)

    assert (spoken.over, spoken.spoken) == (True, False)


def test_a_lost_model_ends_the_waiting_only_for_a_sentence_that_was_never_made() -> None:
    spoken, speech = sentence()
    spoken.ask(0, until=12_000)
    speech.audio(ModelAudio("r", "i", bytes(8_000)), 0)
    spoken.response_finished(finished("completed"), 0, until=12_000)
    spoken.lose_model()
    assert not spoken.over

    unspoken, _ = sentence()
    unspoken.ask(0, until=12_000)
    unspoken.lose_model()
    assert (unspoken.over, unspoken.spoken) == (True, False)
