"""Whether what calls itself µ-law really is."""

import numpy as np
import pytest

from voice_openai_connect.call.format_check import ENOUGH_BYTES, looks_like_pcm16
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


def test_silence_in_either_format_is_told_apart() -> None:
    assert not looks_like_pcm16(bytes([0xFF]) * 2_000)
    assert not looks_like_pcm16(holding_sound()[-2_000:])
    assert looks_like_pcm16(bytes(2_000))


def test_too_little_says_nothing() -> None:
    assert not looks_like_pcm16(bytes(ENOUGH_BYTES - 1))
