"""Twilio's REST API: moving a live call, when its own webhooks cannot, and looking at the number's settings."""

import re
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Annotated, Final, Self, TypeVar
from urllib.parse import parse_qs

import httpx2
import msgspec

from voice_openai_connect import limits, values
from voice_openai_connect.findings import Finding, ok, warning, wrong
from voice_openai_connect.integrations import http_client, retry
from voice_openai_connect.wire.twilio_webhooks import tried_again

T = TypeVar("T")

BASE_URL: Final = "https://api.twilio.com"
ASKED_AGAIN: Final = tried_again(limits.CALL_RETRIES)
"""Ends the number's address."""
_CALL_SID: Final = re.compile("CA[0-9a-f]{32}")
_CALL_GONE: Final = frozenset({20404, 21220})
"""No such call; the call is not in progress."""
_LIVE: Final = frozenset({"queued", "ringing", "in-progress"})
_RETRYABLE: Final = frozenset({"rate_limited", "unavailable", "timeout", "unreachable"})


class TwilioError(Exception):
    """Twilio did not do what was asked.

    `reason` is one of denied, refused, rate_limited, unavailable, timeout, unreachable, malformed, too_many; `code`
    is Twilio's own error number, or 0. Never carries credentials, numbers or TwiML.
    """

    def __init__(self, reason: str, *, code: int = 0) -> None:
        super().__init__(
            f"Twilio: {reason}" + (f" (error {code}, see twilio.com/docs/api/errors/{code})" if code else "")
        )
        self.reason = reason
        self.code = code


class _Problem(msgspec.Struct):
    code: int = 0


class _Anything(msgspec.Struct):
    pass


class _Record(msgspec.Struct, rename={"from_": "from"}):
    sid: Annotated[str, msgspec.Meta(pattern="^CA[0-9a-f]{32}$")]
    status: str
    direction: str = ""
    from_: str = ""
    start_time: str | None = None
    duration: Annotated[str, msgspec.Meta(pattern="^[0-9]{0,9}$")] | None = None


class _Page(msgspec.Struct):
    calls: list[_Record]
    next_page_uri: str | None = None


class _Account(msgspec.Struct):
    status: str = ""


class _Number(msgspec.Struct):
    voice_url: str | None = ""
    voice_fallback_url: str | None = ""
    voice_application_sid: str | None = ""
    trunk_sid: str | None = ""


class _Numbers(msgspec.Struct):
    incoming_phone_numbers: list[_Number] = []


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What Twilio remembers of a call that came in."""

    sid: str
    status: str
    """One of queued, ringing, in-progress, canceled, completed, failed, busy, no-answer."""
    caller: str
    started_at: datetime
    duration_s: int

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.status not in _LIVE


class TwilioClient:
    """One account's REST API: `async with TwilioClient(sid, token) as twilio`.

    `base_url` is for another region or for tests; `ValueError` if Twilio no longer answers there.
    """

    def __init__(self, account_sid: str, auth_token: str, *, base_url: str = BASE_URL) -> None:
        base_url = values.twilio_url(base_url)
        self._account = f"/2010-04-01/Accounts/{account_sid}"
        self._auth = httpx2.BasicAuth(account_sid, auth_token)
        self._http = http_client.open_client(base_url, connect_s=limits.TWILIO_REST_S, read_s=limits.TWILIO_REST_S)

    async def __aenter__(self) -> Self:
        await http_client.load_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def redirect(self, call_sid: str, twiml: str) -> bool:
        """Make a live call go on with `twiml` now. False if the call is over. May be repeated with the same TwiML.

        A stream on the call is stopped by it. Raises `TwilioError`, at the latest after `TWILIO_REST_S`, and
        `ValueError` for what is no CallSid and for TwiML that Twilio would not take.
        """
        if not _CALL_SID.fullmatch(call_sid):
            raise ValueError("a CallSid is CA and 32 hexadecimal digits")
        if len(twiml) > limits.TWILIO_TWIML_CHARS:
            raise ValueError(f"Twilio takes TwiML of at most {limits.TWILIO_TWIML_CHARS} characters in a request")
        try:
            await self._call("POST", f"{self._account}/Calls/{call_sid}.json", _Anything, form={"Twiml": twiml})
        except TwilioError as error:
            if error.code in _CALL_GONE:
                return False
            raise
        return True

    async def calls_to(self, phone_number: str, since: datetime) -> list[CallRecord]:
        """The calls that came in to this number since then, latest first. `since` must know its time zone.

        Raises `TwilioError`: ``too_many`` beyond `CALLS_PAGES` pages.
        """
        # `StartTime>` is the parameter's whole name; the times are as Twilio's own client writes them.
        when = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        query: dict[str, str] | None = {"To": phone_number, "StartTime>": when, "PageSize": str(limits.CALLS_PAGE)}
        own = path = f"{self._account}/Calls.json"
        found: list[CallRecord] = []
        for _ in range(limits.CALLS_PAGES):
            page = await self._call("GET", path, _Page, query=query)
            found += [record for each in page.calls if (record := _call_record(each)) and record.started_at >= since]
            if not page.next_page_uri:
                return found
            path, query = page.next_page_uri, None
            if not path.startswith(f"{own}?"):  # our credentials go nowhere else
                raise TwilioError("malformed")
        raise TwilioError("too_many")

    async def check(self, phone_number: str, voice_url: str, fallback_url: str = "") -> list[Finding]:
        """Whether the account lives and its number calls us, for the doctor. Reads only. Never raises."""
        account = await _look("Twilio account", self._call("GET", f"{self._account}.json", _Account))
        if isinstance(account, Finding):
            return [account]
        if account.status != "active":
            return [wrong("Twilio account", f"it is {account.status}", "Settle it in Twilio's console.")]
        query = {"PhoneNumber": phone_number}
        path = f"{self._account}/IncomingPhoneNumbers.json"
        numbers = await _look("Twilio number", self._call("GET", path, _Numbers, query=query))
        if isinstance(numbers, Finding):
            return [ok("Twilio account"), numbers]
        return [ok("Twilio account"), *_about_number(numbers, voice_url, fallback_url)]

    async def _call(
        self,
        method: str,
        path: str,
        returns: type[T],
        *,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> T:
        async def attempt() -> T:
            request = self._http.build_request(method, path, data=form, params=query)
            next(self._auth.auth_flow(request))
            return await self._once(request, returns)

        try:
            return await retry.with_retries(attempt, policy=retry.TWILIO, wait=_wait)
        except TimeoutError:
            raise TwilioError("timeout") from None

    async def _once(self, request: httpx2.Request, returns: type[T]) -> T:
        try:
            answer = await http_client.ask(
                self._http, request, deadline_s=limits.TWILIO_REST_S, max_bytes=limits.TWILIO_REST_BODY_BYTES
            )
        except TimeoutError:
            raise TwilioError("timeout") from None
        except http_client.TooLargeError:
            raise TwilioError("malformed") from None
        except httpx2.HTTPError:
            raise TwilioError("unreachable") from None
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise _refusal(answer)
        try:
            return msgspec.json.decode(answer.content, type=returns)
        except msgspec.MsgspecError:
            raise TwilioError("malformed") from None


def _call_record(record: _Record) -> CallRecord | None:
    """A call that came in; None for one that we made, or that has not begun."""
    if record.direction != "inbound" or not record.start_time:
        return None
    try:
        started_at = parsedate_to_datetime(record.start_time)
    except ValueError:
        raise TwilioError("malformed") from None
    return CallRecord(record.sid, record.status, record.from_, started_at, int(record.duration or 0))


def _refusal(answer: http_client.Answer) -> TwilioError:
    problem = _Problem()
    with suppress(msgspec.MsgspecError):
        problem = msgspec.json.decode(answer.content, type=_Problem)
    if answer.status == HTTPStatus.NOT_FOUND:
        return TwilioError("refused", code=problem.code or 20404)
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return TwilioError("denied", code=problem.code)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return TwilioError("rate_limited", code=problem.code)
    return TwilioError(
        "unavailable" if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "refused", code=problem.code
    )


def _wait(error: Exception) -> bool:
    """A request that was limited was not carried out; the others change nothing when they are repeated."""
    return isinstance(error, TwilioError) and error.reason in _RETRYABLE


async def _look(subject: str, question: Awaitable[T]) -> T | Finding:
    try:
        return await question
    except TwilioError as error:
        remedies = {
            "denied": "Check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN; they differ from region to region.",
            "refused": "Check TWILIO_ACCOUNT_SID.",
        }
        remedy = remedies.get(
            error.reason, "Check the network path to Twilio, TWILIO_API_BASE_URL and Twilio's status page."
        )
        return wrong(subject, str(error), remedy)


def _about_number(numbers: _Numbers, voice_url: str, fallback_url: str) -> list[Finding]:
    subject = "Twilio number"
    if not numbers.incoming_phone_numbers:
        return [wrong(subject, "the account does not have it", "Set TWILIO_PHONE_NUMBER to one it has, in E.164.")]
    number = numbers.incoming_phone_numbers[0]
    if number.trunk_sid or number.voice_application_sid:
        remedy = f"Let the number's voice webhook be {voice_url} instead."
        return [wrong(subject, "its calls go to a trunk or a TwiML application", remedy)]
    remedy = f"Set its voice webhook to {voice_url}{ASKED_AGAIN} (POST) in Twilio's console."
    found = ok(subject, "its calls come to this gateway")
    if _bare(number.voice_url) != voice_url:
        found = wrong(subject, f"its calls go to {_bare(number.voice_url) or 'nowhere'}", remedy)
    elif not _is_asked_again(number.voice_url):
        seen = "Twilio does not ask again where an instance fails to answer: such a call gets the fallback, after 15 s"
        found = warning(subject, seen, remedy)
    return [found, _about_fallback(number, fallback_url)]


def _about_fallback(number: _Number, fallback_url: str) -> Finding:
    subject = "Twilio fallback"
    set_to = _bare(number.voice_fallback_url)
    if fallback_url and set_to != fallback_url:
        return warning(subject, f"it is {set_to or 'not set'}", f"Set the number's fallback to {fallback_url}.")
    if not set_to:
        remedy = "Set the number's fallback to a TwiML Bin that dials the contact centre."
        return warning(subject, "it is not set: when the gateway cannot be reached, callers hear an error", remedy)
    return ok(subject)


def _is_asked_again(url: str | None) -> bool:
    """Whether the fragment asks for another try after an answer that is none: without `rp`, only a connection that
    cannot be made is tried again."""
    asked = parse_qs((url or "").partition("#")[2])
    after = {reason for each in asked.get("rp", ()) for reason in each.split(",")}
    return bool(after & {"rt", "5xx", "all"}) and asked.get("rc") != ["0"]


def _bare(url: str | None) -> str:
    """Without the fragment, in which Twilio keeps its connection settings."""
    return (url or "").partition("#")[0]
