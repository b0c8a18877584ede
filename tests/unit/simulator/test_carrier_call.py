"""Calls that only wait, so that they can be interrupted from outside."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from voice_openai_connect.simulator.caller import Caller
from voice_openai_connect.simulator.carrier import SimulatedCarrier
from voice_openai_connect.simulator.carrier_call import Account, Alert, CarriedCall
from voice_openai_connect.simulator.carrier_twiml import Document, Hangup, Say
from voice_openai_connect.simulator.serving import serving

ACCOUNT = Account("AC" + "1" * 32, "12345", "+15550002")


async def wait(_: Request) -> Response:
    return Response('<Response><Pause length="60"/></Response>', media_type="text/xml")


@pytest.fixture
async def call() -> AsyncGenerator[CarriedCall]:
    async with (
        serving(Starlette(routes=[Route("/twilio/voice", wait, methods=["POST"])])) as base,
        SimulatedCarrier(base, ACCOUNT) as carrier,
    ):
        call = await carrier.place_call(Caller([]), from_="+15550001")
        await call.until(lambda call: call.status == "in-progress")
        yield call


async def ended(call: CarriedCall) -> str:
    async with asyncio.timeout(10):
        return await call.ended


async def test_a_call_can_be_completed_from_outside(call: CarriedCall) -> None:
    call.complete()
    assert call.status == "completed"
    assert await ended(call) == "rest-completed"


async def test_of_two_interruptions_the_later_one_counts(call: CarriedCall) -> None:
    call.redirect(Document((Say("never said" * 50),), "http://127.0.0.1/"))
    call.redirect(Document((Hangup(),), "http://127.0.0.1/"))
    assert await ended(call) == "hung-up"


async def test_a_call_that_is_over_cannot_be_brought_back(call: CarriedCall) -> None:
    call.complete()
    call.redirect(Document((Say("hello?"),), "http://127.0.0.1/"))
    assert await ended(call) == "rest-completed"


async def test_a_time_limit_ends_the_call_and_can_be_moved(call: CarriedCall) -> None:
    call.limit(60)
    call.limit(call.now_ms // 1000 + 1)
    assert await ended(call) == "time-limit"


async def test_a_time_limit_that_is_over_already_is_refused(call: CarriedCall) -> None:
    await call.until(lambda call: call.now_ms >= 20)
    with pytest.raises(ValueError, match="already"):
        call.limit(0)


async def test_only_what_the_gateway_did_wrong_is_a_violation(call: CarriedCall) -> None:
    call.alerts += [Alert(0, code, "") for code in (31921, 31903, 11200, 31951, 12200)]
    assert [alert.code for alert in call.violations] == [31951, 12200]


async def test_until_gives_up_in_time(call: CarriedCall) -> None:
    with pytest.raises(TimeoutError):
        await call.until(lambda call: call.dials, within_s=0.05)


async def test_there_is_no_stream_before_the_first(call: CarriedCall) -> None:
    with pytest.raises(LookupError, match="no stream yet"):
        _ = call.stream


def test_every_webhook_carries_what_twilio_sends_empty_parameters_too(call: CarriedCall) -> None:
    params = call.params()
    assert params["CallSid"] == call.sid
    assert (params["From"], params["Caller"], params["To"]) == ("+15550001", "+15550001", "+15550002")
    assert (params["Direction"], params["ApiVersion"], params["AccountSid"]) == ("inbound", "2010-04-01", ACCOUNT.sid)
    assert params["FromCity"] == ""
