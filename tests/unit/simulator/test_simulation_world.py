from random import Random

import pytest

from voice_openai_connect.call import commands as do
from voice_openai_connect.simulator.simulation_world import Agenda, Line, Sound, dead_air


@pytest.fixture
def agenda() -> Agenda:
    return Agenda()


@pytest.fixture
def marks() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def line(agenda: Agenda, marks: list[tuple[int, str]]) -> Line:
    return Line(agenda, Random(1), lambda name: marks.append((agenda.now, name)))


def pass_time(agenda: Agenda, until: int) -> None:
    agenda.after(until - agenda.now, lambda: None)
    while agenda.step(until):
        pass


def play(line: Line, ms: int, mark: str) -> None:
    line.carry_out(do.PlayAudio(b"\x01" * (ms * 8)))
    line.carry_out(do.MarkPlayback(mark))


def test_things_due_at_once_happen_in_the_order_they_were_put_down(agenda: Agenda) -> None:
    done: list[int] = []
    for number, ms in enumerate([5, 0, 5]):
        agenda.after(ms, lambda number=number: done.append(number))
    pass_time(agenda, 10)

    assert done == [1, 0, 2]


def test_a_mark_returns_once_what_was_sent_before_it_has_been_played(
    line: Line, agenda: Agenda, marks: list[tuple[int, str]]
) -> None:
    play(line, 400, "m1")
    pass_time(agenda, 2_000)

    (sound,) = line.played
    assert sound.end - sound.start == line.heard_ms(1) == 400
    assert marks[0][1] == "m1"
    assert marks[0][0] > sound.end


def test_a_clear_ends_the_sound_and_returns_every_mark(
    line: Line, agenda: Agenda, marks: list[tuple[int, str]]
) -> None:
    play(line, 3_000, "m1")
    play(line, 3_000, "m2")
    pass_time(agenda, 1_000)
    line.carry_out(do.ClearPlayback())
    pass_time(agenda, 2_000)

    assert 600 < line.heard_ms(1) < 1_200
    assert [name for _, name in marks] == ["m1", "m2"]
    assert not line.audible


def test_silence_counts_as_dead_air_only_while_the_turn_is_ours() -> None:
    turns = [(0, True), (5_000, False), (9_000, True)]

    assert dead_air(turns, [Sound(1_000, 2_000, 1)], 10_000) == [(0, 1_000), (2_000, 3_000), (9_000, 1_000)]


def test_sounds_that_touch_leave_no_gap() -> None:
    assert dead_air([(0, True)], [Sound(0, 500, 1), Sound(500, 900, 2)], 900) == []
