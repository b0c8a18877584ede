"""The carrier's requests to the gateway: signed by Twilio's own code, timed out and retried by Twilio's rules.

Source of times, retries and overrides: Twilio, "Webhooks connection overrides". 15 s in all, connect 5 s, read 15 s,
one retry and only when no connection could be made; a URL's fragment (`#rc=2&rp=5xx`) changes them and is not signed.
"""

import asyncio
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Protocol, cast
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import httpx2

from voice_openai_connect.simulator.carrier_twiml import RETRIEVAL_FAILED, UNREACHABLE, TwimlError

CONNECT_MS: Final = 5_000
READ_MS: Final = 15_000
TOTAL_MS: Final = 15_000
RETRIES: Final = 1
RETRY_ON: Final = frozenset({"ct"})


@cache
def _trusted() -> ssl.SSLContext:
    """The system's certificates, read once: that takes longer than a whole webhook on loopback."""
    return ssl.create_default_context()


class _Validator(Protocol):
    """What is used of Twilio's `RequestValidator`, which has no types."""

    def compute_signature(self, uri: str, params: Mapping[str, str]) -> str: ...


def signer(auth_token: str) -> Callable[[str, Mapping[str, str]], str]:
    """Twilio's signature over an address and form parameters, as the header carries it."""
    from twilio.request_validator import RequestValidator  # pyright: ignore[reportMissingTypeStubs] - has none

    return cast("_Validator", RequestValidator(auth_token)).compute_signature


@dataclass(frozen=True, slots=True)
class Overrides:
    """How one request is tried, from the fragment of its URL."""

    connect_ms: int = CONNECT_MS
    read_ms: int = READ_MS
    total_ms: int = TOTAL_MS
    retries: int = RETRIES
    retry_on: frozenset[str] = RETRY_ON

    def retried(self, failure: str) -> bool:
        """Whether a failure of this kind (`ct`, `rt`, `4xx`, `5xx`) is tried again."""
        return failure in self.retry_on or "all" in self.retry_on


def overrides(url: str) -> tuple[str, Overrides]:
    """The address without its fragment, and what the fragment asks for. Values out of range are held to the range."""
    address, _, fragment = url.partition("#")
    asked = {name: values[-1] for name, values in parse_qs(fragment).items()}

    def number(name: str, default: int, lowest: int, highest: int) -> int:
        written = asked.get(name, "")
        return min(max(int(written), lowest), highest) if written.isdecimal() else default

    return address, Overrides(
        connect_ms=number("ct", CONNECT_MS, 100, 10_000),
        read_ms=number("rt", READ_MS, 100, 15_000),
        total_ms=number("tt", TOTAL_MS, 100, 15_000),
        retries=number("rc", RETRIES, 0, 5),
        retry_on=frozenset(asked["rp"].split(",")) if "rp" in asked else RETRY_ON,
    )


class Routes:
    """Where public addresses really lead: `{"https://voice.example.com": "http://127.0.0.1:8000"}`.

    Signatures are made over the public address; the connection goes to the other one. The mapping is looked at anew
    for each request, so that a balancer can be played by changing it.
    """

    def __init__(self, routes: Mapping[str, str] | None = None) -> None:
        self._routes: Mapping[str, str] = {} if routes is None else routes

    def real(self, url: str) -> str:
        """The address to connect to. `wss` follows `https`, and becomes `ws` when the way is plain `http`."""
        parts = urlsplit(url)
        socket = parts.scheme in {"ws", "wss"}
        reals = [_origin(real) for public, real in self._routes.items() if _origin(public) == _origin(url)]
        if not reals:
            return url
        scheme, netloc = reals[0]
        if socket:
            scheme = "wss" if scheme == "https" else "ws"
        return urlunsplit((scheme, netloc, parts.path, parts.query, ""))


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    return scheme, parts.netloc


@dataclass(slots=True)
class WebhookRequest:
    """One request as it was made. `status` is 0 when no answer came, and `failure` says why."""

    method: str
    url: str
    params: dict[str, str]
    attempt: int
    status: int = 0
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)
    failure: str = ""
    took_ms: int = 0

    @property
    def path(self) -> str:
        """The path alone, as tests compare it."""
        return urlsplit(self.url).path


class Webhooks:
    """Makes the carrier's requests and keeps a record of every try."""

    def __init__(self, auth_token: str, routes: Routes) -> None:
        self._sign = signer(auth_token)
        self._routes = routes
        # No connection is kept: one that a restarting gateway has closed would look like a lost answer.
        one_request_each = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        self._client = httpx2.AsyncClient(
            trust_env=False, follow_redirects=False, limits=one_request_each, verify=_trusted()
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(
        self, url: str, params: Mapping[str, str], *, method: str, log: list[WebhookRequest]
    ) -> WebhookRequest:
        """Make the request, with retries; every try is added to `log`.

        Returns the answered try. Raises `TwimlError` 11205 (not reached) or 11200 (no answer in time, or not 2xx).
        """
        address, rules = overrides(url)
        same = str(uuid.uuid4())
        began = time.monotonic()
        for attempt in range(1, rules.retries + 2):
            left_ms = rules.total_ms - (time.monotonic() - began) * 1000
            request = WebhookRequest(method, address, dict(params), attempt)
            log.append(request)
            kind = await self._try(request, rules, left_ms / 1000, same)
            if not kind:
                return request
            if attempt > rules.retries or not rules.retried(kind) or left_ms <= 0:
                code = UNREACHABLE if kind == "ct" else RETRIEVAL_FAILED
                raise TwimlError(code, f"{method} {address}: {request.failure}")
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _try(self, request: WebhookRequest, rules: Overrides, left_s: float, same: str) -> str:
        """One try. Returns the kind of failure in the words of `#rp=`, or nothing when it was answered with 2xx."""
        timeout = httpx2.Timeout(rules.read_ms / 1000, connect=rules.connect_ms / 1000)
        began = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                response = await self._client.send(self._request(request, timeout, same))
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            request.failure = f"no connection ({error})"
            return "ct"
        except (TimeoutError, httpx2.TransportError) as error:
            request.failure = f"no answer ({type(error).__name__})"
            return "rt"
        finally:
            request.took_ms = int((time.monotonic() - began) * 1000)
        request.status, request.body = response.status_code, response.content
        request.content_type = response.headers.get("content-type", "")
        if response.is_success:
            return ""
        request.failure = f"answered with {response.status_code}"
        return f"{response.status_code // 100}xx"

    def _request(self, request: WebhookRequest, timeout: httpx2.Timeout, same: str) -> httpx2.Request:
        """The HTTP request: parameters in the form of a POST, or in the address of a GET."""
        signed, form = request.url, dict(request.params)
        if request.method == "GET":
            signed += ("&" if "?" in signed else "?") + urlencode(form)
            form = {}
        headers = {
            "Host": urlsplit(signed).netloc,
            "User-Agent": "TwilioProxy/1.1",
            "Accept": "*/*",
            "X-Twilio-Signature": self._sign(signed, form),
            "I-Twilio-Idempotency-Token": same,
        }
        if request.method == "GET":
            return self._client.build_request("GET", self._routes.real(signed), headers=headers, timeout=timeout)
        headers["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8"
        return self._client.build_request(
            "POST", self._routes.real(signed), headers=headers, content=urlencode(form), timeout=timeout
        )
