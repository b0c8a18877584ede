"""Whichever instance is asked about a caller whose transfer broke off keeps for people what was said."""

from typing import Any, cast

from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint, Turn
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.next_step import DialPerson
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.gateway.aftercare import Aftercare
from voice_openai_connect.gateway.app import Front, Gateway
from voice_openai_connect.gateway.session_manager import SessionManager
from voice_openai_connect.wire.twilio_webhooks import VoiceRequest
from voice_openai_connect.wire.twiml import Wording

CALL_SID, ACCOUNT = "CA" + "0" * 32, "AC" + "0" * 32
FRONT = Front("https://voice.example.com", "wss://voice.example.com", ACCOUNT, ("secret",), "+61255505678")
ON_THE_WAY = Checkpoint((Turn("caller", "My order has never arrived"),), person_needed=True)
Table = Any


class Speaks:
    def wording(self) -> Wording:
        return Wording("en-AU", "One moment, please.", "Sorry, once more.", "We will call you back.", "Goodbye.")


class Desk:
    def profile(self, called: str) -> Speaks:
        return Speaks()


class Silent:
    def failed(self, what: str, error: BaseException) -> None:
        raise AssertionError(what) from error


class Letters:
    def __init__(self) -> None:
        self.notes: list[TicketNote] = []

    async def keep_ticket(self, record: HandoverRecord) -> None:
        raise AssertionError

    async def keep_note(self, note: TicketNote) -> None:
        self.notes.append(note)


async def ask(table: Table) -> tuple[str, list[TicketNote]]:
    """Twilio asks an instance that has never heard of the call; the answer, and what was kept."""
    letters, watch = Letters(), cast("Any", Silent())
    aftercare = Aftercare(table, letters, watch)
    sessions = SessionManager(table, max_calls=1, on_failure=lambda what, error: None)
    gateway = Gateway(FRONT, cast("Any", Desk()), sessions, watch, aftercare=aftercare)
    answer = await gateway.what_is_next(VoiceRequest(CALL_SID, ACCOUNT, "+61491570006", "+61255501234", "in-progress"))
    await aftercare.settled()
    return answer, letters.notes


async def test_a_caller_whose_process_died_on_the_way_is_dialled_and_people_can_read_what_was_said(
    table: Table,
) -> None:
    table.items[CALL_SID] = CallItem(checkpoint=ON_THE_WAY)
    answer, (note,) = await ask(table)

    assert "<Dial" in answer
    assert (note.kind, note.caller_phone) == ("handover_lost", "+61491570006")
    assert "My order has never arrived" in note.text


async def test_a_transfer_that_came_to_its_dial_leaves_no_such_note(table: Table) -> None:
    table.items[CALL_SID] = CallItem(DialPerson(token="0123456789"), ON_THE_WAY)
    answer, notes = await ask(table)

    assert "0123456789" in answer
    assert notes == []
