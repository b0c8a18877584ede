import asyncio
from dataclasses import replace

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.integrations.hubspot_api import CrmError
from voice_openai_connect.integrations.hubspot_client import HubSpotClient
from voice_openai_connect.integrations.hubspot_tickets import MADE_BY
from voice_openai_connect.simulator.crm import SimulatedCrm

CALLER = "+61412345678"


async def test_a_ticket_says_what_an_agent_must_know(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    contact_id = await hubspot.find_contact(CALLER)
    ticket_id, url = await hubspot.open_ticket(replace(record, hubspot_contact_id=contact_id))
    ticket = crm.tickets[ticket_id]
    assert url == f"https://app.hubspot.com/contacts/4711/record/0-5/{ticket_id}"
    assert ticket.associations == {("contacts", contact_id)}
    wanted = {
        "subject": "Phone call: login",
        "content": "The caller cannot log in after changing the password.\n\n"
        f"Reason for the handover: caller asked for a person\n\n{MADE_BY}",
        "hs_pipeline": "0",
        "hs_pipeline_stage": "1",
        "hs_ticket_priority": "HIGH",
        "voice_conversation_id": "conversation-1",
        "voice_call_sid": record.call_sid,
        "voice_handover_id": "handover-1",
        "voice_intent": "login",
        "voice_escalation_reason": "caller asked for a person",
    }
    assert {name: ticket.properties.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("status", [400, 409])
async def test_a_repeated_ticket_is_the_same_ticket(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, status: int
) -> None:
    crm.portal.clash_status = status
    plain = replace(record, hubspot_contact_id="")
    assert await hubspot.open_ticket(plain) == await hubspot.open_ticket(plain)
    assert len(crm.tickets) == 1


async def test_a_ticket_of_a_caller_who_withheld_the_number_has_no_contact(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    ticket_id, _ = await hubspot.open_ticket(replace(record, caller_phone="", hubspot_contact_id=""))
    assert crm.tickets[ticket_id].associations == set()


@pytest.mark.usefixtures("quick")
async def test_a_ticket_whose_making_was_not_confirmed_is_found_and_not_made_again(
    crm: SimulatedCrm, record: HandoverRecord
) -> None:
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
        await client.setup()
        crm.commit_then_hang(method="POST", path="/tickets")
        ticket_id, _ = await client.open_ticket(replace(record, hubspot_contact_id=""))
    assert list(crm.tickets) == [ticket_id]


async def test_a_missing_property_costs_the_details_not_the_ticket_nor_its_contact(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, trouble: list[str]
) -> None:
    del crm.portal.properties["tickets"]["voice_intent"]
    contact_id = await hubspot.find_contact(CALLER)
    ticket_id, _ = await hubspot.open_ticket(replace(record, hubspot_contact_id=contact_id))
    assert crm.tickets[ticket_id].properties["voice_conversation_id"] == "conversation-1"
    assert crm.tickets[ticket_id].associations == {("contacts", contact_id)}
    assert trouble == ["ticket_degraded"]


async def test_a_contact_deleted_since_does_not_cost_the_ticket(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, trouble: list[str]
) -> None:
    ticket_id, _ = await hubspot.open_ticket(replace(record, hubspot_contact_id="999"))
    assert crm.tickets[ticket_id].associations == set()
    assert trouble == ["ticket_degraded", "contact_not_linked"]


async def test_a_rule_of_the_administrator_that_we_cannot_meet_is_reported(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    crm.portal.required["tickets"].add("voice_intent")
    with pytest.raises(CrmError) as caught:
        await hubspot.open_ticket(replace(record, intent="", hubspot_contact_id=""))
    assert (caught.value.reason, caught.value.permanent) == ("invalid", True)
    assert caught.value.correlation_id


async def test_words_of_the_caller_cannot_become_markup_or_a_novel(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    hostile = replace(record, summary="<script>alert(1)</script>" + "x" * 9_000, hubspot_contact_id="")
    ticket_id, _ = await hubspot.open_ticket(hostile)
    content = crm.tickets[ticket_id].properties["content"]
    assert "<" not in content
    assert len(content) <= limits.HUBSPOT_CONTENT_CHARS


async def test_a_ticket_s_subject_is_words_that_people_use(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    ticket_id, _ = await hubspot.open_ticket(replace(record, intent="technical_support", hubspot_contact_id=""))
    assert crm.tickets[ticket_id].properties["subject"] == "Phone call: technical support"
    assert crm.tickets[ticket_id].properties["voice_intent"] == "technical_support"


# --- Notes

NOTE = TicketNote("conversation-1", CALLER, "call_back", "Please call back: the invoice is wrong.", urgent=True)
LINE = "CALL BACK: Please call back: the invoice is wrong."


def only_ticket(crm: SimulatedCrm) -> dict[str, str]:
    (ticket,) = crm.tickets.values()
    return ticket.properties


async def test_a_note_stands_at_the_top_of_the_ticket_once(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    await hubspot.open_ticket(replace(record, hubspot_contact_id=""))
    before = only_ticket(crm)["content"]
    await hubspot.note(NOTE)
    await hubspot.note(NOTE)

    assert only_ticket(crm)["content"] == f"{LINE}\n\n{before}"


async def test_a_note_that_is_there_already_writes_nothing(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    await hubspot.open_ticket(replace(record, hubspot_contact_id=""))
    await hubspot.note(NOTE)
    crm.requests.clear()
    await hubspot.note(NOTE)

    assert crm.requests == [("GET", "/crm/objects/2026-09/tickets/conversation-1")]


async def test_a_note_keeps_what_people_have_written_meanwhile(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    ticket_id, _ = await hubspot.open_ticket(replace(record, hubspot_contact_id=""))
    crm.portal.update(
        "tickets", crm.tickets[ticket_id], {"properties": {"content": "Dealt with. Anna", "subject": "X"}}
    )
    await hubspot.note(NOTE)

    assert (only_ticket(crm)["content"], only_ticket(crm)["subject"]) == (f"{LINE}\n\nDealt with. Anna", "X")


async def test_a_note_whose_lines_people_have_broken_is_still_there(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    await hubspot.note(NOTE)
    (ticket,) = crm.tickets.values()
    broken = LINE.replace(" the", "\r\nthe")
    crm.portal.update("tickets", ticket, {"properties": {"content": broken}})
    await hubspot.note(NOTE)

    assert only_ticket(crm)["content"] == broken


@pytest.mark.parametrize(
    ("present", "options", "urgent", "after"),
    [
        ("low", ("LOW", "MEDIUM", "HIGH", "URGENT"), True, "HIGH"),
        ("urgent", ("LOW", "MEDIUM", "HIGH", "URGENT"), True, "URGENT"),
        ("low", ("LOW", "MEDIUM"), True, "MEDIUM"),
        ("low", ("LOW", "MEDIUM", "HIGH"), False, "LOW"),
    ],
)
async def test_an_urgent_note_raises_the_priority_and_none_lowers_it(
    crm: SimulatedCrm,
    hubspot: HubSpotClient,
    record: HandoverRecord,
    present: str,
    options: tuple[str, ...],
    *,
    urgent: bool,
    after: str,
) -> None:
    crm.portal.properties["tickets"]["hs_ticket_priority"].options = options
    await hubspot.open_ticket(replace(record, hubspot_contact_id="", priority=present))  # pyright: ignore[reportArgumentType]
    await hubspot.note(replace(NOTE, urgent=urgent))

    assert only_ticket(crm)["hs_ticket_priority"] == after


async def test_a_priority_that_people_made_up_is_left_alone(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    crm.portal.properties["tickets"]["hs_ticket_priority"].options = ("LOW", "MEDIUM", "HIGH", "BOSS")
    ticket_id, _ = await hubspot.open_ticket(replace(record, hubspot_contact_id=""))
    crm.portal.update("tickets", crm.tickets[ticket_id], {"properties": {"hs_ticket_priority": "BOSS"}})
    await hubspot.note(NOTE)

    assert only_ticket(crm)["hs_ticket_priority"] == "BOSS"


async def test_without_a_ticket_a_note_makes_a_small_one_with_the_caller_on_it(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    await hubspot.note(NOTE)
    await hubspot.note(NOTE)

    (contact,) = crm.contacts
    (ticket,) = crm.tickets.values()
    assert ticket.associations == {("contacts", contact)}
    assert (ticket.properties["subject"], ticket.properties["content"]) == ("Phone call: Call back", LINE)
    assert ticket.properties["hs_ticket_priority"] == "HIGH"


async def test_a_caller_who_withheld_the_number_gets_a_small_ticket_without_a_contact(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    await hubspot.note(replace(NOTE, caller_phone=""))

    assert crm.contacts == {}
    assert only_ticket(crm)["content"] == LINE


@pytest.mark.parametrize("status", [400, 409])
async def test_a_ticket_that_a_note_had_made_is_completed_by_the_record(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, status: int
) -> None:
    crm.portal.clash_status = status
    await hubspot.note(replace(NOTE, caller_phone=""))
    contact_id = await hubspot.find_contact(CALLER)
    whole = replace(record, hubspot_contact_id=contact_id, priority="normal")
    first = await hubspot.open_ticket(whole)
    assert await hubspot.open_ticket(whole) == first

    (ticket,) = crm.tickets.values()
    assert ticket.associations == {("contacts", contact_id)}
    assert ticket.properties["content"] == (
        f"{LINE}\n\n{record.summary}\n\nReason for the handover: caller asked for a person\n\n{MADE_BY}"
    )
    assert ticket.properties["subject"] == "Phone call: login"
    assert ticket.properties["voice_handover_id"] == "handover-1"
    assert ticket.properties["hs_ticket_priority"] == "HIGH"


async def test_a_record_completes_a_note_s_ticket_also_where_our_properties_are_missing(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    del crm.portal.properties["tickets"]["voice_handover_id"]
    await hubspot.note(NOTE)
    for _ in range(2):
        await hubspot.open_ticket(replace(record, hubspot_contact_id=""))

    assert only_ticket(crm)["content"].count(record.summary) == 1


async def test_notes_and_the_ticket_at_the_same_moment_lose_no_word(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord
) -> None:
    texts = [f"Note number {number}." for number in range(4)]
    await asyncio.gather(
        *(hubspot.note(replace(NOTE, text=text)) for text in texts),
        hubspot.open_ticket(replace(record, hubspot_contact_id="")),
    )

    content = only_ticket(crm)["content"]
    assert [content.count(text) for text in (*texts, record.summary)] == [1] * 5


async def test_a_ticket_made_by_another_gateway_between_read_and_write_gets_the_note(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = crm.portal.create

    def overtaken(kind: str, request: dict[str, object]) -> object:
        if kind == "tickets" and not crm.tickets:
            theirs = {"voice_conversation_id": "conversation-1", "subject": "S", "hs_pipeline_stage": "1"}
            create("tickets", {"properties": theirs})
        return create(kind, request)

    monkeypatch.setattr(crm.portal, "create", overtaken)
    await hubspot.note(NOTE)

    assert only_ticket(crm)["content"] == LINE


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_note_whose_writing_was_not_confirmed_is_written_once(
    crm: SimulatedCrm, record: HandoverRecord, method: str
) -> None:
    async with HubSpotClient(lambda: crm.token, base_url=crm.base_url) as client:
        await client.setup()
        if method == "PATCH":
            await client.open_ticket(replace(record, hubspot_contact_id=""))
        crm.commit_then_hang(method=method)
        await client.note(replace(NOTE, caller_phone=""))

    assert only_ticket(crm)["content"].count("the invoice is wrong") == 1


async def test_where_people_have_written_a_book_only_the_priority_is_raised(
    crm: SimulatedCrm, hubspot: HubSpotClient, record: HandoverRecord, trouble: list[str]
) -> None:
    ticket_id, _ = await hubspot.open_ticket(replace(record, hubspot_contact_id="", priority="low"))
    book = "x" * limits.HUBSPOT_TEXT_CHARS
    crm.portal.update("tickets", crm.tickets[ticket_id], {"properties": {"content": book}})
    await hubspot.note(NOTE)

    assert only_ticket(crm)["content"] == book
    assert only_ticket(crm)["hs_ticket_priority"] == "HIGH"
    assert trouble == ["note_without_room"]


async def test_an_account_that_was_never_set_up_says_so_when_a_note_is_to_be_written(
    crm: SimulatedCrm, hubspot: HubSpotClient
) -> None:
    del crm.portal.properties["tickets"]["voice_conversation_id"]
    with pytest.raises(CrmError, match="setup hubspot"):
        await hubspot.note(NOTE)


async def test_a_note_cannot_become_markup(crm: SimulatedCrm, hubspot: HubSpotClient) -> None:
    await hubspot.note(replace(NOTE, text="<script>alert(1)</script>\u202e"))

    assert only_ticket(crm)["content"] == "CALL BACK: (script)alert(1)(/script)"
