"""DynamoDB and the Lambda: whatever they cannot do, the caller is dialled through."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.integrations.dynamo_repository import AwsKey, DynamoRepository
from voice_openai_connect.simulator.caller import Listen, Press, Step, Wait
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.scripted_http import HANGS, Answer, ScriptedHttp
from voice_openai_connect.simulator.town import TABLE, Town
from voice_openai_connect.simulator.witness import END_S, TO_A_PERSON, over, person_knows, reason_of_transfer, ring

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
KEY_0: tuple[Step, ...] = (Listen(ms=300), Press("0"), *TO_A_PERSON)
AMZ_JSON = {"content-type": "application/x-amz-json-1.0"}
RECORD = HandoverRecord(
    handover_id="ho-1",
    conversation_id="c-1",
    call_sid="CA1",
    caller_phone="+61491570006",
    summary="A summary.",
    intent="other",
    priority="normal",
    escalation_reason="key",
    route_to_queue="general",
)


def keys_for(dynamo: SimulatedDynamo, *, minutes: int) -> Answer:
    """What an ECS agent gives a container whose role may use this table."""
    said = {
        "AccessKeyId": dynamo.access_key_id,
        "SecretAccessKey": dynamo.secret_access_key,
        "Token": "temporary",
        "Expiration": (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return Answer(200, json.dumps(said).encode())


def error(kind: str) -> bytes:
    return json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": "no"}).encode()


async def ask_lambda(town: Town, token: object, contact_id: str = "contact-1") -> dict[str, str]:
    """What Connect would be told."""
    event = {"Details": {"ContactData": {"ContactId": contact_id}, "Parameters": {"token": token}}}
    answer = await town.center.invoke(cast("dict[str, object]", event))
    assert isinstance(answer, dict)
    return cast("dict[str, str]", answer)


def token_of(call: CarriedCall) -> str:
    return call.dials[0].digits.strip("w#")


# --- the record is written


def table_of(town: Town, **unusual: Any) -> DynamoRepository:
    """The town's table, with a clock or a draw of one's own."""
    key = AwsKey(town.dynamo.access_key_id, town.dynamo.secret_access_key)
    return DynamoRepository(TABLE, region=town.dynamo.region, endpoint_url=town.dynamo.endpoint_url, key=key, **unusual)


@pytest.mark.parametrize("how", ["refused", "stalled", "throttled", "broken"])
async def test_D1_a_table_that_takes_nothing(quick_town: OpenTown, how: str) -> None:
    """Fault: the record cannot be stored: no connection, no answer, throttled, 500.

    Hears: the transfer sentence, then a person, who has to ask.
    """
    scripted = {"throttled": Answer(400, error("ProvisionedThroughputExceededException"), AMZ_JSON)}
    scripted["broken"] = Answer(500, error("InternalServerError"), AMZ_JSON)
    async with ScriptedHttp([scripted.get(how, Answer())]).serving() as bad_table:
        settings = {"AWS_ENDPOINT_URL_DYNAMODB": bad_table} if how in scripted else {}
        async with quick_town(proxied={"dynamo"}, settings=settings) as town:
            if how == "refused":
                await town.proxies["dynamo"].go_away()
            town.proxies["dynamo"].back.stalled = how == "stalled"
            call = await ring(town, *KEY_0)
            await over(call)

            assert [dial.digits for dial in call.dials] == [""]
            assert not person_knows(town)
            assert len(town.crm.tickets) == 1


@pytest.mark.parametrize("held", [True, False], ids=["still valid", "never any"])
async def test_D10_a_role_whose_keys_nobody_renews(
    quick_town: OpenTown, dynamo: SimulatedDynamo, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """Fault: whoever renews the keys of the gateway's role does not answer any more.

    Hears: nothing of it while the keys are valid; without any the transfer sentence, then a person, who has to ask.
    """
    monkeypatch.setattr(limits, "AWS_KEYS_AGAIN_S", 0)
    agent = ScriptedHttp([keys_for(dynamo, minutes=14)] * 2 + [HANGS] if held else [HANGS])
    async with agent.serving() as address:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}/keys")
        by_role = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
        async with quick_town(settings=by_role) as town:
            call = await ring(town, *KEY_0)
            await over(call)

            assert person_knows(town) is held
            assert len(call.dials) == 1
            assert town.parts is not None
            assert (b"voice_connect_errors_total{" in town.parts.metrics.render()) is not held
    assert len(agent.asked) > (2 if held else 0)


async def test_D2_a_token_that_is_taken(quick_town: OpenTown) -> None:
    """Fault: the token that was drawn belongs to somebody else's live record.

    Hears: nothing of it; another one is drawn.
    """
    draws = iter([7, 7, 8])
    async with quick_town() as town, table_of(town, draw=lambda: next(draws)) as table:
        assert await table.save(RECORD) == "0000000007"
        assert await table.save(replace(RECORD, handover_id="ho-2")) == "0000000008"


async def test_D3_an_answer_that_is_lost_after_the_write(quick_town: OpenTown) -> None:
    """Fault: the record is stored, and the connection is lost before DynamoDB can say so.

    Hears: nothing of it; the repeat finds its own record, and the one token works.
    """
    async with quick_town(proxied={"dynamo"}) as town:
        town.proxies["dynamo"].back.close_after = 0
        call = await ring(town, *KEY_0)
        await over(call)

        assert town.proxies["dynamo"].back.close_after is None
        assert len(call.dials) == 1
        assert person_knows(town)


async def test_D9_a_summary_without_end(quick_town: OpenTown) -> None:
    """Fault: the model writes a summary of a megabyte.

    Hears: nothing of it; the person reads its beginning.
    """
    async with quick_town(model={"summary": "word " * 100_000}) as town:
        call = await ring(town, *KEY_0)
        await over(call)

        assert person_knows(town)
        assert len(town.center.contacts[0].attributes["summary"]) <= limits.SUMMARY_CHARS


async def ticket_says(town: Town, words: str) -> bool:
    """Whether the only ticket comes to say this. Raises `TimeoutError` when it does not."""
    async with asyncio.timeout(END_S):
        while True:
            said = [ticket.properties["content"] for ticket in town.crm.tickets.values()]
            if any(words in content for content in said):
                return len(said) == 1
            await asyncio.sleep(0.05)


async def test_D1_a_table_that_is_gone_when_a_dial_ends(quick_town: OpenTown) -> None:
    """Fault: the table cannot be reached any more when the dials end: nothing can be noted, taken back or kept.

    Hears: what anybody hears whom two dials did not connect; the ticket says so all the same.
    """
    async with quick_town(proxied={"dynamo"}, center={"drops_after_ms": 1_500}) as town:
        call = await ring(town, Listen(ms=300), Press("0"), Wait(60_000))
        await call.until(lambda c: bool(c.dials), within_s=END_S)
        await town.proxies["dynamo"].go_away()
        await call.until(lambda c: len(c.dials) == limits.DIAL_ATTEMPTS, within_s=END_S)

        assert [bool(dial.digits) for dial in call.dials] == [True, False]
        assert await ticket_says(town, "NOBODY WAS REACHED")


async def test_D1_a_table_that_is_gone_when_the_caller_leaves(quick_town: OpenTown) -> None:
    """Fault: the table cannot be reached when a caller hangs up on the way to a person, so the token cannot be revoked.

    Hears: - ; the token expires by itself, and the ticket says that the caller left.
    """
    async with quick_town(proxied={"dynamo"}) as town:
        call = await ring(town, Listen(ms=300), Press("0"), Wait(60_000))
        await call.until(lambda c: bool(town.crm.tickets), within_s=END_S)
        await town.proxies["dynamo"].go_away()
        call.complete("caller-hung-up")
        await over(call)

        assert await ticket_says(town, "THE CALLER LEFT")


# --- the token is redeemed


async def test_D4_D5_D6_D7_a_token_works_once_and_nothing_else_works(quick_town: OpenTown) -> None:
    """Fault: the Lambda is asked for tokens that are used, expired, unknown or no tokens at all; twice at once.

    Hears: the fallback queue; one of two who ask at once wins, and may ask again.
    """
    nonsense = ["Timeout", "", " ", "12345", "12345678901", "12345 67890", "abcdefghij", "١٢٣٤٥٦٧٨٩٠", "1" * 100_000]
    async with quick_town() as town:
        async with table_of(town, clock=lambda: 1_000_000.0) as long_ago, town.table() as table:
            expired, live = await long_ago.save(RECORD), await table.save(replace(RECORD, handover_id="ho-2"))
        wrong: list[object] = [*nonsense, None, 7, "0123456789", expired]
        refused = [await ask_lambda(town, token) for token in wrong]
        no_parameters = await town.center.invoke({"Details": {}})
        both = await asyncio.gather(*(ask_lambda(town, live, contact) for contact in ("one", "two")))
        winner = ("one", "two")[[answer["success"] for answer in both].index("true")]

        assert sorted(answer["success"] for answer in both) == ["false", "true"]
        assert (await ask_lambda(town, live, winner))["summary"] == RECORD.summary
        for answer in [*refused, cast("dict[str, str]", no_parameters)]:
            assert answer["success"] == "false"
            assert all(isinstance(value, str) for value in answer.values())
            assert set(answer.values()) <= {"false", "true", ""}  # nothing of anybody's record


async def test_D4_a_token_that_somebody_else_has_used(quick_town: OpenTown) -> None:
    """Fault: the token is redeemed by another contact before the caller's tones arrive.

    Hears: a person in the fallback queue, who has to ask.
    """
    async with quick_town() as town:
        call = await ring(town, *KEY_0)
        await call.until(lambda c: bool(c.dials), within_s=60)
        assert (await ask_lambda(town, token_of(call), "a thief"))["success"] == "true"
        await over(call)

        assert not person_knows(town)
        assert len(call.dials) == 1


async def test_D8_a_lambda_whose_table_does_not_answer(quick_town: OpenTown) -> None:
    """Fault: the Lambda gets no answer from DynamoDB.

    Hears: a person in the fallback queue, who has to ask.
    """
    async with quick_town(proxied={"lambda"}) as town:
        town.proxies["lambda"].back.stalled = True
        call = await ring(town, *KEY_0)
        await over(call)

        assert not person_knows(town)
        assert len(call.dials) == 1
        town.proxies["lambda"].back.stalled = False


async def test_D8_a_slow_table_is_still_in_time(quick_town: OpenTown) -> None:
    """Fault: a slow, uneven line to DynamoDB, in tiny pieces.

    Hears: the transfer a little later; the person knows why.
    """
    async with quick_town(proxied={"dynamo", "lambda"}) as town:
        for road in ("dynamo", "lambda"):
            way = town.proxies[road].back
            way.latency_ms, way.jitter_ms, way.piece_bytes = 150, 100, 400
        call = await ring(town, *KEY_0)
        await over(call)

        assert person_knows(town)
        assert reason_of_transfer(town) == "key"
