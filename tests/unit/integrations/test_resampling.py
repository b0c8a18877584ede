import numpy as np
import pytest
from numpy.typing import NDArray

from voice_openai_connect.call.events import ModelAudio, ModelAudioFinished, ModelSaid
from voice_openai_connect.integrations.resampling import (
    Downsampler,
    Transcoder,
    Upsampler,
    ulaw_decode,
    ulaw_encode,
)

Floats = NDArray[np.float64]


def tone(hz: float, rate: int, seconds: float = 1.0, level: float = 10_000) -> Floats:
    return level * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)


def pcm(samples: Floats) -> bytes:
    return np.rint(samples).astype("<i2").tobytes()


def level_at(hz: float, samples: NDArray[np.generic], rate: int) -> float:
    """The amplitude of the sine at `hz`, away from the edges."""
    middle = samples.astype(np.float64)[rate // 10 : -rate // 10]
    turns = np.exp(-2j * np.pi * hz * np.arange(len(middle)) / rate)
    return float(2 * abs((middle * turns).mean()))


class TestUlaw:
    def test_every_code_is_its_own_nearest(self) -> None:
        codes = bytes(range(256))
        again = ulaw_encode(ulaw_decode(codes).astype(np.float32))
        # 0x7F and 0xFF are both zero, and there is one zero to come back to.
        assert [a for a, b in zip(codes, again, strict=True) if a != b] in ([0x7F], [0xFF])

    def test_the_levels_are_those_of_g711(self) -> None:
        named = ulaw_decode(bytes([0x00, 0x80, 0xFF, 0x7F, 0x2A, 0xAA]))
        assert named.tolist() == [-32_124, 32_124, 0, 0, -5_372, 5_372]

    def test_what_is_too_loud_is_clipped(self) -> None:
        assert ulaw_encode(np.array([99_999, -99_999], np.float32)) == bytes([0x80, 0x00])


class TestUp:
    @pytest.mark.parametrize("chunk", [160, 1, 7, 8_000])
    def test_a_tone_keeps_its_pitch_and_level_in_pieces_of_any_size(self, chunk: int) -> None:
        ulaw = ulaw_encode(tone(1_000, 8_000).astype(np.float32))
        up = Upsampler()
        sound = b"".join(up.feed(ulaw[i : i + chunk]) for i in range(0, len(ulaw), chunk))
        samples = np.frombuffer(sound, "<i2")
        assert len(samples) == 24_000
        assert level_at(1_000, samples, 24_000) == pytest.approx(10_000, rel=0.02)

    def test_no_image_of_the_tone_is_left_above_the_voice(self) -> None:
        ulaw = ulaw_encode(tone(3_000, 8_000).astype(np.float32))
        samples = np.frombuffer(Upsampler().feed(ulaw), "<i2")
        assert level_at(5_000, samples, 24_000) < 10_000 / 300
        assert level_at(11_000, samples, 24_000) < 10_000 / 300

    def test_nothing_in_is_nothing_out(self) -> None:
        assert Upsampler().feed(b"") == b""

    def test_no_sound_is_held_back(self) -> None:
        assert len(Upsampler().feed(b"\xff" * 160)) == 960


class TestDown:
    @pytest.mark.parametrize("chunk", [9_600, 1, 7, 961, 48_000])
    def test_a_tone_keeps_its_pitch_level_and_length_in_pieces_of_any_size(self, chunk: int) -> None:
        sound = pcm(tone(1_000, 24_000, seconds=0.5))
        down = Downsampler()
        ulaw = b"".join(down.feed(sound[i : i + chunk]) for i in range(0, len(sound), chunk)) + down.finish()
        assert len(ulaw) == 4_000
        assert level_at(1_000, ulaw_decode(ulaw), 8_000) == pytest.approx(10_000, rel=0.02)

    def test_what_the_telephone_cannot_carry_does_not_come_back_as_another_tone(self) -> None:
        down = Downsampler()
        ulaw = down.feed(pcm(tone(7_000, 24_000))) + down.finish()
        assert level_at(1_000, ulaw_decode(ulaw), 8_000) < 10_000 / 300

    def test_sound_is_not_shifted(self) -> None:
        click = np.zeros(2_400)
        click[1_200] = 20_000
        down = Downsampler()
        ulaw = down.feed(pcm(click)) + down.finish()
        assert int(np.argmax(np.abs(ulaw_decode(ulaw)))) == 400

    @pytest.mark.parametrize(("samples", "expected"), [(0, 0), (1, 1), (3, 1), (4, 2), (48, 16), (97, 33)])
    def test_the_shortest_sounds_come_out_whole(self, samples: int, expected: int) -> None:
        down = Downsampler()
        assert len(down.feed(bytes(2 * samples)) + down.finish()) == expected


class TestTranscoder:
    def test_each_item_ends_whole_and_begins_fresh(self) -> None:
        transcoder = Transcoder()
        loud = pcm(tone(1_000, 24_000, seconds=0.1))
        for item in ("item_1", "item_2"):
            told = [
                *transcoder.from_model(ModelAudio("resp_1", item, loud[:1_001])),
                *transcoder.from_model(ModelAudio("resp_1", item, loud[1_001:])),
                *transcoder.from_model(ModelAudioFinished("resp_1", item)),
            ]
            assert told[-1] == ModelAudioFinished("resp_1", item)
            assert sum(len(event.audio) for event in told if isinstance(event, ModelAudio)) == 800

    def test_an_item_that_was_cut_off_leaves_nothing_in_the_next(self) -> None:
        transcoder = Transcoder()
        transcoder.from_model(ModelAudio("resp_1", "item_1", pcm(tone(1_000, 24_000, seconds=0.1)) + b"\x7f"))
        (heard,) = transcoder.from_model(ModelAudio("resp_2", "item_2", bytes(4_800)))
        assert isinstance(heard, ModelAudio)
        assert not ulaw_decode(heard.audio).any()

    def test_other_events_pass(self) -> None:
        said = ModelSaid("resp_1", "item_1", "Hello")
        assert Transcoder().from_model(said) == (said,)
