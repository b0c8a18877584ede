from dataclasses import dataclass

import pytest

from voice_openai_connect.simulator.timeline import Entry, Timeline


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_entries_count_milliseconds_from_the_start() -> None:
    clock = Clock()
    timeline = Timeline(clock)
    clock.now += 1.5
    timeline.note("carrier", "asks the webhook", url="/twilio/voice")
    assert timeline.entries == [Entry(1500, "carrier", "asks the webhook", {"url": "/twilio/voice"})]


def test_listeners_hear_of_what_comes_after_they_began_to_listen() -> None:
    timeline, heard = Timeline(Clock()), list[str]()
    timeline.note("caller", "dials")
    timeline.listen(lambda entry: heard.append(entry.what))
    timeline.note("caller", "speaks")
    assert heard == ["speaks"]


def test_a_span_says_how_long_it_took_even_when_it_fails() -> None:
    clock = Clock()
    timeline = Timeline(clock)

    def answer_late() -> None:
        with timeline.span("model", "answers", turn=1):
            clock.now += 0.25
            raise LookupError

    with pytest.raises(LookupError):
        answer_late()
    assert timeline.entries[0].details == {"took_ms": 250, "turn": 1}


def test_time_can_be_counted_from_a_later_moment() -> None:
    clock = Clock()
    timeline = Timeline(clock)
    clock.now += 9
    timeline.begin()
    clock.now += 1
    timeline.note("carrier", "rings")
    assert timeline.entries[0].at_ms == 1_000


def test_a_detail_may_have_any_name() -> None:
    timeline = Timeline(Clock())
    timeline.note("gateway", "logs refused", who="somebody", what="stream")
    assert timeline.entries[0].details == {"who": "somebody", "what": "stream"}


def test_an_entry_prints_as_one_readable_line() -> None:
    assert str(Entry(2040, "caller", "presses", {"key": "0"})) == "    2.04 s  caller       presses  key=0"


def test_one_party_can_be_read_alone() -> None:
    timeline = Timeline(Clock())
    for who, what in (("a", "1"), ("b", "2"), ("a", "3")):
        timeline.note(who, what)
    assert timeline.said_by("a") == ["1", "3"]
