"""One HubSpot account, as the gateway needs it: contacts, tickets, and notes, each made once however often it is asked.

HubSpot has no idempotency keys. Two unique properties of our own stand in for them: `voice_caller_e164` on contacts
and `voice_conversation_id` on tickets (`voice-connect setup hubspot` makes them). A write that clashes with one of
them has been done before, so what is there is read and used.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.outbox_entry import FOR_A_PERSON
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.findings import Finding
from voice_openai_connect.integrations import http_client, hubspot_setup
from voice_openai_connect.integrations.hubspot_account import HubSpotAccount
from voice_openai_connect.integrations.hubspot_api import BASE_URL, CrmError, HubSpotApi
from voice_openai_connect.integrations.hubspot_contacts import HubSpotContacts
from voice_openai_connect.integrations.hubspot_setup import Pipeline
from voice_openai_connect.integrations.hubspot_tickets import HubSpotTickets

_NO_CONTACT: Final = frozenset({"withheld", "no_number"})


class HubSpotClient:
    """Contacts and tickets of one HubSpot account: `async with HubSpotClient(lambda: token) as crm`.

    `token` is asked for at every request. `default_region` (ISO, e.g. ``AU``) is how numbers that people typed
    without a country code are read; without it only numbers with one are compared. `portal_id` and `ui_domain`
    say where tickets are shown; without a `portal_id` the account is asked. `on_trouble` is told, by a short label,
    what was made good: ``ticket_degraded``, ``contact_not_linked``, ``contact_ambiguous``, ``note_without_room``.

    Each question is bounded by `HUBSPOT_TOTAL_S`, however many requests it takes.
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
        self._on_trouble = on_trouble
        self._account = HubSpotAccount(self._api, portal_id=portal_id, ui_domain=ui_domain)
        self._contacts = HubSpotContacts(self._api, default_region, on_trouble)
        self._tickets = HubSpotTickets(self._api, self._account, pipeline, on_trouble)

    async def __aenter__(self) -> Self:
        await http_client.load_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.close()

    async def find_contact(self, caller_phone: str) -> str:
        """The id of the caller's contact; made if there is none. Calls at the same moment find the same one.

        `caller_phone` is E.164. Raises `CrmError`: ``withheld`` for an empty number, ``no_number`` for what is not
        a telephone number in E.164.
        """
        async with _in_all():
            return await self._contacts.find(caller_phone)

    async def open_ticket(self, record: HandoverRecord) -> tuple[str, str]:
        """`(ticket_id, url)` of this conversation's ticket; made if there is none. The url is empty if not known.

        A ticket that HubSpot refuses is offered again with less and less on it. Raises `CrmError`.
        """
        async with _in_all():
            await self._account.learn()
            ticket_id = await self._tickets.open(record)
        return ticket_id, self._account.ticket_url(ticket_id)

    async def note(self, note: TicketNote) -> None:
        """Let the conversation's ticket say this at its top, once; a small ticket is made if there is none.

        An urgent note raises the ticket's priority to the account's nearest to high, and never lowers one. What
        people have written into the ticket stays. Raises `CrmError`.
        """
        async with _in_all():
            await self._account.learn()
            await self._tickets.note(note, lambda: self._contact_if_any(note.caller_phone))

    async def _contact_if_any(self, caller_phone: str) -> str:
        """A note on a ticket without a contact is better than none; trouble that ends is waited for."""
        try:
            return await self._contacts.find(caller_phone)
        except CrmError as error:
            if not error.permanent or error.reason in FOR_A_PERSON:
                raise
            if error.reason not in _NO_CONTACT:  # as where an administrator made a property required
                self._on_trouble("contact_not_linked")
            return ""

    # --- For the setup and doctor commands

    async def setup(self) -> list[str]:
        """Make the properties that are missing, and say what was done. Needs the schema scopes. Raises `CrmError`."""
        return await hubspot_setup.setup(self._api)

    async def check(self) -> list[Finding]:
        """What is right and wrong with the account, for the doctor. Reads only. Never raises."""
        return await hubspot_setup.check(self._api, self._pipeline, url_known=self._account.url_known)


@asynccontextmanager
async def _in_all() -> AsyncGenerator[None]:
    """Bounds everything done for one question, however many requests it takes."""
    try:
        async with asyncio.timeout(limits.HUBSPOT_TOTAL_S):
            yield
    except TimeoutError:
        raise CrmError("timeout", permanent=False) from None
