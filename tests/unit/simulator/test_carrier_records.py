"""Twilio's list of calls, driven with Twilio's own client."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from twilio.http.http_client import TwilioHttpClient  # pyright: ignore[reportMissingTypeStubs] - it has none
from twilio.rest import Client  # pyright: ignore[reportMissingTypeStubs]

from voice_openai_connect.integrations.twilio_client import TwilioClient
from voice_openai_connect.simulator.carrier import SimulatedCarrier
from voice_openai_connect.simulator.carrier_call import Account
from voice_openai_connect.simulator.carrier_records import CallRecord, ListError, listed
from voice_openai_connect.simulator.carrier_rest import RestApi
from voice_openai_connect.simulator.scripted_http import Answer, ScriptedHttp

ACCOUNT = Account("AC" + "1" * 32, "12345", "+61255501234")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Redirected(TwilioHttpClient):
    """Twilio's own HTTP, with another host in front."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        return super().request(method, url.replace("https://api.twilio.com", self._base), *args, **kwargs)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


def official(base: str) -> Any:
    return Client(ACCOUNT.sid, ACCOUNT.auth_token, http_client=Redirected(base))


def record(number: int, *, hours: float = 0, **fields: Any) -> CallRecord:
    usual: dict[str, Any] = {"from_": "+61491570006", "to": ACCOUNT.number, "status": "completed", "seconds": 30}
    return CallRecord(f"CA{number:032x}", started=NOON - timedelta(hours=hours), **{**usual, **fields})


@pytest.fixture
async def rest() -> AsyncGenerator[RestApi]:
    async with SimulatedCarrier("http://127.0.0.1:1", ACCOUNT) as carrier:
        yield RestApi(carrier)


async def test_the_official_client_walks_the_pages_latest_call_first(rest: RestApi) -> None:
    rest.past += [record(number, hours=number) for number in range(5)]
    async with rest.serving() as base:
        calls = await asyncio.to_thread(official(base).calls.list, page_size=2)

    assert [call.sid for call in calls] == [record(number).sid for number in range(5)]
    assert (calls[1].start_time, calls[1].duration, calls[1].direction) == (NOON - timedelta(hours=1), "30", "inbound")
    assert calls[1].end_time == NOON - timedelta(hours=1) + timedelta(seconds=30)
    assert len(rest.requests) == 3


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"to": ACCOUNT.number}, [0, 1, 30]),
        ({"start_time_after": NOON - timedelta(hours=2)}, [0, 1, 2]),
        ({"start_time_before": NOON - timedelta(hours=2)}, [30]),
        ({"start_time": date(2026, 11, 21)}, [30]),
        ({"status": "busy"}, [1]),
        ({"from_": "+61491570007"}, []),
    ],
)
async def test_the_official_client_gets_what_it_filters_for(
    rest: RestApi, wanted: dict[str, Any], found: list[int]
) -> None:
    rest.past += [
        record(0),
        record(1, hours=1, status="busy"),
        record(2, hours=2, to="+61255509999"),
        record(30, hours=30),
    ]
    async with rest.serving() as base:
        calls = await asyncio.to_thread(official(base).calls.list, **wanted)

    assert [call.sid for call in calls] == [record(number).sid for number in found]


async def test_our_client_asks_as_the_official_one_does() -> None:
    page = Answer(200, b'{"calls": [], "next_page_uri": null}')
    script = ScriptedHttp([page])
    async with script.serving() as base, TwilioClient(ACCOUNT.sid, ACCOUNT.auth_token, base_url=base) as ours:
        await ours.calls_to(ACCOUNT.number, NOON)
        asked = {"to": ACCOUNT.number, "start_time_after": NOON, "page_size": 500}
        await asyncio.to_thread(official(base).calls.list, **asked)
    mine, theirs = script.asked

    assert (mine.method, mine.path) == (theirs.method, theirs.path)
    assert sorted(mine.query.split("&")) == sorted(theirs.query.split("&"))
    assert mine.headers["authorization"] == theirs.headers["authorization"]


@pytest.mark.parametrize(
    "query",
    [
        {"StartTime>=": "2026-11-22"},
        {"Since": "2026-11-22"},
        {"StartTime>": "yesterday"},
        {"StartTime>": "2026-11-22T12:00:00+11:00"},
        {"PageSize": "0"},
        {"PageSize": "1001"},
        {"PageSize": "-1"},
        {"Page": "1"},
        {"Page": "1", "PageToken": "PAsomething"},
        {"Status": "finished"},
    ],
)
def test_what_twilio_does_not_know_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(ListError):
        listed([record(0)], query, ACCOUNT.sid)


def test_a_call_that_is_not_over_has_neither_length_nor_end() -> None:
    shown = record(0, status="in-progress", seconds=None).described(ACCOUNT.sid)

    assert (shown["duration"], shown["end_time"]) == (None, None)
    assert listed([record(0, status="in-progress", seconds=None)], {"EndTime>": "2026-11-22"}, "AC")["calls"] == []
