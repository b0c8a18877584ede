import pytest

from bench.load.playout import Playout

FRAME, OTHER = b"\x01" * 160, b"\x02" * 160


def test_frames_are_played_in_order_and_then_nothing():
    playout = Playout()
    playout.add(FRAME + OTHER)

    assert [playout.next_frame()[0] for _ in range(3)] == [FRAME, OTHER, b""]


def test_a_mark_comes_back_when_the_frame_before_it_has_been_heard_to_its_end():
    playout = Playout()
    playout.add(FRAME)
    assert playout.mark("one") == []

    assert playout.next_frame() == (FRAME, [])
    assert playout.next_frame() == (b"", ["one"])


def test_a_mark_that_comes_while_the_last_frame_is_played_waits_for_its_end():
    playout = Playout()
    playout.add(FRAME)
    playout.next_frame()

    assert playout.mark("late") == []
    assert playout.next_frame() == (b"", ["late"])


def test_a_mark_on_a_quiet_line_comes_back_at_once():
    assert Playout().mark("one") == ["one"]


def test_a_clear_drops_the_audio_and_returns_every_mark():
    playout = Playout()
    playout.add(FRAME)
    playout.mark("one")
    playout.add(OTHER)
    playout.mark("two")

    assert playout.clear() == ["one", "two"]
    assert playout.next_frame() == (b"", [])


@pytest.mark.parametrize("size", [0, 159, 161])
def test_audio_that_is_no_whole_frames_is_refused(size: int):
    with pytest.raises(ValueError, match="whole frames"):
        Playout().add(b"\x01" * size)
