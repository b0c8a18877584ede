import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.config import ConfigError
from voice_openai_connect.own_tools import ToolContext, tool
from voice_openai_connect.simulator.caller import Caller, HangUp, Listen
from voice_openai_connect.simulator.carrier_twiml import Dial, Say, read
from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.timeline import Timeline
from voice_openai_connect.simulator.town import (
    CALLER,
    CONNECT_NUMBER,
    FALLBACK_BIN,
    FALLBACK_URL,
    GATEWAY_NUMBER,
    TABLE,
    Plan,
    Town,
    open_town,
)


async def ring(town: Town) -> str:
    """A caller who hangs up as soon as the assistant begins to speak."""
    call = await town.carrier.place_call(Caller([Listen("speech"), HangUp()]), from_=CALLER)
    return await call.ended


async def test_a_call_goes_through_a_gateway_within_this_process() -> None:
    timeline = Timeline()
    async with open_town(SimulatedModel.scripted(), timeline=timeline) as town:
        assert await ring(town) == "caller-hung-up"

        assert town.parts is not None
        assert town.gateway is None
        assert town.timeline is timeline
        assert "rings" in timeline.said_by("carrier")
        assert len(town.model.sessions) == 1


async def test_a_call_goes_through_a_gateway_in_a_process_of_its_own_whose_log_is_told() -> None:
    messages: list[str] = []
    plan = Plan(own_process=True, on_log_line=lambda line: messages.append(line["message"]))
    async with open_town(SimulatedModel.scripted(), plan) as town:
        assert await ring(town) == "caller-hung-up"

        assert town.parts is None
        assert town.gateway is not None
        assert "voice_connect_call" in await town.gateway.metrics()
    assert {"serving", "call_started", "call_ended"} <= set(messages)


async def test_everything_is_set_up_as_a_company_would_set_it_up() -> None:
    async with open_town(SimulatedModel.scripted()) as town, town.table() as table:
        assert {finding.state for finding in await table.check()} == {"ok"}
        assert "voice_conversation_id" in town.crm.portal.properties["tickets"]
        assert town.settings["DYNAMODB_TABLE_NAME"] == TABLE
        assert town.settings["TWILIO_PHONE_NUMBER"] == town.carrier.account.number == GATEWAY_NUMBER
        assert town.settings["HUBSPOT_ACCESS_TOKEN"] == town.crm.token


def test_the_fallback_of_the_number_is_the_one_in_the_documents_word_for_word() -> None:
    page = (Path(__file__).parents[3] / "docs" / "fallback.md").read_text(encoding="utf-8")
    written = re.findall(r"```xml\n(.*?)```", page, re.DOTALL)

    assert written == [FALLBACK_BIN]


def test_the_fallback_needs_no_server_and_dials_the_contact_centre() -> None:
    document = read(FALLBACK_BIN.encode(), "text/xml", FALLBACK_URL)
    first, dial, last = document.verbs

    assert document.warnings == ()
    assert isinstance(first, Say)
    assert dial == Dial(CONNECT_NUMBER, timeout_s=limits.DIAL_SECONDS)
    assert isinstance(last, Say)
    assert "{{" not in FALLBACK_BIN


@pytest.mark.parametrize("plan", [Plan(crm=False), Plan(settings={"HUBSPOT_ACCESS_TOKEN": None})])
async def test_what_a_plan_takes_away_is_not_there(plan: Plan) -> None:
    async with open_town(SimulatedModel.scripted(), plan) as town:
        assert "HUBSPOT_ACCESS_TOKEN" not in town.settings


async def test_what_a_plan_adds_is_there() -> None:
    @tool("Say the time.")
    async def time_now(arguments: Mapping[str, Any], context: ToolContext) -> str:
        return "noon"

    plan = Plan(settings={"MAX_CALLS": "7"}, tools=(time_now,), center={"agents": 3})
    async with open_town(SimulatedModel.scripted(), plan) as town:
        await ring(town)

        assert town.settings["MAX_CALLS"] == "7"
        assert town.center.agents == 3
        assert "time_now" in {each["name"] for each in town.model.sessions[0].config["tools"]}


async def test_a_setting_that_cannot_be_used_opens_no_town() -> None:
    model = SimulatedModel.scripted()
    with pytest.raises(ConfigError, match="PORT"):
        async with open_town(model, Plan(settings={"PORT": "high"})):
            pass
