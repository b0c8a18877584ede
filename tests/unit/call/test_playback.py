"""What the caller has really heard."""

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Command, MarkPlayback, PlayAudio, SetTimer, Tell
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.playback import MARKS_TIMER, Playback

SETTLED_MS = limits.PLAYOUT_MARGIN_MS
"""Of a stretch; what comes after it is sure to arrive before the line runs dry."""


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


def settle(playback: Playback, names: list[str], at: int = 0) -> None:
    """The first marks of a stretch that began `at` then come back at once."""
    for name, ms in zip(names, range(20, SETTLED_MS + 1, 20), strict=False):
        playback.reached(name, now=at + ms)


def due(commands: list[Command]) -> list[int]:
    return [c.at for c in commands if isinstance(c, SetTimer) and c.name == MARKS_TIMER]


def test_nothing_counts_as_heard_until_the_first_mark_returns() -> None:
    playback = Playback()
    playback.add("r", "i", bytes(8_000), now=0)

    assert playback.heard_ms(now=900) == 0


def test_with_prompt_marks_no_more_than_a_frame_of_what_was_heard_is_missing_from_the_first_moment_on() -> None:
    playback, sent, stand = Playback(), 0, dict[int, str]()
    for command in playback.add("r", "i", bytes(8_000), now=0):
        if isinstance(command, PlayAudio):
            sent += len(command.audio) // limits.BYTES_PER_MS
        elif isinstance(command, MarkPlayback):
            stand[sent] = command.name

    for now in range(1_001):
        if now in stand:
            playback.reached(stand[now], now)
        assert now - 20 <= playback.heard_ms(now) <= now


def test_after_a_mark_the_time_since_counts() -> None:
    playback = Playback()
    settle(playback, marks(playback.add("r", "i", bytes(8_000), now=0)))

    assert playback.heard_ms(now=300) == 300


def test_audio_sent_in_one_moment_may_arrive_apart_so_its_beginning_waits_for_marks() -> None:
    playback = Playback()
    first, second, *_, last_unsure = marks(playback.add("r", "i", bytes(8_000), now=0))[:10]

    playback.reached(first, now=20)
    assert playback.heard_ms(now=100) == 20
    playback.reached(second, now=150)
    assert playback.heard_ms(now=200) == 40
    playback.reached(last_unsure, now=260)
    assert playback.heard_ms(now=300) == SETTLED_MS + 40


def test_the_mark_with_the_least_delay_tells_best() -> None:
    playback = Playback()
    *names, settled, last = marks(playback.add("r", "i", bytes(4_960), now=0))
    settle(playback, names, at=50)
    playback.reached(settled, now=420)  # 20 ms late, the others 50
    playback.reached(last, now=780)  # 180 ms late
    playback.add("r", "i", bytes(8_000), now=100)

    assert playback.heard_ms(now=805) == 785


def test_what_comes_after_a_silence_waits_for_its_own_mark() -> None:
    playback = Playback()
    names = marks(playback.add("r", "i", bytes(1_600), now=0) + playback.finish("i", now=0))
    playback.reached(names[-1], now=200)
    (fresh, *_) = marks(playback.add("r", "j", bytes(8_000), now=1_000))

    assert playback.heard_ms(now=1_300) == 200
    playback.reached(fresh, now=1_300)
    assert playback.heard_ms(now=1_350) == 200 + limits.UNSURE_MARK_INTERVAL_MS


def test_a_mark_that_is_overdue_stops_the_count() -> None:
    playback = Playback()
    settle(playback, marks(playback.add("r", "i", bytes(80_000), now=0)))
    next_mark = SETTLED_MS + limits.MARK_INTERVAL_MS

    assert playback.heard_ms(now=next_mark + limits.MARK_OVERDUE_MS + 1) == next_mark + limits.MARK_OVERDUE_MS
    assert playback.heard_ms(now=next_mark + limits.MARKS_GONE_MS - 1) == next_mark + limits.MARK_OVERDUE_MS


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

    assert playback.heard_ms(now=500) == limits.UNSURE_MARK_INTERVAL_MS


def test_each_item_is_cut_where_its_own_hearing_ended() -> None:
    playback = Playback()
    names = marks(playback.add("r", "one", bytes(4_000), now=0) + playback.finish("one", now=0))
    settle(playback, names)
    playback.add("r", "two", bytes(8_000), now=0)
    playback.add("r", "three", bytes(8_000), now=0)
    playback.reached(names[-1], now=500)

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


# --- marks that never come back


def test_without_a_single_mark_the_clock_says_what_was_heard() -> None:
    playback = Playback()
    playback.add("r", "i", bytes(80_000), now=0)
    gone = limits.UNSURE_MARK_INTERVAL_MS + limits.MARKS_GONE_MS

    assert playback.heard_ms(now=gone - 1) == 0
    assert playback.heard_ms(now=gone) == gone - limits.PLAYOUT_MARGIN_MS
    assert playback.heard_ms(now=gone + 500) == gone + 500 - limits.PLAYOUT_MARGIN_MS


def test_the_clock_never_counts_more_than_was_sent() -> None:
    playback = Playback()
    playback.add("r", "i", bytes(1_600), now=0)

    assert playback.heard_ms(now=60_000) == 200


def test_the_clock_counts_no_silence() -> None:
    playback = Playback()
    playback.add("r", "i", bytes(1_600), now=0)
    playback.add("r", "i", bytes(8_000), now=10_000)

    assert playback.heard_ms(now=10_000) == 200
    assert playback.heard_ms(now=10_000 + limits.PLAYOUT_MARGIN_MS + 300) == 500


def test_a_clear_does_not_make_us_wait_for_marks_again() -> None:
    playback = Playback()
    playback.add("r", "i", bytes(80_000), now=0)
    playback.cut(now=1_000)
    playback.add("r", "j", bytes(80_000), now=2_000)
    (cut,) = playback.cut(now=4_000)

    assert (cut.item_id, cut.heard_ms) == ("j", 2_000 - limits.PLAYOUT_MARGIN_MS)


def test_one_mark_that_comes_back_ends_the_counting_by_the_clock() -> None:
    playback = Playback()
    names = marks(playback.add("r", "i", bytes(80_000), now=0))
    playback.reached(names[10], now=4_000)

    assert playback.heard_ms(now=4_000) == SETTLED_MS + limits.MARK_INTERVAL_MS
    assert playback.heard_ms(now=4_100) == SETTLED_MS + limits.MARK_INTERVAL_MS + 100


def test_what_the_clock_has_counted_stays_heard() -> None:
    playback = Playback()
    first, *_ = marks(playback.add("r", "i", bytes(1_600), now=0))
    playback.look(now=4_000)
    playback.add("r", "i", bytes(8_000), now=4_000)
    playback.reached(first, now=4_050)

    assert playback.heard_ms(now=4_050) == 200


def test_marks_of_cleared_audio_say_that_marks_still_come_back() -> None:
    playback = Playback()
    (old, *_) = marks(playback.add("r", "i", bytes(8_000), now=0))
    playback.cut(now=2_900)
    playback.add("r", "j", bytes(80_000), now=2_900)
    playback.reached(old, now=2_950)

    assert playback.heard_ms(now=4_000) == 0


def test_an_item_whose_marks_are_lost_is_heard_once_the_clock_says_so() -> None:
    playback = Playback()
    commands = playback.add("r", "i", bytes(1_600), now=0) + playback.finish("i", now=0)
    (at,) = due(commands)
    assert at == limits.UNSURE_MARK_INTERVAL_MS + limits.MARKS_GONE_MS
    assert not playback.all_heard

    assert playback.look(now=at) == [Tell(Fact.MARKS_MISSING)]
    assert playback.all_heard
    assert playback.unheard == frozenset()


def test_the_fact_is_told_once_and_what_still_plays_is_looked_at_again() -> None:
    playback = Playback()
    (at,) = due(playback.add("r", "i", bytes(40_000), now=0) + playback.finish("i", now=0))
    told, again = playback.look(now=at)
    assert told == Tell(Fact.MARKS_MISSING)
    assert again == SetTimer(MARKS_TIMER, 5_000 + limits.PLAYOUT_MARGIN_MS)
    assert not playback.all_heard

    assert playback.look(now=5_000 + limits.PLAYOUT_MARGIN_MS) == []
    assert playback.all_heard


def test_while_the_clock_counts_every_item_has_its_end_looked_at() -> None:
    playback = Playback()
    playback.add("r", "i", bytes(1_600), now=0)
    playback.finish("i", now=0)
    commands = playback.add("r", "j", bytes(1_600), now=9_000) + playback.finish("j", now=9_000)

    assert due(commands) == [9_200 + limits.PLAYOUT_MARGIN_MS]


def test_marks_that_come_back_leave_nothing_to_look_at() -> None:
    playback = Playback()
    commands = playback.add("r", "i", bytes(1_600), now=0) + playback.finish("i", now=0)
    playback.reached(marks(commands)[-1], now=230)

    assert playback.look(now=due(commands)[0]) == []


def test_as_long_as_marks_come_back_the_look_is_put_off() -> None:
    playback = Playback()
    commands = playback.add("r", "i", bytes(80_000), now=0)
    playback.reached(marks(commands)[18], now=2_050)
    (next_look,) = playback.look(now=due(commands)[0])

    assert next_look == SetTimer(MARKS_TIMER, 2_200 + limits.MARKS_GONE_MS)


def test_marks_that_never_come_back_do_not_pile_up() -> None:
    playback = Playback()
    names = [name for turn in range(60) for name in marks(playback.add("r", "i", bytes(16_000), now=turn * 2_000))]
    assert len(names) > limits.MARKS_OUT
    playback.reached(names[0], now=200_000)  # long forgotten

    assert playback.heard_ms(now=200_000) == playback.heard_ms(now=120_200)


# --- since when it is quiet


def test_audio_that_was_cleared_before_it_could_be_heard_broke_no_silence() -> None:
    playback = Playback()
    playback.add("r", "i", bytes(480), now=1_872)
    playback.cut(now=1_877)

    assert playback.quiet_from == 0


def test_audio_that_was_heard_broke_the_silence() -> None:
    playback = Playback()
    settle(playback, marks(playback.add("r", "i", bytes(8_000), now=1_000)), at=1_000)
    playback.cut(now=1_400)

    assert playback.quiet_from == 1_400


def test_a_line_that_had_run_dry_is_not_made_quiet_by_a_clear() -> None:
    playback = Playback()
    names = marks(playback.add("r", "i", bytes(1_760), now=1_000))
    playback.reached(names[-1], now=1_230)
    playback.cut(now=3_000)

    assert playback.quiet_from == 1_220
