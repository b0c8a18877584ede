from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from types import SimpleNamespace
from typing import cast

import httpx2
import pytest

from voice_openai_connect.gateway.app import identity_of
from voice_openai_connect.simulator.caller import HangUp, InterruptAfter, Press
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.carrier_dial import Dialled
from voice_openai_connect.simulator.contact_flow_state import Contact
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.crm_store import Record
from voice_openai_connect.simulator.model_conversation import Item
from voice_openai_connect.simulator.model_session import Truncation
from voice_openai_connect.simulator.scenarios import SCENARIOS
from voice_openai_connect.simulator.town import CALLER, CONNECT_NUMBER, GATEWAY_NUMBER, Town

SID = "CA" + "1" * 32
IDENTITY = identity_of(SID, CALLER, GATEWAY_NUMBER)
TO_A_PERSON = ("escalation", "barge-in", "crm-down", "key-0")


@dataclass
class Aftermath:
    """What a call has left behind, in the town's own records: at first, of a call in which all went well."""

    contacts: list[Contact]
    tickets: dict[str, Record]
    dials: list[Dialled]
    items: list[Item]
    truncations: list[Truncation] = field(default_factory=list[Truncation])
    outcome: str = "caller-hung-up"

    def complaints(self, scenario: str) -> list[str]:
        session = SimpleNamespace(items=self.items, truncations=self.truncations)
        town = SimpleNamespace(
            center=SimpleNamespace(contacts=self.contacts),
            crm=SimpleNamespace(tickets=self.tickets),
            model=SimpleNamespace(sessions=[session]),
        )
        call = SimpleNamespace(sid=SID, dials=self.dials, outcome=self.outcome)
        return SCENARIOS[scenario].verdict(cast("Town", town), cast("CarriedCall", call))

    @property
    def attributes(self) -> dict[str, str]:
        return self.contacts[0].attributes


def good(scenario: str) -> Aftermath:
    """All went well."""
    ticket = "" if scenario == "crm-down" else "102"
    attributes = {
        "handover": "ok",
        "conversation_id": IDENTITY.conversation_id,
        "caller_phone": CALLER,
        "summary": "Their Internet is down.",
        "hubspot_ticket_id": ticket,
    }
    contact = Contact("c", CALLER, attributes=attributes, states=["flow", "queued", "connected", "ended"])
    opening = Item("i", role="assistant", content=[{"type": "output_audio", "transcript": "We are open until 8pm."}])
    if scenario == "goodbye":
        return Aftermath([], {}, [], [opening], outcome="hung-up")
    tickets = {ticket: Record(ticket, {}, 0, 0)} if ticket else {}
    return Aftermath(
        [contact], tickets, [Dialled(CONNECT_NUMBER, "", CALLER)], [opening], [Truncation("i", 900, 3_000)]
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_call_that_went_well_is_not_complained_about(scenario: str) -> None:
    assert good(scenario).complaints(scenario) == []


Spoil = Callable[[Aftermath], object]
MISHAPS: dict[str, tuple[Spoil, str]] = {
    "nobody called": (lambda a: a.contacts.clear(), "no agent was reached"),
    "nobody took it": (lambda a: a.contacts[0].states.remove("connected"), "no agent was reached"),
    "no context": (lambda a: a.attributes.update(handover="missing"), "handover is 'missing'"),
    "no attributes": (lambda a: a.attributes.clear(), "handover is None"),
    "another call": (lambda a: a.attributes.update(conversation_id="x"), "conversation_id is 'x'"),
    "another caller": (lambda a: a.attributes.update(caller_phone=""), "caller_phone is ''"),
    "dialled twice": (lambda a: a.dials.extend(a.dials), "dialled 2 times"),
    "not dialled": (lambda a: a.dials.clear(), "dialled 0 times"),
}


@pytest.mark.parametrize("scenario", TO_A_PERSON)
@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_handover_that_went_wrong_is_complained_about(scenario: str, mishap: str) -> None:
    spoil, complaint = MISHAPS[mishap]
    aftermath = good(scenario)
    spoil(aftermath)

    assert any(complaint in each for each in aftermath.complaints(scenario))


@pytest.mark.parametrize("scenario", ["escalation", "barge-in", "crm-down"])
def test_a_summary_that_does_not_say_what_it_is_about_is_complained_about(scenario: str) -> None:
    aftermath = good(scenario)
    aftermath.attributes["summary"] = "The caller wants a person."

    assert aftermath.complaints(scenario) == ["the summary does not speak of 'internet'"]


@pytest.mark.parametrize("scenario", ["escalation", "barge-in", "key-0"])
@pytest.mark.parametrize("shown", ["", "103"])
def test_a_ticket_that_the_agent_cannot_open_is_complained_about(scenario: str, shown: str) -> None:
    aftermath = good(scenario)
    aftermath.attributes["hubspot_ticket_id"] = shown

    assert aftermath.complaints(scenario) == ["the ticket on the agent's screen is not in the CRM"]


def test_a_ticket_from_a_crm_that_was_down_is_complained_about() -> None:
    aftermath = good("crm-down")
    aftermath.attributes["hubspot_ticket_id"] = "102"

    assert aftermath.complaints("crm-down") == ["there is a ticket although the CRM was down"]


def test_an_interruption_that_the_model_was_not_told_of_is_complained_about() -> None:
    aftermath = good("barge-in")
    aftermath.truncations.clear()

    assert aftermath.complaints("barge-in") == ["the model was not told what the caller had heard"]


NO_GOODBYES: list[tuple[Spoil, str]] = [
    (lambda a: setattr(a, "outcome", "ran-out"), "the call ended with 'ran-out', not with a goodbye"),
    (lambda a: setattr(a, "outcome", ""), "the call ended with '', not with a goodbye"),
    (lambda a: a.dials.append(Dialled(CONNECT_NUMBER, "", CALLER)), "a person was called although nobody"),
    (lambda a: a.contacts.append(Contact("c")), "a person was called although nobody"),
    (lambda a: a.items.clear(), "the caller's question was not answered"),
]


@pytest.mark.parametrize(("spoil", "complaint"), NO_GOODBYES)
def test_a_goodbye_that_was_none_is_complained_about(spoil: Spoil, complaint: str) -> None:
    aftermath = good("goodbye")
    spoil(aftermath)

    (said,) = aftermath.complaints("goodbye")
    assert complaint in said


async def test_in_the_scenario_without_a_crm_there_is_none() -> None:
    async with SimulatedCrm() as crm, httpx2.AsyncClient(base_url=crm.base_url) as client:
        await SCENARIOS["escalation"].happens(crm)
        assert (await client.get("/")).status_code == HTTPStatus.NOT_FOUND
        await SCENARIOS["crm-down"].happens(crm)
        with pytest.raises(httpx2.TransportError):
            await client.get("/")


def test_the_scenarios_do_what_their_titles_say() -> None:
    kinds = {name: {type(step) for step in each.script} for name, each in SCENARIOS.items()}

    assert Press in kinds["key-0"]
    assert InterruptAfter in kinds["barge-in"]
    assert HangUp not in kinds["goodbye"]
    assert all(HangUp in kinds[name] for name in TO_A_PERSON)
