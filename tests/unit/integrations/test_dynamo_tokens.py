import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.handover import HandoverRecord, Redemption
from voice_openai_connect.integrations.dynamo_client import StoreError
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.simulator.dynamo_table import OwnTable
from voice_openai_connect.simulator.lambda_runtime import LambdaRuntime


def draws(*numbers: int) -> Callable[[], int]:
    left = iter(numbers)
    return lambda: next(left)


# --- Saving


async def test_a_saved_record_has_every_field_the_contact_centre_reads(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    assert len(token) == 10
    assert token.isdecimal()
    assert await table.item(token) == {
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
        "phone_key": "+61412345678",
        "created_at": str(int(table.now)),
        "expires_at": str(int(table.now) + limits.TOKEN_TTL_S),
    }


async def test_a_withheld_number_is_kept_out_of_the_index_which_takes_no_empty_text(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(replace(record, caller_phone=""))

    assert "phone_key" not in await table.item(token)


async def test_leading_zeros_of_a_token_are_kept(table: OwnTable, record: HandoverRecord) -> None:
    async with table.repository(draw=draws(7)) as repository:
        assert await repository.save(record) == "0000000007"


async def test_saving_the_same_handover_again_gives_the_same_token(
    repository: DynamoRepository, record: HandoverRecord
) -> None:
    assert await repository.save(record) == await repository.save(record)


async def test_a_token_in_use_is_drawn_again(table: OwnTable, record: HandoverRecord) -> None:
    async with table.repository(draw=draws(5, 5, 6)) as repository:
        await repository.save(record)
        assert await repository.save(replace(record, handover_id="handover-2")) == "0000000006"
    assert (await table.item("0000000005"))["handover_id"] == "handover-1"


async def test_after_a_few_tokens_in_use_the_collision_is_reported(table: OwnTable, record: HandoverRecord) -> None:
    async with table.repository(draw=lambda: 5) as repository:
        await repository.save(record)
        with pytest.raises(StoreError) as caught:
            await repository.save(replace(record, handover_id="handover-2"))
    assert caught.value.reason == "collision"


async def test_an_expired_token_may_be_drawn_again(table: OwnTable, record: HandoverRecord) -> None:
    async with table.repository(draw=lambda: 5) as repository:
        await repository.save(record)
        table.now += limits.TOKEN_TTL_S + 1
        assert await repository.save(replace(record, handover_id="handover-2")) == "0000000005"
    assert (await table.item("0000000005"))["handover_id"] == "handover-2"


async def test_a_record_that_has_been_read_is_never_made_unread_by_a_repeat(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    await table.consume(token)
    assert await repository.save(record) == token
    assert (await table.item(token))["consumed_by"] == "contact-1"


async def test_a_lost_reply_is_not_a_collision(table: OwnTable, record: HandoverRecord) -> None:
    async with table.losing_reply() as url, table.repository(at=url, draw=draws(5, 6, 7)) as repository:
        assert await repository.save(record) == "0000000005"
    assert (await table.item("0000000005"))["handover_id"] == "handover-1"


async def test_after_a_timeout_the_repeat_uses_the_token_that_was_stored(
    table: OwnTable, record: HandoverRecord, monkeypatch: pytest.MonkeyPatch, let_pass: Callable[[int], None]
) -> None:
    monkeypatch.setattr(limits, "DYNAMODB_READ_S", 3_600)
    async with (
        table.losing_reply(hang=True) as url,
        table.repository(at=url, draw=draws(5, 6)) as repository,
    ):
        saving = asyncio.create_task(repository.save(record))
        async with asyncio.timeout(30):
            while not await table.keys():  # noqa: ASYNC110 - a server tells nobody
                await asyncio.sleep(0.005)
        let_pass(limits.SAVE_MS // 1_000 + 1)
        with pytest.raises(StoreError, match="timeout"):
            await saving
        assert await repository.save(record) == "0000000005"


async def test_only_so_many_tokens_are_remembered(
    table: OwnTable, record: HandoverRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOKENS_REMEMBERED", 2)
    async with table.repository(draw=draws(0, 1, 2, 3)) as repository:
        for number in range(3):
            await repository.save(replace(record, handover_id=f"handover-{number}"))
        assert await repository.save(replace(record, handover_id="handover-2")) == "0000000002"
        assert await repository.save(replace(record, handover_id="handover-0")) == "0000000003"


# --- A ticket that comes late


async def test_a_late_ticket_is_added_to_an_unread_record(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    assert await repository.attach_ticket(token, "202", "303", "https://app.example/303")
    item = await table.item(token)
    assert (item["hubspot_contact_id"], item["hubspot_ticket_id"]) == ("202", "303")
    assert item["hubspot_ticket_url"] == "https://app.example/303"


async def test_a_late_ticket_without_a_contact_keeps_the_contact_of_the_record(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    assert await repository.attach_ticket(token, "", "303", "")
    assert (await table.item(token))["hubspot_contact_id"] == "101"


async def test_a_late_ticket_is_not_added_to_a_record_that_has_been_read(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    await table.consume(token)
    assert not await repository.attach_ticket(token, "202", "303", "")
    assert (await table.item(token))["hubspot_ticket_id"] == ""


async def test_a_late_ticket_makes_no_record_where_there_is_none(table: OwnTable, repository: DynamoRepository) -> None:
    assert not await repository.attach_ticket("0000000042", "202", "303", "")
    assert await table.item("0000000042") == {}


async def test_a_late_ticket_is_not_added_to_an_expired_record(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    table.now += limits.TOKEN_TTL_S
    assert not await repository.attach_ticket(token, "202", "303", "")


async def test_a_late_ticket_that_is_no_ticket_changes_nothing(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    before = await table.item(token)
    assert not await repository.attach_ticket(token, "", "", "")
    assert await table.item(token) == before


# --- What became of a record


async def test_of_a_record_that_nobody_has_read_it_is_known_what_it_says(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)

    assert await repository.redemption(token) == Redemption(record, "", None, int(table.now))


async def test_who_redeemed_a_record_is_known_also_after_its_token_has_expired(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token, stored_at = await repository.save(record), int(table.now)
    table.now += 7
    await table.consume(token)
    table.now += limits.TOKEN_TTL_S

    assert await repository.redemption(token) == Redemption(record, "contact-1", stored_at + 7, stored_at)


async def test_a_record_that_is_gone_has_no_redemption(repository: DynamoRepository) -> None:
    assert await repository.redemption("0000000042") is None


async def test_a_record_that_another_version_wrote_is_read_as_far_as_it_goes(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await table.write("0000000042", summary="Why.", priority="sky-high", mood="blue")
    found = await repository.redemption("0000000042")

    assert found is not None
    assert (found.record.summary, found.record.priority, found.record.intent) == ("Why.", "normal", "")


# --- Revoking


async def test_a_revoked_token_is_worthless_and_its_record_gone(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)

    assert await repository.revoke(token)
    assert await table.item(token) == {}
    assert not await repository.revoke(token)


async def test_a_token_that_has_been_redeemed_is_not_revoked(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    await table.consume(token)

    assert not await repository.revoke(token)
    assert (await table.item(token))["consumed_by"] == "contact-1"


async def test_an_expired_token_has_nothing_left_to_revoke(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    table.now += limits.TOKEN_TTL_S

    assert not await repository.revoke(token)


async def test_of_revoking_and_redeeming_at_the_same_moment_exactly_one_wins(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    table.now = time.time()  # the Lambda looks at the clock on the wall
    async with LambdaRuntime.redeeming_tokens(table.server, table.name) as lambda_:
        for number in range(8):
            token = await repository.save(replace(record, handover_id=f"handover-{number}"))
            contact = {"ContactData": {"ContactId": "contact-1"}, "Parameters": {"token": token}}
            revoked, answer = await asyncio.gather(repository.revoke(token), lambda_.invoke({"Details": contact}))

            assert revoked is (cast("dict[str, str]", answer)["success"] == "false")
            assert (await repository.redemption(token) is None) is revoked
