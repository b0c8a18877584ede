import numpy as np
import pytest

from voice_openai_connect.simulator.model_audio import PCM, PCM_RATE, PCMU, CallerAudio, bytes_per_ms, to_wire
from voice_openai_connect.simulator.model_protocol import RefusedError
from voice_openai_connect.simulator.sound import level_dbfs, resample, tone, ulaw_decode, ulaw_encode


def caller(audio_format: str) -> CallerAudio:
    audio = CallerAudio()
    audio.audio_format = audio_format
    return audio


def test_ulaw_goes_out_byte_for_byte_and_pcm_six_times_as_large() -> None:
    ulaw = ulaw_encode(tone(440, 100))
    assert to_wire(ulaw, PCMU) == ulaw
    assert len(to_wire(ulaw, PCM)) == 6 * len(ulaw)
    assert (bytes_per_ms(PCMU), bytes_per_ms(PCM)) == (8, 48)


@pytest.mark.parametrize("piece", [1, 7, 160, 333, 10_000])
def test_frames_are_whole_whatever_the_pieces(piece: int) -> None:
    ulaw = ulaw_encode(tone(440, 105))
    audio = caller(PCMU)
    frames = [frame for i in range(0, len(ulaw), piece) for frame in audio.write(ulaw[i : i + piece])]
    assert {len(frame) for frame in frames} == {160}
    assert b"".join(frames) == ulaw[: 5 * 160]
    assert audio.position_ms == 105
    assert audio.take() == ulaw


def test_pcm_of_the_caller_becomes_the_same_sound_in_ulaw_whatever_the_pieces() -> None:
    pcm = resample(tone(400, 200, -20), 8_000, PCM_RATE).astype("<i2").tobytes()
    whole, pieces = caller(PCM), caller(PCM)
    whole.write(pcm)
    for i in range(0, len(pcm), 101):
        pieces.write(pcm[i : i + 101])
    heard = whole.take()
    assert heard == pieces.take()
    assert level_dbfs(ulaw_decode(heard)) == pytest.approx(-20, abs=0.5)
    assert np.abs(len(heard) - 1_600) <= 1


def test_a_turn_shorter_than_100_ms_cannot_be_committed() -> None:
    audio = caller(PCMU)
    audio.write(b"\xff" * 792)
    with pytest.raises(RefusedError, match=r"only has 99\.00ms") as refused:
        audio.check_commit()
    assert refused.value.code == "input_audio_buffer_commit_empty"
    audio.write(b"\xff" * 8)
    audio.check_commit()


def test_only_the_last_part_of_a_silence_is_kept() -> None:
    audio = caller(PCMU)
    audio.write(b"\x01" * 800 + b"\x02" * 800)
    audio.keep_last(100)
    assert audio.take() == b"\x02" * 800
    assert audio.waiting_ms == 0
    assert audio.position_ms == 200
