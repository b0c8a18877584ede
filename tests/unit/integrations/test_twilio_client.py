import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from voice_openai_connect import limits
from voice_openai_connect.integrations.twilio_client import ASKED_AGAIN, CallRecord, TwilioClient, TwilioError
from voice_openai_connect.simulator.scripted_http import HANGS, Answer, ScriptedHttp

ACCOUNT = "AC" + "0" * 32
CALL = "CA" + "1" * 32
NUMBER = "+61255501234"
WEBHOOK = "https://voice.example.com/twilio/voice"
FALLBACK = "https://handler.twilio.com/twiml/EH0"
TWIML = "<Response><Say>A &amp; B</Say></Response>"


def says(http_status: int, /, **fields: Any) -> Answer:
    return Answer(http_status, msgspec.json.encode(fields))


@asynccontextmanager
async def account(*answers: Answer) -> AsyncGenerator[tuple[TwilioClient, ScriptedHttp], None]:
    script = ScriptedHttp(answers)
    async with script.serving() as url, TwilioClient(ACCOUNT, "auth-token", base_url=url) as client:
        yield client, script


async def test_a_live_call_is_given_new_twiml() -> None:
    async with account(says(200, sid=CALL)) as (twilio, script):
        assert await twilio.redirect(CALL, TWIML)
    (asked,) = script.asked
    assert (asked.method, asked.path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}.json")
    assert parse_qs(asked.body.decode()) == {"Twiml": [TWIML]}
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(f"{ACCOUNT}:auth-token".encode()).decode()


@pytest.mark.parametrize("answer", [says(404, code=20404), says(400, code=21220), Answer(404, b"")])
async def test_a_call_that_is_over_is_not_an_error(answer: Answer) -> None:
    async with account(answer) as (twilio, script):
        assert not await twilio.redirect(CALL, TWIML)
    assert len(script.asked) == 1


@pytest.mark.parametrize("answer", [says(429, code=20429), says(503), says(500, code=20500)])
async def test_what_passes_is_asked_again(answer: Answer) -> None:
    async with account(answer, says(200)) as (twilio, script):
        assert await twilio.redirect(CALL, TWIML)
    assert len(script.asked) == 2


@pytest.mark.parametrize(
    ("answer", "reason", "code"),
    [
        (says(401, code=20003), "denied", 20003),
        (says(403, code=20003), "denied", 20003),
        (says(400, code=12100), "refused", 12100),
        (Answer(302, b"", {"Location": "/"}), "refused", 0),
        (Answer(200, b"<html>"), "malformed", 0),
    ],
)
async def test_what_cannot_get_better_is_asked_once_and_named(answer: Answer, reason: str, code: int) -> None:
    async with account(answer) as (twilio, script):
        with pytest.raises(TwilioError) as caught:
            await twilio.redirect(CALL, TWIML)
    assert (caught.value.reason, caught.value.code, len(script.asked)) == (reason, code, 1)
    assert "auth-token" not in str(caught.value)


async def test_a_limit_that_stays_is_reported_after_a_few_tries() -> None:
    async with account(says(429, code=20429)) as (twilio, script):
        with pytest.raises(TwilioError, match="rate_limited"):
            await twilio.redirect(CALL, TWIML)
    assert len(script.asked) == limits.TWILIO_REST_ATTEMPTS


async def test_a_twilio_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TWILIO_REST_S", 0.2)
    async with asyncio.timeout(30), account(HANGS) as (twilio, _):
        with pytest.raises(TwilioError, match="timeout"):
            await twilio.redirect(CALL, TWIML)


@pytest.mark.parametrize("call_sid", ["", "CA1", "../Calls", CALL + "0", "MZ" + "1" * 32])
async def test_what_is_no_call_sid_is_not_sent(call_sid: str) -> None:
    async with account(says(200)) as (twilio, script):
        with pytest.raises(ValueError, match="CallSid"):
            await twilio.redirect(call_sid, TWIML)
    assert script.asked == []


async def test_twiml_that_twilio_would_cut_is_not_sent() -> None:
    async with account(says(200)) as (twilio, script):
        with pytest.raises(ValueError, match="4000"):
            await twilio.redirect(CALL, "x" * 4_001)
    assert script.asked == []


def test_a_host_that_twilio_switched_off_names_the_one_to_use() -> None:
    with pytest.raises(ValueError, match=r"https://api\.sydney\.au1\.twilio\.com"):
        TwilioClient(ACCOUNT, "auth-token", base_url="https://api.au1.twilio.com")


@pytest.mark.parametrize("host", ["api.twilio.com", "api.sydney.au1.twilio.com", "api.us1.twilio.com"])
async def test_hosts_that_live_are_taken(host: str) -> None:
    async with TwilioClient(ACCOUNT, "auth-token", base_url=f"https://{host}"):
        pass


def number(**fields: str | None) -> Answer:
    known = {
        "voice_url": WEBHOOK + ASKED_AGAIN,
        "voice_fallback_url": FALLBACK,
        "trunk_sid": None,
        "voice_application_sid": "",
    }
    return says(200, incoming_phone_numbers=[known | fields])


async def states(*answers: Answer, fallback_url: str = "") -> dict[str, str]:
    async with account(*answers) as (twilio, _):
        return {f.subject: f.state for f in await twilio.check(NUMBER, WEBHOOK, fallback_url)}


async def test_an_account_and_number_as_they_should_be_are_well() -> None:
    async with account(says(200, status="active"), number()) as (twilio, script):
        findings = await twilio.check(NUMBER, WEBHOOK, FALLBACK)
    assert [(f.subject, f.state) for f in findings] == [
        ("Twilio account", "ok"),
        ("Twilio number", "ok"),
        ("Twilio fallback", "ok"),
    ]
    assert {asked.method for asked in script.asked} == {"GET"}
    assert parse_qs(script.asked[1].query) == {"PhoneNumber": [NUMBER]}


async def test_wrong_credentials_are_one_finding() -> None:
    assert await states(says(401, code=20003)) == {"Twilio account": "wrong"}


async def test_a_suspended_account_is_wrong() -> None:
    assert await states(says(200, status="suspended")) == {"Twilio account": "wrong"}


async def test_a_number_of_somebody_else_is_wrong() -> None:
    found = await states(says(200, status="active"), says(200, incoming_phone_numbers=[]))
    assert found == {"Twilio account": "ok", "Twilio number": "wrong"}


@pytest.mark.parametrize(
    "answer",
    [
        number(voice_url="https://elsewhere.example.com/"),
        number(voice_url=None),
        number(trunk_sid="TK0"),
        number(voice_application_sid="AP0"),
    ],
)
async def test_a_number_whose_calls_go_elsewhere_is_wrong(answer: Answer) -> None:
    assert (await states(says(200, status="active"), answer))["Twilio number"] == "wrong"


@pytest.mark.parametrize("fragment", ["", "#", "#rc=2", "#ct=1000&rp=ct", "#rc=0&rp=5xx", "#nonsense"])
async def test_a_number_whose_calls_are_not_asked_for_again_is_a_warning_that_names_the_address(fragment: str) -> None:
    async with account(says(200, status="active"), number(voice_url=WEBHOOK + fragment)) as (twilio, _):
        (found,) = [each for each in await twilio.check(NUMBER, WEBHOOK) if each.subject == "Twilio number"]

    assert found.state == "warning"
    assert WEBHOOK + ASKED_AGAIN in found.remedy


@pytest.mark.parametrize("fragment", ["#rp=5xx", "#rc=5&rp=ct,rt", "#e=sydney&rp=all"])
async def test_a_number_may_be_asked_for_again_in_other_ways_than_ours(fragment: str) -> None:
    assert (await states(says(200, status="active"), number(voice_url=WEBHOOK + fragment)))["Twilio number"] == "ok"


def test_the_readme_and_the_doctor_name_the_same_address() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")

    assert f"/twilio/voice{ASKED_AGAIN}`" in readme


async def test_a_number_without_a_fallback_is_a_warning() -> None:
    found = await states(says(200, status="active"), number(voice_fallback_url=""))
    assert found == {"Twilio account": "ok", "Twilio number": "ok", "Twilio fallback": "warning"}


async def test_a_fallback_other_than_the_one_wanted_is_a_warning() -> None:
    found = await states(says(200, status="active"), number(), fallback_url="https://another.example.com/")
    assert found["Twilio fallback"] == "warning"


# --- The list of calls

SINCE = datetime(2026, 11, 22, tzinfo=UTC)
LATER = "Sun, 22 Nov 2026 03:04:05 +0000"


def call(**fields: Any) -> dict[str, Any]:
    usual = {"sid": CALL, "status": "completed", "direction": "inbound", "from": "+61491570006", "duration": "61"}
    return {**usual, "start_time": LATER, **fields}


async def test_calls_that_came_in_are_listed_with_what_is_known_of_them() -> None:
    async with account(says(200, calls=[call()])) as (twilio, _):
        (found,) = await twilio.calls_to(NUMBER, SINCE)
    assert found == CallRecord(CALL, "completed", "+61491570006", datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC), 61)
    assert found.over


async def test_what_follows_a_page_is_asked_for_where_the_page_says() -> None:
    more = f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json?PageSize=500&Page=1&PageToken=PA1"
    answers = says(200, calls=[call()], next_page_uri=more), says(200, calls=[call()])
    async with account(*answers) as (twilio, script):
        assert len(await twilio.calls_to(NUMBER, SINCE)) == 2
    assert script.asked[1].query == "PageSize=500&Page=1&PageToken=PA1"


@pytest.mark.parametrize("elsewhere", ["https://evil.example.com/Calls.json?a=b", "/2010-04-01/Accounts/ACother/x?"])
async def test_our_credentials_go_to_no_other_place_that_a_page_names(elsewhere: str) -> None:
    async with account(says(200, calls=[], next_page_uri=elsewhere)) as (twilio, script):
        with pytest.raises(TwilioError, match="malformed"):
            await twilio.calls_to(NUMBER, SINCE)
    assert len(script.asked) == 1


async def test_calls_that_are_not_asked_for_are_left_out() -> None:
    others = [
        call(direction="outbound-dial"),
        call(start_time=None, status="queued"),
        call(start_time="Sat, 21 Nov 2026 23:59:59 +0000"),  # should Twilio take the time for its day
    ]
    async with account(says(200, calls=others)) as (twilio, _):
        assert await twilio.calls_to(NUMBER, SINCE) == []


@pytest.mark.parametrize("broken", [{"sid": "CA1"}, {"start_time": "soon"}, {"duration": "long"}, {"status": None}])
async def test_a_record_that_makes_no_sense_is_malformed(broken: dict[str, Any]) -> None:
    async with account(says(200, calls=[call(**broken)])) as (twilio, _):
        with pytest.raises(TwilioError, match="malformed"):
            await twilio.calls_to(NUMBER, SINCE)


async def test_a_list_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLS_PAGES", 3)
    more = f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json?Page=1"
    async with account(says(200, calls=[], next_page_uri=more)) as (twilio, script):
        with pytest.raises(TwilioError, match="too_many"):
            await twilio.calls_to(NUMBER, SINCE)
    assert len(script.asked) == 3


@pytest.mark.parametrize(("status", "over"), [("in-progress", False), ("ringing", False), ("busy", True)])
async def test_a_call_is_over_unless_twilio_says_that_it_lives(status: str, *, over: bool) -> None:
    async with account(says(200, calls=[call(status=status, duration=None)])) as (twilio, _):
        (found,) = await twilio.calls_to(NUMBER, SINCE)
    assert found.over is over
