"""A caller reaches a person, who already knows why; and nobody is lost when something fails on the way."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal

import pytest

from voice_openai_connect.gateway.app import identity_of
from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.caller import Caller, HangUp, Listen, Press, Step, Wait, WaitForPerson
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.model_mind import Mishap, Reply, ToolCall, fail, say
from voice_openai_connect.simulator.model_mind import call as calls
from voice_openai_connect.simulator.model_response import Delivery
from voice_openai_connect.simulator.model_session import ModelSession
from voice_openai_connect.simulator.town import CALLER, CONNECT_NUMBER, GATEWAY_NUMBER, Town

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
END_S = 60
TO_A_PERSON: Sequence[Step] = (WaitForPerson(), Wait(1_000), HangUp())


async def ring(town: Town, *script: Step, from_: str = CALLER) -> CarriedCall:
    return await town.carrier.place_call(Caller(script), from_=from_)


async def over(call: CarriedCall) -> str:
    """How the call ended. The gateway must not have broken a rule of Twilio's on the way."""
    outcome = await asyncio.wait_for(asyncio.shield(call.ended), END_S)
    assert call.violations == []
    return outcome


async def greeted(town: Town, call: CarriedCall) -> ModelSession:
    """The model's session, once its greeting has been heard to the end."""
    session = await town.model.next_session()
    await session.until(lambda s: bool(s.sent("response.done")))
    await call.until(lambda c: bool(c.heard) and c.stream.playout.queued_ms == 0)
    return session


async def test_key_0_leads_to_a_person_who_has_the_whole_context(town: Town) -> None:
    call = await ring(town, Listen(), Press("0"), *TO_A_PERSON)
    assert await over(call) == "caller-hung-up"

    (contact,), identity = town.center.contacts, identity_of(call.sid, CALLER, GATEWAY_NUMBER)
    (ticket,) = town.crm.tickets.values()
    assert "connected" in contact.states
    assert contact.attributes["handover"] == "ok"
    assert contact.attributes["conversation_id"] == identity.conversation_id
    assert contact.attributes["caller_phone"] == CALLER
    assert contact.attributes["hubspot_ticket_id"] == ticket.id
    assert contact.attributes["summary"] == "The caller asked for help and wants to speak to a person."
    assert contact.attributes["escalation_reason"] == "key"


async def test_the_digits_that_were_sent_are_the_token_and_no_other_way_leads_to_the_record(town: Town) -> None:
    call = await ring(town, Listen(), Press("0"), *TO_A_PERSON)
    await over(call)

    (dial,) = call.dials
    assert dial.number == CONNECT_NUMBER
    assert dial.digits.startswith("wwww")
    assert dial.digits.endswith("#")
    token = dial.digits.removeprefix("wwww").removesuffix("#")
    assert len(token) == 10
    assert token not in str(town.crm.tickets)
    assert token not in str(town.center.contacts[0].attributes)


async def test_the_transfer_sentence_is_heard_to_its_end_before_the_line_is_moved(town: Town) -> None:
    call = await ring(town, Listen(), Press("0"), *TO_A_PERSON)
    await over(call)

    (session,) = town.model.sessions
    said_ms = [item.audio_ms for item in session.items if item.is_model_speech]
    heard_ms = sum(len(piece.audio) for piece in call.heard) / 8
    assert 0 <= heard_ms - sum(said_ms) <= 20 * len(said_ms)  # each item's tail is padded to a whole frame
    assert session.truncations == []


async def test_a_caller_who_says_it_in_words_is_understood(town: Town) -> None:
    call = await ring(town, *TO_A_PERSON)
    session = await greeted(town, call)
    session.caller_said("Could you please put me through to a real person?")
    await over(call)

    assert town.center.contacts[0].attributes["escalation_reason"] == "caller_asked"


async def test_the_models_own_decision_carries_its_own_words(quick_town: OpenTown) -> None:
    wish = calls(
        "transfer_to_human", reason="wants a refund", intent="billing", priority="high", summary="Charged twice in May."
    )
    async with quick_town([wish]) as town:
        call = await ring(town, *TO_A_PERSON)
        session = await greeted(town, call)
        session.caller_said("I was charged twice.")
        await over(call)

        attributes = town.center.contacts[0].attributes
        assert attributes["summary"] == "Charged twice in May."
        assert (attributes["intent"], attributes["priority"]) == ("billing", "high")
        (ticket,) = town.crm.tickets.values()
        assert "Charged twice in May." in ticket.properties["content"]
        assert ticket.properties["hs_ticket_priority"] == "HIGH"


async def test_however_the_triggers_race_there_is_one_of_everything(quick_town: OpenTown) -> None:
    wish = Reply([ToolCall("transfer_to_human", "{}"), ToolCall("transfer_to_human", "{}")])
    async with quick_town([wish]) as town:
        call = await ring(town, Listen(), Press("00"), *TO_A_PERSON)
        session = await greeted(town, call)
        session.caller_said("Agent, please! I want to speak to an agent.")
        await over(call)

        assert len(call.dials) == len(town.crm.tickets) == len(town.crm.contacts) == len(town.center.contacts) == 1


async def test_an_operator_can_send_a_call_to_a_person(town: Town) -> None:
    assert town.parts is not None
    call = await ring(town, *TO_A_PERSON)
    await greeted(town, call)

    assert town.parts.sessions.order_handover(call.sid)
    await over(call)

    assert town.center.contacts[0].attributes["escalation_reason"] == "operator"


async def test_a_goodbye_is_heard_to_its_end_and_nobody_is_called(quick_town: OpenTown) -> None:
    async with quick_town([calls("end_call", reason="done")]) as town:
        call = await ring(town, Wait(60_000))
        session = await greeted(town, call)
        session.caller_said("Thank you, that is all. Goodbye.")

        assert await over(call) == "hung-up"
        assert call.dials == []
        assert "Goodbye" in session.items[-1].text


# --- what may fail


async def test_a_crm_that_never_answers_does_not_keep_the_caller_from_a_person(town: Town) -> None:
    town.crm.hang(50)
    call = await ring(town, Listen(), Press("0"), *TO_A_PERSON)
    await over(call)

    attributes = town.center.contacts[0].attributes
    assert attributes["handover"] == "ok"
    assert attributes["hubspot_ticket_id"] == ""


async def test_without_a_store_the_caller_still_reaches_a_person_who_asks_what_it_is_about(
    quick_town: OpenTown,
) -> None:
    nowhere = {"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9"}
    async with quick_town(settings=nowhere) as town:
        call = await ring(town, Listen(), Press("0"), *TO_A_PERSON)
        await over(call)

        assert [dial.digits for dial in call.dials] == [""]
        assert town.center.contacts[0].attributes["handover"] == "missing"


@pytest.mark.parametrize("status", [401, 503])
async def test_without_a_model_the_caller_is_told_and_taken_to_a_person(town: Town, status: int) -> None:
    town.model.faults.handshake_status = status
    call = await ring(town, *TO_A_PERSON)
    await over(call)

    assert town.center.contacts[0].attributes["escalation_reason"] == "model_lost"
    assert len(town.timeline.said_by("carrier"))
    assert any(entry.what == "says" for entry in town.timeline.entries if entry.who == "carrier")


async def test_a_model_that_keeps_pcm_is_never_heard(town: Town) -> None:
    town.model.faults.refuse_updates = 5
    call = await ring(town, *TO_A_PERSON)
    await over(call)

    assert call.heard == []
    assert town.center.contacts[0].attributes["escalation_reason"] == "model_lost"


@pytest.mark.parametrize("how", ["reset", 1011, 1001, "stall"])
async def test_a_model_lost_in_mid_sentence_comes_back_with_what_was_heard(
    quick_town: OpenTown, how: Literal["reset", "stall"] | int
) -> None:
    words = "one two three four five six seven eight"
    broken = say(words, audio=sound.ulaw_encode(sound.tone(440, 4_000)), mishap=Mishap(1_500, how))
    async with quick_town([broken, "As I was saying."], model={"delivery": Delivery(speed=4.0)}) as town:
        call = await ring(town, Wait(60_000))
        first = await greeted(town, call)
        first.caller_said("Tell me everything")
        second = await town.model.next_session(seconds=20)
        await second.until(lambda s: bool(s.sent("response.done")), seconds=20)

        kinds = [event["type"] for event in second.received_events]
        assert kinds[0] == "session.update"
        assert kinds.index("conversation.item.create") < kinds.index("response.create")
        assert "input_audio_buffer.append" not in kinds[: kinds.index("response.create")]
        told = [(item.role, item.text) for item in second.items]
        assert ("user", "Tell me everything") in told
        assert all("eight" not in text for _, text in told)
        call.complete()


async def test_a_model_lost_twice_takes_the_caller_to_a_person(town: Town) -> None:
    call = await ring(town, *TO_A_PERSON)
    (await greeted(town, call)).wire.drop()
    second = await town.model.next_session(seconds=20)
    await second.until(lambda s: bool(s.sent("response.done")), seconds=20)
    second.wire.drop()
    await over(call)

    assert town.center.contacts[0].attributes["escalation_reason"] == "model_lost"


async def test_a_model_that_lies_about_its_format_is_never_heard(town: Town) -> None:
    town.model.faults.lie_about_format = True
    call = await ring(town, *TO_A_PERSON)
    await over(call)

    assert town.center.contacts[0].attributes["escalation_reason"] == "model_lost"
    assert call.heard == []


async def test_a_model_that_fails_twice_in_a_row_takes_the_caller_to_a_person(quick_town: OpenTown) -> None:
    async with quick_town([fail(), fail(), fail()]) as town:
        call = await ring(town, *TO_A_PERSON)
        session = await greeted(town, call)
        session.caller_said("Hello?")
        await over(call)

        assert town.center.contacts[0].attributes["escalation_reason"] == "repeated_failure"


async def test_a_full_gateway_takes_the_caller_straight_to_a_person(quick_town: OpenTown) -> None:
    async with quick_town(settings={"MAX_CALLS": "1"}) as town:
        first = await ring(town, Wait(60_000))
        await greeted(town, first)
        second = await ring(town, *TO_A_PERSON)
        await over(second)

        assert len(town.model.sessions) == 1
        assert len(town.center.contacts) == 1
        first.complete()


# --- the end of a call leaves nothing behind


async def test_a_caller_who_hangs_up_leaves_no_session_no_socket_and_no_task(town: Town) -> None:
    assert town.parts is not None
    call = await ring(town, Listen(), HangUp())
    session = await town.model.next_session()
    await over(call)

    await asyncio.wait_for(session.closed.wait(), END_S)
    assert session.wire.closed_by == "client"
    leftovers = [task for task in asyncio.all_tasks() if call.sid in task.get_name()]
    if leftovers:
        _, pending = await asyncio.wait(leftovers, timeout=END_S)
        assert pending == set()
    assert town.parts.sessions.live == {}
    metrics = town.parts.metrics.render()
    assert b"voice_connect_active_calls 0.0" in metrics
    assert b'voice_connect_model_limit_left_ratio{limit="requests"} 0.9975' in metrics


async def test_a_withheld_number_is_handed_over_with_a_ticket_and_without_a_contact(town: Town) -> None:
    call = await ring(town, Listen(), Press("0"), *TO_A_PERSON, from_="anonymous")
    await over(call)

    assert town.crm.contacts == {}
    assert len(town.crm.tickets) == 1
    assert town.center.contacts[0].attributes["caller_phone"] == ""
