"""The properties we need in a HubSpot account: making them once, and looking whether they are as they should be."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

import msgspec

from voice_openai_connect.findings import Finding, ok, warning, wrong
from voice_openai_connect.integrations.hubspot_api import API_VERSION, Anything, CrmError, HubSpotApi

CALLER: Final = "voice_caller_e164"
"""Unique on contacts: the caller's number in E.164."""
CONVERSATION: Final = "voice_conversation_id"
"""Unique on tickets: one conversation, one ticket."""
SETUP_COMMAND: Final = "voice-connect setup hubspot"

_REMEDIES: Final = {
    "unauthorized": "Put a valid service key or app token into HUBSPOT_ACCESS_TOKEN.",
    "forbidden": "Give the key the scopes crm.objects.contacts.read/.write and crm.objects.tickets.read/.write.",
    "unreachable": "Check HUBSPOT_API_BASE_URL and the network path to HubSpot.",
    "timeout": "Check HUBSPOT_API_BASE_URL and the network path to HubSpot.",
    "daily_limit": "The account has used up its requests for today; raise the limit or wait until midnight there.",
}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Where new tickets go: internal ids, numbers as text. The defaults are those of a fresh account."""

    id: str = "0"
    stage: str = "1"


@dataclass(frozen=True, slots=True)
class _Wanted:
    kind: str
    name: str
    label: str
    unique: bool = False


_WANTED: Final = (
    _Wanted("contacts", CALLER, "Voice: caller number", unique=True),
    _Wanted("tickets", CONVERSATION, "Voice: conversation", unique=True),
    _Wanted("tickets", "voice_call_sid", "Voice: Twilio call"),
    _Wanted("tickets", "voice_handover_id", "Voice: handover"),
    _Wanted("tickets", "voice_intent", "Voice: intent"),
    _Wanted("tickets", "voice_escalation_reason", "Voice: reason for the handover"),
)
_GROUPS: Final = {"contacts": "contactinformation", "tickets": "ticketinformation"}


class PropertyOption(msgspec.Struct):
    """One choice of an enumeration."""

    value: str


class PropertyFacts(msgspec.Struct):
    """A property as HubSpot describes it."""

    name: str
    hasUniqueValue: bool | None = None  # noqa: N815 - HubSpot's spelling
    options: list[PropertyOption] = []


class _Stage(msgspec.Struct):
    id: str


class _TicketPipeline(msgspec.Struct):
    id: str
    stages: list[_Stage] = []


class _Pipelines(msgspec.Struct):
    results: list[_TicketPipeline] = []


async def setup(api: HubSpotApi) -> list[str]:
    """Make the properties that are missing. May be run as often as one likes. Raises `CrmError`."""
    return [await _make(api, wanted) for wanted in _WANTED]


async def check(api: HubSpotApi, pipeline: Pipeline, *, url_known: bool) -> list[Finding]:
    """Token, scopes, properties, pipeline, links: by reading only. Never raises."""
    token = await _look(
        "HubSpot contacts", "can be read", api.call("GET", f"/crm/objects/{API_VERSION}/contacts?limit=1", Anything)
    )
    if token.state != "ok":
        return [token]
    findings = [
        token,
        await _look(
            "HubSpot tickets", "can be read", api.call("GET", f"/crm/objects/{API_VERSION}/tickets?limit=1", Anything)
        ),
        *[await _check_property(api, wanted) for wanted in _WANTED],
        await _check_pipeline(api, pipeline),
    ]
    return [*findings, ok("HubSpot ticket links", "set by hand") if url_known else await _check_account(api)]


async def _find(api: HubSpotApi, wanted: _Wanted) -> PropertyFacts | None:
    try:
        path = f"/crm/properties/{API_VERSION}/{wanted.kind}/{wanted.name}"
        return await api.call("GET", path, PropertyFacts)
    except CrmError as error:
        if error.reason == "not_found":
            return None
        raise


async def _make(api: HubSpotApi, wanted: _Wanted) -> str:
    name = f"Property {wanted.name} of {wanted.kind}"
    there = await _find(api, wanted)
    if there is not None:
        if wanted.unique and not there.hasUniqueValue:
            return f"{name} exists but is not unique, and HubSpot cannot change that: delete it and run this again."
        return f"{name} was there already."
    definition = {
        "groupName": _GROUPS[wanted.kind],
        "name": wanted.name,
        "label": wanted.label,
        "type": "string",
        "fieldType": "text",
        "hasUniqueValue": wanted.unique,
    }
    try:
        await api.call("POST", f"/crm/properties/{API_VERSION}/{wanted.kind}", Anything, body=definition)
    except CrmError as error:
        if not error.clash:
            raise
        return f"{name} was there already."
    return f"{name} was made."


async def _look(subject: str, detail: str, question: Awaitable[object]) -> Finding:
    try:
        await question
    except CrmError as error:
        return _trouble(subject, error)
    return ok(subject, detail)


def _trouble(subject: str, error: CrmError) -> Finding:
    remedy = _REMEDIES.get(error.reason, "Look at HubSpot's status page and try again.")
    return wrong(subject, str(error), remedy)


async def _check_property(api: HubSpotApi, wanted: _Wanted) -> Finding:
    subject = f"HubSpot property {wanted.name}"
    try:
        there = await _find(api, wanted)
    except CrmError as error:
        return _trouble(subject, error)
    if there is None:
        state = wrong if wanted.unique else warning
        return state(subject, f"{wanted.kind} do not have it", f"Run `{SETUP_COMMAND}`.")
    if wanted.unique and not there.hasUniqueValue:
        remedy = f"Delete it in HubSpot's settings, then run `{SETUP_COMMAND}`."
        return wrong(subject, "it is not unique, so repeated calls would make duplicates", remedy)
    return ok(subject)


async def _check_pipeline(api: HubSpotApi, pipeline: Pipeline) -> Finding:
    subject = "HubSpot ticket pipeline"
    try:
        known = await api.call("GET", f"/crm/pipelines/{API_VERSION}/tickets", _Pipelines)
    except CrmError as error:
        return _trouble(subject, error)
    stages = {found.id: [stage.id for stage in found.stages] for found in known.results}
    if pipeline.id not in stages:
        return wrong(subject, f"there is no pipeline {pipeline.id}", f"Choose one of {', '.join(stages)}.")
    if pipeline.stage not in stages[pipeline.id]:
        remedy = f"Choose one of {', '.join(stages[pipeline.id])}."
        return wrong(subject, f"pipeline {pipeline.id} has no stage {pipeline.stage}", remedy)
    return ok(subject, f"pipeline {pipeline.id}, stage {pipeline.stage}")


async def _check_account(api: HubSpotApi) -> Finding:
    subject = "HubSpot ticket links"
    try:
        await api.call("GET", f"/account-info/{API_VERSION}/details", Anything)
    except CrmError as error:
        remedy = "Set HUBSPOT_PORTAL_ID, and HUBSPOT_UI_DOMAIN for an EU account."
        return warning(subject, f"the account does not tell where its tickets are shown ({error.reason})", remedy)
    return ok(subject, "the account tells where its tickets are shown")
