"""The contact centre on a real line: tones in, the real Lambda and DynamoDB behind it, an agent at the end."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import boto3
import pytest

from voice_openai_connect.simulator import agent_screen, sound
from voice_openai_connect.simulator.contact_center import ContactCenter, deployed_whisper, usual_greeting, whispered
from voice_openai_connect.simulator.contact_flow import LambdaError
from voice_openai_connect.simulator.contact_flow_state import Contact
from voice_openai_connect.simulator.dtmf import tones
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime
from voice_openai_connect.simulator.telephone import Busy, Canceled, FrameClock, LineEnd, NoAnswer, line

CALLER, CENTER = "+61400000001", "+61200000002"
TOKEN = "0012345678"
RECORD = {
    "conversation_id": "conv-1",
    "caller_phone": CALLER,
    "hubspot_contact_id": "101",
    "hubspot_ticket_id": "202",
    "hubspot_ticket_url": "https://app.hubspot.com/contacts/1/ticket/202",
    "summary": "Was charged twice and wants one payment back.",
    "intent": "billing",
    "priority": "urgent",
    "escalation_reason": "The caller asked for a person.",
    "route_to_queue": "priority",
}
WORD = sound.ulaw_encode(sound.tone(440, 100))


def say(text: str) -> bytes:
    """Everything is said in a tenth of a second."""
    return WORD


def digits(token: str) -> bytes:
    return tones(f"{token}#", tone_ms=60, gap_ms=60)


async def knows(event: dict[str, Any]) -> object:
    """A Lambda that knows every token, and nobody by number."""
    if "token" not in event["Details"]["Parameters"]:
        return {"success": "false", "retry": "false"}
    return {"success": "true", "retry": "false", **RECORD}


@asynccontextmanager
async def calling(center: ContactCenter, sent: bytes = b"") -> AsyncGenerator[tuple[LineEnd, asyncio.Task[None]]]:
    """A call in which the caller's side sends that sound, frame by frame; hung up at the end."""
    ours, theirs = line(CALLER, CENTER)
    call = asyncio.create_task(center.answer(theirs))
    sending = asyncio.create_task(send(ours, sent))
    try:
        yield ours, call
    finally:
        ours.hang_up()
        await asyncio.gather(call, sending, return_exceptions=True)


async def send(end: LineEnd, sent: bytes) -> None:
    clock = FrameClock()
    for frame in sound.frames(sent):
        await clock.step()
        end.send(frame)


async def test_a_token_sent_as_tones_brings_its_record_to_the_agent_once(dynamo: SimulatedDynamo) -> None:
    table = (
        cast("Any", boto3)
        .resource(
            "dynamodb",
            endpoint_url=dynamo.endpoint_url,
            region_name=dynamo.region,
            aws_access_key_id=dynamo.access_key_id,
            aws_secret_access_key=dynamo.secret_access_key,
        )
        .create_table(
            TableName="tokens-of-the-contact-center-tests",
            AttributeDefinitions=[{"AttributeName": "token", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "token", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    )
    table.put_item(Item={**RECORD, "token": TOKEN, "expires_at": int(time.time()) + 600})

    async with LambdaRuntime.redeeming_tokens(dynamo, "tokens-of-the-contact-center-tests") as function:
        center = ContactCenter(function.invoke, say=say, accept_ms=0)
        async with calling(center, tones("ww") + digits(TOKEN)):
            first = await center.until_connected()
        async with calling(center, digits(TOKEN)):
            await center.until_state("connected", contacts=2)
            second = center.contacts[1]

    assert first.attributes == {**RECORD, "matched_by": "token", "handover": "ok"}
    assert (first.queue, first.priority, first.customer_number) == ("priority", 1, CALLER)
    assert RECORD["summary"] in center.screen(first)
    assert second.attributes == {"handover": "missing"}
    assert agent_screen.NO_CONTEXT in center.screen(second)
    assert table.get_item(Key={"token": TOKEN})["Item"]["consumed_by"] == first.contact_id


async def test_a_call_without_digits_still_reaches_an_agent() -> None:
    center = ContactCenter(knows, say=say, accept_ms=0)

    async with calling(center):
        contact = await center.until_connected()

    assert (contact.queue, contact.attributes) == ("fallback", {"handover": "missing"})


async def test_a_lambda_that_only_fails_still_lets_the_call_reach_an_agent() -> None:
    async def fails(event: dict[str, Any]) -> object:
        raise LambdaError("boom")

    center = ContactCenter(fails, say=say, accept_ms=0)

    async with calling(center, digits(TOKEN)):
        contact = await center.until_connected()

    assert (contact.queue, contact.attributes) == ("fallback", {"handover": "missing"})


async def test_frames_are_never_sent_faster_than_they_can_be_played() -> None:
    center = ContactCenter(knows, say=say, accept_ms=200, talk_ms=400)
    ours, theirs = line(CALLER, CENTER)

    sending = asyncio.create_task(send(ours, digits(TOKEN)))
    began = asyncio.get_running_loop().time()
    await center.answer(theirs)
    lasted_ms = (asyncio.get_running_loop().time() - began) * 1_000
    await sending

    heard = 0
    while ours.receive_now() is not None:
        heard += 1
    assert (heard - 1) * 20 <= lasted_ms


async def test_prompt_thanks_and_hello_are_heard_on_the_line() -> None:
    center = ContactCenter(knows, say=say, accept_ms=100, talk_ms=300)
    ours, theirs = line(CALLER, CENTER)

    await asyncio.gather(center.answer(theirs), send(ours, tones("ww") + digits(TOKEN)))

    heard = b""
    while (frame := ours.receive_now()) is not None:
        heard += frame
    loud = [level > -30 for level in sound.frame_levels(heard)]
    starts = sum(now and not before for before, now in zip([False, *loud], loud, strict=False))
    assert starts == 3


async def test_the_agent_is_a_person_and_the_flow_is_not() -> None:
    center = ContactCenter(knows, say=say, agents=0, accept_ms=0)

    async with calling(center, digits(TOKEN)) as (ours, _):
        await center.until_state("queued")
        before = ours.person_there
        center.agents = 1
        await center.until_connected()

        assert (before, ours.person_there) == (False, True)


async def test_the_agent_stays_until_the_caller_hangs_up() -> None:
    center = ContactCenter(knows, say=say, accept_ms=0)

    async with calling(center, digits(TOKEN)) as (ours, call):
        contact = await center.until_connected()
        ours.hang_up()
        await call

    assert contact.states == ["flow", "queued", "connected", "ended"]


async def test_the_agent_can_be_the_one_who_hangs_up() -> None:
    center = ContactCenter(knows, say=say, accept_ms=0, talk_ms=100)

    async with calling(center, digits(TOKEN)) as (ours, call):
        await call

        assert ours.hung_up


@pytest.mark.parametrize(("how", "error"), [("busy", Busy), ("unanswered", NoAnswer), ("canceled", Canceled)])
async def test_a_number_that_does_not_take_the_call_says_how(how: str, error: type[Exception]) -> None:
    center = ContactCenter(knows)
    setattr(center, how, True)
    ours, theirs = line(CALLER, CENTER)

    with pytest.raises(error):
        await center.answer(theirs)

    assert not ours.far_end_answered
    assert center.contacts == []


async def test_a_line_that_drops_is_answered_and_down_again_and_nobody_has_heard_the_flow() -> None:
    center = ContactCenter(knows, drops_after_ms=60)
    ours, theirs = line(CALLER, CENTER)
    await asyncio.wait_for(center.answer(theirs), 30)

    assert ours.far_end_answered
    assert ours.hung_up
    assert center.contacts == center.runs == []


async def test_a_number_that_rings_for_long_is_not_answered_by_then_and_notices_who_gives_up() -> None:
    center = ContactCenter(knows, rings_ms=60_000)
    ours, theirs = line(CALLER, CENTER)
    answering = asyncio.create_task(center.answer(theirs))
    await FrameClock().step()
    assert not ours.far_end_answered
    ours.hang_up()
    await asyncio.wait_for(answering, 30)

    assert center.contacts == []


async def test_a_line_that_drops_notices_a_caller_who_is_quicker() -> None:
    center = ContactCenter(knows, drops_after_ms=60_000)
    ours, theirs = line(CALLER, CENTER)
    answering = asyncio.create_task(center.answer(theirs))
    await ours.until_answered()
    ours.hang_up()

    await asyncio.wait_for(answering, 30)


async def test_outside_hours_the_call_ends_after_the_message_and_no_agent_hears_of_it() -> None:
    center = ContactCenter(knows, say=say, closed=True)

    async with calling(center, digits(TOKEN)) as (_, call):
        await call

    assert center.contacts[0].states == ["flow", "ended"]


async def test_with_nobody_there_the_caller_waits_in_the_queue() -> None:
    center = ContactCenter(knows, say=say, agents=0, accept_ms=0)

    async with calling(center, digits(TOKEN)) as (ours, call):
        contact = await center.until_state("queued")
        while ours.receive_now() is not None:
            pass
        for _ in range(10):
            await ours.receive()
        ours.hang_up()
        await call

    assert contact.states == ["flow", "queued", "ended"]


async def test_a_free_agent_takes_the_most_urgent_caller_first() -> None:
    priorities = {"1111111111": "low", "2222222222": "urgent"}

    async def differ(event: dict[str, Any]) -> object:
        priority = priorities[event["Details"]["Parameters"]["token"]]
        return {"success": "true", "retry": "false", **RECORD, "priority": priority}

    center = ContactCenter(differ, say=say, agents=0, accept_ms=0)
    async with calling(center, digits("1111111111")):
        low = await center.until_state("queued")
        async with calling(center, digits("2222222222")):
            await center.until_state("queued", contacts=2)
            center.agents = 1
            first = await center.until_connected()

            assert first is center.contacts[1]
            assert low.states[-1] == "queued"


async def test_a_caller_who_hangs_up_while_the_lambda_runs_ends_the_contact() -> None:
    asked = asyncio.Event()

    async def never(event: dict[str, Any]) -> object:
        asked.set()
        return await asyncio.Event().wait()

    center = ContactCenter(never, say=say)
    async with calling(center, digits(TOKEN)) as (ours, call):
        await asked.wait()
        ours.hang_up()
        await call

    assert center.contacts[0].states == ["flow", "ended"]


async def test_the_timeline_tells_what_became_of_the_contact() -> None:
    center = ContactCenter(knows, say=say, accept_ms=0, talk_ms=20)

    async with calling(center, digits(TOKEN)) as (_, call):
        await call

    told = center.timeline.said_by("connect")
    assert told == [
        "contact flow",
        "invoked the Lambda",
        "contact queued",
        "whispers to the agent",
        "contact connected",
        "contact ended",
    ]
    assert not any(TOKEN in str(entry) for entry in center.timeline.entries)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"matched_by": "token", "priority": "high"}, "A call from the assistant. Priority high."),
        ({"matched_by": "phone", "priority": "high"}, "Ask who is calling"),
    ],
)
def test_the_agent_is_told_before_the_caller_is_heard(attributes: dict[str, str], words: str) -> None:
    assert words in whispered(Contact("c", attributes=attributes), deployed_whisper())


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({}, "What can I do for you?"),
        ({"handover": "missing", "intent": "billing"}, "What can I do for you?"),
        ({"handover": "ok", "intent": "lost_card"}, "it is about lost card"),
        ({"handover": "ok", "intent": "general"}, "I have your notes."),
        ({"handover": "ok"}, "I have your notes."),
    ],
)
def test_one_can_hear_whether_the_agent_has_the_context(attributes: dict[str, str], words: str) -> None:
    assert words in usual_greeting(Contact("c", attributes=attributes))
