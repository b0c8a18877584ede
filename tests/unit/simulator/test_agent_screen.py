"""The agent's screen: who calls and why at a glance, and nothing in the words can leave the box."""

import unicodedata

import pytest

from voice_openai_connect.call.escalation import Reason
from voice_openai_connect.simulator import agent_screen

RECORD = {
    "handover": "ok",
    "conversation_id": "conv-1",
    "caller_phone": "+61400000001",
    "hubspot_contact_id": "101",
    "hubspot_ticket_id": "202",
    "hubspot_ticket_url": "https://app.hubspot.com/contacts/1/ticket/202",
    "summary": "Was charged twice in March and wants one of the two payments back. " * 4,
    "intent": "billing",
    "priority": "high",
    "escalation_reason": "The caller asked for a person.",
    "route_to_queue": "priority",
}


def screen(**changes: str) -> str:
    return agent_screen.render(RECORD | changes, caller="+61499999999", queue="priority", agent="Sam")


def columns(line: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def test_everything_the_agent_needs_is_on_it() -> None:
    drawn = screen()

    shown = [value for key, value in RECORD.items() if key not in {"handover", "summary"}]
    assert [value for value in shown if value not in drawn] == []
    assert "Incoming call for Sam" in drawn


@pytest.mark.parametrize(("matched_by", "warned"), [("phone", True), ("token", False), ("", False)])
def test_notes_found_by_number_alone_come_with_a_warning(matched_by: str, warned: bool) -> None:
    words = " ".join(line.strip("│ ") for line in screen(matched_by=matched_by).splitlines())

    assert ("Ask who is calling" in words) == warned


def test_a_long_summary_is_wrapped_and_complete() -> None:
    words = " ".join(line.strip("│ ") for line in screen().splitlines())

    assert RECORD["summary"].strip() in words


@pytest.mark.parametrize(
    "summary",
    [
        "short",
        "",
        "x" * 1_500,
        "顧客は請求書について話したいと言っています。" * 20,
        "Zażółć gęślą jaźń 👋 " * 30,
        "e\u0301" * 200,
        "one\nline\x1b[2J\x07\u202ereversed\u200b",
    ],
    ids=lambda text: text[:12],
)
def test_every_line_is_80_columns_wide_whatever_the_words(summary: str) -> None:
    assert {columns(line) for line in screen(summary=summary).splitlines()} == {80}


def test_nothing_a_terminal_would_obey_gets_through() -> None:
    drawn = screen(summary="\x1b[2Jgone\x07\r", escalation_reason="\x9b31m\u202e")

    assert not [c for c in drawn.replace("\n", "") if unicodedata.category(c).startswith("C")]


@pytest.mark.parametrize("attributes", [{}, {"handover": "missing"}, RECORD | {"handover": "missing"}])
def test_a_call_without_context_says_so_and_shows_nothing_else(attributes: dict[str, str]) -> None:
    drawn = agent_screen.render(attributes, caller="+61499999999", queue="fallback")

    assert agent_screen.NO_CONTEXT in drawn
    assert "+61499999999" in drawn
    assert "fallback" in drawn
    assert RECORD["escalation_reason"] not in drawn


def test_a_withheld_number_is_called_that() -> None:
    assert "number withheld" in agent_screen.render({}, caller="", queue="fallback")
    assert "number withheld" in agent_screen.render(RECORD | {"caller_phone": ""}, caller="", queue="fallback")


def test_a_ticket_that_is_not_there_yet_is_called_that_and_has_no_link() -> None:
    drawn = screen(hubspot_ticket_id="", hubspot_ticket_url="")

    assert "none yet" in drawn
    assert "Link" not in drawn


def test_a_queue_other_than_the_one_asked_for_is_pointed_out() -> None:
    assert "priority (asked for: billing)" in screen(route_to_queue="billing")
    assert "(asked for:" not in screen()


def test_every_reason_is_shown_in_words_and_the_models_own_words_are_kept() -> None:
    for reason in Reason:
        assert f"Reason    {reason.value} " not in screen(escalation_reason=reason.value)
    assert "Reason    wants a refund" in screen(escalation_reason="tool: wants a refund")
