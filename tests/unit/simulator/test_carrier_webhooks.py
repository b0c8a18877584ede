import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol, cast
from urllib.parse import parse_qsl

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from twilio.request_validator import RequestValidator  # pyright: ignore[reportMissingTypeStubs] - it has none

from voice_openai_connect.simulator.carrier_twiml import TwimlError
from voice_openai_connect.simulator.carrier_webhooks import (
    Overrides,
    Routes,
    WebhookRequest,
    Webhooks,
    overrides,
    signer,
)
from voice_openai_connect.simulator.ports import free_port
from voice_openai_connect.simulator.serving import serving

TOKEN = "12345"
PUBLIC = "https://voice.example.com"


class Validates(Protocol):
    def validate(self, uri: str, params: Mapping[str, str], signature: str) -> bool: ...


class Desk:
    """A gateway's HTTP side: answers with `statuses` in turn, the last one for ever, and keeps what it got."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.hold = asyncio.Event()
        self.hold.set()
        self.got: list[tuple[Request, dict[str, str]]] = []
        self.base = ""

    async def answer(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        self.got.append((request, form))
        await self.hold.wait()
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Response("<Response/>", status, media_type="text/xml")


@pytest.fixture
async def desk() -> AsyncGenerator[Desk]:
    desk = Desk()
    async with serving(Starlette(routes=[Route("/{path:path}", desk.answer, methods=["GET", "POST"])])) as base:
        desk.base = base
        yield desk
        desk.hold.set()


@pytest.fixture
async def webhooks(desk: Desk) -> AsyncGenerator[Webhooks]:
    webhooks = Webhooks(TOKEN, Routes({PUBLIC: desk.base}))
    yield webhooks
    await webhooks.aclose()


async def ask(webhooks: Webhooks, url: str, *, method: str = "POST") -> tuple[WebhookRequest | TwimlError, int]:
    log: list[WebhookRequest] = []
    try:
        return await webhooks.ask(url, {"CallSid": "CA1", "City": ""}, method=method, log=log), len(log)
    except TwimlError as error:
        return error, len(log)


def test_signatures_are_twilios_own() -> None:
    params = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    signature = signer(TOKEN)("https://mycompany.com/myapp.php?foo=1&bar=2", params)
    assert signature == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


async def test_a_post_is_signed_over_the_public_address_and_its_form(desk: Desk, webhooks: Webhooks) -> None:
    answer, tries = await ask(webhooks, f"{PUBLIC}/twilio/voice?step=1#rc=3")
    request, form = desk.got[0]
    assert isinstance(answer, WebhookRequest)
    assert (answer.status, answer.path, tries) == (200, "/twilio/voice", 1)
    assert form == {"CallSid": "CA1", "City": ""}
    assert request.headers["host"] == "voice.example.com"
    validator = cast("Validates", RequestValidator(TOKEN))
    signature = request.headers["x-twilio-signature"]
    assert validator.validate(f"{PUBLIC}/twilio/voice?step=1", form, signature)
    assert not validator.validate(f"{PUBLIC}/twilio/voice?step=2", form, signature)


async def test_a_get_carries_its_parameters_in_the_signed_address(desk: Desk, webhooks: Webhooks) -> None:
    await ask(webhooks, f"{PUBLIC}/next?a=1", method="GET")
    request, form = desk.got[0]
    assert form == {}
    assert str(request.url.query) == "a=1&CallSid=CA1&City="
    validator = cast("Validates", RequestValidator(TOKEN))
    assert validator.validate(f"{PUBLIC}/next?a=1&CallSid=CA1&City=", {}, request.headers["x-twilio-signature"])


async def test_an_error_answer_is_not_tried_again_by_default(desk: Desk, webhooks: Webhooks) -> None:
    desk.statuses = [503, 200]
    error, tries = await ask(webhooks, f"{PUBLIC}/v")
    assert isinstance(error, TwimlError)
    assert (error.code, tries) == (11200, 1)


async def test_the_addresss_fragment_asks_for_more_tries_with_one_idempotency_token(
    desk: Desk, webhooks: Webhooks
) -> None:
    desk.statuses = [503, 500, 200]
    answer, tries = await ask(webhooks, f"{PUBLIC}/v#rc=2&rp=5xx,ct")
    assert isinstance(answer, WebhookRequest)
    assert (answer.attempt, tries) == (3, 3)
    (token,) = {request.headers["i-twilio-idempotency-token"] for request, _ in desk.got}
    await ask(webhooks, f"{PUBLIC}/v")
    assert desk.got[-1][0].headers["i-twilio-idempotency-token"] != token


async def test_an_answer_that_takes_too_long_is_a_failure(desk: Desk, webhooks: Webhooks) -> None:
    desk.hold.clear()
    error, tries = await ask(webhooks, f"{PUBLIC}/v#tt=100")
    assert isinstance(error, TwimlError)
    assert (error.code, tries) == (11200, 1)


async def test_a_gateway_that_is_not_there_is_tried_twice() -> None:
    webhooks = Webhooks(TOKEN, Routes())
    error, tries = await ask(webhooks, f"http://127.0.0.1:{free_port()}/v")
    await webhooks.aclose()
    assert isinstance(error, TwimlError)
    assert (error.code, tries) == (11205, 2)


def test_overrides_are_read_from_the_fragment_and_held_to_their_range() -> None:
    assert overrides("https://a/b") == ("https://a/b", Overrides())
    address, rules = overrides("https://a/b?c=1#ct=50&rt=99999&tt=2000&rc=9&rp=all&e=ashburn")
    assert address == "https://a/b?c=1"
    assert rules == Overrides(100, 15_000, 2_000, 5, frozenset({"all"}))
    assert rules.retried("4xx")
    assert not Overrides().retried("5xx")
    assert overrides("https://a/b#rc=many")[1].retries == 1


def test_a_public_address_leads_to_where_the_gateway_listens() -> None:
    routes = Routes({"https://voice.example.com/": "http://127.0.0.1:8000"})
    assert routes.real("https://voice.example.com/twilio/voice?x=1") == "http://127.0.0.1:8000/twilio/voice?x=1"
    assert routes.real("wss://voice.example.com/s/1") == "ws://127.0.0.1:8000/s/1"
    assert routes.real("https://other.example.com/x") == "https://other.example.com/x"
