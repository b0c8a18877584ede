"""Keys that come one after another are one number."""

from voice_openai_connect import limits
from voice_openai_connect.call.commands import AddText, SetTimer
from voice_openai_connect.call.keys import KEYS_TIMER, Keys


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


def test_nobody_keys_for_ever() -> None:
    keys = Keys()
    for now in range(limits.KEYS_MAX + 10):
        keys.press("7", now)

    (told,) = keys.take()
    assert isinstance(told, AddText)
    assert told.text.count("7") == limits.KEYS_MAX
