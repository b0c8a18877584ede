"""Events are plain facts."""

import inspect

from voice_openai_connect.call import events as ev


def test_every_event_is_small_and_says_in_a_sentence_what_happened() -> None:
    for name, cls in inspect.getmembers(ev, inspect.isclass):
        if issubclass(cls, ev.Event):
            assert hasattr(cls, "__slots__"), name
            assert "." in (cls.__doc__ or ""), name
