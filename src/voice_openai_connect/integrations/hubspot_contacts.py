"""The caller as a HubSpot contact, made once, however often and wherever it is asked for at the same time."""

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import quote
from weakref import WeakValueDictionary

import msgspec
import phonenumbers

from voice_openai_connect import limits
from voice_openai_connect.integrations.hubspot_api import API_VERSION, Anything, CrmError, CrmObject, HubSpotApi
from voice_openai_connect.integrations.hubspot_setup import CALLER

_CONTACTS: Final = f"/crm/objects/{API_VERSION}/contacts"
_NUMBERS: Final = ("hs_calculated_phone_number", "phone", "hs_calculated_mobile_number", "mobilephone")


class Found(msgspec.Struct):
    """A page of search results."""

    results: list[CrmObject] = []


class HubSpotContacts:
    """The contacts of one account. `default_region` and `on_trouble` are those of `HubSpotClient`."""

    def __init__(self, api: HubSpotApi, default_region: str, on_trouble: Callable[[str], None]) -> None:
        self._api = api
        self._default_region = default_region or None
        self._on_trouble = on_trouble
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def find(self, caller_phone: str) -> str:
        """The id of the caller's contact; made if there is none. Calls at the same moment find the same one.

        `caller_phone` is E.164. Raises `CrmError`: ``withheld`` for an empty number, ``no_number`` for what is not
        a telephone number in E.164.
        """
        number = _parsed(caller_phone)
        lock = self._locks.setdefault(caller_phone, asyncio.Lock())
        async with lock:
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
