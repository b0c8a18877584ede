"""What is done once for every dial that has ended. The table is shared, so two instances are two of these on one."""

import asyncio
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint, Turn
from voice_openai_connect.call.handover import HandoverRecord, Redemption
from voice_openai_connect.call.next_step import DialPerson, HangUp, NextStep, PromiseCallBack, ResumeStream
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.call.settings import CallIdentity
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.gateway.aftercare import Aftercare, EndedDial

DEADLINE_S = 10
CALL_SID = "CA" + "0" * 32
IDENTITY = CallIdentity(CALL_SID, "conv-1", "ho-1", "+61491570006", "+61255501234")
RECORD = HandoverRecord("ho-1", "conv-1", CALL_SID, "+61491570006", "why", "general", "normal", "key", "support")
TOKEN = "0123456789"
WITH_TOKEN = CallItem(DialPerson(token=TOKEN), Checkpoint(person_needed=True))
BROKE_OFF = CallItem(checkpoint=Checkpoint((Turn("caller", "My order has never arrived"),), person_needed=True))
AGAIN = DialPerson(attempt=2, apologise=True)
Table = Any


class Watch:
    """Everything that was told, in order."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.failures: list[str] = []

    def transfer_ended(self, identity: CallIdentity, outcome: DialOutcome, *, suspicious: bool) -> None:
        self.told.append((outcome, suspicious) if suspicious else outcome)

    def call_ended(self, identity: CallIdentity, outcome: Outcome) -> None:
        self.told.append(outcome)

    def person_reached(self, identity: CallIdentity, seconds: float) -> None:
        self.told.append(seconds)

    def context_not_delivered(self, identity: CallIdentity) -> None:
        self.told.append("context not delivered")

    def failed(self, what: str, error: BaseException) -> None:
        self.failures.append(what)


class Letters:
    """An outbox that keeps a note once, as the real one does."""

    def __init__(self) -> None:
        self.notes: list[TicketNote] = []
        self.broken = False

    async def keep_ticket(self, record: HandoverRecord) -> None:
        raise AssertionError

    async def keep_note(self, note: TicketNote) -> None:
        if self.broken:
            raise ConnectionError
        if note not in self.notes:
            self.notes.append(note)

    @property
    def kinds(self) -> list[str]:
        return [note.kind for note in self.notes]


class Instance:
    """One instance's aftercare, over a table that it may share."""

    def __init__(self, table: Table, letters: Letters | None = None) -> None:
        self.watch, self.letters = Watch(), letters or Letters()
        self.aftercare = Aftercare(table, self.letters, self.watch)

    async def after(
        self,
        outcome: DialOutcome,
        answer: NextStep,
        *,
        attempt: int = 1,
        item: CallItem = WITH_TOKEN,
        suspicious: bool = False,
    ) -> None:
        self.aftercare.dial_ended(EndedDial(IDENTITY, attempt, outcome, suspicious, item, answer))
        await asyncio.wait_for(self.aftercare.settled(), DEADLINE_S)


@pytest.fixture
def one(table: Table) -> Instance:
    return Instance(table)


def redeemed(table: Table, by: str = "contact-1", at: int | None = 1_009) -> None:
    table.redeemed[TOKEN] = Redemption(RECORD, by, at, created_at=1_000)


# --- somebody was reached


async def test_an_agent_who_fetched_the_record_had_the_context_and_the_time_it_took_is_known(
    one: Instance, table: Table
) -> None:
    redeemed(table)
    await one.after(DialOutcome.CONNECTED, HangUp())

    assert one.watch.told == [DialOutcome.CONNECTED, 9, Outcome.CONNECTED_WITH_CONTEXT]
    assert table.items[CALL_SID].outcome is Outcome.CONNECTED_WITH_CONTEXT
    assert table.revoked == []
    assert one.letters.notes == []


async def test_a_record_that_nobody_fetched_is_counted_and_noted_on_the_ticket(one: Instance, table: Table) -> None:
    redeemed(table, by="", at=None)
    await one.after(DialOutcome.CONNECTED, HangUp(), suspicious=True)

    assert one.watch.told == [
        (DialOutcome.CONNECTED, True),
        "context not delivered",
        Outcome.CONNECTED_WITHOUT_CONTEXT,
    ]
    assert one.letters.kinds == ["context_not_delivered"]
    assert not one.letters.notes[0].urgent


@pytest.mark.parametrize(
    ("attempt", "item"), [(1, CallItem()), (2, WITH_TOKEN)], ids=["never had a token", "second dial"]
)
async def test_a_dial_without_a_token_cannot_have_delivered_anything(
    one: Instance, table: Table, attempt: int, item: CallItem
) -> None:
    redeemed(table)
    await one.after(DialOutcome.CONNECTED, HangUp(), attempt=attempt, item=item)

    assert one.watch.told == [DialOutcome.CONNECTED, Outcome.CONNECTED_WITHOUT_CONTEXT]
    assert one.letters.notes == []


async def test_a_record_that_is_gone_says_nothing_against_the_contact_centre(one: Instance) -> None:
    await one.after(DialOutcome.CONNECTED, HangUp())

    assert "context not delivered" not in one.watch.told
    assert one.letters.notes == []


# --- nobody was reached


async def test_the_token_of_a_failed_dial_is_revoked_and_nothing_else_is_done_yet(one: Instance, table: Table) -> None:
    await one.after(DialOutcome.BUSY, AGAIN)

    assert table.revoked == [TOKEN]
    assert one.watch.told == [DialOutcome.BUSY]
    assert one.letters.notes == []
    assert table.items[CALL_SID].outcome is None


async def test_when_the_caller_goes_back_to_the_assistant_people_are_told_that_nobody_came(
    one: Instance, table: Table
) -> None:
    item = CallItem(WITH_TOKEN.step, WITH_TOKEN.checkpoint, {1: DialOutcome.BUSY})
    await one.after(DialOutcome.NO_ANSWER, ResumeStream("no_answer"), attempt=2, item=item)

    (note,) = one.letters.notes
    assert (note.kind, note.urgent, note.conversation_id) == ("nobody_reached", True, "conv-1")
    assert "dial 1: the line was busy; dial 2: nobody answered" in note.text
    assert table.items[CALL_SID].outcome is None


async def test_a_promised_call_back_is_a_note_of_its_own_and_the_end_of_the_call(one: Instance, table: Table) -> None:
    await one.after(DialOutcome.FAILED, PromiseCallBack(), attempt=2)

    assert one.letters.kinds == ["nobody_reached", "call_back"]
    assert all(note.urgent for note in one.letters.notes)
    assert "+61491570006" in one.letters.notes[1].text
    assert one.watch.told == [DialOutcome.FAILED, Outcome.CALLED_BACK]
    assert table.items[CALL_SID].outcome is Outcome.CALLED_BACK


async def test_a_caller_who_left_while_it_rang_leaves_no_token_and_a_note(one: Instance, table: Table) -> None:
    await one.after(DialOutcome.CALLER_LEFT, HangUp())

    assert table.revoked == [TOKEN]
    assert one.letters.kinds == ["caller_left"]
    assert one.watch.told == [DialOutcome.CALLER_LEFT, Outcome.CALLER_LEFT]


async def test_a_caller_who_left_before_the_dial_leaves_no_token_and_a_note_either(one: Instance, table: Table) -> None:
    table.items[CALL_SID] = WITH_TOKEN
    one.aftercare.caller_left(IDENTITY)
    await asyncio.wait_for(one.aftercare.settled(), DEADLINE_S)

    assert table.revoked == [TOKEN]
    assert one.letters.kinds == ["caller_left"]
    assert one.watch.told == [Outcome.CALLER_LEFT]


async def test_a_call_that_has_ended_already_does_not_end_again_because_its_caller_has_left(
    one: Instance, table: Table
) -> None:
    table.items[CALL_SID] = CallItem(HangUp(), outcome=Outcome.CONTAINED)
    one.aftercare.caller_left(IDENTITY)
    await asyncio.wait_for(one.aftercare.settled(), DEADLINE_S)

    assert one.watch.told == []
    assert table.items[CALL_SID].outcome is Outcome.CONTAINED


async def test_a_transfer_that_broke_off_leaves_what_was_said_once_however_often_twilio_asks(one: Instance) -> None:
    for _ in range(2):
        one.aftercare.handover_lost(IDENTITY, BROKE_OFF)
        await asyncio.wait_for(one.aftercare.settled(), DEADLINE_S)

    (note,) = one.letters.notes
    assert note.kind == "handover_lost"
    assert "My order has never arrived" in note.text


async def test_a_caller_who_left_as_the_transfer_broke_off_is_told_of_too(one: Instance, table: Table) -> None:
    table.items[CALL_SID] = BROKE_OFF
    one.aftercare.caller_left(IDENTITY)
    await asyncio.wait_for(one.aftercare.settled(), DEADLINE_S)

    assert one.letters.kinds == ["handover_lost"]
    assert one.watch.told == [Outcome.CALLER_LEFT]


# --- once, whoever is told and however often


async def test_what_twilio_tells_two_instances_is_done_by_one(table: Table) -> None:
    letters = Letters()
    one, other = Instance(table, letters), Instance(table, letters)
    for instance in (one, other, one):
        await instance.after(DialOutcome.FAILED, PromiseCallBack(), attempt=2)

    assert one.watch.told == [DialOutcome.FAILED, Outcome.CALLED_BACK]
    assert other.watch.told == []
    assert letters.kinds == ["nobody_reached", "call_back"]


async def test_the_dials_are_told_apart_in_whatever_order_they_are_told(one: Instance) -> None:
    await one.after(DialOutcome.NO_ANSWER, ResumeStream("no_answer"), attempt=2)
    await one.after(DialOutcome.BUSY, AGAIN, attempt=1)
    await one.after(DialOutcome.NO_ANSWER, ResumeStream("no_answer"), attempt=2)

    assert one.watch.told == [DialOutcome.NO_ANSWER, DialOutcome.BUSY]


async def test_a_store_that_cannot_say_leaves_nobody_without_a_note(one: Instance, table: Table) -> None:
    async def fails() -> None:
        raise ConnectionError

    table.does = fails
    await one.after(DialOutcome.FAILED, PromiseCallBack(), attempt=2)

    assert one.letters.kinds == ["nobody_reached", "call_back"]
    assert one.watch.failures == ["note dial", "revoke token", "close call"]


async def test_a_note_that_cannot_be_kept_stops_nothing_else(one: Instance, table: Table) -> None:
    one.letters.broken = True
    await one.after(DialOutcome.FAILED, PromiseCallBack(), attempt=2)

    assert one.watch.failures == ["keep note", "keep note"]
    assert table.items[CALL_SID].outcome is Outcome.CALLED_BACK


async def test_without_a_crm_everything_else_is_done(table: Table) -> None:
    watch = Watch()
    aftercare = Aftercare(table, None, watch)
    aftercare.dial_ended(EndedDial(IDENTITY, 2, DialOutcome.BUSY, suspicious=False, item=WITH_TOKEN, answer=HangUp()))
    await asyncio.wait_for(aftercare.settled(), DEADLINE_S)

    assert table.revoked == [TOKEN]
    assert watch.failures == []


# --- bounds


async def test_it_is_over_within_its_time_even_if_nobody_answers(
    one: Instance, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(limits, "AFTERCARE_S", 0.01)
    table.does = hangs
    await one.after(DialOutcome.BUSY, AGAIN)

    assert one.watch.failures == ["note dial", "revoke token"]


async def test_more_than_can_be_looked_after_is_told_and_left(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AFTERCARE_TASKS", 2)
    one = Instance(table)
    for _ in range(3):
        one.aftercare.asked(CALL_SID)
    await asyncio.wait_for(one.aftercare.settled(), DEADLINE_S)

    assert one.watch.failures == ["aftercare"]


async def test_that_twilio_asked_is_kept_for_the_instance_that_had_the_stream(one: Instance, table: Table) -> None:
    one.aftercare.asked(CALL_SID)
    await asyncio.wait_for(one.aftercare.settled(), DEADLINE_S)

    assert table.items[CALL_SID].asked_at == table.now
