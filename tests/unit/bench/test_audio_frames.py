import pytest

from bench.audio.frames import CLOSE, PING, TEXT, FrameError, FrameReader, frame

MASK = b"\x01\x02\x03\x04"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_message_of_any_size_is_read_as_it_was_written(size: int):
    body = bytes(n % 251 for n in range(size))

    assert FrameReader(masked=True).feed(frame(body, MASK)) == [(TEXT, body)]
    assert FrameReader(masked=False).feed(frame(body)) == [(TEXT, body)]


def test_a_message_in_pieces_is_complete_when_its_last_byte_has_come():
    reader, data = FrameReader(masked=True), frame(b"hello", MASK)

    assert [reader.feed(data[n : n + 1]) for n in range(len(data))][-1] == [(TEXT, b"hello")]


def test_fragments_become_one_message_with_a_ping_between_them():
    first, last = bytearray(frame(b"hel")), bytearray(frame(b"lo"))
    first[0], last[0] = TEXT, 0x80

    found = FrameReader(masked=False).feed(bytes(first) + frame(b"?", opcode=PING) + bytes(last))

    assert found == [(PING, b"?"), (TEXT, b"hello")]


def test_a_client_must_mask_and_a_server_must_not():
    with pytest.raises(FrameError):
        FrameReader(masked=True).feed(frame(b"hello"))
    with pytest.raises(FrameError):
        FrameReader(masked=False).feed(frame(b"hello", MASK))


def test_a_binary_frame_is_none_of_ours():
    with pytest.raises(FrameError):
        FrameReader(masked=False).feed(frame(b"hello", opcode=2))


def test_a_close_is_handed_on():
    assert FrameReader(masked=False).feed(frame(b"\x03\xe8", opcode=CLOSE)) == [(CLOSE, b"\x03\xe8")]
