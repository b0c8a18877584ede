import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.transfer import DialPerson, HangUp, PromiseCallBack
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository, StoreError

THROTTLED = (
    b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}'
)


@pytest.fixture
async def repository(table):
    async with DynamoRepository(table.name, clock=table.clock, **table.reach) as repository:
        await repository.setup_table()
        yield repository


async def item_of(repository, key):
    found = await repository._dynamodb.get_item(
        TableName=repository._table, Key={"token": {"S": key}}, ConsistentRead=True
    )
    return {name: next(iter(value.values())) for name, value in found.get("Item", {}).items()}


async def consume(repository, token, contact_id="contact-1"):
    await repository._dynamodb.update_item(
        TableName=repository._table,
        Key={"token": {"S": token}},
        UpdateExpression="SET consumed_by = :c",
        ExpressionAttributeValues={":c": {"S": contact_id}},
    )


async def test_a_saved_record_has_every_field_the_contact_centre_reads(repository, record, table):
    token = await repository.save(record)
    item = await item_of(repository, token)
    assert len(token) == 10
    assert token.isdecimal()
    assert item == {
        "token": token,
        "handover_id": "handover-1",
        "conversation_id": "conversation-1",
        "call_sid": record.call_sid,
        "caller_phone": "+61412345678",
        "summary": record.summary,
        "intent": "login",
        "priority": "high",
        "escalation_reason": "caller asked for a person",
        "route_to_queue": "Support",
        "hubspot_contact_id": "101",
        "hubspot_ticket_id": "",
        "hubspot_ticket_url": "",
        "created_at": str(int(table.now)),
        "expires_at": str(int(table.now) + limits.TOKEN_TTL_S),
    }


async def test_leading_zeros_of_a_token_are_kept(repository, record):
    repository._draw = lambda: 7
    assert await repository.save(record) == "0000000007"


async def test_saving_the_same_handover_again_gives_the_same_token(repository, record):
    assert await repository.save(record) == await repository.save(record)


async def test_a_token_in_use_is_drawn_again(repository, record):
    draws = iter([5, 5, 6])
    repository._draw = lambda: next(draws)
    await repository.save(record)
    assert await repository.save(replace(record, handover_id="handover-2")) == "0000000006"
    assert (await item_of(repository, "0000000005"))["handover_id"] == "handover-1"


async def test_after_a_few_tokens_in_use_the_collision_is_reported(repository, record):
    repository._draw = lambda: 5
    await repository.save(record)
    with pytest.raises(StoreError) as caught:
        await repository.save(replace(record, handover_id="handover-2"))
    assert caught.value.reason == "collision"


async def test_an_expired_token_may_be_drawn_again(repository, record, table):
    repository._draw = lambda: 5
    await repository.save(record)
    table.now += limits.TOKEN_TTL_S + 1
    assert await repository.save(replace(record, handover_id="handover-2")) == "0000000005"
    assert (await item_of(repository, "0000000005"))["handover_id"] == "handover-2"


async def test_a_record_that_has_been_read_is_never_made_unread_by_a_repeat(repository, record):
    token = await repository.save(record)
    await consume(repository, token)
    assert await repository.save(record) == token
    assert (await item_of(repository, token))["consumed_by"] == "contact-1"


async def test_a_lost_reply_is_not_a_collision(table, record, serve, http_request):
    lost = []

    async def loses_the_first_reply(reader, writer):
        """Passes one request on per connection; the reply to the first PutItem of a handover never arrives."""
        host = urlsplit(table.reach["endpoint_url"])
        request = await http_request(reader)
        upstream_reader, upstream = await asyncio.open_connection(host.hostname, host.port)
        upstream.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        reply = await upstream_reader.read()
        upstream.close()
        if b"PutItem" in request and not lost:
            lost.append(reply)
            return
        writer.write(reply)
        await writer.drain()

    draws = iter([5, 6, 7])
    async with DynamoRepository(table.name, clock=table.clock, **table.reach) as direct:
        await direct.setup_table()
        async with (
            serve(loses_the_first_reply) as url,
            DynamoRepository(
                table.name,
                clock=table.clock,
                **{**table.reach, "endpoint_url": url},
                draw=lambda: next(draws),
            ) as repository,
        ):
            assert await repository.save(record) == "0000000005"
        assert len(lost) == 1
        assert b"200" in lost[0].split(b"\r\n")[0]
        assert (await item_of(direct, "0000000005"))["handover_id"] == "handover-1"


async def test_a_late_ticket_is_added_to_an_unread_record(repository, record):
    token = await repository.save(record)
    assert await repository.attach_ticket(token, "202", "303", "https://app.example/303")
    item = await item_of(repository, token)
    assert (item["hubspot_contact_id"], item["hubspot_ticket_id"]) == ("202", "303")
    assert item["hubspot_ticket_url"] == "https://app.example/303"


async def test_a_late_ticket_without_a_contact_keeps_the_contact_of_the_record(repository, record):
    token = await repository.save(record)
    assert await repository.attach_ticket(token, "", "303", "")
    assert (await item_of(repository, token))["hubspot_contact_id"] == "101"


async def test_a_late_ticket_is_not_added_to_a_record_that_has_been_read(repository, record):
    token = await repository.save(record)
    await consume(repository, token)
    assert not await repository.attach_ticket(token, "202", "303", "")
    assert (await item_of(repository, token))["hubspot_ticket_id"] == ""


async def test_a_late_ticket_makes_no_record_where_there_is_none(repository):
    assert not await repository.attach_ticket("0000000042", "202", "303", "")
    assert await item_of(repository, "0000000042") == {}


async def test_a_late_ticket_is_not_added_to_an_expired_record(repository, record, table):
    token = await repository.save(record)
    table.now += limits.TOKEN_TTL_S
    assert not await repository.attach_ticket(token, "202", "303", "")


@pytest.mark.parametrize(
    "step",
    [
        DialPerson(token="0123456789", announce=True),
        DialPerson(attempt=2, apologise=True),
        HangUp(),
        PromiseCallBack(),
    ],
)
async def test_another_instance_recalls_the_step_of_a_call(repository, table, step):
    await repository.remember_step("CA1", step)
    async with DynamoRepository(table.name, clock=table.clock, **table.reach) as other:
        assert await other.recall_step("CA1") == step


async def test_a_later_step_replaces_an_earlier_one(repository):
    await repository.remember_step("CA1", DialPerson(token="0123456789"))
    await repository.remember_step("CA1", HangUp())
    assert await repository.recall_step("CA1") == HangUp()


async def test_a_call_nobody_remembers_has_no_step(repository):
    assert await repository.recall_step("CA1") is None


async def test_an_expired_step_is_not_recalled_although_the_table_still_has_it(repository, table):
    await repository.remember_step("CA1", HangUp())
    table.now += limits.CALL_ITEM_TTL_S
    assert await repository.recall_step("CA1") is None
    assert await item_of(repository, "call#CA1")


async def test_a_step_from_another_version_is_no_step(repository, table):
    await repository._dynamodb.put_item(
        TableName=table.name,
        Item={
            "token": {"S": "call#CA1"},
            "next_step": {"S": '{"step":"fly"}'},
            "expires_at": {"N": str(int(table.now) + 60)},
        },
    )
    assert await repository.recall_step("CA1") is None


async def test_a_missing_table_is_named_as_such(table, record):
    async with DynamoRepository(table.name, **table.reach) as repository:
        with pytest.raises(StoreError, match="missing_table"):
            await repository.save(record)


async def test_a_throttled_save_is_tried_again_counted_and_reported(table, record, serve, http_request):
    requests, throttles = [], []

    async def throttles_everything(reader, writer):
        while True:
            requests.append(await http_request(reader))
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(THROTTLED), THROTTLED))

    async with (
        serve(throttles_everything) as url,
        DynamoRepository(
            table.name, **{**table.reach, "endpoint_url": url}, on_throttle=lambda: throttles.append(1), draw=lambda: 77
        ) as repository,
    ):
        with pytest.raises(StoreError) as caught:
            await repository.save(record)
    assert caught.value.reason == "throttled"
    assert len(requests) == len(throttles) == limits.DYNAMODB_ATTEMPTS
    assert "0000000077" not in str(caught.value)


async def test_a_server_that_never_answers_costs_no_more_than_the_budget(table, record, serve, monkeypatch):
    monkeypatch.setattr(limits, "SAVE_MS", 200)

    async def hangs(reader, writer):
        await asyncio.Event().wait()

    async with (
        serve(hangs) as url,
        DynamoRepository(table.name, **{**table.reach, "endpoint_url": url}) as repository,
    ):
        async with asyncio.timeout(20):
            with pytest.raises(StoreError, match="timeout"):
                await repository.save(record)


async def test_after_a_timeout_the_repeat_uses_the_token_that_may_have_been_stored(
    table, record, repository, serve, monkeypatch
):
    async def hangs(reader, writer):
        await asyncio.Event().wait()

    draws = iter([5, 6])
    repository._draw = lambda: next(draws)
    client = repository._client
    async with (
        serve(hangs) as url,
        DynamoRepository(table.name, **{**table.reach, "endpoint_url": url}) as hung,
    ):
        repository._client = hung._client
        monkeypatch.setattr(limits, "SAVE_MS", 100)
        with pytest.raises(StoreError, match="timeout"):
            await repository.save(record)
    repository._client = client
    monkeypatch.undo()
    assert await repository.save(record) == "0000000005"


async def test_nobody_listening_is_unreachable(table, record):
    reach = {**table.reach, "endpoint_url": "http://127.0.0.1:9"}
    async with DynamoRepository(table.name, **reach) as repository:
        with pytest.raises(StoreError, match="unreachable"):
            await repository.save(record)


async def test_only_so_many_tokens_are_remembered(repository, record, monkeypatch):
    monkeypatch.setattr(limits, "TOKENS_REMEMBERED", 2)
    for number in range(3):
        await repository.save(replace(record, handover_id=f"handover-{number}"))
    assert list(repository._tokens) == ["handover-1", "handover-2"]


async def test_a_repository_that_is_not_open_says_so(record):
    with pytest.raises(RuntimeError, match="async with"):
        await DynamoRepository("Handovers").save(record)
