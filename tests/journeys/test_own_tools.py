"""A company's own tools in whole calls: the model calls them, and whatever they do, the caller is not lost."""

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.own_tools import OwnTool, ToolContext, tool
from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.caller import Caller, HangUp, Press, Wait, WaitForPerson
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.model_mind import Reply, Speech, ToolCall
from voice_openai_connect.simulator.model_mind import call as calls
from voice_openai_connect.simulator.model_session import ModelSession
from voice_openai_connect.simulator.town import CALLER, Town

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
TOOLS_PAGE = Path(__file__).parents[2] / "docs" / "tools.md"
END_S = 60
LONG_MS = 8_000


def outputs(session: ModelSession) -> list[str]:
    """What the model was told by tools, in order."""
    return [item.output for item in session.items if item.type == "function_call_output"]


def said(session: ModelSession) -> list[str]:
    return [item.text for item in session.items if item.is_model_speech]


async def greeted(town: Town) -> tuple[CarriedCall, ModelSession]:
    """A caller who stays on the line, once the greeting has been heard to its end."""
    call = await town.carrier.place_call(Caller([Wait(120_000)]), from_=CALLER)
    session = await town.model.next_session()
    await session.until(lambda s: bool(s.sent("response.done")))
    await call.until(lambda c: bool(c.heard) and c.stream.playout.queued_ms == 0)
    return call, session


def slow_tool() -> tuple[OwnTool, asyncio.Event, asyncio.Event]:
    """A tool, the news that it was called, and what lets it answer "It is on its way."."""
    begun, found = asyncio.Event(), asyncio.Event()

    @tool("Say where an order is.")
    async def order_status(arguments: Mapping[str, Any], context: ToolContext) -> str:
        begun.set()
        await found.wait()
        return "It is on its way."

    return order_status, begun, found


async def test_the_tool_of_the_documents_answers_a_caller(quick_town: OpenTown, tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", TOOLS_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    (tmp_path / "shop_tools.py").write_text(example[1], encoding="utf-8")
    script = [calls("order_status", order="1042"), "It left the warehouse this morning."]
    settings = {"TOOLS_MODULE": "shop_tools", "PYTHONPATH": str(tmp_path)}
    async with quick_town(script, own_process=True, settings=settings) as town:
        call, session = await greeted(town)
        offered = {each["name"] for each in session.config["tools"]}
        session.caller_said("Where is my order 1042?")
        await session.until(lambda s: "It left the warehouse this morning." in said(s))

        assert {"order_status", "is_open", "transfer_to_human", "end_call", "take_message"} == offered
        assert outputs(session) == ["Order 1042 left the warehouse this morning."]
        call.complete()


async def test_a_tool_that_raises_costs_an_apology_and_not_the_call(quick_town: OpenTown) -> None:
    @tool("Say where an order is.", {"order": {"type": "string"}})
    async def order_status(arguments: Mapping[str, Any], context: ToolContext) -> str:
        raise LookupError(f"no row for {arguments['order']} of {context.caller_phone}")

    script = [calls("order_status", order="1042"), "I am sorry, I cannot see that right now."]
    async with quick_town(script, tools=(order_status,)) as town:
        call, session = await greeted(town)
        session.caller_said("Where is my order?")
        await session.until(lambda s: "I am sorry, I cannot see that right now." in said(s))

        (told,) = outputs(session)
        assert "LookupError" in told
        assert "1042" not in told
        assert CALLER not in told
        assert not call.ended.done()
        call.complete()


async def test_a_caller_who_interrupts_is_heard_while_a_tool_is_at_work(quick_town: OpenTown) -> None:
    order_status, begun, found = slow_tool()
    announcement = Speech("Let me look.", audio=sound.ulaw_encode(sound.tone(440, LONG_MS)))
    script = [Reply([announcement, ToolCall("order_status", "{}")]), "Yes, I am here.", "It is on its way."]
    async with quick_town(script, tools=(order_status,)) as town:
        call, session = await greeted(town)
        before = call.stream.playout.played_ms
        session.caller_said("Where is my order?")
        await asyncio.wait_for(begun.wait(), END_S)
        await call.until(lambda c: c.stream.playout.played_ms > before + 500)

        session.caller_starts_speaking()
        await session.until(lambda s: bool(s.truncations))
        await call.until(lambda c: c.stream.playout.queued_ms == 0)
        assert 0 < session.truncations[0].audio_end_ms < LONG_MS // 2
        assert outputs(session) == []

        session.caller_stops_speaking("Hello? Are you there?")
        await session.until(lambda s: "Yes, I am here." in said(s))
        found.set()
        await session.until(lambda s: outputs(s) == ["It is on its way."])
        await session.until(lambda s: "It is on its way." in said(s))
        call.complete()


async def test_a_tool_that_ends_while_the_caller_speaks_is_answered_with_what_they_said(
    quick_town: OpenTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOLD_IN_TIME_MS", 0)  # here what the model is told is there at once
    order_status, begun, found = slow_tool()
    script = [calls("order_status"), "It is on its way, and yes, I am here.", "Nobody asked for this."]
    async with quick_town(script, tools=(order_status,)) as town:
        call, session = await greeted(town)
        session.caller_said("Where is my order?")
        await asyncio.wait_for(begun.wait(), END_S)
        session.caller_starts_speaking()
        await session.until(lambda s: bool(s.sent("input_audio_buffer.speech_started")))
        heard = len(session.caller_audio)
        await session.until(lambda s: len(s.caller_audio) > heard + 800)  # so the gateway knows that they speak
        found.set()
        await session.until(lambda s: outputs(s) == ["It is on its way."])
        asked = len(session.received("response.create"))
        session.caller_stops_speaking("Hello? Are you there?")
        await session.until(lambda s: "It is on its way, and yes, I am here." in said(s))
        await call.until(lambda c: bool(c.heard) and c.stream.playout.queued_ms == 0)

        assert len(session.received("response.create")) == asked == 1  # the greeting
        assert session.sent("error") == []
        call.complete()


async def test_a_tool_at_work_keeps_nobody_from_a_person_and_its_late_answer_harms_nothing(
    quick_town: OpenTown,
) -> None:
    order_status, begun, found = slow_tool()
    async with quick_town([calls("order_status")], tools=(order_status,)) as town:
        caller = Caller([Wait(120_000)])
        call = await town.carrier.place_call(caller, from_=CALLER)
        session = await town.model.next_session()
        await session.until(lambda s: bool(s.sent("response.done")))
        session.caller_said("Where is my order?")
        await asyncio.wait_for(begun.wait(), END_S)
        await Press("0").perform(caller)
        await WaitForPerson().perform(caller)
        found.set()
        await HangUp().perform(caller)

        assert await asyncio.wait_for(asyncio.shield(call.ended), END_S) == "caller-hung-up"
        assert town.center.contacts[0].attributes["handover"] == "ok"
        assert len(call.dials) == len(town.crm.tickets) == 1
        assert "It is on its way." not in said(session)
