"""Whether what calls itself µ-law really is."""

import numpy as np
import pytest

from voice_openai_connect.call.format_check import CERTAIN_BYTES, ENOUGH_BYTES, looks_like_pcm16
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.simulator import sound

LEVELS = [-6.0, -20.0, -35.0, -50.0]


def noise(dbfs: float) -> sound.Samples:
    generator = np.random.default_rng(1)
    rough = generator.standard_normal(8_000 * 3 + 63)
    smooth = np.convolve(rough, np.hanning(64) / np.hanning(64).sum(), "valid")  # what a voice band has in common
    return (smooth / smooth.std() * 32_767 * 10 ** (dbfs / 20) / 1.4).clip(-32_768, 32_767).astype(np.int16)


@pytest.mark.parametrize("dbfs", LEVELS)
@pytest.mark.parametrize("kind", ["tone", "noise"])
def test_ulaw_of_any_level_is_taken_for_what_it_is(kind: str, dbfs: float) -> None:
    samples = sound.tone(440, 1_000, dbfs=dbfs) if kind == "tone" else noise(dbfs)

    assert not looks_like_pcm16(sound.ulaw_encode(samples))


@pytest.mark.parametrize("dbfs", LEVELS)
@pytest.mark.parametrize("kind", ["tone", "noise"])
def test_pcm_of_any_level_that_speech_has_is_found_out(kind: str, dbfs: float) -> None:
    samples = sound.tone(440, 1_000, dbfs=dbfs) if kind == "tone" else noise(dbfs)

    assert looks_like_pcm16(samples.tobytes())


@pytest.mark.parametrize("length", [ENOUGH_BYTES, 639, 800, 1_601, 3_200, CERTAIN_BYTES, 2 * CERTAIN_BYTES - 1])
def test_neither_length_nor_where_the_sound_begins_makes_one_look_like_the_other(length: int) -> None:
    pause = length // 4
    ulaw = sound.silence_bytes(pause) + sound.ulaw_encode(noise(-20))
    pcm = bytes(pause - pause % 2) + noise(-20).tobytes()

    assert not looks_like_pcm16(ulaw[:length])
    assert looks_like_pcm16(pcm[:length])


def test_silence_in_either_format_is_told_apart() -> None:
    assert not looks_like_pcm16(bytes([0xFF]) * 2_000)
    assert not looks_like_pcm16(holding_sound()[-2_000:])
    assert looks_like_pcm16(bytes(2_000))


def test_too_little_says_nothing() -> None:
    assert not looks_like_pcm16(bytes(ENOUGH_BYTES - 1))
