"""What somebody who watches a call in the town can swear to: what the caller heard, and what was left behind."""

import asyncio
from collections.abc import Sequence
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.simulator.caller import Caller, HangUp, Step, Wait, WaitForPerson
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.model_session import ModelSession
from voice_openai_connect.simulator.town import CALLER, Town

END_S: Final = 60.0
GONE_S: Final = 40.0
"""A ticket that is late may keep a call's last task for `CRM_LATE_MS`, and not longer."""
ORDER: Final = "four seven one one"
REMEMBERED_MS: Final = 500
"""After the last sound of an answer: its marks are back, and the turn is over."""
TO_A_PERSON: Final[Sequence[Step]] = (WaitForPerson(), Wait(500), HangUp())
STAYS: Final[Sequence[Step]] = (Wait(120_000),)
_HOLD: Final = holding_sound().rstrip(bytes([limits.ULAW_SILENCE]))


async def ring(town: Town, *script: Step, from_: str = CALLER) -> CarriedCall:
    """A caller rings; without a script they stay on the line and say nothing."""
    return await town.carrier.place_call(Caller(script or STAYS), from_=from_)


async def over(call: CarriedCall) -> str:
    """How the call ended. Raises `TimeoutError` when it does not end."""
    return await asyncio.wait_for(asyncio.shield(call.ended), END_S)


async def greeted(town: Town, call: CarriedCall) -> ModelSession:
    """The model's session, once its greeting has been heard to the end."""
    session = await town.model.next_session(seconds=END_S)
    await session.until(lambda s: bool(s.sent("response.done")), seconds=END_S)
    said_ms = sum(item.audio_ms for item in session.conversation)  # the last of it may still be on its way to the line
    await call.until(lambda c: bool(c.heard) and c.stream.playout.played_ms >= said_ms, within_s=END_S)
    await call.until(lambda c: c.stream.playout.queued_ms == 0, within_s=END_S)
    return session


async def in_conversation(town: Town, call: CarriedCall) -> ModelSession:
    """The session, once the caller has said something that they expect to be known from now on, and been answered."""
    session = await greeted(town, call)
    session.caller_said(f"My order number is {ORDER}.")
    await session.until(lambda s: len(s.sent("response.done")) > 1, seconds=END_S)
    await call.until(lambda c: c.now_ms - c.heard[-1].at_ms > REMEMBERED_MS, within_s=END_S)
    await remembered(town, call)
    return session


async def remembered(town: Town, call: CarriedCall, *, breaks: int = 0) -> None:
    """Return when the table has what the caller said, after so many breaks: it is gathered with others."""
    async with town.table() as table, asyncio.timeout(END_S):
        while not _in_it((await table.recall_call(call.sid)).checkpoint, breaks):  # noqa: ASYNC110 - a table tells nobody
            await asyncio.sleep(0.05)


def _in_it(checkpoint: Checkpoint | None, breaks: int) -> bool:
    """A checkpoint counts the break that it would be read after."""
    if checkpoint is None or checkpoint.resumes <= breaks:
        return False
    return any(ORDER in turn.text for turn in checkpoint.turns)


async def goes_on(town: Town, call: CarriedCall, *, streams: int = 2) -> ModelSession:
    """The next session, once it has spoken on a stream of its own. It knows what was said before."""
    session = await town.model.next_session(seconds=END_S)
    await session.until(lambda s: bool(s.sent("response.done")), seconds=END_S)
    await call.until(lambda c: len(c.streams) == streams and bool(c.stream.playout.heard), within_s=END_S)
    assert any(ORDER in item.text for item in session.items)  # noqa: S101 - a model that has forgotten is what we look for
    return session


async def answers(session: ModelSession, question: str = "Are you still there?") -> bool:
    """Whether the conversation goes on: the model hears a question and answers it to the end.

    Raises `TimeoutError` when no answer comes. One that the question interrupts does not count.
    """

    def completed(since: int) -> bool:
        return any(done["response"]["status"] == "completed" for done in session.sent("response.done")[since:])

    before = len(session.sent("response.done"))
    session.caller_said(question)
    await session.until(lambda _: completed(before), seconds=END_S)
    return True


# --- what the caller heard


def hears_holding_sound(call: CarriedCall) -> bool:
    """Whether a silence of ours was filled."""
    return _HOLD in b"".join(piece.audio for piece in call.heard)


def hears_carrier_say(town: Town) -> str:
    """Everything that Twilio's own voice said, to whichever caller."""
    said = (entry for entry in town.timeline.entries if entry.who == "carrier" and entry.what == "says")
    return " ".join(str(entry.details["text"]) for entry in said)


def reason_of_transfer(town: Town) -> str:
    """Why the first contact was handed over, as the person reads it; empty when nobody could tell them."""
    return town.center.contacts[0].attributes["escalation_reason"]


def person_knows(town: Town) -> bool:
    """Whether the person whom the first contact reached has the context."""
    contact = town.center.contacts[0]
    assert "connected" in contact.states, contact.states  # noqa: S101 - a caller without a person is what we look for
    return contact.attributes["handover"] == "ok"


# --- what was left behind


async def left_behind(town: Town) -> list[str]:
    """End every call, give what outlives it its time, and tell what is still there or there too often.

    An empty list is what every test wants. What is inside the gateway can be seen only when it runs in this process.
    """
    calls = list(town.carrier.calls.values())
    for call in calls:
        if not call.ended.done():
            call.complete()
        await over(call)
    return [*[wrong for call in calls for wrong in _broken_rules(town, call)], *await _inside(town, calls)]


def _broken_rules(town: Town, call: CarriedCall) -> list[str]:
    """Twilio's rules, and our own promise of one escalation a call."""
    wrong = [f"rule of Twilio's broken: {alert}" for alert in call.violations]
    with_token = sum(1 for dial in call.dials if dial.digits)
    if len(call.dials) > limits.DIAL_ATTEMPTS or with_token > 1:
        wrong.append(f"{len(call.dials)} dials, {with_token} of them with a token")
    if len(town.crm.tickets) > len(town.carrier.calls):
        wrong.append(f"{len(town.crm.tickets)} tickets for {len(town.carrier.calls)} calls")
    return wrong


async def _inside(town: Town, calls: Sequence[CarriedCall]) -> list[str]:
    """What the gateway and the model still hold of calls that are over."""
    if town.parts is None:
        return []
    wrong = [f"task still running: {name}" for name in await _tasks_left(calls)]
    try:
        async with asyncio.timeout(GONE_S):
            await asyncio.gather(*(session.closed.wait() for session in town.model.sessions))
    except TimeoutError:
        wrong.append("a session of the model is still open")
    if town.parts.sessions.live:
        wrong.append(f"still live: {list(town.parts.sessions.live)}")
    if b"voice_connect_active_calls 0.0" not in town.parts.metrics.render():
        wrong.append("the gauge of active calls is not at 0")
    return wrong


async def _tasks_left(calls: Sequence[CarriedCall]) -> list[str]:
    """Names of tasks that carry a CallSid and do not end in their time."""
    sids = [call.sid for call in calls]
    tasks = {task for task in asyncio.all_tasks() if any(sid in task.get_name() for sid in sids)}
    if not tasks:
        return []
    _, pending = await asyncio.wait(tasks, timeout=GONE_S)
    return [task.get_name() for task in pending]
