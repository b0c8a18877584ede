"""Twilio's records of calls, and its list of them: filtered, paged, latest first, and strict about what it is asked.

As Twilio's own client asks (twilio-python 9.13, `rest/api/v2010/account/call`): `StartTime>` and `StartTime<` are names
of parameters, times are UTC as ``YYYY-MM-DD`` or ``YYYY-MM-DDTHH:MM:SSZ``, and what follows a page is asked for at the
address that the page names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import urlencode

PAGE_SIZE: Final = 50
PAGE_SIZE_MAX: Final = 1_000
STATUSES: Final = frozenset(
    {"queued", "ringing", "in-progress", "canceled", "completed", "failed", "busy", "no-answer"}
)
_KNOWN: Final = frozenset(
    {"To", "From", "ParentCallSid", "Status", "StartTime", "StartTime<", "StartTime>"}
    | {"EndTime", "EndTime<", "EndTime>", "PageToken", "Page", "PageSize"}
)


class ListError(ValueError):
    """A request that Twilio would refuse; the message says why."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call as it is kept. `seconds` is None as long as it is not over."""

    sid: str
    from_: str
    to: str
    status: str
    started: datetime
    seconds: int | None = None
    direction: str = "inbound"

    @property
    def ended(self) -> datetime | None:
        """When it was over."""
        return None if self.seconds is None else self.started + timedelta(seconds=self.seconds)

    def described(self, account_sid: str) -> dict[str, Any]:
        """The record as Twilio shows it: times in the form of e-mails, the length as text."""
        return {
            "sid": self.sid,
            "account_sid": account_sid,
            "api_version": "2010-04-01",
            "parent_call_sid": None,
            "phone_number_sid": "PN" + "0" * 32,
            "from": self.from_,
            "to": self.to,
            "status": self.status,
            "direction": self.direction,
            "date_created": _mailed(self.started),
            "date_updated": _mailed(self.ended or self.started),
            "start_time": _mailed(self.started),
            "end_time": _mailed(self.ended),
            "duration": None if self.seconds is None else str(self.seconds),
            "price": None,
            "price_unit": "USD",
            "uri": f"/2010-04-01/Accounts/{account_sid}/Calls/{self.sid}.json",
        }


def listed(records: Sequence[CallRecord], query: Mapping[str, str], account_sid: str) -> dict[str, Any]:
    """A page of the records that `query` wants. Raises `ListError`."""
    if unknown := sorted(query.keys() - _KNOWN):
        raise ListError(f"unknown parameters: {', '.join(unknown)}")
    size = _whole(query.get("PageSize", str(PAGE_SIZE)), "PageSize", at_most=PAGE_SIZE_MAX, at_least=1)
    page = _page(query)
    wanted = sorted((r for r in records if _passes(r, query)), key=lambda record: record.started, reverse=True)
    shown = wanted[page * size : (page + 1) * size]
    path = f"/2010-04-01/Accounts/{account_sid}/Calls.json"
    more = len(wanted) > (page + 1) * size
    return {
        "calls": [record.described(account_sid) for record in shown],
        "page": page,
        "page_size": size,
        "start": page * size,
        "end": page * size + len(shown) - 1,
        "uri": _uri(path, query, page),
        "first_page_uri": _uri(path, query, 0),
        "previous_page_uri": _uri(path, query, page - 1) if page else None,
        "next_page_uri": _uri(path, query, page + 1) if more else None,
    }


def _page(query: Mapping[str, str]) -> int:
    """Pages are walked, not jumped to: the number goes with the token that the page before has named."""
    number = _whole(query.get("Page", "0"), "Page", at_most=10**6)
    if number and query.get("PageToken") != f"PACA{number:032d}":
        raise ListError("PageToken is missing or is none of ours")
    return number


def _uri(path: str, query: Mapping[str, str], page: int) -> str:
    rest = {name: value for name, value in query.items() if name not in {"Page", "PageToken"}}
    token = {"PageToken": f"PACA{page:032d}"} if page else {}
    return f"{path}?{urlencode({**rest, 'Page': str(page), **token})}"


def _passes(record: CallRecord, query: Mapping[str, str]) -> bool:
    if (status := query.get("Status")) and status not in STATUSES:
        raise ListError(f"{status} is no status")
    same = {"To": record.to, "From": record.from_, "Status": record.status}
    return all(query.get(name, value) == value for name, value in same.items()) and all(
        _in_time(query, name, moment) for name, moment in (("StartTime", record.started), ("EndTime", record.ended))
    )


def _in_time(query: Mapping[str, str], name: str, moment: datetime | None) -> bool:
    after, before, day = (_moment(query.get(f"{name}{sign}", "")) for sign in (">", "<", ""))
    if moment is None:
        return not (after or before or day)
    return (
        (after is None or moment >= after)
        and (before is None or moment < before)
        and (day is None or moment.date() == day.date())
    )


def _moment(written: str) -> datetime | None:
    if not written:
        return None
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            return datetime.strptime(written, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise ListError(f"{written} is neither YYYY-MM-DD nor YYYY-MM-DDTHH:MM:SSZ")


def _whole(written: str, name: str, *, at_most: int, at_least: int = 0) -> int:
    if not written.isdecimal() or not at_least <= int(written) <= at_most:
        raise ListError(f"{name} is a whole number from {at_least} to {at_most}, not {written!r}")
    return int(written)


def _mailed(moment: datetime | None) -> str | None:
    """RFC 2822, as Twilio writes times: ``Tue, 31 Aug 2010 20:36:28 +0000``."""
    return None if moment is None else format_datetime(moment)
