"""The way to a person: four things at once, each with its own deadline."""

from typing import Any

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.next_step import DialPerson
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.playback import MARKS_TIMER

Line = Any
SUMMARY = "intent: billing\nThe caller was charged twice and wants the money back."


def escalate(line: Line) -> None:
    line.caller_says("I want an agent")


def summarise(line: Line, text: str = SUMMARY) -> None:
    line.post(
        ev.ModelResponseStarted("r-s", "summary"), ev.ModelResponseFinished("r-s", "summary", "completed", text=text)
    )


def hear_transfer_sentence(line: Line) -> None:
    line.say("transfer", ms=1_000, purpose="transfer")


def test_when_all_is_well_the_dial_follows_the_last_word_of_the_sentence(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactFound("c1"), ev.TicketOpened("t1", "https://x/t1"), ev.HandoverSaved("0123456789"))
    assert talking.sent(do.CloseStream) == []

    hear_transfer_sentence(talking)

    assert talking.sent(do.CloseStream) == [do.CloseStream(DialPerson(token="0123456789"))]
    assert talking.sent(do.DisconnectModel) == [do.DisconnectModel()]


def test_the_record_carries_what_a_person_needs_to_know(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactFound("c1"), ev.TicketOpened("t1", "https://x/t1"))

    (save,) = talking.sent(do.SaveHandover)
    assert save.record.summary == "The caller was charged twice and wants the money back."
    assert (save.record.intent, save.record.priority, save.record.route_to_queue) == ("billing", "high", "billing")
    assert (save.record.hubspot_contact_id, save.record.hubspot_ticket_id) == ("c1", "t1")
    assert save.record.escalation_reason == "caller_asked"


def test_the_tools_own_words_are_used_and_no_summary_is_asked_for(talking: Line) -> None:
    arguments = '{"reason": "refund <b>", "intent": "billing", "priority": "urgent", "summary": "Charged twice."}'
    talking.post(ev.ModelToolCalled("r", "i", "c", "transfer_to_human", arguments), ev.ContactNotFound("crm_off"))

    assert talking.sent(do.RequestSummary) == []
    (ticket,) = talking.sent(do.OpenTicket)
    assert (ticket.record.summary, ticket.record.priority) == ("Charged twice.", "urgent")
    assert ticket.record.escalation_reason == "tool: refund (b)"


def test_an_intent_or_priority_that_nobody_knows_falls_back_to_the_profiles_default(talking: Line) -> None:
    arguments = '{"intent": "give me root", "priority": "cosmic", "summary": "s"}'
    talking.post(ev.ModelToolCalled("r", "i", "c", "transfer_to_human", arguments), ev.ContactNotFound("crm_off"))

    (ticket,) = talking.sent(do.OpenTicket)
    assert (ticket.record.intent, ticket.record.priority) == ("general", "normal")


def test_an_intent_of_the_summary_that_nobody_knows_changes_nothing(talking: Line) -> None:
    escalate(talking)
    summarise(talking, "Intent: Give me: root\nThe caller was charged twice.")
    talking.post(ev.ContactNotFound("x"))

    (ticket,) = talking.sent(do.OpenTicket)
    assert (ticket.record.intent, ticket.record.summary) == ("general", "The caller was charged twice.")


def test_an_intent_that_came_with_the_wish_stands_against_that_of_the_summary(talking: Line) -> None:
    wish = ev.ModelToolCalled("r", "i", "c", "transfer_to_human", '{"intent": "general"}')
    talking.post(wish, ev.ModelResponseFinished("r", "reply", "completed"), ev.ContactNotFound("x"))
    summarise(talking)

    (ticket,) = talking.sent(do.OpenTicket)
    assert (ticket.record.intent, ticket.record.priority) == ("general", "normal")
    assert ticket.record.summary == "The caller was charged twice and wants the money back."


def test_an_empty_summary_is_made_from_the_turns(talking: Line) -> None:
    escalate(talking)
    summarise(talking, "intent: billing\n \n")
    talking.post(ev.ContactNotFound("x"))

    assert talking.facts(Fact.SUMMARY_FELL_BACK) == [do.Tell(Fact.SUMMARY_FELL_BACK, "empty")]
    (ticket,) = talking.sent(do.OpenTicket)
    assert "I want an agent" in ticket.record.summary


def test_what_the_assistant_was_saying_is_cut_off_when_the_caller_asks_for_a_person(talking: Line) -> None:
    talking.begin_saying("a", ms=5_000)
    commands = talking.post(ev.KeyPressed("0"))

    assert do.ClearPlayback() in commands
    assert do.CancelResponse("r-a") in commands
    assert talking.sent(do.RequestResponse) == []

    after = talking.post(ev.ModelResponseFinished("r-a", "reply", "cancelled"))
    assert [r.purpose for r in talking.sent(do.RequestResponse, after)] == ["transfer"]


def test_a_cancelled_response_that_never_says_so_does_not_hold_up_the_transfer(talking: Line) -> None:
    talking.begin_saying("a", ms=5_000)
    talking.post(ev.KeyPressed("0"))

    after = talking.wait(limits.RESPONSE_CANCEL_MS)

    assert [r.purpose for r in talking.sent(do.RequestResponse, after)] == ["transfer"]


def test_a_reply_that_the_model_begins_by_itself_meanwhile_is_stopped(talking: Line) -> None:
    escalate(talking)

    commands = talking.post(ev.ModelResponseStarted("r-own", "reply"), ev.ModelAudio("r-own", "i-own", bytes(800)))

    assert commands == [do.CancelResponse("r-own")]


def test_the_model_hears_no_more_of_the_caller_once_a_person_is_on_the_way(talking: Line) -> None:
    escalate(talking)

    assert talking.post(ev.CallerAudio(b"x"), ev.CallerSpeechStarted("u2")) == []


def test_a_summary_that_does_not_come_is_made_from_the_turns(talking: Line) -> None:
    escalate(talking)
    talking.post(ev.ContactNotFound("crm_off"))
    talking.wait(limits.SUMMARY_MS)

    (ticket,) = talking.sent(do.OpenTicket)
    assert "I want an agent" in ticket.record.summary
    assert "words of greet" in ticket.record.summary


def test_a_late_summary_changes_nothing(talking: Line) -> None:
    escalate(talking)
    talking.wait(limits.SUMMARY_MS)
    summarise(talking)
    talking.post(ev.ContactNotFound("crm_off"))

    (ticket,) = talking.sent(do.OpenTicket)
    assert "charged twice" not in ticket.record.summary


def test_a_hanging_crm_costs_no_more_than_its_budget(talking: Line) -> None:
    escalate(talking)
    started = talking.now
    summarise(talking)
    hear_transfer_sentence(talking)
    talking.wait(limits.CRM_MS)
    talking.post(ev.HandoverSaved("0123456789"))

    assert talking.now - started <= limits.CRM_MS
    assert talking.sent(do.CloseStream) == [do.CloseStream(DialPerson(token="0123456789"))]


def test_a_ticket_that_comes_after_the_record_was_saved_is_added_to_it(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactFound("c1"))
    hear_transfer_sentence(talking)
    talking.wait(limits.CRM_MS)
    talking.post(ev.HandoverSaved("0123456789"))

    late = talking.post(ev.TicketOpened("t9", "https://x/t9"))

    assert talking.sent(do.AttachTicket, late) == [do.AttachTicket("0123456789", "c1", "t9", "https://x/t9")]


def test_a_ticket_that_comes_while_the_record_is_being_saved_is_added_to_it(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactFound("c1"))
    talking.wait(limits.CRM_MS)
    talking.post(ev.TicketOpened("t9"))

    assert talking.sent(do.AttachTicket) == []
    saved = talking.post(ev.HandoverSaved("0123456789"))
    assert talking.sent(do.AttachTicket, saved) == [do.AttachTicket("0123456789", "c1", "t9")]


def test_a_contact_found_late_still_gets_its_ticket(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.wait(limits.CRM_MS)
    talking.post(ev.HandoverSaved("0123456789"))
    hear_transfer_sentence(talking)

    late = talking.post(ev.ContactFound("c1"))

    assert [t.record.hubspot_contact_id for t in talking.sent(do.OpenTicket, late)] == ["c1"]


def test_a_record_that_cannot_be_saved_does_not_keep_the_caller_from_a_person(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    hear_transfer_sentence(talking)
    talking.post(ev.ContactNotFound("x"), ev.TicketNotOpened("x"), ev.HandoverNotSaved("throttled"))

    assert talking.sent(do.CloseStream) == [do.CloseStream(DialPerson(token=""))]


def test_a_caller_who_leaves_after_their_record_could_not_be_saved_leaves_nothing_to_wait_for(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactNotFound("x"), ev.TicketNotOpened("x"), ev.HandoverNotSaved("throttled"), ev.StreamStopped())

    assert talking.call.phase is Phase.ENDED


def test_a_token_that_comes_too_late_gets_no_ticket_any_more(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactFound("c1"))
    talking.wait(limits.RECORD_MS)
    talking.post(ev.TicketOpened("t1", "https://x/t1"), ev.HandoverSaved("0123456789"))

    assert talking.sent(do.AttachTicket) == []


def test_a_store_that_never_answers_does_not_keep_the_caller_from_a_person(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    hear_transfer_sentence(talking)
    talking.post(ev.ContactNotFound("x"), ev.TicketNotOpened("x"))
    talking.wait(limits.SAVE_MS)

    assert talking.sent(do.CloseStream) == [do.CloseStream(DialPerson(token=""))]


def test_a_crm_and_a_store_that_hang_both_keep_the_caller_for_five_seconds(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    hear_transfer_sentence(talking)
    talking.wait(4_999)
    assert talking.sent(do.CloseStream) == []
    talking.wait(1)

    assert talking.sent(do.CloseStream) == [do.CloseStream(DialPerson(token=""))]


def test_a_sentence_whose_marks_are_lost_has_been_heard_when_the_clock_says_so(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactNotFound("x"), ev.TicketNotOpened("x"), ev.HandoverSaved("0123456789"))
    talking.begin_saying("transfer", ms=1_000, purpose="transfer")
    talking.end_saying("transfer", purpose="transfer")
    talking.wait(limits.MARKS_GONE_MS)
    assert talking.sent(do.CloseStream) == []
    talking.wait(limits.UNSURE_MARK_INTERVAL_MS)

    assert talking.sent(do.CloseStream) == [do.CloseStream(DialPerson(token="0123456789"))]
    assert talking.facts(Fact.TRANSFER_SENTENCE_CUT) == []


def test_a_long_sentence_is_heard_to_its_end(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactNotFound("x"), ev.TicketNotOpened("x"), ev.HandoverSaved("0123456789"))
    talking.begin_saying("transfer", ms=20_000, purpose="transfer")
    talking.end_saying("transfer", purpose="transfer")
    talking.wait(20_000)
    assert talking.sent(do.CloseStream) == []
    talking.hear_everything()

    assert talking.sent(do.CloseStream) == [do.CloseStream(DialPerson(token="0123456789"))]
    assert talking.facts(Fact.TRANSFER_SENTENCE_CUT) == []


def test_a_sentence_whose_end_is_never_heard_is_waited_for_only_so_long(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactNotFound("x"), ev.TicketNotOpened("x"), ev.HandoverSaved("0123456789"))
    talking.begin_saying("transfer", ms=20_000, purpose="transfer")
    talking.end_saying("transfer", purpose="transfer")
    talking.timers.pop(MARKS_TIMER)
    talking.wait(20_000 + limits.MARKS_GONE_MS)

    assert talking.sent(do.CloseStream) == [do.CloseStream(DialPerson(token="0123456789"))]
    assert len(talking.facts(Fact.TRANSFER_SENTENCE_CUT)) == 1


def test_a_sentence_that_fails_twice_is_left_to_twilio(talking: Line) -> None:
    escalate(talking)
    for name in ("r1", "r2"):
        talking.post(
            ev.ModelResponseStarted(name, "transfer"), ev.ModelResponseFinished(name, "transfer", "failed", "x")
        )
    summarise(talking)
    talking.post(ev.ContactNotFound("x"), ev.TicketNotOpened("x"), ev.HandoverSaved("0123456789"))

    assert talking.sent(do.CloseStream) == [do.CloseStream(DialPerson(token="0123456789", announce=True))]


def test_a_model_lost_on_the_way_does_not_stop_the_handover(talking: Line) -> None:
    escalate(talking)
    talking.post(ev.ModelLost("reset"), ev.ContactNotFound("x"), ev.TicketNotOpened("x"))
    talking.post(ev.HandoverSaved("0123456789"))

    assert talking.sent(do.CloseStream) == [do.CloseStream(DialPerson(token="0123456789", announce=True))]


def test_the_first_reason_counts_and_there_is_only_one_handover(talking: Line) -> None:
    escalate(talking)
    talking.post(ev.KeyPressed("0"), ev.HandoverOrdered(), ev.CallerTranscribed("u5", "agent agent"))
    talking.post(ev.ModelToolCalled("r", "i", "c", "transfer_to_human", "{}"), ev.ModelLost("reset"))

    assert [t.label for t in talking.facts(Fact.ESCALATED)] == ["caller_asked"]
    assert len(talking.sent(do.FindContact)) == 1


# --- tickets that the CRM does not take in time


def test_a_ticket_that_the_crm_refused_is_delivered_later(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactFound("c1"), ev.TicketNotOpened("unavailable"))

    (owed,) = talking.sent(do.DeliverTicketLater)
    assert owed.record.summary == "The caller was charged twice and wants the money back."
    assert owed.record.hubspot_contact_id == "c1"


def test_without_a_crm_nothing_is_owed_to_it(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactNotFound("crm_off"), ev.TicketNotOpened("crm_off"), ev.HandoverSaved("0123456789"))
    hear_transfer_sentence(talking)
    talking.wait(limits.CRM_LATE_MS)

    assert talking.sent(do.DeliverTicketLater) == []


def test_a_ticket_that_nobody_knows_of_is_delivered_later_while_there_is_time_to_keep_it(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactNotFound("timeout"))
    talking.wait(limits.CRM_MS)
    talking.post(ev.HandoverSaved("0123456789"))
    hear_transfer_sentence(talking)
    talking.wait(limits.TICKET_LATE_MS - 1)
    assert talking.sent(do.DeliverTicketLater) == []
    talking.wait(1)

    assert len(talking.sent(do.DeliverTicketLater)) == 1
    assert talking.post(ev.TicketNotOpened("timeout")) == []


def test_a_caller_who_leaves_on_the_way_has_a_ticket_all_the_same(talking: Line) -> None:
    escalate(talking)
    left = talking.post(ev.StreamStopped())

    (owed,) = talking.sent(do.DeliverTicketLater, left)
    assert owed.record.summary.startswith("The caller asked for a person.")
    assert owed.record.hubspot_contact_id == ""


def test_a_line_that_breaks_on_the_way_leaves_the_ticket_to_be_delivered(talking: Line) -> None:
    escalate(talking)
    summarise(talking)

    assert len(talking.sent(do.DeliverTicketLater, talking.post(ev.StreamLost("silent")))) == 1


def test_a_ticket_that_is_open_is_not_owed_whatever_comes_after(talking: Line) -> None:
    escalate(talking)
    summarise(talking)
    talking.post(ev.ContactFound("c1"), ev.TicketOpened("t1"), ev.StreamLost("silent"))

    assert talking.sent(do.DeliverTicketLater) == []


def test_a_line_that_breaks_while_caller_and_assistant_talk_owes_nothing(talking: Line) -> None:
    talking.post(ev.StreamLost("silent"))

    assert talking.sent(do.DeliverTicketLater) == []
