"""Keys that come one after another are one number."""

from typing import Any

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.commands import AddText, SetTimer
from voice_openai_connect.call.keys import KEYS_TIMER, Keys

Line = Any


def test_a_number_is_complete_after_a_pause_and_told_once() -> None:
    keys = Keys()
    assert keys.none_yet
    for now, digit in enumerate("407"):
        assert keys.press(digit, now) == [SetTimer(KEYS_TIMER, now + limits.KEYS_PAUSE_MS)]
    assert not keys.none_yet

    (told,) = keys.take()
    assert isinstance(told, AddText)
    assert "407" in told.text
    assert keys.take() == []
    assert keys.none_yet


def test_a_number_that_cannot_be_told_yet_waits_and_nothing_waits_for_none() -> None:
    keys = Keys()
    assert keys.wait(0) == []
    keys.press("4", 0)

    assert keys.wait(2_000) == [SetTimer(KEYS_TIMER, 2_000 + limits.KEYS_PAUSE_MS)]


def told(line: Line) -> list[str]:
    return [text.text for text in line.sent(do.AddText) if "keys" in text.text]


def test_a_number_that_is_keyed_while_the_model_is_replaced_is_told_whole(talking: Line) -> None:
    talking.post(ev.KeyPressed("1"), ev.KeyPressed("2"), ev.ModelLost("reset"), ev.KeyPressed("3"))
    talking.wait(limits.KEYS_PAUSE_MS)
    assert told(talking) == []
    talking.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"), ev.KeyPressed("4"))
    talking.wait(limits.KEYS_PAUSE_MS)

    assert told(talking) == ["(The caller pressed these keys: 1234)"]


def test_a_number_that_is_keyed_before_the_model_is_ready_is_told_and_a_0_in_it_calls_nobody(line: Line) -> None:
    line.post(ev.StreamStarted("MZ1"), ev.KeyPressed("1"), ev.KeyPressed("0"))
    line.post(ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
    line.wait(limits.KEYS_PAUSE_MS)

    assert told(line) == ["(The caller pressed these keys: 10)"]


def test_a_call_is_not_moved_between_two_keys_of_a_number(talking: Line) -> None:
    talking.post(ev.KeyPressed("4"), ev.MoveOrdered())
    assert talking.sent(do.MoveStream) == []
    talking.wait(limits.KEYS_PAUSE_MS)
    assert talking.sent(do.MoveStream) == []
    talking.say("thanks")

    assert len(talking.sent(do.MoveStream)) == 1


def test_nobody_keys_for_ever() -> None:
    keys = Keys()
    for now in range(limits.KEYS_MAX + 10):
        keys.press("7", now)

    (told,) = keys.take()
    assert isinstance(told, AddText)
    assert told.text.count("7") == limits.KEYS_MAX
