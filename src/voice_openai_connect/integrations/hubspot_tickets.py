"""The conversation as a HubSpot ticket, made once, and the notes on it, each written once.

What people must read stands at the top of the ticket's description, which is what they see first; whatever people
have written below it stays. HubSpot cannot write on a condition, so two writers of one description could undo each
other's work: a conversation is written by one task at a time here, and by one instance at a time from the outbox.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote
from weakref import WeakValueDictionary

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord, Priority, plain_text
from voice_openai_connect.call.ticket_note import NoteKind, TicketNote
from voice_openai_connect.integrations.hubspot_account import HubSpotAccount
from voice_openai_connect.integrations.hubspot_api import API_VERSION, Anything, CrmError, CrmObject, HubSpotApi
from voice_openai_connect.integrations.hubspot_setup import CONVERSATION, Pipeline

MADE_BY: Final = "Made by an AI from what was said in the call; nobody has checked it."
"""The last line of a handover's ticket: whoever reads it must not take a caller's word for the company's."""
TICKET_TO_CONTACT: Final = 16
"""HubSpot's number for the association of a ticket with its contact."""
_TICKETS: Final = f"/crm/objects/{API_VERSION}/tickets"
_HANDOVER: Final = "voice_handover_id"
_PRIORITY: Final = "hs_ticket_priority"
_HEADINGS: Final[dict[NoteKind, str]] = {
    "call_back": "CALL BACK",
    "nobody_reached": "NOBODY WAS REACHED",
    "context_not_delivered": "THE AGENT MAY HAVE KNOWN NOTHING",
    "caller_left": "THE CALLER LEFT",
    "handover_lost": "THE TRANSFER WAS INTERRUPTED",
}


class HubSpotTickets:
    """The tickets of one account. `on_trouble` is that of `HubSpotClient`."""

    def __init__(
        self, api: HubSpotApi, account: HubSpotAccount, pipeline: Pipeline, on_trouble: Callable[[str], None]
    ) -> None:
        self._api = api
        self._account = account
        self._pipeline = pipeline
        self._on_trouble = on_trouble
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # --- A ticket from a record

    async def open(self, record: HandoverRecord) -> str:
        """The id of the conversation's ticket, which says what the record says. Raises `CrmError`."""
        whole = {**self._essential(record), **_particulars(record)}
        contact = record.hubspot_contact_id
        async with self._alone(record.conversation_id):
            try:
                return await self._make_or_complete(record, whole, contact)
            except CrmError as error:
                if error.reason not in {"invalid", "not_set_up", "not_found"}:
                    raise
            # A missing property, a rule an administrator added, or a contact deleted since.
            self._on_trouble("ticket_degraded")
            ticket_id = await self._make_or_complete(record, self._essential(record), "")
            if contact:
                await self._link(ticket_id, contact)
            return ticket_id

    async def _make_or_complete(self, record: HandoverRecord, properties: dict[str, str], contact_id: str) -> str:
        try:
            return await self._make(properties, contact_id)
        except CrmError as error:
            if not error.clash:
                raise
        there = await self._of(record.conversation_id)
        if there is None:  # made a moment ago, and removed since
            raise CrmError("conflict", permanent=False)
        if there.properties.get(_HANDOVER) != record.handover_id:
            await self._complete(there, properties, record, contact_id)
        return there.id

    async def _complete(
        self, there: CrmObject, properties: dict[str, str], record: HandoverRecord, contact_id: str
    ) -> None:
        """Let a ticket that a note had to make, or a lesser attempt, say what it was made for too."""
        content, ours = there.properties.get("content") or "", properties["content"]
        fixed = {CONVERSATION, "hs_pipeline", "hs_pipeline_stage", "content", _PRIORITY}
        changes = {name: value for name, value in properties.items() if name not in fixed}
        if not _says(content, ours):
            changes["content"] = f"{content}\n\n{ours}".strip()
        await self._change(there, changes, record.priority)
        if contact_id:
            await self._link(there.id, contact_id)

    async def _make(self, properties: dict[str, str], contact_id: str) -> str:
        body: dict[str, Any] = {"properties": properties, "associations": []}
        if contact_id:
            kind = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": TICKET_TO_CONTACT}
            body["associations"] = [{"to": {"id": contact_id}, "types": [kind]}]
        return (await self._api.call("POST", _TICKETS, CrmObject, body=body)).id

    async def _link(self, ticket_id: str, contact_id: str) -> None:
        path = f"/crm/objects/{API_VERSION}/ticket/{ticket_id}/associations/default/contact/{contact_id}"
        try:
            await self._api.call("PUT", path, Anything)
        except CrmError:
            self._on_trouble("contact_not_linked")

    # --- Notes

    async def note(self, note: TicketNote, find_contact: Callable[[], Awaitable[str]]) -> None:
        """Let the conversation's ticket say this, at its top. `find_contact` is asked for a ticket that must be made.

        Raises `CrmError`.
        """
        line = _plain_lines(f"{_HEADINGS[note.kind]}: {note.text}")
        async with self._alone(note.conversation_id):
            for _ in range(limits.HUBSPOT_TICKET_ROUNDS):
                if there := await self._of(note.conversation_id):
                    return await self._add(there, line, note)
                try:
                    await self._make(self._small(note, line), await find_contact())
                except CrmError as error:
                    if not error.clash:
                        raise
                else:
                    return None
        raise CrmError("conflict", permanent=False)

    async def _add(self, there: CrmObject, line: str, note: TicketNote) -> None:
        content = there.properties.get("content") or ""
        changes = {} if _says(content, line) else {"content": f"{line}\n\n{content}".strip()}
        if len(changes.get("content", "")) > limits.HUBSPOT_TEXT_CHARS:
            self._on_trouble("note_without_room")  # people have written a book there, and no word of it is cut
            del changes["content"]
        await self._change(there, changes, "high" if note.urgent else None)

    def _small(self, note: TicketNote, line: str) -> dict[str, str]:
        heading = _HEADINGS[note.kind].capitalize()
        return self._basis(note.conversation_id, heading, line, "high" if note.urgent else "normal")

    # --- Properties

    async def _of(self, conversation_id: str) -> CrmObject | None:
        """The conversation's ticket by its unique property: read directly, so it is found as soon as it is there."""
        wanted = {"idProperty": CONVERSATION, "properties": f"content,{_PRIORITY},{_HANDOVER}"}
        try:
            return await self._api.call(
                "GET", f"{_TICKETS}/{quote(conversation_id, safe='')}", CrmObject, params=wanted
            )
        except CrmError as error:
            if error.reason == "not_found":
                return None
            if error.reason == "invalid":  # the id is in order, so it is the property that HubSpot does not know
                raise CrmError("not_set_up", permanent=True, correlation_id=error.correlation_id) from None
            raise

    async def _change(self, there: CrmObject, changes: dict[str, str], at_least: Priority | None) -> None:
        """Write what is different, and nothing where nothing is."""
        present = there.properties.get(_PRIORITY) or ""
        if at_least and (raised := self._account.raised(present, at_least)):
            changes = {**changes, _PRIORITY: raised}
        if changes:
            await self._api.call("PATCH", f"{_TICKETS}/{there.id}", Anything, body={"properties": changes})

    def _essential(self, record: HandoverRecord) -> dict[str, str]:
        reason = f"Reason for the handover: {record.escalation_reason or 'not known'}"
        content = _plain_lines(f"{record.summary}\n\n{reason}\n\n{MADE_BY}")
        return self._basis(record.conversation_id, _in_words(record.intent), content, record.priority)

    def _basis(self, conversation_id: str, about: str, content: str, priority: Priority) -> dict[str, str]:
        """What a ticket cannot do without. Without the conversation's id, a repeat would make a second ticket."""
        option = self._account.priority(priority)
        return {
            CONVERSATION: conversation_id,
            "subject": plain_text(f"Phone call: {about}", limits.HUBSPOT_SUBJECT_CHARS),
            "content": content,
            "hs_pipeline": self._pipeline.id,
            "hs_pipeline_stage": self._pipeline.stage,
        } | ({_PRIORITY: option} if option else {})

    def _alone(self, conversation_id: str) -> asyncio.Lock:
        return self._locks.setdefault(conversation_id, asyncio.Lock())


def _particulars(record: HandoverRecord) -> dict[str, str]:
    """Our own properties of a ticket, for lists and reports. Never the token: whoever reads a ticket could use it."""
    return {
        "voice_call_sid": record.call_sid,
        _HANDOVER: record.handover_id,
        "voice_intent": record.intent,
        "voice_escalation_reason": record.escalation_reason,
    }


def _in_words(intent: str) -> str:
    """An intent's name as people write it: ``technical_support`` is "technical support"."""
    return " ".join(intent.replace("_", " ").replace("-", " ").split()) or "handover"


def _says(content: str, text: str) -> bool:
    """Whether a text is there already, however its lines were broken since."""
    return " ".join(text.split()) in " ".join(content.split())


def _plain_lines(text: str) -> str:
    lines = (plain_text(line, limits.HUBSPOT_CONTENT_CHARS) for line in text.splitlines())
    return "\n".join(lines)[: limits.HUBSPOT_CONTENT_CHARS]
