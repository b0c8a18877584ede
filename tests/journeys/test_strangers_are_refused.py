"""Forged webhooks and sockets are refused before any work is done."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, cast
from urllib.parse import urlencode

import httpx2
import pytest
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voice_openai_connect import limits
from voice_openai_connect.simulator.caller import Caller, Wait
from voice_openai_connect.simulator.town import ACCOUNT_SID, AUTH_TOKEN, CALLER, GATEWAY_NUMBER, Town
from voice_openai_connect.wire.stream_ticket import issue_ticket

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
CALL_SID = "CA" + "8" * 32
FORM = {
    "AccountSid": ACCOUNT_SID,
    "CallSid": CALL_SID,
    "From": CALLER,
    "To": GATEWAY_NUMBER,
    "CallStatus": "ringing",
    "Direction": "inbound",
}
WEBHOOKS = ["/twilio/voice", "/twilio/next", "/twilio/dialed/1", "/twilio/stream-status"]


def sign(url: str, form: Mapping[str, str], token: str = AUTH_TOKEN) -> str:
    return str(cast("Any", RequestValidator(token)).compute_signature(url, dict(form)))


async def post(town: Town, path: str, form: Mapping[str, str], headers: Mapping[str, str]) -> httpx2.Response:
    async with httpx2.AsyncClient() as client:
        content = urlencode(form)
        base = {"content-type": "application/x-www-form-urlencoded"}
        return await client.post(town.settings["PUBLIC_HOST"] + path, content=content, headers={**base, **headers})


def refusals(town: Town) -> str:
    assert town.parts is not None
    lines = town.parts.metrics.render().decode().splitlines()
    return "\n".join(line for line in lines if line.startswith("voice_connect_refused_total"))


@pytest.mark.parametrize("path", WEBHOOKS)
async def test_a_webhook_without_twilios_signature_does_nothing(town: Town, path: str) -> None:
    url = town.settings["PUBLIC_HOST"] + path
    good = sign(url, FORM)
    wrong = [
        {},
        {"x-twilio-signature": ""},
        {"x-twilio-signature": sign(url, FORM, "another token")},
        {"x-twilio-signature": sign(url + "/", FORM)},
        {"x-twilio-signature": sign("https://evil.example.com" + path, FORM)},
        {"x-twilio-signature": good, "x-twilio-webhooks-signature-settings": "key=1,algorithm=NONE"},
    ]
    for headers in wrong:
        answer = await post(town, path, FORM, headers)
        assert answer.status_code == 403
        assert "Response" not in answer.text
    assert (await post(town, path, {**FORM, "From": "+15005550000"}, {"x-twilio-signature": good})).status_code == 403
    assert town.model.sessions == []


async def test_a_signed_webhook_of_another_account_is_refused(town: Town) -> None:
    form = {**FORM, "AccountSid": "AC" + "9" * 32}
    signature = sign(town.settings["PUBLIC_HOST"] + "/twilio/voice", form)

    assert (await post(town, "/twilio/voice", form, {"x-twilio-signature": signature})).status_code == 403


async def test_what_a_proxy_or_a_stranger_says_about_the_host_changes_nothing(town: Town) -> None:
    url = town.settings["PUBLIC_HOST"] + "/twilio/voice"
    headers = {
        "x-twilio-signature": sign(url, FORM),
        "host": "evil.example.com",
        "x-forwarded-host": "evil.example.com",
        "x-forwarded-proto": "https",
    }
    answer = await post(town, "/twilio/voice", FORM, headers)

    assert answer.status_code == 200
    assert "evil" not in answer.text


async def test_a_webhook_told_twice_gets_an_answer_of_the_same_shape_twice(town: Town) -> None:
    headers = {"x-twilio-signature": sign(town.settings["PUBLIC_HOST"] + "/twilio/voice", FORM)}
    answers = [(await post(town, "/twilio/voice", FORM, headers)).text for _ in range(2)]

    assert all(answer.count("<Stream") == 1 for answer in answers)


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(town: Town) -> None:
    answer = await post(town, "/twilio/voice", {"x": "y" * limits.WEBHOOK_BODY_BYTES}, {})

    assert answer.status_code == 403
    assert 'reason="too_large"' in refusals(town)


# --- the media socket


def stream_url(town: Town, ticket: str) -> str:
    return f"{town.settings['PUBLIC_HOST'].replace('http', 'ws', 1)}/twilio/stream/{ticket}"


def ticket_for(call_sid: str = CALL_SID, *, expires_in_s: int = 60, nonce: bytes = b"fedcba9876543210") -> str:
    return issue_ticket(AUTH_TOKEN, call_sid=call_sid, expires_at_s=int(time.time()) + expires_in_s, nonce=nonce)


async def refused(url: str, headers: Mapping[str, str]) -> bool:
    try:
        async with connect(url, additional_headers=headers, compression=None):
            return False
    except InvalidStatus as status:
        return status.response.status_code == 403


async def test_a_socket_without_signature_or_ticket_is_refused_before_it_is_opened(town: Town) -> None:
    good = stream_url(town, ticket_for())
    signed = {"x-twilio-signature": sign(good, {})}
    assert await refused(good, {})
    assert await refused(good, {"x-twilio-signature": sign(good, {}, "another token")})
    forged = ticket_for()
    forged = forged[:-1] + ("B" if forged[-1] == "A" else "A")  # a seal may well end in an A of its own
    for bad in ("x", ticket_for(expires_in_s=-1), forged):
        url = stream_url(town, bad)
        assert await refused(url, {"x-twilio-signature": sign(url, {})})
    assert await refused(stream_url(town, ticket_for(nonce=b"another nonce...")), signed)
    assert town.model.sessions == []


async def test_a_ticket_opens_one_socket_only(town: Town) -> None:
    url = stream_url(town, ticket_for())
    headers = {"x-twilio-signature": sign(url, {})}
    async with connect(url, additional_headers=headers, compression=None):
        assert await refused(url, headers)


def first_messages(call_sid: str, **media_format: Any) -> list[str]:
    start = {
        "streamSid": "MZ1",
        "accountSid": ACCOUNT_SID,
        "callSid": call_sid,
        "tracks": ["inbound"],
        "customParameters": {},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1, **media_format},
    }
    connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    return [
        json.dumps(connected),
        json.dumps({"event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": start}),
    ]


@pytest.mark.parametrize(
    "messages",
    [
        first_messages("CA" + "1" * 32),
        first_messages(CALL_SID, encoding="audio/l16"),
        first_messages(CALL_SID)[1:],
        ["{not json"],
    ],
    ids=["another call", "another format", "no connected", "garbage"],
)
async def test_a_stream_that_does_not_begin_as_announced_is_closed_and_no_model_is_opened(
    town: Town, messages: list[str]
) -> None:
    url = stream_url(town, ticket_for())
    async with connect(url, additional_headers={"x-twilio-signature": sign(url, {})}, compression=None) as socket:
        for message in messages:
            await socket.send(message)
        async for _ in socket:
            pytest.fail("nothing is said to a stranger")
    assert town.model.sessions == []


async def test_a_second_stream_for_a_call_that_has_one_is_refused_and_the_first_goes_on(town: Town) -> None:
    call = await town.carrier.place_call(Caller([Wait(60_000)]), from_=CALLER)
    session = await town.model.next_session()
    url = stream_url(town, ticket_for(call.sid))
    async with connect(url, additional_headers={"x-twilio-signature": sign(url, {})}, compression=None) as second:
        with pytest.raises(ConnectionClosed):
            await second.recv()

    assert not session.closed.is_set()
    assert 'reason="line_taken"' in refusals(town)
    call.complete()


# --- operators


async def test_operators_commands_are_off_without_a_token_and_refuse_a_wrong_one(quick_town: OpenTown) -> None:
    token = "a-long-and-random-operator-token-0001"
    async with httpx2.AsyncClient() as client:
        async with quick_town() as town:
            url = f"{town.settings['PUBLIC_HOST']}/console/calls"
            assert (await client.get(url, headers={"authorization": "Bearer x"})).status_code == 403
        async with quick_town(settings={"CONSOLE_TOKEN": token}) as town:
            url = f"{town.settings['PUBLIC_HOST']}/console/calls"
            assert (await client.get(url, headers={"authorization": "Bearer wrong"})).status_code == 403
            right = {"authorization": f"Bearer {token}"}
            call = await town.carrier.place_call(Caller([Wait(60_000)]), from_=CALLER)
            await town.model.next_session()
            (live,) = (await client.get(url, headers=right)).json()["calls"]
            assert live["call_sid"] == call.sid
            assert CALLER not in str(live)
            assert (await client.post(f"{url}/{call.sid}/handover", headers=right)).status_code == 202
            await call.until(lambda c: bool(c.asked("/twilio/next")), within_s=30)
            assert (await client.post(f"{url}/CAx/handover", headers=right)).status_code == 404
            call.complete()
