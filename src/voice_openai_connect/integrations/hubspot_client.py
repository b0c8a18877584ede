"""The caller as a HubSpot contact, and the conversation as a ticket: each made once, however often it is asked for.

HubSpot has no idempotency keys. Two unique properties of our own stand in for them: `voice_caller_e164` on contacts
and `voice_conversation_id` on tickets (`voice-connect setup hubspot` makes them). A write that clashes with one of
them has been done before, so what is there is read and used.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Annotated, Any, Final, Self
from urllib.parse import quote
from weakref import WeakValueDictionary

import msgspec
import phonenumbers

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord, Priority, plain_text
from voice_openai_connect.findings import Finding
from voice_openai_connect.integrations import hubspot_setup
from voice_openai_connect.integrations.hubspot_api import (
    API_VERSION,
    BASE_URL,
    ONCE,
    Anything,
    CrmError,
    HubSpotApi,
    ObjectId,
)
from voice_openai_connect.integrations.hubspot_setup import CALLER, CONVERSATION, Pipeline, PropertyFacts

TICKET_TO_CONTACT: Final = 16
"""HubSpot's number for the association of a ticket with its contact."""
_CONTACTS: Final = f"/crm/objects/{API_VERSION}/contacts"
_TICKETS: Final = f"/crm/objects/{API_VERSION}/tickets"
_PRIORITIES: Final[dict[Priority, str]] = {"low": "LOW", "normal": "MEDIUM", "high": "HIGH", "urgent": "URGENT"}
_PRIORITIES_OF_OLD: Final = frozenset({"LOW", "MEDIUM", "HIGH"})
_NUMBERS: Final = ("hs_calculated_phone_number", "phone", "hs_calculated_mobile_number", "mobilephone")


class CrmObject(msgspec.Struct):
    """A contact or a ticket as HubSpot answers with it."""

    id: ObjectId
    properties: dict[str, str | None] = {}


class Found(msgspec.Struct):
    """A page of search results."""

    results: list[CrmObject] = []


class Account(msgspec.Struct):
    """Where the account's records are shown."""

    portalId: int  # noqa: N815 - HubSpot's spelling
    uiDomain: Annotated[str, msgspec.Meta(pattern="^[a-z0-9.-]{1,100}$")]  # noqa: N815


class HubSpotClient:
    """Contacts and tickets of one HubSpot account: `async with HubSpotClient(lambda: token) as crm`.

    `token` is asked for at every request. `default_region` (ISO, e.g. ``AU``) is how numbers that people typed
    without a country code are read; without it only numbers with one are compared. `portal_id` and `ui_domain`
    say where tickets are shown; without a `portal_id` the account is asked. `on_trouble` is told, by a short label,
    what was made good: ``ticket_degraded``, ``contact_not_linked``, ``contact_ambiguous``.
    """

    def __init__(
        self,
        token: Callable[[], str],
        *,
        base_url: str = BASE_URL,
        pipeline: Pipeline = Pipeline(),  # noqa: B008 - frozen
        default_region: str = "",
        portal_id: str = "",
        ui_domain: str = "app.hubspot.com",
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._api = HubSpotApi(token, base_url=base_url)
        self._pipeline = pipeline
        self._default_region = default_region or None
        self._on_trouble = on_trouble
        self._record_url = _record_url(ui_domain, portal_id) if portal_id else None
        self._priorities: frozenset[str] | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.close()

    # --- Contacts

    async def find_contact(self, caller_phone: str) -> str:
        """The id of the caller's contact; made if there is none. Calls at the same moment find the same one.

        `caller_phone` is E.164. Raises `CrmError`: ``withheld`` for an empty number, ``no_number`` for what is not
        a telephone number in E.164.
        """
        number = _parsed(caller_phone)
        lock = self._locks.setdefault(caller_phone, asyncio.Lock())
        async with _in_all(), lock:
            for _ in range(limits.HUBSPOT_CONTACT_ROUNDS):
                if known := await self._contact_of(caller_phone):
                    return known
                try:
                    return await self._adopt_or_create(number, caller_phone)
                except CrmError as error:
                    if not error.clash:
                        raise
            if known := await self._contact_of(caller_phone):
                return known
        raise CrmError("conflict", permanent=False)

    async def _contact_of(self, e164: str) -> str:
        """Reads by the unique property, which is direct: unlike a search it sees what was written a moment ago."""
        try:
            # The plus sign must be quoted, or it would be read as a space.
            path = f"{_CONTACTS}/{quote(e164, safe='')}"
            return (await self._api.call("GET", path, CrmObject, params={"idProperty": CALLER})).id
        except CrmError as error:
            if error.reason == "not_found":
                return ""
            if error.reason == "invalid":  # the number is in order, so it is the property that HubSpot does not know
                raise CrmError("not_set_up", permanent=True, correlation_id=error.correlation_id) from None
            raise

    async def _adopt_or_create(self, number: phonenumbers.PhoneNumber, e164: str) -> str:
        """Mark the contact that people made for this number as the caller's, or make one."""
        same = await self._search(number, e164)
        if not same:
            # HubSpot wants a name or an address; people will overwrite this one, and we never do.
            properties = {CALLER: e164, "phone": e164, "lastname": f"Caller {e164}"}
            return (await self._api.call("POST", _CONTACTS, CrmObject, body={"properties": properties})).id
        if len(same) > 1:
            self._on_trouble("contact_ambiguous")
        oldest = min(same, key=lambda contact: (contact.properties.get("createdate") or "~", int(contact.id)))
        await self._api.call("PATCH", f"{_CONTACTS}/{oldest.id}", Anything, body={"properties": {CALLER: e164}})
        return oldest.id

    async def _search(self, number: phonenumbers.PhoneNumber, e164: str) -> list[CrmObject]:
        """Contacts with exactly this number. HubSpot searches without country codes, so its finds are read again."""
        national = phonenumbers.national_significant_number(number)
        alternatives = [
            ("hs_searchable_calculated_phone_number", "EQ", national),
            ("hs_searchable_calculated_mobile_number", "EQ", national),
            ("hs_searchable_calculated_phone_number", "CONTAINS_TOKEN", f"*{national}"),
            ("phone", "EQ", e164),
            ("mobilephone", "EQ", e164),
        ]
        request = {
            "filterGroups": [
                {"filters": [{"propertyName": name, "operator": operator, "value": value}]}
                for name, operator, value in alternatives
            ],
            "properties": ["createdate", CALLER, *_NUMBERS],
            "sorts": [{"propertyName": "createdate", "direction": "ASCENDING"}],
            "limit": 10,
            "after": "0",
        }
        found = await self._api.call("POST", f"{_CONTACTS}/search", Found, body=request)
        return [contact for contact in found.results if self._has_number(contact, number)]

    def _has_number(self, contact: CrmObject, number: phonenumbers.PhoneNumber) -> bool:
        taken = contact.properties.get(CALLER)
        if taken and taken != phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164):
            return False
        return any(self._same(contact.properties.get(name) or "", number) for name in _NUMBERS)

    def _same(self, text: str, number: phonenumbers.PhoneNumber) -> bool:
        try:
            return phonenumbers.parse(text, self._default_region) == number
        except phonenumbers.NumberParseException:
            return False

    # --- Tickets

    async def open_ticket(self, record: HandoverRecord) -> tuple[str, str]:
        """`(ticket_id, url)` of this conversation's ticket; made if there is none. The url is empty if not known.

        A ticket that HubSpot refuses is offered again with less and less on it. Raises `CrmError`.
        """
        async with _in_all():
            await self._learn_about_account()
            ticket_id = await self._find_or_make(record)
        return ticket_id, (self._record_url or "").replace("{id}", ticket_id)

    async def _find_or_make(self, record: HandoverRecord) -> str:
        essential = self._essential(record)
        whole = {**essential, **_particulars(record)}
        contact = record.hubspot_contact_id
        try:
            return await self._make(record, whole, contact)
        except CrmError as error:
            if error.reason not in {"invalid", "not_set_up", "not_found"}:
                raise
        # A missing property, a rule an administrator added, or a contact deleted since.
        self._on_trouble("ticket_degraded")
        ticket_id = await self._make(record, essential, "")
        if contact:
            await self._link(ticket_id, contact)
        return ticket_id

    async def _make(self, record: HandoverRecord, properties: dict[str, str], contact_id: str) -> str:
        body: dict[str, Any] = {"properties": properties, "associations": []}
        if contact_id:
            kind = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": TICKET_TO_CONTACT}
            body["associations"] = [{"to": {"id": contact_id}, "types": [kind]}]
        try:
            return (await self._api.call("POST", _TICKETS, CrmObject, body=body)).id
        except CrmError as error:
            if not error.clash:
                raise
        path = f"{_TICKETS}/{quote(record.conversation_id, safe='')}"
        return (await self._api.call("GET", path, CrmObject, params={"idProperty": CONVERSATION})).id

    async def _link(self, ticket_id: str, contact_id: str) -> None:
        path = f"/crm/objects/{API_VERSION}/ticket/{ticket_id}/associations/default/contact/{contact_id}"
        try:
            await self._api.call("PUT", path, Anything)
        except CrmError:
            self._on_trouble("contact_not_linked")

    def _essential(self, record: HandoverRecord) -> dict[str, str]:
        """What a ticket cannot do without. Without the conversation's id, a repeat would make a second ticket."""
        about = record.intent or "handover"
        content = f"{record.summary}\n\nReason for the handover: {record.escalation_reason or 'not known'}"
        return {
            CONVERSATION: record.conversation_id,
            "subject": plain_text(f"Phone call: {about}", limits.HUBSPOT_SUBJECT_CHARS),
            "content": _plain_lines(content),
            "hs_pipeline": self._pipeline.id,
            "hs_pipeline_stage": self._pipeline.stage,
        } | ({"hs_ticket_priority": priority} if (priority := self._priority(record.priority)) else {})

    def _priority(self, priority: Priority) -> str:
        """The account's nearest option; empty if it has none of ours."""
        options = _PRIORITIES_OF_OLD if self._priorities is None else self._priorities
        wishes = (_PRIORITIES[priority], "HIGH", "MEDIUM", "LOW")
        return next((wish for wish in wishes if wish in options), "")

    # --- The account

    async def _learn_about_account(self) -> None:
        """Ask, once, for what is needed besides the ticket. Whatever is not learned now is asked again next time."""
        questions = [self._learn_priorities()] if self._priorities is None else []
        questions += [self._learn_url()] if self._record_url is None else []
        await asyncio.gather(*questions)

    async def _learn_priorities(self) -> None:
        path = f"/crm/properties/{API_VERSION}/tickets/hs_ticket_priority"
        try:
            facts = await self._api.call("GET", path, PropertyFacts, policy=ONCE)
            self._priorities = frozenset(option.value for option in facts.options)
        except CrmError as error:
            if error.permanent:
                self._priorities = _PRIORITIES_OF_OLD

    async def _learn_url(self) -> None:
        try:
            account = await self._api.call("GET", f"/account-info/{API_VERSION}/details", Account, policy=ONCE)
            self._record_url = _record_url(account.uiDomain, str(account.portalId))
        except CrmError as error:
            if error.permanent:  # a service key may not be allowed to ask
                self._record_url = ""

    # --- For the setup and doctor commands

    async def setup(self) -> list[str]:
        """Make the properties that are missing, and say what was done. Needs the schema scopes. Raises `CrmError`."""
        return await hubspot_setup.setup(self._api)

    async def check(self) -> list[Finding]:
        """What is right and wrong with the account, for the doctor. Reads only. Never raises."""
        return await hubspot_setup.check(self._api, self._pipeline, url_known=bool(self._record_url))


def _record_url(ui_domain: str, portal_id: str) -> str:
    """0-5 is HubSpot's number for tickets."""
    return f"https://{ui_domain}/contacts/{portal_id}/record/0-5/{{id}}"


@asynccontextmanager
async def _in_all() -> AsyncGenerator[None, None]:
    """Bounds everything done for one question, however many requests it takes."""
    try:
        async with asyncio.timeout(limits.HUBSPOT_TOTAL_S):
            yield
    except TimeoutError:
        raise CrmError("timeout", permanent=False) from None


def _parsed(caller_phone: str) -> phonenumbers.PhoneNumber:
    if not caller_phone:
        raise CrmError("withheld", permanent=True)
    try:
        number = phonenumbers.parse(caller_phone, None)
    except phonenumbers.NumberParseException:
        raise CrmError("no_number", permanent=True) from None
    if phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) != caller_phone:
        raise CrmError("no_number", permanent=True)
    return number


def _particulars(record: HandoverRecord) -> dict[str, str]:
    """Our own properties of a ticket, for lists and reports. Never the token: whoever reads a ticket could use it."""
    return {
        "voice_call_sid": record.call_sid,
        "voice_handover_id": record.handover_id,
        "voice_intent": record.intent,
        "voice_escalation_reason": record.escalation_reason,
    }


def _plain_lines(text: str) -> str:
    lines = (plain_text(line, limits.HUBSPOT_CONTENT_CHARS) for line in text.splitlines())
    return "\n".join(lines)[: limits.HUBSPOT_CONTENT_CHARS]
