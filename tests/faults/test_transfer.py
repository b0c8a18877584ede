"""The transfer: the contact centre cannot or will not take the caller."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from voice_openai_connect.build import open_gateway
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.config import load_settings
from voice_openai_connect.profile import load_profiles
from voice_openai_connect.simulator.caller import Listen, Press, Step, Wait
from voice_openai_connect.simulator.carrier_call import CarriedCall, Habits
from voice_openai_connect.simulator.carrier_webhooks import WebhookRequest, signer
from voice_openai_connect.simulator.connect_api import SimulatedConnectApi, SimulatedQueue
from voice_openai_connect.simulator.model_mind import call as calls
from voice_openai_connect.simulator.model_session import ModelSession
from voice_openai_connect.simulator.serving import serving
from voice_openai_connect.simulator.town import AUTH_TOKEN, Town
from voice_openai_connect.simulator.witness import (
    END_S,
    answers,
    greeted,
    hears_carrier_say,
    over,
    person_knows,
    ring,
)

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
KEY_0: tuple[Step, ...] = (Listen(ms=300), Press("0"), Wait(120_000))
NOBODY = "+61255509999"
INSTANCE = "11111111-2222-3333-4444-555555555555"
SORRY = "I am sorry, nobody could be reached. May I take a message?"
MESSAGE = "The blue order never came. Please call after five."
TAKES_MESSAGE = [SORRY, calls("take_message", message=MESSAGE), "I have noted it.", calls("end_call", reason="done")]

UNREACHED: dict[str, tuple[dict[str, Any], str, str]] = {
    "busy": ({"center": {"busy": True}}, "busy", "busy"),
    "no answer": ({"center": {"unanswered": True}}, "no_answer", "no_answer"),
    "failed": ({"settings": {"CONNECT_PHONE_NUMBER": NOBODY}}, "failed", "failed"),
    "canceled": ({"center": {"canceled": True}}, "canceled", "canceled"),
    "cut off": ({"center": {"drops_after_ms": 1_000}}, "unbridged", "too_short"),
}
"""What is unusual about the town, and how the two dials end there."""


async def item_of(town: Town, call: CarriedCall) -> CallItem:
    """What every instance knows about the call."""
    async with town.table() as table:
        return await table.recall_call(call.sid)


async def until(seen: Callable[[], Awaitable[bool]]) -> None:
    """What is done in the background has been done. Raises `TimeoutError` when it is not."""
    async with asyncio.timeout(END_S):
        while not await seen():  # noqa: ASYNC110 - it happens in the table, in the CRM or in a counter: nobody tells
            await asyncio.sleep(0.05)


async def ticket_says(town: Town, *words: str) -> str:
    """The only ticket, once all of these words are on it."""

    def text() -> str:
        return " ".join(str(dict(record.properties)) for record in town.crm.tickets.values())

    async def says() -> bool:
        return all(word in text() for word in words)

    await until(says)
    assert len(town.crm.tickets) == 1
    return text()


def counted(town: Town, sample: str) -> bool:
    assert town.parts is not None
    return f"voice_connect_{sample}".encode() in town.parts.metrics.render()


async def back_with_the_assistant(town: Town, call: CarriedCall) -> ModelSession:
    """The model's next session, once a caller who has come back has heard its first words to their end."""
    session = await town.model.next_session(seconds=END_S)
    await session.until(lambda s: bool(s.sent("response.done")), seconds=END_S)
    await call.until(lambda c: bool(c.stream.playout.heard) and c.stream.playout.queued_ms == 0, within_s=END_S)
    return session


def said(session: ModelSession) -> list[str]:
    return [item.text for item in session.items]


@asynccontextmanager
async def another_instance(town: Town) -> AsyncGenerator[str]:
    """One more gateway of the same company, on the same table; where it listens."""
    settings = load_settings(town.settings, None)
    async with (
        open_gateway(settings, load_profiles(settings.agent_profile)) as parts,
        serving(parts.app) as base,
    ):
        yield base


async def tell(client: httpx2.AsyncClient, base: str, town: Town, told: WebhookRequest) -> str:
    """A webhook once more, to the instance at `base`; its answer."""
    signature = signer(AUTH_TOKEN)(town.settings["PUBLIC_HOST"] + told.path, told.params)
    headers = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature}
    answer = await client.post(base + told.path, content=urlencode(told.params), headers=headers)
    assert answer.status_code == 200
    return answer.text


def without_ticket(document: str) -> str:
    return re.sub(r"/twilio/stream/[^\"]+", "/twilio/stream/", document)


@pytest.mark.parametrize("how", UNREACHED)
async def test_C1_a_dial_that_reaches_nobody(quick_town: OpenTown, how: str) -> None:
    """Fault: the contact centre's number is busy, is not answered, does not exist, is given up, or cuts the caller off.

    Hears: an apology and a second try without the token; then the assistant again, who says that nobody could be
    reached and takes a message, which is on the ticket, urgent. Never a silent end, never a third dial.
    """
    plan, first, second = UNREACHED[how]
    async with quick_town(TAKES_MESSAGE, **plan) as town:
        call = await ring(town, *KEY_0)
        await greeted(town, call)
        session = await back_with_the_assistant(town, call)
        session.caller_said("My blue order never came, please call me after five.")
        await session.until(lambda s: "I have noted it." in said(s), seconds=END_S)
        session.caller_said("Thank you, goodbye.")

        assert await over(call) == "hung-up"
        assert [bool(dial.digits) for dial in call.dials] == [True, False]
        assert any(text.startswith("The caller was being transferred") for text in said(session))
        assert "nobody" in await ticket_says(town, MESSAGE, "dial 1", "dial 2")
        (ticket,) = town.crm.tickets.values()
        assert ticket.properties["hs_ticket_priority"] == "HIGH"
        item = await item_of(town, call)
        assert item.dials == {1: DialOutcome(first), 2: DialOutcome(second)}
        assert item.outcome is Outcome.CALLED_BACK
        assert item.checkpoint is None
        assert counted(town, 'call_outcomes_total{outcome="called_back"} 1.0')


async def test_C1_nobody_is_reached_and_the_model_is_gone_too(quick_town: OpenTown) -> None:
    """Fault: the contact centre's number is busy, and the model cannot be reached any more when the caller comes back.

    Hears: the apology, the second try, then Twilio's own voice: a person will call back; never a silent end.
    """
    async with quick_town(center={"busy": True}) as town:
        call = await ring(town, *KEY_0)
        await greeted(town, call)
        town.model.faults.handshake_status = 401

        assert await over(call) == "hung-up"
        assert len(call.dials) == 2
        assert "call you back" in hears_carrier_say(town)
        await ticket_says(town, "Please call back", "dial 2")
        assert (await item_of(town, call)).outcome is Outcome.CALLED_BACK


async def test_C1_nobody_is_reached_where_no_conversation_is_kept(quick_town: OpenTown) -> None:
    """Fault: the contact centre's number is busy, and `CHECKPOINTS` is off, so there is no conversation to go back to.

    Hears: the apology, the second try, then the promise that a person will call back.
    """
    async with quick_town(center={"busy": True}, settings={"CHECKPOINTS": "false"}) as town:
        call = await ring(town, *KEY_0)

        assert await over(call) == "hung-up"
        assert len(call.streams) == 1
        assert "call you back" in hears_carrier_say(town)
        await ticket_says(town, "Please call back")


async def test_C1_T4_the_line_breaks_after_nobody_was_reached(quick_town: OpenTown) -> None:
    """Fault: the caller is back with the assistant because nobody could be reached, and the media socket breaks.

    Hears: a moment of silence, then the assistant again, who still knows that nobody can be reached; nobody is dialled.
    """
    async with quick_town([SORRY], center={"busy": True}, proxied={"twilio"}) as town:
        call = await ring(town, *KEY_0)
        await greeted(town, call)
        await back_with_the_assistant(town, call)
        town.proxies["twilio"].reset()
        third = await town.model.next_session(seconds=END_S)
        assert await answers(third)
        call.complete()
        await over(call)

        assert len(call.dials) == 2
        assert any(text.startswith("The caller was being transferred") for text in said(third))


async def test_C1_T2_dials_that_two_instances_are_told_of_in_the_wrong_order(quick_town: OpenTown) -> None:
    """Fault: Twilio tells of the same dials again, in the wrong order, and tells another instance as well.

    Hears: nothing of it; every instance gives the same answer, and what follows a dial is done once.
    """
    async with quick_town([SORRY], center={"busy": True}) as town:
        call = await ring(town, *KEY_0)
        await greeted(town, call)
        await back_with_the_assistant(town, call)
        (first,), (second,) = call.asked("/twilio/dialed/1"), call.asked("/twilio/dialed/2")
        async with another_instance(town) as other, httpx2.AsyncClient(trust_env=False) as client:
            for base in (other, town.settings["PUBLIC_HOST"]):
                for told in (second, first, second):
                    again = await tell(client, base, town, told)
                    assert without_ticket(again) == without_ticket(told.body.decode())

        await ticket_says(town, "dial 1", "dial 2")
        (ticket,) = town.crm.tickets.values()
        assert str(dict(ticket.properties)).count("reached nobody") == 1
        assert counted(town, 'transfers_total{outcome="busy"} 2.0')
        assert len(call.dials) == 2


async def test_C2_the_contact_centre_answers_and_misses_the_digits(quick_town: OpenTown) -> None:
    """Fault: the contact centre answers, and the token's tones do not get through: nobody fetches the record.

    Hears: the person, who asks what it is about; the call is counted, and the ticket says that the notes were not seen.
    """
    async with quick_town(center={"deaf": True, "talk_ms": 500}) as town:
        call = await ring(town, *KEY_0)
        await over(call)

        assert not person_knows(town)
        await ticket_says(town, "never fetched")
        assert counted(town, "context_not_delivered_total 1.0")
        assert (await item_of(town, call)).outcome is Outcome.CONNECTED_WITHOUT_CONTEXT


@pytest.mark.parametrize(("after_ms", "arrives"), [("2000", False), ("4000", True)])
async def test_C2_a_contact_flow_that_begins_late(quick_town: OpenTown, after_ms: str, *, arrives: bool) -> None:
    """Fault: the contact flow begins three seconds after the answer, and what is pressed before is dropped.

    Hears: a person, who asks what it is about; with a longer `CONNECT_DIGITS_AFTER_MS`, one who knows.
    """
    late = {"flow_after_ms": 3_000, "talk_ms": 500}
    async with quick_town(center=late, settings={"CONNECT_DIGITS_AFTER_MS": after_ms}) as town:
        await over(await ring(town, *KEY_0))

        assert person_knows(town) is arrives


async def test_C3_a_person_who_is_gone_again_within_seconds(quick_town: OpenTown) -> None:
    """Fault: the contact centre takes the call and is gone again after a few seconds.

    Hears: the end of the call; nobody is dialled again, and the dial is counted as suspicious.
    """
    async with quick_town(center={"talk_ms": 500}) as town:
        call = await ring(town, *KEY_0)

        assert await over(call) == "hung-up"
        assert len(call.dials) == 1

        async def noted() -> bool:
            return counted(town, "transfers_suspicious_total 1.0")

        await until(noted)
        assert counted(town, 'transfers_total{outcome="connected"} 1.0')


async def test_C4_a_contact_centre_that_is_closed(quick_town: OpenTown) -> None:
    """Fault: the contact centre is closed: its flow answers, says so, and hangs up.

    Hears: the contact centre's own announcement; the call ends.
    """
    async with quick_town(center={"closed": True}) as town:
        call = await ring(town, *KEY_0)

        assert await over(call) == "hung-up"
        assert town.center.contacts[0].states == ["flow", "ended"]
        assert len(town.crm.tickets) == 1


async def test_C5_the_person_hangs_up(quick_town: OpenTown) -> None:
    """Fault: none: the person hangs up first.

    Hears: the end of the call; nobody is dialled again, and the person had the notes.
    """
    async with quick_town(center={"talk_ms": 1_000}) as town:
        call = await ring(town, *KEY_0)

        assert await over(call) == "hung-up"
        assert len(call.dials) == 1
        assert call.dials[0].bridged

        async def noted() -> bool:
            return (await item_of(town, call)).outcome is Outcome.CONNECTED_WITH_CONTEXT

        await until(noted)
        assert counted(town, "time_to_person_seconds_count 1.0")


async def test_T15_a_caller_who_leaves_while_it_rings(quick_town: OpenTown) -> None:
    """Fault: the caller hangs up while the contact centre is being dialled.

    Hears: nothing more; the token is worth nothing any more, and the ticket says that the caller left.
    """
    async with quick_town(center={"rings_ms": 60_000}, habits=Habits(action_after_hang_up=True)) as town:
        call = await ring(town, *KEY_0)
        await call.until(lambda c: bool(c.dials), within_s=END_S)
        call.complete("caller-hung-up")
        await over(call)

        await ticket_says(town, "caller left")
        token = call.dials[0].digits.strip("w#")
        async with town.table() as table:
            assert await table.redemption(token) is None
        assert (await item_of(town, call)).outcome is Outcome.CALLER_LEFT


# --- nobody is there


async def knows_who_is_there(town: Town) -> None:
    """The gateway has asked Amazon Connect everything that it asks at first."""
    assert town.parts is not None
    assert town.parts.presence is not None
    while await town.parts.presence.look():
        pass


@pytest.mark.parametrize(
    ("queue", "word"),
    [(SimulatedQueue("Escalation", hours={}), "closed"), (SimulatedQueue("escalation", staffed=0), "unstaffed")],
    ids=["closed", "unstaffed"],
)
async def test_C4_a_queue_that_is_known_to_have_nobody(quick_town: OpenTown, queue: SimulatedQueue, word: str) -> None:
    """Fault: Amazon Connect says that the caller's queue is closed, or that nobody who serves it is at work.

    Hears: the assistant, who says so and takes a message, which is on the ticket, urgent. Nobody is dialled.
    """
    api = SimulatedConnectApi(INSTANCE, queues=[queue])
    async with quick_town(TAKES_MESSAGE, connect=api) as town:
        await knows_who_is_there(town)
        call = await ring(town, Listen(ms=300), Press("0"), Wait(120_000))
        session = await town.model.next_session(seconds=END_S)
        await session.until(lambda s: SORRY in said(s), seconds=END_S)
        session.caller_said("My blue order never came, please call me after five.")
        await session.until(lambda s: "I have noted it." in said(s), seconds=END_S)
        session.caller_said("Thank you, goodbye.")

        assert await over(call) == "hung-up"
        assert call.dials == []
        await ticket_says(town, MESSAGE, "not transferred: the queue escalation was")
        (ticket,) = town.crm.tickets.values()
        assert ticket.properties["hs_ticket_priority"] == "HIGH"
        assert (await item_of(town, call)).outcome is Outcome.CALLED_BACK
        assert counted(town, f'nobody_there_total{{absence="{word}"}} 1.0')
        assert counted(town, f'queues_unattended{{why="{word}"}} 1.0')


async def test_C4_O1_the_model_is_gone_while_nobody_is_there(quick_town: OpenTown) -> None:
    """Fault: the model refuses us, and Amazon Connect says that the queue is closed.

    Hears: Twilio's own voice: a person will call back. Nobody is dialled, and the ticket says why.
    """
    api = SimulatedConnectApi(INSTANCE, queues=[SimulatedQueue("escalation", hours={})])
    async with quick_town(connect=api) as town:
        town.model.faults.handshake_status = 401
        await knows_who_is_there(town)
        call = await ring(town, Wait(120_000))

        assert await over(call) == "hung-up"
        assert call.dials == []
        assert "call you back" in hears_carrier_say(town)
        await ticket_says(town, "Please call back", "the queue was closed")


@pytest.mark.parametrize("trouble", ["ThrottlingException", "not among them"])
async def test_C4_it_is_not_known_whether_anyone_is_there(quick_town: OpenTown, trouble: str) -> None:
    """Fault: Amazon Connect's API throttles us, or does not know the queue.

    Hears: nothing of it: the transfer sentence, then a person.
    """
    api = SimulatedConnectApi(INSTANCE, queues=[SimulatedQueue("other", hours={}, staffed=0)])
    api.denies = "" if trouble == "not among them" else trouble
    async with quick_town(connect=api) as town:
        await knows_who_is_there(town)
        call = await ring(town, Listen(ms=300), Press("0"), Wait(120_000))
        await call.until(lambda c: bool(c.dials), within_s=END_S)
        call.complete()
        await over(call)

        assert len(call.dials) == 1
        assert call.dials[0].digits
