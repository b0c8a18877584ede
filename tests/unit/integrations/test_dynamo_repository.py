import pytest

from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.next_step import HangUp
from voice_openai_connect.call.outbox_entry import OutboxEntry
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.simulator.dynamo_table import OwnTable


async def test_handovers_calls_and_the_outbox_share_one_table_and_never_a_key(
    table: OwnTable, repository: DynamoRepository, record: HandoverRecord
) -> None:
    token = await repository.save(record)
    await repository.remember_step("CA1", HangUp())
    await repository.outbox.keep(OutboxEntry("conversation-1", record), wait_s=0)
    index = {key for key in await table.keys() if key.startswith("outbox-index#")}

    assert await table.keys() == {token, "call#CA1", "outbox#conversation-1", *index}
    assert len(index) == 1


async def test_a_repository_that_is_not_open_says_so(record: HandoverRecord) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await DynamoRepository("Handovers").save(record)
