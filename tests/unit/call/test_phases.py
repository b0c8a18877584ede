"""Which events mean something in which phase."""

import inspect

from voice_openai_connect.call import events as ev
from voice_openai_connect.call.machine import _dispatch  # pyright: ignore[reportPrivateUsage]  the table is what is tested
from voice_openai_connect.call.phases import LEGAL, Phase

ALL = {cls for _, cls in inspect.getmembers(ev, inspect.isclass) if issubclass(cls, ev.Event)} - {ev.Event}


def test_every_event_means_something_somewhere() -> None:
    assert frozenset().union(*LEGAL.values()) == ALL


def test_every_legal_event_has_a_handler_and_every_handler_an_event() -> None:
    assert set(_dispatch.by_event) == ALL


def test_nothing_means_anything_after_the_end() -> None:
    assert LEGAL[Phase.ENDED] == frozenset()


def test_the_end_of_the_line_is_understood_in_every_phase_that_has_one() -> None:
    for phase in set(Phase) - {Phase.DIALING, Phase.CLEARING_UP, Phase.ENDED}:
        assert {ev.StreamStopped, ev.StreamLost, ev.ModelLost} <= LEGAL[phase]
