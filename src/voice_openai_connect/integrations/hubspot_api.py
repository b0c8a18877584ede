"""HubSpot's HTTP: one request with its timeouts, size bound and retries, and its refusals as one kind of error.

It knows nothing of contacts or tickets. Whoever writes through it must make the write safe to repeat (a unique
property), because after a lost answer it is repeated.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

import httpx2
import msgspec

from voice_openai_connect import limits
from voice_openai_connect.integrations import http_client, retry

T = TypeVar("T")
ObjectId = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,20}$")]
"""What HubSpot numbers its records with. Checked on arrival, because it goes into paths, links and attributes."""

API_VERSION: Final = "2026-09"
"""HubSpot names its versions by date, makes one every March and September, and keeps each for 18 months."""
BASE_URL: Final = "https://api.hubapi.com"
ONCE: Final = retry.RetryPolicy(1, limits.HUBSPOT_CONNECT_S + limits.HUBSPOT_READ_S)

_PERMANENT: Final = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    414: "invalid",
}
_POLICY_WAITS: Final = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 10.0}
_LOCKED_WAIT_S: Final = 2.0
_HINTS: Final = {
    "not_set_up": ", a property of ours is missing: run `voice-connect setup hubspot`",
    "unauthorized": ", the key in HUBSPOT_ACCESS_TOKEN is not accepted",
    "forbidden": ", the key lacks a scope: run `voice-connect doctor`",
}
_CLASH: Final = ("CONFLICTING_UNIQUE_VALUE", "already exists", "already has that value")


class CrmError(Exception):
    """HubSpot did not do what was asked.

    `reason` is one of withheld, no_number, not_set_up, invalid, unauthorized, forbidden, not_found, conflict,
    rate_limited, daily_limit, locked, migrating, unavailable, timeout, unreachable, redirected, too_large, malformed.
    `permanent` means that asking again is useless. `correlation_id` is HubSpot's name for the request, for its
    support. `clash` means that a unique value is taken. The message never carries what HubSpot said, which may
    quote the caller.
    """

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool,
        correlation_id: str = "",
        clash: bool = False,
        wait_s: float | None = None,
    ) -> None:
        hint = _HINTS.get(reason, "") + (f" (correlation id {correlation_id})" if correlation_id else "")
        super().__init__(f"HubSpot: {reason}{hint}")
        self.reason = reason
        self.permanent = permanent
        self.correlation_id = correlation_id
        self.clash = clash
        self.wait_s = wait_s
        """How long HubSpot asked us to wait, in seconds, if it did."""


class CrmObject(msgspec.Struct):
    """A contact or a ticket as HubSpot answers with it."""

    id: ObjectId
    properties: dict[str, str | None] = {}


class Problem(msgspec.Struct):
    """HubSpot's error body. It promises none of these fields."""

    message: str = ""
    category: str = ""
    policyName: str = ""  # noqa: N815 - HubSpot's spelling
    correlationId: str = ""  # noqa: N815


class Anything(msgspec.Struct):
    """An answer whose content does not matter."""


class Pace:
    """Lets at most `per_s` through a second, evenly, in the order in which they came."""

    def __init__(self, per_s: float) -> None:
        self._gap_s = 1 / per_s
        self._next = 0.0

    def delay_s(self, now: float) -> float:
        """Take the next turn, and say how long it is until then. `now` is in seconds on any steady clock."""
        turn = max(now, self._next)
        self._next = turn + self._gap_s
        return turn - now


class HubSpotApi:
    """Requests to HubSpot. `token` is asked for at every request, so that a rotated key needs no restart."""

    def __init__(self, token: Callable[[], str], *, base_url: str = BASE_URL) -> None:
        self._token = token
        self._http = http_client.open_client(base_url, connect_s=limits.HUBSPOT_CONNECT_S, read_s=limits.HUBSPOT_READ_S)
        self._searches = Pace(limits.HUBSPOT_SEARCHES_PER_S)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        returns: type[T],
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        policy: retry.RetryPolicy = retry.HUBSPOT,
    ) -> T:
        """Ask, and ask again where that may help. The answer as `returns`. Raises `CrmError`."""

        async def attempt() -> T:
            if path.endswith("/search"):
                await asyncio.sleep(self._searches.delay_s(asyncio.get_running_loop().time()))
            return await self._once(method, path, returns, params=params, body=body)

        try:
            return await retry.with_retries(attempt, policy=policy, wait=_wait)
        except TimeoutError:
            raise CrmError("timeout", permanent=False) from None

    async def _once(
        self,
        method: str,
        path: str,
        returns: type[T],
        *,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
    ) -> T:
        request = self._http.build_request(
            method,
            path,
            params=params,
            content=None if body is None else msgspec.json.encode(body),
            headers={"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"},
        )
        try:
            answer = await http_client.ask(
                self._http,
                request,
                deadline_s=limits.HUBSPOT_CONNECT_S + limits.HUBSPOT_READ_S,
                max_bytes=limits.HUBSPOT_BODY_BYTES,
            )
        except TimeoutError:
            raise CrmError("timeout", permanent=False) from None
        except http_client.TooLargeError:
            raise CrmError("too_large", permanent=True) from None
        except httpx2.HTTPError:
            raise CrmError("unreachable", permanent=False) from None
        return _understood(answer, returns)


def _understood(answer: http_client.Answer, returns: type[T]) -> T:
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        try:
            return msgspec.json.decode(answer.content or b"{}", type=returns)
        except msgspec.MsgspecError:
            raise CrmError("malformed", permanent=True, correlation_id=_correlation(answer)) from None
    if answer.status < HTTPStatus.BAD_REQUEST:
        raise CrmError("redirected", permanent=True)
    raise _refusal(answer)


def _refusal(answer: http_client.Answer) -> CrmError:
    problem = Problem()
    with suppress(msgspec.MsgspecError):
        problem = msgspec.json.decode(answer.content, type=Problem)
    status, correlation = answer.status, _correlation(answer) or problem.correlationId
    if reason := _PERMANENT.get(status):
        clash = status == HTTPStatus.CONFLICT or (
            status == HTTPStatus.BAD_REQUEST and any(words in problem.message for words in _CLASH)
        )
        if status == HTTPStatus.BAD_REQUEST and "PROPERTY_DOESNT_EXIST" in problem.message:
            reason = "not_set_up"
        return CrmError(reason, permanent=True, correlation_id=correlation, clash=clash)
    asked = _retry_after(answer)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        if problem.policyName == "DAILY":
            return CrmError("daily_limit", permanent=True, correlation_id=correlation)
        wait_s = asked if asked is not None else _POLICY_WAITS.get(problem.policyName)
        return CrmError("rate_limited", permanent=False, correlation_id=correlation, wait_s=wait_s)
    if status == HTTPStatus.LOCKED:
        return CrmError("locked", permanent=False, correlation_id=correlation, wait_s=asked or _LOCKED_WAIT_S)
    if status == 477:  # noqa: PLR2004 - HubSpot's own: the account is being moved, for up to a day
        return CrmError("migrating", permanent=asked is None, correlation_id=correlation, wait_s=asked)
    return CrmError("unavailable", permanent=status < HTTPStatus.INTERNAL_SERVER_ERROR, correlation_id=correlation)


def _correlation(answer: http_client.Answer) -> str:
    """Bounded and plain, because it goes to the log."""
    text = answer.headers.get("X-HubSpot-Correlation-Id", "")[:64]
    return "".join(c for c in text if c.isalnum() or c == "-")


def _retry_after(answer: http_client.Answer) -> float | None:
    try:
        return max(0.0, float(answer.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _wait(error: Exception) -> float | bool:
    if not isinstance(error, CrmError) or error.permanent:
        return False
    return True if error.wait_s is None else error.wait_s
