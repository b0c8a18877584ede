import json
from dataclasses import fields, is_dataclass
from inspect import getmembers

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.settings import CallSettings
from voice_openai_connect.call.tools import TRANSFER, transfer_wish
from voice_openai_connect.recording import stand_ins

NOT_PRIVATE = {
    "stream_sid", "name", "item_id", "response_id", "call_id", "purpose", "status", "code", "reason", "event_id",
    "input_format", "output_format", "label", "who", "nobody_came", "kind", "closed", "unstaffed",
    "handover_id", "conversation_id", "call_sid", "intent", "priority", "route_to_queue",
}  # fmt: skip
"""Text that may be written as it is: ids of services, names and codes from fixed sets."""
TRANSLATED = {
    "payload", "text", "arguments", "output", "token", "contact_id", "ticket_id", "url", "ticket_url", "digit",
    "instructions", "caller_phone", "summary", "escalation_reason", "hubspot_contact_id", "hubspot_ticket_id",
    "hubspot_ticket_url",
}  # fmt: skip


@pytest.mark.parametrize("module", [ev, do])
def test_every_text_is_either_harmless_or_has_a_stand_in(module: object) -> None:
    texts = {
        field.name: kind.__name__
        for _, kind in getmembers(module, is_dataclass)
        if isinstance(kind, type)
        for field in fields(kind)
        if "str" in str(field.type) or "Literal" in str(field.type)
    }

    assert set(texts) <= NOT_PRIVATE | TRANSLATED, texts


def test_a_digit_keeps_its_name_only_if_it_called_a_person(call_settings: CallSettings) -> None:
    zero = ev.KeyPressed("0")

    for fact in (Fact.ESCALATED, Fact.NOBODY_FREE, Fact.NOBODY_THERE):
        assert stand_ins.event(zero, (do.Tell(fact, "key"),), call_settings) == zero
    assert stand_ins.event(zero, (do.SetTimer("keys", 1),), call_settings) == ev.KeyPressed("*")


def test_a_tools_words_are_not_kept(call_settings: CallSettings) -> None:
    assert stand_ins.event(ev.ToolFinished("c1", "12 Elm Road"), (), call_settings) == ev.ToolFinished("c1", "")
    assert stand_ins.command(do.AnswerTool("c1", "12 Elm Road")) == do.AnswerTool("c1", "")


def test_a_wish_for_a_person_stays_one_and_other_words_stay_none(call_settings: CallSettings) -> None:
    wish = stand_ins.event(ev.CallerTranscribed("u", "an agent!"), (), call_settings)
    other = stand_ins.event(ev.CallerTranscribed("u", "Person"), (), call_settings)
    assert isinstance(wish, ev.CallerTranscribed)
    assert isinstance(other, ev.CallerTranscribed)

    assert stand_ins.RecordedPhrases().wants_person(wish.text)
    assert not stand_ins.RecordedPhrases().wants_person(other.text)


def test_a_transfer_keeps_what_routes_it_and_loses_what_it_says(call_settings: CallSettings) -> None:
    said = {"reason": "her house burnt", "summary": "Ann Lee", "intent": "billing", "priority": "high"}
    kept = stand_ins.event(ev.ModelToolCalled("r", "i", "c", TRANSFER, json.dumps(said)), (), call_settings)
    assert isinstance(kept, ev.ModelToolCalled)

    wish = transfer_wish(kept.arguments)
    assert (wish.reason, wish.summary, wish.intent, wish.priority) == ("x", "x", "billing", "high")


@given(pieces=st.lists(st.text(alphabet="ab \n", max_size=12), max_size=5))
def test_words_in_pieces_stay_as_many_and_as_long(pieces: list[str]) -> None:
    real, stood_in = "".join(pieces), "".join(map(stand_ins.words, pieces))

    assert len(stood_in) == len(real)
    assert len(stood_in.split()) == len(real.split())
    assert not set(stood_in) - {"x", " "}
