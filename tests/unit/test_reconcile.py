"""The look back at calls, against Twilio's list and a real table."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.next_step import DialPerson, HangUp, PromiseCallBack
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.clients import dynamo_repository
from voice_openai_connect.config import load_settings
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.integrations.twilio_client import CallRecord
from voice_openai_connect.reconcile import (
    COULD_NOT_LOOK,
    LOST,
    CannotLookError,
    Report,
    likely,
    reconcile,
    run_reconcile,
    written,
)
from voice_openai_connect.simulator import carrier_records
from voice_openai_connect.simulator.carrier import SimulatedCarrier
from voice_openai_connect.simulator.carrier_call import Account
from voice_openai_connect.simulator.carrier_rest import RestApi, Trouble
from voice_openai_connect.simulator.dynamo import SimulatedDynamo

ACCOUNT = Account("AC" + "5" * 32, "the-token", "+61255501234")
CALLER = "+61491570006"
NOW = datetime.now(UTC).replace(microsecond=0)


def sid(number: int) -> str:
    return f"CA{number:032x}"


@dataclass
class Office:
    """An account with calls, a table, and the settings of whoever looks back."""

    rest: RestApi
    table: DynamoRepository
    env: dict[str, str]

    def rang(self, number: int, *, ago: timedelta = timedelta(hours=1), status: str = "completed", s: int = 90) -> str:
        self.rest.past.append(carrier_records.CallRecord(sid(number), CALLER, ACCOUNT.number, status, NOW - ago, s))
        return sid(number)

    async def look(self, hours: int = 24, *, changes: Mapping[str, str] = MappingProxyType({})) -> Report:
        return await reconcile(load_settings({**self.env, **changes}, None), hours=hours, now=NOW)


@pytest.fixture
async def office(dynamo: SimulatedDynamo) -> AsyncIterator[Office]:
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(SimulatedCarrier("http://127.0.0.1:1", ACCOUNT))
        rest = RestApi(carrier)
        env = {
            "PUBLIC_HOST": "voice.example.com",
            "TWILIO_ACCOUNT_SID": ACCOUNT.sid,
            "TWILIO_AUTH_TOKEN": ACCOUNT.auth_token,
            "TWILIO_PHONE_NUMBER": ACCOUNT.number,
            "TWILIO_API_BASE_URL": await stack.enter_async_context(rest.serving()),
            "OPENAI_API_KEY": "sk-simulated",
            "AWS_REGION": dynamo.region,
            "AWS_ACCESS_KEY_ID": dynamo.access_key_id,
            "AWS_SECRET_ACCESS_KEY": dynamo.secret_access_key,
            "AWS_ENDPOINT_URL_DYNAMODB": dynamo.endpoint_url,
            "DYNAMODB_TABLE_NAME": f"reconcile-{uuid.uuid4().hex}",
            "CONNECT_PHONE_NUMBER": "+61255505678",
        }
        table = await stack.enter_async_context(dynamo_repository(load_settings(env, None)))
        await table.setup_table()
        yield Office(rest, table, env)


# --- What is found


async def test_calls_whose_end_is_known_are_counted_by_how_they_ended(office: Office) -> None:
    for number, outcome in enumerate([Outcome.CONTAINED, Outcome.CONTAINED, Outcome.CONNECTED_WITH_CONTEXT]):
        await office.table.close_call(office.rang(number), outcome)
    report = await office.look()

    assert report.outcomes == {Outcome.CONTAINED: 2, Outcome.CONNECTED_WITH_CONTEXT: 1}
    assert (report.calls, report.unaccounted) == (3, [])


async def test_a_caller_of_whom_no_end_is_known_is_named(office: Office) -> None:
    await office.table.close_call(office.rang(1), Outcome.CONTAINED)
    lost = office.rang(2)
    await office.table.save_checkpoint(lost, Checkpoint())
    unknown = office.rang(3)
    report = await office.look()

    assert {each.call.sid for each in report.unaccounted} == {lost, unknown}


async def test_a_call_that_is_not_over_is_nobody_lost(office: Office) -> None:
    office.rest.past.append(
        carrier_records.CallRecord(sid(1), CALLER, ACCOUNT.number, "in-progress", NOW - timedelta(minutes=5))
    )
    report = await office.look()

    assert (report.going_on, report.unaccounted) == (1, [])


async def test_a_call_that_ended_just_now_may_still_be_written_down(office: Office) -> None:
    just = timedelta(seconds=90 + limits.RECONCILE_GRACE_S - 1)
    office.rang(1, ago=just)
    office.rang(2, ago=just + timedelta(seconds=1))
    report = await office.look()

    assert report.going_on == 1
    assert [each.call.sid for each in report.unaccounted] == [sid(2)]


async def test_only_calls_to_our_number_within_the_hours_are_looked_at(office: Office) -> None:
    office.rang(1, ago=timedelta(hours=3))
    office.rang(2, ago=timedelta(hours=1))
    others = {"to": "+61255509999"}, {"direction": "outbound-dial"}
    for number, change in enumerate(others, 10):
        record = {"to": ACCOUNT.number, "direction": "inbound", **change}
        office.rest.past.append(
            carrier_records.CallRecord(
                sid(number), CALLER, record["to"], "completed", NOW - timedelta(hours=1), 60, record["direction"]
            )
        )

    assert [each.call.sid for each in (await office.look(2)).unaccounted] == [sid(2)]


async def test_calls_on_later_pages_are_looked_at_too(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLS_PAGE", 2)
    for number in range(5):
        office.rang(number)

    assert len((await office.look()).unaccounted) == 5


# --- The most likely explanation

CALL = CallRecord(sid(1), "completed", CALLER, NOW, 90)


@pytest.mark.parametrize(
    ("changes", "item", "words"),
    [
        ({"status": "no-answer", "duration_s": 0}, CallItem(), "never answered (Twilio: no-answer)"),
        ({"duration_s": 2}, CallItem(), "the caller left at once"),
        ({}, CallItem(), "Twilio's fallback took the call"),
        ({}, CallItem(checkpoint=Checkpoint()), "Twilio asked nobody what is next"),
        ({}, CallItem(checkpoint=Checkpoint(), asked_at=7), "no new stream came"),
        ({}, CallItem(asked_at=7), "no new stream came"),
        ({}, CallItem(stopped_stream="MZ1"), "hung up in the moment in which the line broke"),
        ({}, CallItem(asked_at=7, stopped_stream="MZ1"), "no new stream came"),
        ({}, CallItem(DialPerson()), "a person was to be dialled, which Twilio never asked for"),
        ({}, CallItem(DialPerson(), asked_at=7), "a person was to be dialled; how that ended"),
        ({}, CallItem(PromiseCallBack(), asked_at=7), "make sure that somebody calls"),
        ({}, CallItem(HangUp()), "the goodbye was said"),
        ({}, CallItem(DialPerson(), dials={1: DialOutcome.BUSY}), "the last dial to a person was told (the line was"),
    ],
)
def test_each_trace_of_a_call_has_its_most_likely_story(
    changes: Mapping[str, object], item: CallItem, words: str
) -> None:
    call = CallRecord(**{**{name: getattr(CALL, name) for name in CallRecord.__slots__}, **changes})  # pyright: ignore[reportArgumentType]

    assert words in likely(call, item)


# --- What is shown


async def test_the_report_counts_and_names_and_hides_numbers(office: Office) -> None:
    await office.table.close_call(office.rang(1), Outcome.CONNECTED_WITHOUT_CONTEXT)
    office.rang(2)
    text = written(await office.look())

    assert "Calls to ***234 since" in text
    assert "connected without context      1" in text
    assert "not accounted for              1" in text
    when = f"{NOW - timedelta(hours=1):%Y-%m-%d %H:%M:%S} UTC"
    assert f"{sid(2)}  {when}  90 s  from ***006\n    our webhook or table could not be reached" in text
    assert CALLER not in text
    assert ACCOUNT.number not in text


async def test_a_day_without_a_lost_caller_says_so(office: Office) -> None:
    await office.table.close_call(office.rang(1), Outcome.CONTAINED)

    assert written(await office.look()).endswith("Every caller is accounted for.")


async def test_a_day_without_calls_says_where_to_look(office: Office) -> None:
    text = written(await office.look())

    assert "UTC: 0" in text
    assert "TWILIO_PHONE_NUMBER" in text


# --- What can go wrong


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"TWILIO_PHONE_NUMBER": ""}, "TWILIO_PHONE_NUMBER: is not set. Set it"),
        ({"TWILIO_AUTH_TOKEN": "wrong"}, "Check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"),
        ({"TWILIO_API_BASE_URL": "http://127.0.0.1:9"}, "unreachable. Check the network path"),
        ({"DYNAMODB_TABLE_NAME": "not-there"}, "missing_table. Check DYNAMODB_TABLE_NAME"),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9"}, "unreachable. Check the network path"),
    ],
)
async def test_whatever_keeps_it_from_looking_is_named_with_what_to_do(
    office: Office, changes: dict[str, str], words: str
) -> None:
    office.rang(1)
    with pytest.raises(CannotLookError) as caught:
        await office.look(changes=changes)

    assert words in str(caught.value)


async def test_a_twilio_that_fails_for_a_moment_is_asked_again(office: Office) -> None:
    office.rest.troubles.append(Trouble(503))

    assert (await office.look()).calls == 0


async def test_more_calls_than_one_can_look_at_say_so(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLS_PAGE", 1)
    monkeypatch.setattr(limits, "CALLS_PAGES", 2)
    for number in range(3):
        office.rang(number)
    with pytest.raises(CannotLookError, match="fewer hours"):
        await office.look()


def test_settings_that_cannot_be_used_are_all_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    complaints: list[str] = []
    nothing = tmp_path_factory.mktemp("nothing") / ".env"
    status = run_reconcile(print, complaints.append, hours=1, env={"PORT": "high"}, env_file=nothing)

    assert status == COULD_NOT_LOOK
    assert "PORT" in complaints[0]
    assert "DYNAMODB_TABLE_NAME" in complaints[0]


@pytest.mark.parametrize(("known", "status"), [(True, 0), (False, LOST)])
async def test_the_exit_status_says_whether_somebody_is_lost(office: Office, *, known: bool, status: int) -> None:
    call = office.rang(1)
    if known:
        await office.table.close_call(call, Outcome.CONTAINED)
    said: list[str] = []
    ran = await asyncio.to_thread(run_reconcile, said.append, print, hours=24, env=office.env, env_file="none.env")

    assert ran == status
    assert ("not accounted for              0" in said[0]) is known
