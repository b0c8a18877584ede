import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from voice_openai_connect.simulator.caller import Caller
from voice_openai_connect.simulator.carrier import SimulatedCarrier
from voice_openai_connect.simulator.carrier_call import Account, CarriedCall
from voice_openai_connect.simulator.carrier_rest import TOO_MANY, RestApi, Trouble
from voice_openai_connect.simulator.serving import serving

ACCOUNT = Account("AC" + "1" * 32, "12345", "+15550002")
HANG_UP = "<Response><Hangup/></Response>"


async def answer(request: Request) -> Response:
    verb = "<Hangup/>" if request.url.path == "/moved" else '<Pause length="60"/>'
    return Response(f"<Response>{verb}</Response>", media_type="text/xml")


class Office:
    """A live call, the API that governs it, and somebody with its credentials."""

    def __init__(self, call: CarriedCall, base: str, gateway: str) -> None:
        self.call = call
        self.gateway = gateway
        self.root = f"{base}/2010-04-01/Accounts/{ACCOUNT.sid}"
        self.credentials = (ACCOUNT.sid, ACCOUNT.auth_token)

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        return await self._ask("GET", self.root + path, None)

    async def post(self, **form: str) -> tuple[int, dict[str, Any]]:
        return await self._ask("POST", f"{self.root}/Calls/{self.call.sid}.json", form)

    async def _ask(self, method: str, url: str, form: dict[str, str] | None) -> tuple[int, dict[str, Any]]:
        async with httpx2.AsyncClient(trust_env=False, auth=self.credentials) as client:
            response = await client.request(method, url, data=form)
        return response.status_code, response.json()

    async def ended(self) -> str:
        async with asyncio.timeout(10):
            return await self.call.ended


@pytest.fixture
async def office() -> AsyncGenerator[Office]:
    async with (
        serving(Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])) as gateway,
        SimulatedCarrier(gateway, ACCOUNT) as carrier,
        RestApi(carrier, {"SK1": "secret"}).serving() as base,
    ):
        call = await carrier.place_call(Caller([]), from_="+15550001")
        await call.until(lambda call: call.status == "in-progress")
        yield Office(call, base, gateway)


async def test_the_account_and_its_number_can_be_seen(office: Office) -> None:
    status, account = await office.get(".json")
    assert (status, account["sid"], account["status"]) == (200, ACCOUNT.sid, "active")
    _, numbers = await office.get("/IncomingPhoneNumbers.json?PhoneNumber=%2B15550002")
    (number,) = numbers["incoming_phone_numbers"]
    assert number["voice_url"] == f"{office.gateway}/twilio/voice"
    _, none = await office.get("/IncomingPhoneNumbers.json?PhoneNumber=%2B19999999")
    assert none["incoming_phone_numbers"] == []


async def test_an_api_key_opens_as_the_account_does(office: Office) -> None:
    office.credentials = ("SK1", "secret")
    assert (await office.get(".json"))[0] == 200


@pytest.mark.parametrize("credentials", [("SK1", "wrong"), ("", ""), (ACCOUNT.sid, "")])
async def test_wrong_credentials_are_refused(office: Office, credentials: tuple[str, str]) -> None:
    office.credentials = credentials
    status, error = await office.get(".json")
    assert (status, error["code"], error["status"]) == (401, 20003, 401)


async def test_a_live_call_moves_to_new_twiml(office: Office) -> None:
    status, call = await office.post(Twiml=HANG_UP)
    assert (status, call["sid"], call["status"]) == (200, office.call.sid, "in-progress")
    assert await office.ended() == "hung-up"


async def test_a_live_call_moves_to_a_url(office: Office) -> None:
    await office.post(Url=f"{office.gateway}/moved", Method="POST")
    assert await office.ended() == "hung-up"
    assert len(office.call.asked("/moved")) == 1


async def test_a_live_call_can_be_ended(office: Office) -> None:
    assert (await office.post(Status="completed"))[1]["status"] == "completed"
    assert await office.ended() == "rest-completed"


async def test_a_call_that_is_over_cannot_be_moved(office: Office) -> None:
    office.call.complete()
    status, error = await office.post(Twiml=HANG_UP)
    assert (status, error["code"]) == (400, 21220)
    assert (await office.get(f"/Calls/{office.call.sid}.json"))[1]["status"] == "completed"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, 20001),
        ({"Twiml": HANG_UP, "Url": "https://a/b"}, 20001),
        ({"Twiml": "<Response>" + " " * 4_000 + "</Response>"}, 20001),
        ({"Twiml": "<Response>"}, 12100),
        ({"Status": "ringing"}, 20001),
        ({"Status": "canceled"}, 21220),
        ({"TimeLimit": "0"}, 13216),
        ({"TimeLimit": "soon"}, 20001),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_and_the_call_goes_on(
    office: Office, form: dict[str, str], code: int
) -> None:
    status, error = await office.post(**form)
    assert (status, error["code"]) == (400, code)
    assert office.call.status == "in-progress"


async def test_a_time_limit_is_taken(office: Office) -> None:
    assert (await office.post(TimeLimit=str(office.call.now_ms // 1000 + 1)))[0] == 200
    assert await office.ended() == "time-limit"


@pytest.mark.parametrize("path", ["/Calls/CAnobody.json", "/Recordings.json"])
async def test_what_does_not_exist_is_20404(office: Office, path: str) -> None:
    status, error = await office.get(path)
    assert (status, error["code"]) == (404, 20404)


async def test_troubles_are_met_one_each() -> None:
    async with (
        SimulatedCarrier("http://127.0.0.1:1", ACCOUNT) as carrier,
        httpx2.AsyncClient(trust_env=False, auth=(ACCOUNT.sid, ACCOUNT.auth_token)) as client,
    ):
        api = RestApi(carrier)
        api.troubles += [TOO_MANY, Trouble(503)]
        async with api.serving() as base:
            url = f"{base}/2010-04-01/Accounts/{ACCOUNT.sid}.json"
            answers = [await client.get(url) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 503, 200]
    assert answers[0].json()["code"] == 20429
    assert len(api.requests) == 3
