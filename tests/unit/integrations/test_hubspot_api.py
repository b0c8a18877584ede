import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import pytest

from voice_openai_connect import limits
from voice_openai_connect.integrations.hubspot_api import Anything, CrmError, HubSpotApi, Pace
from voice_openai_connect.integrations.retry import RetryPolicy
from voice_openai_connect.simulator.scripted_http import DRIPS, HANGS, Answer, ScriptedHttp

QUICK = RetryPolicy(attempts=3, total_s=20, first_wait_s=0.001, longest_wait_s=0.002)
CALLER = "+61412345678"


class Id(msgspec.Struct):
    id: str


def problem(status: int, **fields: str) -> Answer:
    return Answer(status, msgspec.json.encode({"status": "error", **fields}), {"X-HubSpot-Correlation-Id": "abc-123"})


@asynccontextmanager
async def api(*answers: Answer) -> AsyncGenerator[tuple[HubSpotApi, ScriptedHttp]]:
    script = ScriptedHttp(answers)
    async with script.serving() as url:
        hubspot = HubSpotApi(lambda: "secret-key", base_url=url)
        yield hubspot, script
        await hubspot.close()


async def refused(*answers: Answer) -> tuple[CrmError, int]:
    """The error that answers like these end in, and how often was asked."""
    async with api(*answers) as (hubspot, script):
        with pytest.raises(CrmError) as caught:
            await hubspot.call("GET", f"/people/{CALLER}", Id, policy=QUICK)
        return caught.value, len(script.asked)


async def test_the_key_is_asked_for_at_every_request() -> None:
    keys = iter(["old", "new"])
    script = ScriptedHttp([Answer()])
    async with script.serving() as url:
        hubspot = HubSpotApi(lambda: next(keys), base_url=url)
        await hubspot.call("GET", "/", Anything)
        await hubspot.call("GET", "/", Anything)
        await hubspot.close()
    assert [asked.headers["authorization"] for asked in script.asked] == ["Bearer old", "Bearer new"]


async def test_an_answer_comes_as_what_was_asked_for() -> None:
    async with api(Answer(201, b'{"id":"7","unknown":[1]}')) as (hubspot, script):
        answer = await hubspot.call("POST", "/x", Id, params={"a": "b c"}, body={"text": 'a"b'})
    assert answer.id == "7"
    assert (script.asked[0].query, script.asked[0].body) in {
        ("a=b+c", b'{"text":"a\\"b"}'),
        ("a=b%20c", b'{"text":"a\\"b"}'),
    }


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "invalid"), (401, "unauthorized"), (403, "forbidden"), (404, "not_found"), (409, "conflict")],
)
async def test_what_cannot_get_better_is_asked_once(status: int, reason: str) -> None:
    error, times = await refused(problem(status, message=f"nothing for {CALLER}"))
    assert (error.reason, error.permanent, error.correlation_id, times) == (reason, True, "abc-123", 1)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 521, 523, 524])
async def test_a_passing_failure_is_asked_again(status: int) -> None:
    async with api(problem(status), Answer(200, b'{"id":"7"}')) as (hubspot, script):
        assert (await hubspot.call("GET", "/", Id, policy=QUICK)).id == "7"
    assert len(script.asked) == 2


async def test_a_failure_that_stays_is_asked_as_often_as_agreed() -> None:
    error, times = await refused(problem(503))
    assert (error.reason, error.permanent, times) == ("unavailable", False, 3)


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        (Answer(429, b'{"policyName":"SECONDLY"}'), 1.0),
        (Answer(429, b'{"policyName":"TEN_SECONDLY_ROLLING"}'), 10.0),
        (Answer(429, b'{"policyName":"SECONDLY"}', {"Retry-After": "7"}), 7.0),
        (Answer(429, b"not json"), None),
        (Answer(423, b"{}"), 2.0),
        (Answer(477, b"{}", {"Retry-After": "86400"}), 86_400.0),
    ],
)
async def test_how_long_to_wait_is_what_hubspot_says_or_what_its_limit_means(
    answer: Answer, wait_s: float | None
) -> None:
    async with api(answer) as (hubspot, _):
        with pytest.raises(CrmError) as caught:
            await hubspot.call("GET", "/", Id, policy=RetryPolicy(1, 20))
    assert caught.value.wait_s == wait_s
    assert not caught.value.permanent


async def test_the_limit_of_the_day_ends_the_asking() -> None:
    error, times = await refused(problem(429, policyName="DAILY"))
    assert (error.reason, error.permanent, times) == ("daily_limit", True, 1)


async def test_a_wait_of_a_day_is_not_waited() -> None:
    error, times = await refused(Answer(477, b"{}", {"Retry-After": "86400"}))
    assert (error.reason, times) == ("migrating", 1)


@pytest.mark.parametrize(
    ("answer", "clash"),
    [
        (problem(409, message="Contact already exists. Existing ID: 12"), True),
        (problem(400, message='[{"error":"CONFLICTING_UNIQUE_VALUE"}]'), True),
        (problem(400, message='[{"error":"INVALID_OPTION"}]'), False),
    ],
)
async def test_a_taken_unique_value_is_told_apart(answer: Answer, clash: bool) -> None:
    error, _ = await refused(answer)
    assert error.clash is clash


async def test_a_property_of_ours_that_is_missing_names_the_command() -> None:
    error, _ = await refused(problem(400, message='[{"error":"PROPERTY_DOESNT_EXIST","name":"voice_intent"}]'))
    assert error.reason == "not_set_up"
    assert "voice-connect setup hubspot" in str(error)


async def test_a_redirect_is_not_followed_and_not_believed() -> None:
    error, times = await refused(Answer(302, b"", {"Location": "http://127.0.0.1:9/"}))
    assert (error.reason, times) == ("redirected", 1)


async def test_an_answer_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HUBSPOT_BODY_BYTES", 100)
    error, _ = await refused(Answer(200, b'{"id":"' + b"7" * 100 + b'"}'))
    assert error.reason == "too_large"


@pytest.mark.parametrize("body", [b"<html>", b'{"id":7}', b"[]", b"{}"])
async def test_an_answer_that_is_not_understood_is_an_error_not_a_crash(body: bytes) -> None:
    error, _ = await refused(Answer(200, body))
    assert error.reason == "malformed"


@pytest.mark.parametrize("answer", [HANGS, DRIPS])
async def test_an_answer_that_does_not_come_or_does_not_end_is_given_up(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HUBSPOT_READ_S", 0.5)
    async with asyncio.timeout(30):
        error, times = await refused(answer)
    assert (error.reason, times) == ("timeout", 3)


async def test_nobody_listening_is_unreachable() -> None:
    hubspot = HubSpotApi(lambda: "secret-key", base_url="http://127.0.0.1:9")
    with pytest.raises(CrmError, match="unreachable"):
        await hubspot.call("GET", "/", Id, policy=QUICK)
    await hubspot.close()


async def test_an_error_says_nothing_of_the_caller_or_the_key() -> None:
    error, _ = await refused(problem(400, message=f"{CALLER} secret-key", correlationId="x\nFORGED"))
    assert str(error) == "HubSpot: invalid (correlation id abc-123)"


def test_searches_keep_their_distance_in_the_order_in_which_they_came() -> None:
    pace = Pace(2)
    assert [pace.delay_s(100.0) for _ in range(3)] == [0.0, 0.5, 1.0]


def test_after_a_pause_a_search_goes_at_once() -> None:
    pace = Pace(2)
    pace.delay_s(100.0)
    assert pace.delay_s(100.5) == 0.0
