"""What the caller has really heard."""

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Command, MarkPlayback, PlayAudio
from voice_openai_connect.call.playback import Playback


def marks(commands: list[Command]) -> list[str]:
    return [c.name for c in commands if isinstance(c, MarkPlayback)]


def audio(commands: list[Command]) -> bytes:
    return b"".join(c.audio for c in commands if isinstance(c, PlayAudio))


def test_audio_leaves_in_whole_frames_and_nothing_is_lost_or_changed() -> None:
    playback, speech = Playback(), bytes(i % 251 for i in range(4_321))
    commands: list[Command] = []
    for start in range(0, len(speech), 97):
        commands += playback.add("r", "i", speech[start : start + 97], now=0)
    commands += playback.finish("i", now=0)

    assert all(len(c.audio) % limits.FRAME_BYTES == 0 for c in commands if isinstance(c, PlayAudio))
    assert audio(commands) == speech.ljust(-(-len(speech) // 160) * 160, b"\xff")


def test_every_mark_has_a_name_of_its_own() -> None:
    playback = Playback()
    names = marks(playback.add("r", "i", bytes(40_000), now=0))
    playback.cut(now=0)
    names += marks(playback.add("r", "j", bytes(40_000), now=10))

    assert len(set(names)) == len(names) > 40


def test_an_item_ends_with_a_mark() -> None:
    playback = Playback()
    commands = playback.add("r", "i", bytes(1_000), now=0) + playback.finish("i", now=0)

    assert isinstance(commands[-1], MarkPlayback)


def test_nothing_counts_as_heard_until_the_first_mark_returns() -> None:
    playback = Playback()
    playback.add("r", "i", bytes(8_000), now=0)

    assert playback.heard_ms(now=900) == 0


def test_after_a_mark_the_time_since_counts() -> None:
    playback = Playback()
    (first, *_) = marks(playback.add("r", "i", bytes(8_000), now=0))
    playback.reached(first, now=40)

    assert playback.heard_ms(now=140) == limits.FIRST_MARK_MS + 100


def test_the_mark_with_the_least_delay_tells_best() -> None:
    playback = Playback()
    first, second, *_ = marks(playback.add("r", "i", bytes(8_000), now=0))
    playback.reached(first, now=30)  # 10 ms late
    playback.reached(second, now=320)  # 200 ms late

    assert playback.heard_ms(now=330) == 320


def test_what_comes_after_a_silence_waits_for_its_own_mark() -> None:
    playback = Playback()
    names = marks(playback.add("r", "i", bytes(1_600), now=0))
    playback.reached(names[-1], now=200)
    (fresh, *_) = marks(playback.add("r", "i", bytes(8_000), now=1_000))

    assert playback.heard_ms(now=1_300) == 200
    playback.reached(fresh, now=1_300)
    assert playback.heard_ms(now=1_350) == 200 + limits.FIRST_MARK_MS + 50


def test_a_mark_that_is_overdue_stops_the_count() -> None:
    playback = Playback()
    first, *_ = marks(playback.add("r", "i", bytes(80_000), now=0))
    playback.reached(first, now=20)
    next_mark = limits.FIRST_MARK_MS + limits.MARK_INTERVAL_MS

    assert playback.heard_ms(now=9_000) == next_mark + limits.MARK_OVERDUE_MS


def test_never_more_is_heard_than_was_sent() -> None:
    playback = Playback()
    names = marks(playback.add("r", "i", bytes(1_600), now=0))
    playback.reached(names[0], now=20)

    assert playback.heard_ms(now=60_000) <= 200


def test_a_late_mark_after_clear_is_not_heard() -> None:
    playback = Playback()
    names = marks(playback.add("r", "i", bytes(8_000), now=0))
    playback.cut(now=0)
    playback.add("r", "j", bytes(8_000), now=5)
    for name in names:
        playback.reached(name, now=10)

    assert playback.heard_ms(now=500) == 0


def test_marks_that_were_never_sent_or_come_twice_change_nothing() -> None:
    playback = Playback()
    first, *_ = marks(playback.add("r", "i", bytes(8_000), now=0))
    playback.reached(first, now=20)
    playback.reached(first, now=500)
    playback.reached("invented", now=500)

    assert playback.heard_ms(now=30) == 30


def test_each_item_is_cut_where_its_own_hearing_ended() -> None:
    playback = Playback()
    end_of_one = marks(playback.add("r", "one", bytes(4_000), now=0) + playback.finish("one", now=0))[-1]
    playback.add("r", "two", bytes(8_000), now=0)
    playback.add("r", "three", bytes(8_000), now=0)
    playback.reached("m1", now=20)
    playback.reached(end_of_one, now=500)

    cuts = {cut.item_id: cut.heard_ms for cut in playback.cut(now=650)}

    assert cuts == {"two": 150, "three": 0}


def test_an_item_is_never_cut_beyond_what_was_received_for_it() -> None:
    playback = Playback()
    names = marks(playback.add("r", "i", bytes(161), now=0))
    playback.reached(names[-1], now=20)

    (cut,) = playback.cut(now=60)
    assert (cut.heard_ms, cut.received_ms) == (20, 20)


def test_everything_is_heard_only_when_the_last_mark_says_so() -> None:
    playback = Playback()
    names = marks(playback.add("r", "i", bytes(1_600), now=0) + playback.finish("i", now=0))
    playback.reached(names[0], now=20)
    assert not playback.all_heard

    playback.reached(names[-1], now=400)
    assert playback.all_heard


def test_an_item_without_audio_holds_nothing_up() -> None:
    playback = Playback()
    playback.add("r", "i", b"", now=0)
    playback.finish("i", now=0)

    assert playback.all_heard
    assert playback.cut(now=0) == []
