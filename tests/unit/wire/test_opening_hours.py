"""Open now? Holidays, nights that end tomorrow, clocks that change, and days that nobody knows anything of."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from voice_openai_connect.wire.opening_hours import OpeningHours, opening_hours

SYDNEY = ZoneInfo("Australia/Sydney")
MONDAY = date(2026, 11, 23)


def at(clock: str) -> dict[str, int]:
    hours, minutes = clock.split(":")
    return {"Hours": int(hours), "Minutes": int(minutes)}


def answer(**days: list[str]) -> dict[str, Any]:
    """`d23=["09:00-17:00"]`: what Connect says of the days of November 2026."""
    listed = [
        {
            "Date": f"2026-11-{day[1:]}",
            "OperationalHours": [{"Start": at(span[:5]), "End": at(span[6:])} for span in spans],
        }
        for day, spans in days.items()
    ]
    return {"EffectiveHoursOfOperationList": listed, "TimeZone": "Australia/Sydney"}


def hours(**days: list[str]) -> OpeningHours:
    found = opening_hours(answer(**days), SYDNEY, date(2026, 11, 22), date(2026, 11, 30))
    assert found is not None
    return found


def local(clock: str, day: int = 23) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return datetime(2026, 11, day, hour, minute, tzinfo=SYDNEY)


@pytest.mark.parametrize(
    ("clock", "is_open"), [("08:59", False), ("09:00", True), ("16:59", True), ("17:00", False), ("23:59", False)]
)
def test_the_minute_of_opening_is_open_and_the_minute_of_closing_is_not(clock: str, is_open: bool) -> None:
    assert hours(d23=["09:00-17:00"]).open_at(local(clock)) is is_open


def test_a_break_at_noon_is_closed() -> None:
    known = hours(d23=["09:00-12:00", "13:00-17:00"])

    assert [known.open_at(local(clock)) for clock in ("11:59", "12:30", "13:00")] == [True, False, True]


def test_the_moment_may_come_from_any_time_zone() -> None:
    known = hours(d23=["09:00-17:00"])

    assert known.open_at(datetime(2026, 11, 22, 22, 0, tzinfo=UTC)) is True  # nine in the morning in Sydney
    assert known.open_at(datetime(2026, 11, 23, 9, 0, tzinfo=UTC)) is False


def test_a_night_ends_on_the_next_day() -> None:
    known = hours(d23=["22:00-06:00"])

    assert [known.open_at(local(clock)) for clock in ("21:59", "22:00")] == [False, True]
    assert [known.open_at(local(clock, 24)) for clock in ("00:00", "05:59", "06:00", "22:00")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_day_that_ended_in_time_does_not_reach_into_the_next() -> None:
    assert hours(d23=["09:00-17:00"]).open_at(local("10:00", 24)) is False


def test_closing_at_midnight_is_the_end_of_the_day() -> None:
    known = hours(d23=["10:00-00:00"])

    assert known.open_at(local("23:59")) is True
    assert known.open_at(local("00:00", 24)) is False


def test_from_midnight_to_midnight_is_the_whole_day_and_no_more() -> None:
    known = hours(d23=["00:00-00:00"])

    assert all(known.open_at(local(clock)) for clock in ("00:00", "12:00", "23:59"))
    assert known.open_at(local("00:00", 24)) is False


def test_a_holiday_is_a_day_with_no_hours_whether_it_is_listed_or_not() -> None:
    listed, left_out = hours(d23=[], d24=["09:00-17:00"]), hours(d24=["09:00-17:00"])

    assert listed.open_at(local("12:00")) is left_out.open_at(local("12:00")) is False


def test_nothing_is_known_of_days_that_were_not_asked_about() -> None:
    known = hours(d23=["09:00-17:00"])

    assert known.open_at(local("12:00", 21)) is None
    assert known.open_at(local("12:00", 30) + timedelta(days=1)) is None


def test_the_first_day_is_closed_only_as_far_as_the_day_before_it_cannot_matter() -> None:
    known = hours(d22=["09:00-17:00"])

    assert known.open_at(local("12:00", 22)) is True
    assert known.open_at(local("03:00", 22)) is None


def test_an_answer_without_any_day_says_nothing() -> None:
    assert opening_hours({"TimeZone": "UTC"}, UTC, MONDAY, MONDAY) is None
    assert opening_hours({"EffectiveHoursOfOperationList": []}, UTC, MONDAY, MONDAY) is None


@pytest.mark.parametrize(
    ("day", "utc", "is_open"),
    [
        # Clocks go forward on the fourth of October 2026: nine o'clock comes an hour sooner.
        (date(2026, 10, 3), datetime(2026, 10, 2, 22, 30, tzinfo=UTC), False),
        (date(2026, 10, 4), datetime(2026, 10, 3, 22, 30, tzinfo=UTC), True),
        # And back on the fifth of April: nine o'clock comes an hour later.
        (date(2026, 4, 4), datetime(2026, 4, 3, 22, 30, tzinfo=UTC), True),
        (date(2026, 4, 5), datetime(2026, 4, 4, 22, 30, tzinfo=UTC), False),
    ],
)
def test_opening_hours_go_by_the_clock_on_the_wall(day: date, utc: datetime, is_open: bool) -> None:
    stated = {"Date": day.isoformat(), "OperationalHours": [{"Start": at("09:00"), "End": at("17:00")}]}
    known = opening_hours(
        {"EffectiveHoursOfOperationList": [stated]}, SYDNEY, day - timedelta(days=1), day + timedelta(days=1)
    )

    assert known is not None
    assert known.open_at(utc) is is_open


@pytest.mark.parametrize("minutes", [0, 30, 60, 90])
def test_an_hour_that_comes_twice_is_open_both_times(minutes: int) -> None:
    """Between two and three, on the night in April when the clocks go back."""
    stated = {"Date": "2026-04-05", "OperationalHours": [{"Start": at("02:00"), "End": at("03:00")}]}
    known = opening_hours({"EffectiveHoursOfOperationList": [stated]}, SYDNEY, date(2026, 4, 4), date(2026, 4, 6))

    assert known is not None
    assert known.open_at(datetime(2026, 4, 4, 15, 0, tzinfo=UTC) + timedelta(minutes=minutes)) is True
    assert known.open_at(datetime(2026, 4, 4, 17, 0, tzinfo=UTC)) is False


@pytest.mark.parametrize(
    "day",
    [
        {"Date": "tomorrow", "OperationalHours": []},
        {"OperationalHours": []},
        {"Date": "2026-11-23", "OperationalHours": [{"Start": {"Hours": 9, "Minutes": 0}}]},
        {"Date": "2026-11-23", "OperationalHours": [{"Start": at("9:0"), "End": {"Hours": 24, "Minutes": 0}}]},
        "Monday",
    ],
)
def test_what_is_no_answer_is_refused(day: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        opening_hours({"EffectiveHoursOfOperationList": [day]}, UTC, MONDAY, MONDAY)
