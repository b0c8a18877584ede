"""Twilio's REST API as far as a gateway uses it: the account, its numbers, its calls, and live ones moved or ended.

Errors have Twilio's shape and numbers: 20003 for credentials, 20404 for what does not exist, 20429 for too many at
once, 21220 for a call that is over. The rest is 20001, "bad request".
"""

import asyncio
import base64
import binascii
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voice_openai_connect.simulator.carrier import SimulatedCarrier
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.carrier_records import CallRecord, ListError, listed
from voice_openai_connect.simulator.carrier_twiml import Document as Twiml
from voice_openai_connect.simulator.carrier_twiml import Redirect, TwimlError, read
from voice_openai_connect.simulator.serving import serving

TWIML_CHARS: Final = 4_000
LIVE: Final = frozenset({"ringing", "in-progress"})
ACCOUNT: Final = "/2010-04-01/Accounts/{account}"


class RestError(Exception):
    """An answer in Twilio's error format."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Trouble:
    """What one request meets instead of being served: a status and Twilio's code, after so many seconds."""

    status: int
    code: int = 0
    after_s: float = 0.0


TOO_MANY: Final = Trouble(429, 20429)

Serve = Callable[[Request, dict[str, str]], Awaitable[dict[str, Any]]]


@dataclass
class RestApi:
    """The API of one carrier. `troubles` are met by the next requests, one each; `requests` is what was asked.

    `past` are calls that were made before the town was there.
    """

    carrier: SimulatedCarrier
    keys: dict[str, str] = field(default_factory=dict[str, str])
    """API keys and their secrets, beside the account's own."""
    troubles: deque[Trouble] = field(default_factory=deque[Trouble])
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list[tuple[str, str, dict[str, str]]])
    past: list[CallRecord] = field(default_factory=list[CallRecord])

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        """Serve it on this machine; gives what takes the place of ``https://api.twilio.com``."""
        async with serving(self.app()) as base:
            yield base

    def app(self) -> Starlette:
        """The routes."""
        return Starlette(
            routes=[
                Route(ACCOUNT + ".json", self._route(self._account)),
                Route(ACCOUNT + "/IncomingPhoneNumbers.json", self._route(self._numbers)),
                Route(ACCOUNT + "/Calls.json", self._route(self._list_calls), methods=["GET"]),
                Route(ACCOUNT + "/Calls/{call}.json", self._route(self._fetch_call), methods=["GET"]),
                Route(ACCOUNT + "/Calls/{call}.json", self._route(self._update_call), methods=["POST"]),
            ],
            exception_handlers={404: _not_found},
        )

    def _route(self, serve: Serve) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
            self.requests.append((request.method, request.url.path, form))
            try:
                await self._meet_trouble()
                self._check_credentials(request)
                return JSONResponse(await serve(request, form))
            except RestError as error:
                return _error(error)

        return endpoint

    async def _meet_trouble(self) -> None:
        if self.troubles:
            trouble = self.troubles.popleft()
            await asyncio.sleep(trouble.after_s)
            raise RestError(trouble.status, trouble.code or 20500, "the simulated carrier was told to fail here")

    def _check_credentials(self, request: Request) -> None:
        """Basic: the account with its token, or an API key with its secret; and the account in the path."""
        account = self.carrier.account
        user, secret = _basic(request.headers.get("authorization", ""))
        known = {account.sid: account.auth_token} | self.keys
        if not user or known.get(user) != secret:
            raise RestError(401, 20003, "Authenticate")
        if request.path_params["account"] != account.sid:
            raise RestError(404, 20404, f"The requested resource {request.url.path} was not found")

    async def _account(self, request: Request, form: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002
        return {"sid": self.carrier.account.sid, "friendly_name": "The town", "status": "active", "type": "Full"}

    async def _numbers(self, request: Request, form: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002
        account = self.carrier.account
        number = {
            "sid": "PN" + "0" * 32,
            "account_sid": account.sid,
            "phone_number": account.number,
            "voice_url": self.carrier.voice_url,
            "voice_method": "POST",
            "voice_fallback_url": account.fallback_url,
            "status_callback": account.status_callback,
            "capabilities": {"voice": True, "sms": False, "mms": False},
        }
        wanted = request.query_params.get("PhoneNumber", account.number)
        found = [number] if wanted == account.number else []
        return {"incoming_phone_numbers": found, "page": 0, "page_size": 50, "next_page_uri": None}

    async def _list_calls(self, request: Request, form: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002
        records = [*self.past, *map(_record, self.carrier.calls.values())]
        try:
            return listed(records, dict(request.query_params), self.carrier.account.sid)
        except ListError as error:
            raise RestError(400, 20001, str(error)) from error

    async def _fetch_call(self, request: Request, form: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002
        return self._described(self._call(request))

    async def _update_call(self, request: Request, form: dict[str, str]) -> dict[str, Any]:
        call = self._call(request)
        if call.status not in LIVE:
            raise RestError(400, 21220, "Call is not in-progress. Cannot redirect.")
        wanted = [name for name in ("Twiml", "Url", "Status") if form.get(name)]
        if len(wanted) > 1:
            raise RestError(400, 20001, f"only one of Twiml, Url and Status may be given, not {' and '.join(wanted)}")
        if "TimeLimit" in form:
            _limit(call, form["TimeLimit"])
        elif not wanted:
            raise RestError(400, 20001, "nothing to change: give Twiml, Url, Status or TimeLimit")
        if wanted == ["Status"]:
            _end(call, form["Status"])
        elif wanted:
            call.redirect(_document(form, self.carrier.voice_url))
        return self._described(call)

    def _call(self, request: Request) -> CarriedCall:
        call = self.carrier.calls.get(request.path_params["call"])
        if call is None:
            raise RestError(404, 20404, f"The requested resource {request.url.path} was not found")
        return call

    def _described(self, call: CarriedCall) -> dict[str, Any]:
        return _record(call).described(self.carrier.account.sid)


def _record(call: CarriedCall) -> CallRecord:
    over = call.status not in LIVE
    return CallRecord(
        call.sid, call.from_, call.to, call.status, call.began_at, round(call.now_ms / 1_000) if over else None
    )


def _document(form: dict[str, str], base: str) -> Twiml:
    """What a call is redirected to."""
    if url := form.get("Url"):
        return Twiml((Redirect(url, form.get("Method", "POST")),), base)
    if len(form["Twiml"]) > TWIML_CHARS:
        raise RestError(400, 20001, f"Twiml has more than {TWIML_CHARS} characters")
    try:
        return read(form["Twiml"].encode(), "text/xml", base)
    except TwimlError as error:
        raise RestError(400, error.code, error.reason) from error


def _end(call: CarriedCall, status: str) -> None:
    if status not in {"completed", "canceled"}:
        raise RestError(400, 20001, f"Status may be completed or canceled, not {status!r}")
    if status == "canceled" and call.status != "ringing":
        raise RestError(400, 21220, "Call is not queued or ringing. Cannot cancel.")
    call.complete()


def _limit(call: CarriedCall, written: str) -> None:
    if not written.isdecimal():
        raise RestError(400, 20001, f"TimeLimit is a whole number of seconds, not {written!r}")
    try:
        call.limit(int(written))
    except ValueError as error:
        raise RestError(400, 13216, str(error)) from error


def _basic(header: str) -> tuple[str, str]:
    kind, _, encoded = header.partition(" ")
    try:
        user, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (user, secret) if kind.lower() == "basic" else ("", "")


def _error(error: RestError) -> JSONResponse:
    body = {
        "code": error.code,
        "message": str(error),
        "more_info": f"https://www.twilio.com/docs/errors/{error.code}",
        "status": error.status,
    }
    return JSONResponse(body, error.status)


async def _not_found(request: Request, _: Exception) -> Response:
    return _error(RestError(404, 20404, f"The requested resource {request.url.path} was not found"))
