"""The calls that the demo can play: what the caller does, what goes wrong, and what must have come of it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from voice_openai_connect.gateway.app import identity_of
from voice_openai_connect.simulator.caller import HangUp, InterruptAfter, Listen, Press, Say, Step, Wait, WaitForPerson
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.crm import SimulatedCrm
from voice_openai_connect.simulator.town import CALLER, GATEWAY_NUMBER, Town

Verdict = Callable[[Town, CarriedCall], list[str]]
"""What is missing from a call that should have gone well; empty if nothing is."""

_TO_A_PERSON: Final[tuple[Step, ...]] = (
    WaitForPerson(),
    Listen(),
    Say("Great, thank you."),
    Wait(500),
    HangUp(),
)
_OUTAGE: Final[tuple[Step, ...]] = (
    Listen(),
    Say("My internet has been down since this morning."),
    Listen(),
)


async def _nothing(_: SimulatedCrm) -> None:
    """An ordinary day."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One call. `happens` changes the town before it; `verdict` looks at it afterwards."""

    title: str
    script: Sequence[Step]
    verdict: Verdict
    happens: Callable[[SimulatedCrm], Awaitable[None]] = _nothing


def _reached_with_context(town: Town, call: CarriedCall, *, topic: str = "", ticket: bool = True) -> list[str]:
    """The agent must have what this caller said, under the ids that this call alone has."""
    contact = next((c for c in town.center.contacts if "connected" in c.states), None)
    if contact is None:
        return ["no agent was reached"]
    got, identity = contact.attributes, identity_of(call.sid, CALLER, GATEWAY_NUMBER)
    wanted = {
        "handover": "ok",
        "conversation_id": identity.conversation_id,
        "caller_phone": CALLER,
    }
    complaints = [
        f"{name} is {got.get(name)!r}, not {value!r}" for name, value in wanted.items() if got.get(name) != value
    ]
    if topic and topic not in got.get("summary", "").lower():
        complaints.append(f"the summary does not speak of {topic!r}")
    if ticket and got.get("hubspot_ticket_id", "") not in town.crm.tickets:
        complaints.append("the ticket on the agent's screen is not in the CRM")
    if not ticket and got.get("hubspot_ticket_id"):
        complaints.append("there is a ticket although the CRM was down")
    if len(call.dials) != 1:
        complaints.append(f"the contact centre was dialled {len(call.dials)} times")
    return complaints


def _ended_without_person(town: Town, call: CarriedCall, *, answer: str) -> list[str]:
    complaints = [] if call.outcome == "hung-up" else [f"the call ended with {call.outcome!r}, not with a goodbye"]
    if call.dials or town.center.contacts:
        complaints.append("a person was called although nobody asked for one")
    said = [item.text for session in town.model.sessions for item in session.items if item.is_model_speech]
    if not any(answer in sentence for sentence in said):
        complaints.append("the caller's question was not answered")
    return complaints


def _was_interrupted(town: Town, call: CarriedCall) -> list[str]:
    told = any(session.truncations for session in town.model.sessions)
    complaints = [] if told else ["the model was not told what the caller had heard"]
    return [*complaints, *_reached_with_context(town, call, topic="internet")]


# The voice says each sentence a little differently every time. These are understood word for word, or nearly so; others
# are not: "let me talk to a person" becomes "that person" more often than not, and "speak to" loses its "to".
SCENARIOS: Final[dict[str, Scenario]] = {
    "escalation": Scenario(
        "A caller explains a problem, is not helped enough, and asks for a person.",
        (
            *_OUTAGE,
            Say("I would like to speak with a human agent please."),
            *_TO_A_PERSON,
        ),
        lambda town, call: _reached_with_context(town, call, topic="internet"),
    ),
    "barge-in": Scenario(
        "A caller interrupts the assistant in the middle of a sentence.",
        (
            *_OUTAGE[:-1],
            InterruptAfter(1_200, "Sorry, can I speak with a real person please?"),
            *_TO_A_PERSON,
        ),
        _was_interrupted,
    ),
    "crm-down": Scenario(
        "HubSpot is down. The caller notices nothing, and the agent still knows why they call.",
        (*_OUTAGE, Say("I would like to speak with a real person please."), *_TO_A_PERSON),
        lambda town, call: _reached_with_context(town, call, topic="internet", ticket=False),
        happens=lambda crm: crm.down(),
    ),
    "key-0": Scenario(
        "A caller says nothing useful and presses 0.",
        (Listen(), Press("0"), *_TO_A_PERSON),
        _reached_with_context,
    ),
    "goodbye": Scenario(
        "A caller gets an answer and says goodbye. No person is needed.",
        (
            Listen(),
            Say("What are your opening hours?"),
            Listen(),
            Say("Thank you, that is all. Goodbye."),
            Wait(20_000),
        ),
        lambda town, call: _ended_without_person(town, call, answer="We are open"),
    ),
}
