"""Amazon Connect's hours of operation, as `GetEffectiveHoursOfOperations` tells them: overrides are applied already.

Times are those of a clock on the wall in the time zone that comes with them, so a night in which the clocks change is
no different from any other. A span that ends at or before its beginning ends on the next day; 00:00 to 00:00 is the
whole day (Amazon Connect Administrator Guide, "Set the hours of operation", on midnight).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

Span = tuple[time, time]
"""Opening and closing, local time; the minute of closing is closed."""


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """When a queue is open, on the days that were asked about."""

    zone: tzinfo
    first: date
    last: date
    """The days that were asked about, both included. Nothing is known of any other."""
    spans: Mapping[date, Sequence[Span]]
    """The spans that begin on a day. A day without any is closed, unless the one before it has not ended."""

    def open_at(self, moment: datetime) -> bool | None:
        """Whether it is open at `moment` (with a time zone, any); None where that is not known."""
        local = moment.astimezone(self.zone)
        today, yesterday, now = local.date(), local.date() - timedelta(days=1), local.time()
        if not self.first <= today <= self.last:
            return None
        if any(_covers(span, now) for span in self.spans.get(today, ())):
            return True
        if any(end <= begin and now < end for begin, end in self.spans.get(yesterday, ())):
            return True
        return False if yesterday >= self.first else None


def _covers(span: Span, now: time) -> bool:
    begin, end = span
    return begin <= now and (now < end or end <= begin)


def opening_hours(answer: Mapping[str, Any], zone: tzinfo, first: date, last: date) -> OpeningHours | None:
    """Read an answer of `GetEffectiveHoursOfOperations` for these days; None if it says nothing about any of them.

    Raises `ValueError`, `KeyError`, `TypeError` or `AttributeError` for what is not an answer at all.
    """
    days = answer.get("EffectiveHoursOfOperationList", ())
    if not days:
        return None
    spans = {
        date.fromisoformat(day["Date"]): [
            (_time(hour["Start"]), _time(hour["End"])) for hour in day.get("OperationalHours", ())
        ]
        for day in days
    }
    return OpeningHours(zone, first, last, spans)


def _time(slice_: Mapping[str, int]) -> time:
    return time(slice_["Hours"], slice_["Minutes"])
