"""A line whose time is its frames: keys are heard in sound, and a minute passes in no time."""

import asyncio

import pytest

from voice_openai_connect.simulator.contact_flow import LineDownError
from voice_openai_connect.simulator.contact_line import ScriptedLine
from voice_openai_connect.simulator.dtmf import tones
from voice_openai_connect.simulator.telephone import SILENCE


async def test_keys_are_heard_in_the_sound_when_their_time_has_come() -> None:
    line = ScriptedLine(tones("w7"))

    heard = [await line.step(SILENCE) for _ in range(40)]

    assert "".join(heard) == "7"
    assert heard.index("7") >= 25, "w is half a second, 25 frames"


async def test_time_is_what_was_said() -> None:
    line = ScriptedLine()
    for _ in range(50):
        await line.step(SILENCE)

    assert line.ms == 1_000


async def test_work_takes_as_long_as_the_line_says_and_keys_go_on_coming() -> None:
    line, keys = ScriptedLine(tones("12"), work_takes_ms=1_000), list[str]()

    assert await line.wait_for(asyncio.sleep(0, "done"), keys.append) == "done"
    assert line.ms == 1_000
    assert "".join(keys) == "12"


async def test_a_caller_who_has_hung_up_hears_nothing_more() -> None:
    line = ScriptedLine(hangs_up_after_ms=40)
    await line.step(SILENCE)
    await line.step(SILENCE)

    with pytest.raises(LineDownError):
        await line.step(SILENCE)
    assert line.ms == 40
