from hypothesis import given
from hypothesis import strategies as st

from voice_openai_connect.simulator.carrier_playout import Heard, Playout, SentMark


def names(marks: list[SentMark]) -> list[str]:
    return [mark.name for mark in marks]


def test_a_mark_on_an_empty_line_is_returned_at_once() -> None:
    assert names(Playout().mark("a", 0)) == ["a"]


def test_a_mark_is_returned_when_everything_before_it_has_been_heard_to_its_end() -> None:
    playout = Playout()
    playout.add(b"x" * 320, 0)
    assert playout.mark("after two frames", 0) == []
    assert [names(playout.next_frame(0)[1]) for _ in range(3)] == [[], [], ["after two frames"]]
    assert playout.marks[0].heard is True


def test_a_mark_sent_during_the_last_frame_waits_for_its_end() -> None:
    playout = Playout()
    playout.add(b"x" * 160, 0)
    playout.next_frame(0)
    assert playout.mark("m", 10) == []
    assert names(playout.next_frame(20)[1]) == ["m"]


def test_clear_returns_every_outstanding_mark_in_order_and_none_counts_as_heard() -> None:
    playout = Playout()
    playout.add(b"x" * 480, 0)
    playout.mark("b", 0)
    playout.add(b"x" * 160, 0)
    playout.mark("a", 0)
    playout.next_frame(0)
    assert names(playout.clear()) == ["b", "a"]
    assert [mark.heard for mark in playout.marks] == [False, False]
    assert playout.next_frame(20) == (b"", [])


def test_what_is_cleared_is_never_played_and_the_frame_in_the_air_is() -> None:
    playout = Playout()
    playout.add(b"a" * 400, 0)
    playout.add(b"b" * 400, 0)
    playout.next_frame(0)
    playout.next_frame(20)
    playout.clear()
    playout.add(b"c" * 160, 40)
    assert playout.next_frame(40)[0] == b"c" * 160
    assert [message.played for message in playout.sent] == [320, 0, 160]
    assert [message.played_ms for message in playout.sent] == [40, 0, 20]


def test_a_mark_after_a_clear_counts_only_what_will_be_played() -> None:
    playout = Playout()
    playout.add(b"a" * 800, 0)
    playout.next_frame(0)
    playout.clear()
    playout.add(b"b" * 160, 5)
    assert playout.mark("m", 5) == []
    assert names(playout.next_frame(20)[1]) == []
    assert names(playout.next_frame(40)[1]) == ["m"]


def test_messages_of_any_length_are_one_stream_of_audio() -> None:
    playout = Playout()
    for piece in (b"a" * 100, b"b" * 100, b"c" * 10):
        playout.add(piece, 0)
    assert playout.next_frame(0)[0] == b"a" * 100 + b"b" * 60
    assert playout.next_frame(20)[0] == b"b" * 40 + b"c" * 10
    assert playout.heard == [Heard(0, b"a" * 100 + b"b" * 60), Heard(20, b"b" * 40 + b"c" * 10)]


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=500), st.sampled_from(["mark", "clear", "frame"]))))
def test_heard_sent_and_marks_always_agree(acts: list[bytes | str]) -> None:
    playout, returned = Playout(), list[SentMark]()
    for at, act in enumerate(acts):
        if isinstance(act, bytes):
            playout.add(act, at)
        elif act == "mark":
            returned += playout.mark(str(at), at)
        elif act == "clear":
            returned += playout.clear()
        else:
            returned += playout.next_frame(at)[1]
    heard = b"".join(piece.audio for piece in playout.heard)
    assert len(heard) == sum(message.played for message in playout.sent)
    assert all(0 <= message.played <= message.size for message in playout.sent)
    assert returned == playout.marks[: len(returned)]
