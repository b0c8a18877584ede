import io
import re

import pytest
import structlog

from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.next_step import HangUp
from voice_openai_connect.call.outcome import DialOutcome
from voice_openai_connect.integrations.retry import RetryPolicy, with_retries
from voice_openai_connect.metrics import Metrics
from voice_openai_connect.observers import FrontWatch, OutboxWatch
from voice_openai_connect.simulator.narrator import GATEWAY_SAYS, Narrator
from voice_openai_connect.simulator.timeline import Timeline
from voice_openai_connect.wire.twilio_webhooks import DialResult


class Terminal(io.StringIO):
    """Takes text as a terminal does."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def told() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def narrator(told: io.StringIO) -> Narrator:
    return Narrator(Timeline(lambda: 0.0), told)


async def written_besides_facts() -> set[str]:
    """What the gateway writes into its log that is no fact of a call's, by making it write."""
    failures = iter([OSError("no"), None])

    async def work() -> None:
        if error := next(failures):
            raise error

    structlog.reset_defaults()
    with structlog.testing.capture_logs() as lines:
        FrontWatch(Metrics()).dial_ended(DialResult("CA1", "busy", 3, bridged=False), DialOutcome.BUSY, HangUp())
        owed = OutboxWatch(Metrics())
        owed.paused("unreachable", 5.0, for_a_person=False)
        owed.delivered("conv-1")
        await with_retries(work, policy=RetryPolicy(2, 5.0, first_wait_s=0.001), wait=lambda _: True)
    return {line["event"] for line in lines}


async def test_every_line_that_is_put_into_words_is_one_that_the_gateway_writes() -> None:
    facts = {fact.value for fact in Fact}

    assert set(GATEWAY_SAYS) <= facts | await written_besides_facts()


@pytest.mark.parametrize("message", GATEWAY_SAYS)
def test_a_line_of_the_gateway_is_told_in_words_with_its_facts(
    narrator: Narrator, told: io.StringIO, message: str
) -> None:
    narrator.gateway_line({"message": message, "label": "on_time", "value_ms": 41, "status": "busy", "next": "HangUp"})

    assert re.fullmatch(r" +0\.00 s  gateway +\S.*\n", told.getvalue())
    assert not set("{}") & set(told.getvalue())
    for name, value in (("{label}", "on_time"), ("{value_ms}", "41"), ("{status}", "busy"), ("{next}", "HangUp")):
        assert (name in GATEWAY_SAYS[message]) == (value in told.getvalue())


def test_a_fact_that_a_line_does_not_have_is_left_blank(narrator: Narrator, told: io.StringIO) -> None:
    narrator.gateway_line({"message": "escalated"})

    assert "a person is needed ()" in told.getvalue()


@pytest.mark.parametrize(("level", "heard"), [("info", False), ("warning", True), ("error", True)])
def test_of_other_lines_only_warnings_and_errors_are_told(
    narrator: Narrator, told: io.StringIO, level: str, *, heard: bool
) -> None:
    narrator.gateway_line({"message": "broke", "level": level, "what": "find contact", "who": "nobody", "error": "E"})

    assert ("logs broke   what=find contact   error=E" in told.getvalue()) is heard


def test_the_models_words_are_told_sentence_by_sentence(narrator: Narrator, told: io.StringIO) -> None:
    narrator.model_event("response.output_audio_transcript.delta", {"delta": "Hello."})
    narrator.model_event("response.output_audio_transcript.delta", {"delta": " How are you?"})
    narrator.model_event("response.output_audio_transcript.done", {"transcript": "Hello. How are you?"})

    assert [line[11:] for line in told.getvalue().splitlines()] == ["assistant  “Hello.”", "assistant  “How are you?”"]


def test_what_the_model_hears_is_told_unless_it_is_nothing(narrator: Narrator, told: io.StringIO) -> None:
    completed = "conversation.item.input_audio_transcription.completed"
    narrator.model_event(completed, {"transcript": ""})
    assert told.getvalue() == ""

    narrator.model_event(completed, {"transcript": "Hi there."})
    assert "model      hears “Hi there.”" in told.getvalue()


def test_a_truncation_says_how_much_was_heard(narrator: Narrator, told: io.StringIO) -> None:
    narrator.model_event("conversation.item.truncated", {"item_id": "i", "content_index": 0, "audio_end_ms": 1_240})

    assert "1240 ms" in told.getvalue()


def test_what_nobody_has_words_for_is_told_as_it_was_noted(narrator: Narrator, told: io.StringIO) -> None:
    narrator.timeline.note("carrier", "sneezes", times=2)

    assert told.getvalue() == "   0.00 s  carrier    sneezes   times=2\n"


def test_nothing_that_a_terminal_would_obey_is_printed(narrator: Narrator, told: io.StringIO) -> None:
    narrator.timeline.note("caller", "says", text="\x1b[2Jbye\nWRONG: \x9b31m")
    narrator.gateway_line({"message": "broke\x1b", "level": "error", "error": "\r\x07"})

    assert all(character.isprintable() for line in told.getvalue().split("\n") for character in line)
    assert len(told.getvalue().splitlines()) == 2


def test_colours_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    Narrator(Timeline(), terminal).timeline.note("gateway", "answers")
    assert terminal.getvalue().startswith("\x1b[33m")
    assert terminal.getvalue().endswith("\x1b[0m\n")


def test_whoever_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Narrator(Timeline(), terminal).timeline.note("gateway", "answers")
    assert "\x1b" not in terminal.getvalue()
