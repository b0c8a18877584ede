import asyncio

import pytest

from voice_openai_connect.simulator.telephone import SILENCE, FrameClock, Pulse, line

TONE = b"\x10" * 160


async def test_frames_arrive_in_order_and_then_the_line_is_down() -> None:
    a, b = line("+1", "+2")
    a.send(TONE)
    a.send(SILENCE)
    a.hang_up()
    assert [await b.receive(), await b.receive(), await b.receive()] == [TONE, SILENCE, None]


def test_only_whole_frames_are_carried() -> None:
    a, _ = line("+1", "+2")
    with pytest.raises(ValueError, match="160-byte frames, not 3"):
        a.send(b"abc")


def test_each_end_knows_both_numbers() -> None:
    a, b = line("+1", "+2")
    assert (a.near, a.far, b.near, b.far) == ("+1", "+2", "+2", "+1")


def test_nothing_is_carried_once_the_line_is_down() -> None:
    a, b = line("+1", "+2")
    b.hang_up()
    a.send(TONE)
    a.press("1")
    assert a.hung_up
    assert b.receive_now() is None
    assert b.keys_now() == []


def test_keys_travel_beside_the_audio_and_are_taken_once() -> None:
    a, b = line("+1", "+2")
    a.press("4")
    a.press("#")
    assert b.keys_now() == ["4", "#"]
    assert b.keys_now() == []
    assert b.receive_now() is None
    assert not b.far_end_answered


@pytest.mark.parametrize("digit", ["", "12", "x", "w"])
def test_there_is_no_such_key(digit: str) -> None:
    a, _ = line("+1", "+2")
    with pytest.raises(ValueError, match="no key"):
        a.press(digit)


async def test_the_first_frame_answers() -> None:
    a, b = line("+1", "+2")
    waiting = asyncio.create_task(a.until_answered())
    await asyncio.sleep(0)
    assert not a.far_end_answered
    b.send(SILENCE)
    await asyncio.wait_for(waiting, 30)
    assert a.far_end_answered
    assert not b.far_end_answered


async def test_a_hang_up_wakes_everybody_who_waits_on_the_line() -> None:
    a, b = line("+1", "+2")
    waiting = asyncio.gather(a.receive(), a.until_hung_up(), a.until_answered(), b.until_hung_up())
    await asyncio.sleep(0)
    a.hang_up()
    a.hang_up()
    await asyncio.wait_for(waiting, 30)


def test_a_person_is_introduced_to_the_other_end_only() -> None:
    a, b = line("+1", "+2")
    b.introduce_person()
    assert a.person_there
    assert not b.person_there


async def test_the_frame_clock_never_runs_ahead_of_real_time() -> None:
    clock, loop = FrameClock(), asyncio.get_running_loop()
    began = loop.time()
    for _ in range(6):
        await clock.step()
    assert loop.time() - began >= 0.099


async def test_a_late_frame_does_not_make_the_next_ones_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, loop, waits, sleep = FrameClock(), asyncio.get_running_loop(), list[float](), asyncio.sleep

    async def note_and_sleep(seconds: float) -> None:
        waits.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", note_and_sleep)
    began = loop.time()
    await clock.step()
    while loop.time() < began + 0.11:  # the whole loop stands still for five frames
        pass
    for _ in range(5):
        await clock.step()
    assert waits == [0.0] * 6


async def test_a_pulse_wakes_all_and_only_once() -> None:
    pulse = Pulse()
    first, second = asyncio.create_task(pulse.wait()), asyncio.create_task(pulse.wait())
    await asyncio.sleep(0)
    pulse.beat()
    await asyncio.wait_for(asyncio.gather(first, second), 30)
    third = asyncio.create_task(pulse.wait())
    await asyncio.sleep(0)
    assert not third.done()
    third.cancel()
