"""What is asked of a HubSpot account once, because tickets need it: its priorities, and where tickets are shown."""

import asyncio
from typing import Annotated, Final

import msgspec

from voice_openai_connect.call.handover import Priority
from voice_openai_connect.integrations.hubspot_api import API_VERSION, ONCE, CrmError, HubSpotApi
from voice_openai_connect.integrations.hubspot_setup import PropertyFacts

_PRIORITIES: Final[dict[Priority, str]] = {"low": "LOW", "normal": "MEDIUM", "high": "HIGH", "urgent": "URGENT"}
_PRIORITIES_OF_OLD: Final = frozenset({"LOW", "MEDIUM", "HIGH"})
_STAYS: Final = frozenset({"forbidden", "not_found"})
"""Refusals that stay: not allowed, and not there. A refused key or used-up requests of a day do not."""


class Account(msgspec.Struct):
    """Where the account's records are shown."""

    portalId: int  # noqa: N815 - HubSpot's spelling
    uiDomain: Annotated[str, msgspec.Meta(pattern="^[a-z0-9.-]{1,100}$")]  # noqa: N815


class HubSpotAccount:
    """One account. Without a `portal_id` it is asked where tickets are shown."""

    def __init__(self, api: HubSpotApi, *, portal_id: str, ui_domain: str) -> None:
        self._api = api
        self._record_url = _record_url(ui_domain, portal_id) if portal_id else None
        self._priorities: frozenset[str] | None = None

    @property
    def url_known(self) -> bool:
        """Whether a ticket's url can be told."""
        return bool(self._record_url)

    async def learn(self) -> None:
        """Ask for what is not known yet. Never raises.

        What the account does not tell now is asked again next time, unless we may not know it or it is not there.
        """
        questions = [self._learn_priorities()] if self._priorities is None else []
        questions += [self._learn_url()] if self._record_url is None else []
        await asyncio.gather(*questions)

    def priority(self, priority: Priority) -> str:
        """The account's nearest option; empty if it has none of ours."""
        options = _PRIORITIES_OF_OLD if self._priorities is None else self._priorities
        wishes = (_PRIORITIES[priority], "HIGH", "MEDIUM", "LOW")
        return next((wish for wish in wishes if wish in options), "")

    def raised(self, present: str, priority: Priority) -> str:
        """The option that a ticket of `present` priority must get to have at least this one; empty to leave it."""
        ranks = list(_PRIORITIES.values())
        wanted = self.priority(priority)
        if not wanted or (present and present not in ranks):  # an option of the account's own is somebody's choice
            return ""
        return wanted if not present or ranks.index(wanted) > ranks.index(present) else ""

    def ticket_url(self, ticket_id: str) -> str:
        """What opens the ticket in a browser; empty if that is not known."""
        return (self._record_url or "").replace("{id}", ticket_id)

    async def _learn_priorities(self) -> None:
        path = f"/crm/properties/{API_VERSION}/tickets/hs_ticket_priority"
        try:
            facts = await self._api.call("GET", path, PropertyFacts, policy=ONCE)
            self._priorities = frozenset(option.value for option in facts.options)
        except CrmError as error:
            if error.reason in _STAYS:
                self._priorities = _PRIORITIES_OF_OLD

    async def _learn_url(self) -> None:
        try:
            account = await self._api.call("GET", f"/account-info/{API_VERSION}/details", Account, policy=ONCE)
            self._record_url = _record_url(account.uiDomain, str(account.portalId))
        except CrmError as error:
            if error.reason in _STAYS:  # a service key may not be allowed to ask
                self._record_url = ""


def _record_url(ui_domain: str, portal_id: str) -> str:
    """0-5 is HubSpot's number for tickets."""
    return f"https://{ui_domain}/contacts/{portal_id}/record/0-5/{{id}}"
