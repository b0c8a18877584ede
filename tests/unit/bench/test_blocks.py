import pytest

from bench.load import blocks
from bench.load.blocks import Block
from voice_openai_connect.call.format_check import looks_like_pcm16
from voice_openai_connect.limits import FRAME_BYTES


@pytest.mark.parametrize(
    "block", [Block(1, 0, 0, 0), Block(77, 3, 4_711, 123_456), Block(2**24 - 1, 2**16 - 1, 2**24 - 1, 2**32 - 1)]
)
def test_a_block_says_what_was_written_into_it(block: Block):
    audio = blocks.write(*block)

    assert len(audio) == FRAME_BYTES
    assert blocks.read(audio) == block


def test_no_byte_of_a_block_can_be_changed_unseen():
    audio = blocks.write(7, 2, 9, 1_000)

    for place in range(FRAME_BYTES):
        changed = bytearray(audio)
        changed[place] ^= 0x80
        assert blocks.read(bytes(changed)) is None


def test_a_block_under_another_number_is_no_block():
    one, other = blocks.write(7, 2, 9, 1_000), blocks.write(7, 2, 10, 1_000)

    assert blocks.read(one[:26] + other[26:]) is None


@pytest.mark.parametrize("audio", [b"", b"\xff" * FRAME_BYTES, blocks.write(1, 1, 1, 1)[:-1]])
def test_other_audio_is_no_block(audio: bytes):
    assert blocks.read(audio) is None


def test_the_gateway_takes_blocks_for_mu_law():
    assert not looks_like_pcm16(b"".join(blocks.write(3, 1, number, number * 200) for number in range(60)))


def test_the_age_of_a_block_survives_the_clock_s_new_beginning():
    just_before = blocks.CLOCK / 10_000 - 0.5
    block = blocks.read(blocks.write(1, 1, 1, blocks.stamp(just_before)))

    assert block is not None
    assert blocks.age_ms(block, just_before + 1.0) == pytest.approx(1_000, abs=0.2)
