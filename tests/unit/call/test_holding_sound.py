"""The sound of waiting."""

import numpy as np
import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.holding_sound import NOTES_HZ, holding_sound, ulaw_code
from voice_openai_connect.simulator import sound


@pytest.fixture(autouse=True)
def made_anew() -> None:
    holding_sound.cache_clear()


def test_every_sample_is_coded_as_g711_says() -> None:
    samples = np.arange(-32_768, 32_768, 7, dtype=np.int16)

    assert bytes(ulaw_code(int(sample)) for sample in samples) == sound.ulaw_encode(samples)


def test_it_is_gentle_has_its_pause_and_fits_into_frames() -> None:
    audio = holding_sound()
    samples = sound.ulaw_decode(audio).astype(np.float64)

    assert len(audio) == limits.HOLD_MS * limits.BYTES_PER_MS
    assert len(audio) % limits.FRAME_BYTES == 0
    assert -36 < sound.level_dbfs(sound.ulaw_decode(audio[:5_600])) < -24
    assert np.abs(np.diff(samples)).max() < 1_000, "no clicks"
    assert sound.longest_silence_ms(audio) < 1_500


def test_its_notes_are_the_ones_it_says() -> None:
    first = sound.ulaw_decode(holding_sound()[:2_800]).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(first))

    assert abs(np.argmax(spectrum) * 8_000 / len(first) - NOTES_HZ[0]) < 5
