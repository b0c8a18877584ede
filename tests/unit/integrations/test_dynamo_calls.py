import asyncio

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint, Turn
from voice_openai_connect.call.next_step import DialPerson, HangUp, NextStep, PromiseCallBack
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.integrations.dynamo_client import StoreError
from voice_openai_connect.integrations.dynamo_repository import DynamoRepository
from voice_openai_connect.simulator.dynamo_table import OwnTable
from voice_openai_connect.simulator.scripted_http import Answer, ScriptedHttp


@pytest.fixture(autouse=True)
def hardly_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """`test_gathered_writes` is about waiting for others, and for a table that takes its time."""
    monkeypatch.setattr(limits, "STEP_STORE_MS", 20_000)
    monkeypatch.setattr(limits, "CHECKPOINTS_GATHERED_MS", 1)


# --- What a call does next


@pytest.mark.parametrize(
    "step",
    [
        DialPerson(token="0123456789", announce=True),
        DialPerson(attempt=2, apologise=True),
        HangUp(),
        PromiseCallBack(),
    ],
)
async def test_another_instance_recalls_the_step_of_a_call(
    table: OwnTable, repository: DynamoRepository, step: NextStep
) -> None:
    await repository.remember_step("CA1", step)
    async with table.repository() as other:
        assert await other.recall_call("CA1") == CallItem(step)


async def test_a_later_step_replaces_an_earlier_one(repository: DynamoRepository) -> None:
    await repository.remember_step("CA1", DialPerson(token="0123456789"))
    await repository.remember_step("CA1", HangUp())
    assert await repository.recall_call("CA1") == CallItem(HangUp())


async def test_a_call_nobody_remembers_has_no_step(repository: DynamoRepository) -> None:
    assert await repository.recall_call("CA1") == CallItem()


async def test_an_expired_step_is_not_recalled_although_the_table_still_has_it(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.remember_step("CA1", HangUp())
    table.now += limits.CALL_ITEM_TTL_S
    assert await repository.recall_call("CA1") == CallItem()
    assert await table.item("call#CA1")


@pytest.mark.parametrize("written", ['{"step":"fly"}', "[]", "", '{"step":"dial","attempt":"x"}', '{"step":[]}'])
async def test_a_step_that_another_version_wrote_is_no_step(
    table: OwnTable, repository: DynamoRepository, written: str
) -> None:
    await table.write("call#CA1", next_step=written)
    assert await repository.recall_call("CA1") == CallItem()


# --- Checkpoints

CHECKPOINT = Checkpoint((Turn("caller", "My order, the blue “one”, never came"), Turn("assistant", "Sorry!")), 2)


async def test_what_an_overtaken_stream_still_writes_does_not_count(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.save_checkpoint("CA1", Checkpoint())
    async with table.repository() as other:
        assert await other.take_over("CA1") == CallItem(checkpoint=Checkpoint())
        await other.save_checkpoint("CA1", CHECKPOINT)
        await repository.remember_step("CA1", DialPerson(token="0123456789"))
        await repository.save_checkpoint("CA1", Checkpoint(person_needed=True))

        assert await other.recall_call("CA1") == CallItem(checkpoint=CHECKPOINT)


async def test_the_latest_of_several_streams_has_the_call(table: OwnTable, repository: DynamoRepository) -> None:
    async with table.repository() as other:
        await other.take_over("CA1")
        await repository.take_over("CA1")
        await other.remember_step("CA1", HangUp())
        await repository.save_checkpoint("CA1", CHECKPOINT)
        await other.save_checkpoint("CA1", Checkpoint())

        assert await other.recall_call("CA1") == CallItem(checkpoint=CHECKPOINT)


async def test_a_later_stream_that_died_before_its_first_checkpoint_leaves_the_earlier_one_to_be_read(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    for _ in range(limits.RESUMES):
        async with table.repository() as other:
            assert await other.take_over("CA1") == CallItem(checkpoint=CHECKPOINT)

    assert await repository.recall_call("CA1") == CallItem(checkpoint=CHECKPOINT)


async def test_nobody_looks_for_a_checkpoint_further_back_than_a_call_may_break(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    async with table.repository() as other:
        for _ in range(limits.STREAMS_LOOKED_BACK):
            await other.take_over("CA1")

        assert await other.recall_call("CA1") == CallItem()


async def test_a_call_that_was_moved_many_times_goes_on_from_its_latest_checkpoint(
    table: OwnTable, repository: DynamoRepository
) -> None:
    for number in range(12):
        await repository.take_over("CA1")
        await repository.save_checkpoint("CA1", Checkpoint((Turn("caller", f"word {number}"),)))
    async with table.repository() as other:
        known = (await other.take_over("CA1")).checkpoint

    assert known == Checkpoint((Turn("caller", "word 11"),))


async def test_a_stream_that_goes_on_with_a_call_makes_earlier_steps_stale(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.remember_step("CA1", DialPerson(token="0123456789"))
    async with table.repository() as other:
        assert await other.take_over("CA1") == CallItem(checkpoint=CHECKPOINT)

    assert await repository.recall_call("CA1") == CallItem(checkpoint=CHECKPOINT)


async def test_a_caller_who_is_brought_back_is_not_dialled_by_an_earlier_step(
    table: OwnTable, repository: DynamoRepository
) -> None:
    back = Checkpoint(CHECKPOINT.turns, nobody_came="busy")
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.remember_step("CA1", DialPerson(token="0123456789"))
    async with table.repository() as other:
        await other.recall_call("CA1")
        await other.bring_back("CA1", back)

    assert await repository.recall_call("CA1") == CallItem(checkpoint=back)


async def test_a_step_is_gone_before_the_checkpoint_of_a_caller_who_is_brought_back_is_there(table: OwnTable) -> None:
    script = ScriptedHttp([Answer(), Answer(400, b'{"__type":"x#AccessDeniedException"}')])
    async with script.serving() as url, table.repository(at=url) as repository:
        with pytest.raises(StoreError, match="denied"):
            await repository.bring_back("CA1", CHECKPOINT)

    assert [b"next_step" in asked.body for asked in script.asked] == [True, False]


async def test_nobody_is_brought_back_out_of_a_later_stream(table: OwnTable, repository: DynamoRepository) -> None:
    await repository.recall_call("CA1")
    async with table.repository() as other:
        await other.take_over("CA1")
        await other.save_checkpoint("CA1", CHECKPOINT)
        await other.remember_step("CA1", HangUp())
        await repository.bring_back("CA1", Checkpoint(nobody_came="busy"))

        assert await other.recall_call("CA1") == CallItem(HangUp(), CHECKPOINT)


async def test_a_call_of_which_nothing_was_kept_can_be_brought_back_and_is_forgotten_in_time(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.bring_back("CA1", CHECKPOINT)

    assert (await table.item("call#CA1"))["expires_at"] == str(int(table.now) + limits.CALL_ITEM_TTL_S)
    assert await repository.recall_call("CA1") == CallItem(checkpoint=CHECKPOINT)


async def test_an_instance_that_twilio_asks_writes_for_whichever_stream_is_the_latest(
    table: OwnTable, repository: DynamoRepository
) -> None:
    async with table.repository() as other:
        await other.take_over("CA1")
    await repository.recall_call("CA1")
    await repository.save_checkpoint("CA1", CHECKPOINT)

    assert await repository.recall_call("CA1") == CallItem(checkpoint=CHECKPOINT)


async def test_a_call_of_which_nothing_is_kept_can_be_taken_over_and_is_forgotten_in_time(
    table: OwnTable, repository: DynamoRepository
) -> None:
    assert await repository.take_over("CA1") == CallItem()
    assert await table.keys() == {"call#CA1"}
    assert (await table.item("call#CA1"))["expires_at"] == str(int(table.now) + limits.CALL_ITEM_TTL_S)


async def test_only_so_many_calls_streams_are_remembered(
    repository: DynamoRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STEPS_KEPT", 2)
    for number in range(4):
        await repository.recall_call(f"CA{number}")

    assert list(repository._calls._streams) == ["CA2", "CA3"]  # pyright: ignore[reportPrivateUsage]


async def test_another_instance_recalls_where_a_conversation_was(table: OwnTable, repository: DynamoRepository) -> None:
    await repository.save_checkpoint("CA1", Checkpoint())
    await repository.save_checkpoint("CA1", CHECKPOINT)
    async with table.repository() as other:
        assert await other.recall_call("CA1") == CallItem(checkpoint=CHECKPOINT)


async def test_a_step_leaves_the_checkpoint_where_it_is(repository: DynamoRepository) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.remember_step("CA1", HangUp())

    assert await repository.recall_call("CA1") == CallItem(HangUp(), CHECKPOINT)


async def test_a_checkpoint_of_the_stream_that_made_a_step_leaves_the_step_where_it_is(
    repository: DynamoRepository,
) -> None:
    await repository.remember_step("CA1", HangUp())
    await repository.save_checkpoint("CA1", CHECKPOINT)

    assert await repository.recall_call("CA1") == CallItem(HangUp(), CHECKPOINT)


async def test_a_checkpoint_grows_old_also_while_the_step_after_it_is_good(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.remember_step("CA1", HangUp())
    table.now += limits.CHECKPOINT_TTL_S

    assert await repository.recall_call("CA1") == CallItem(HangUp())


async def test_a_checkpoint_that_is_too_old_is_not_gone_on_from(table: OwnTable, repository: DynamoRepository) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    table.now += limits.CHECKPOINT_TTL_S - 1
    assert await repository.recall_call("CA1") == CallItem(checkpoint=CHECKPOINT)

    table.now += 1
    assert await repository.recall_call("CA1") == CallItem()
    assert await table.keys() == {"checkpoint#CA1#0"}  # DynamoDB removes it in its own time


@pytest.mark.parametrize("written", ["", "[]", "{", '{"turns": 7}', '{"turns": [["caller"]]}'])
async def test_a_checkpoint_that_another_version_wrote_is_no_checkpoint(
    table: OwnTable, repository: DynamoRepository, written: str
) -> None:
    await table.write("checkpoint#CA1#0", checkpoint=written)

    assert await repository.recall_call("CA1") == CallItem()


# --- Dials


async def test_the_end_of_a_dial_is_news_once(table: OwnTable, repository: DynamoRepository) -> None:
    assert await repository.note_dial("CA1", 1, DialOutcome.BUSY)
    async with table.repository() as other:
        assert not await other.note_dial("CA1", 1, DialOutcome.NO_ANSWER)
        assert await other.note_dial("CA1", 2, DialOutcome.CONNECTED)

    assert (await repository.recall_call("CA1")).dials == {1: DialOutcome.BUSY, 2: DialOutcome.CONNECTED}


async def test_of_many_instances_that_hear_of_a_dial_at_once_one_is_the_first(
    table: OwnTable, repository: DynamoRepository
) -> None:
    async with table.repository() as other:
        told = [each.note_dial("CA1", 1, DialOutcome.BUSY) for each in (repository, other) for _ in range(8)]
        assert sorted(await asyncio.gather(*told)) == [False] * 15 + [True]


async def test_a_dial_whose_answer_was_lost_is_still_the_first(table: OwnTable) -> None:
    async with table.losing_reply() as url, table.repository(at=url) as repository:
        assert await repository.note_dial("CA1", 1, DialOutcome.BUSY)
        assert not await repository.note_dial("CA1", 1, DialOutcome.BUSY)


@pytest.mark.parametrize("attempt", [0, 3])
async def test_an_attempt_that_we_never_make_is_refused(repository: DynamoRepository, attempt: int) -> None:
    with pytest.raises(ValueError, match="attempts are 1 to 2"):
        await repository.note_dial("CA1", attempt, DialOutcome.BUSY)


async def test_a_dial_that_another_version_wrote_has_failed(table: OwnTable, repository: DynamoRepository) -> None:
    await table.write("call#CA1", dial_1="eaten_by_a_dog")

    assert (await repository.recall_call("CA1")).dials == {1: DialOutcome.FAILED}


async def test_dials_leave_step_and_checkpoint_where_they_are(repository: DynamoRepository) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.remember_step("CA1", DialPerson(token="0123456789"))
    await repository.note_dial("CA1", 1, DialOutcome.BUSY)

    assert await repository.recall_call("CA1") == CallItem(
        DialPerson(token="0123456789"), CHECKPOINT, {1: DialOutcome.BUSY}
    )


# --- Questions and the end


async def test_it_is_known_when_twilio_asked_last(table: OwnTable, repository: DynamoRepository) -> None:
    await repository.remember_step("CA1", HangUp())
    await repository.note_asked("CA1")
    table.now += 5
    await repository.note_asked("CA1")

    assert await repository.recall_call("CA1") == CallItem(HangUp(), asked_at=int(table.now))


async def test_it_is_known_which_stream_ended_in_good_order_last(table: OwnTable, repository: DynamoRepository) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.note_stopped("CA1", "MZ1")
    await repository.note_stopped("CA1", "MZ2")

    assert await repository.recall_call("CA1") == CallItem(checkpoint=CHECKPOINT, stopped_stream="MZ2")
    assert int((await table.item("checkpoint#CA1#0"))["expires_at"]) == table.now + limits.CHECKPOINT_TTL_S


async def test_a_question_does_not_lengthen_the_time_of_a_checkpoint(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.note_asked("CA1")

    assert int((await table.item("checkpoint#CA1#0"))["expires_at"]) == table.now + limits.CHECKPOINT_TTL_S


async def test_what_is_known_of_a_call_is_known_as_long_as_twilio_lets_it_last(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.note_dial("CA1", 1, DialOutcome.BUSY)
    await repository.save_checkpoint("CA1", CHECKPOINT)
    table.now += limits.CALL_ITEM_TTL_S - 1

    assert await repository.recall_call("CA1") == CallItem(dials={1: DialOutcome.BUSY})


async def test_a_closed_call_keeps_how_it_ended_and_no_word_of_it(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.remember_step("CA1", HangUp())
    await repository.note_dial("CA1", 1, DialOutcome.CONNECTED)
    await repository.note_asked("CA1")
    asked = int(table.now)
    await repository.close_call("CA1", Outcome.CALLER_LEFT)
    await repository.close_call("CA1", Outcome.CONNECTED_WITH_CONTEXT)

    assert await repository.recall_call("CA1") == CallItem(
        HangUp(), None, {1: DialOutcome.CONNECTED}, Outcome.CONNECTED_WITH_CONTEXT, asked
    )
    item = await table.item("call#CA1")
    assert int(item["ended_at"]) == table.now
    assert await table.keys() == {"call#CA1"}
    assert "blue" not in str(item)


async def test_a_call_of_which_no_word_was_kept_is_closed_with_one_request(table: OwnTable) -> None:
    script = ScriptedHttp([Answer()])
    async with script.serving() as url, table.repository(at=url) as repository:
        await repository.close_call("CA1", Outcome.CALLER_LEFT, words_kept=False)

    assert [asked.headers["x-amz-target"] for asked in script.asked] == ["DynamoDB_20120810.UpdateItem"]


async def test_the_words_of_a_closed_call_go_with_what_is_written_of_others(
    table: OwnTable, repository: DynamoRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    await repository.save_checkpoint("CA1", CHECKPOINT)
    monkeypatch.setattr(limits, "CHECKPOINTS_GATHERED_MS", 60_000)
    closing = asyncio.create_task(repository.close_call("CA1", Outcome.CALLER_LEFT))
    async with asyncio.timeout(30):
        while (await repository.recall_call("CA1")).outcome is None:  # noqa: ASYNC110 - DynamoDB tells nobody
            await asyncio.sleep(0)
        assert await table.keys() == {"call#CA1", "checkpoint#CA1#0"}
        await repository.save_checkpoint("CA2", CHECKPOINT, at_once=True)
        await closing

    assert await table.keys() == {"call#CA1", "checkpoint#CA2#0"}


async def test_a_closed_call_has_no_words_left_of_any_of_its_streams(
    table: OwnTable, repository: DynamoRepository
) -> None:
    for _ in range(limits.CHECKPOINTS_TOGETHER - 1):
        await repository.save_checkpoint("CA1", CHECKPOINT)
        await repository.take_over("CA1")
    await repository.save_checkpoint("CA1", CHECKPOINT)
    await repository.save_checkpoint("CA2", CHECKPOINT)
    async with table.repository() as other:  # which knows of no stream
        await other.close_call("CA1", Outcome.CALLER_LEFT)

    assert await table.keys() == {"call#CA1", "checkpoint#CA2#0"}


async def test_nobody_goes_on_with_a_closed_call_whose_words_could_not_be_removed(
    table: OwnTable, repository: DynamoRepository
) -> None:
    await repository.close_call("CA1", Outcome.CONTAINED)
    await repository.save_checkpoint("CA1", CHECKPOINT)  # as if it were there still

    assert await repository.recall_call("CA1") == CallItem(outcome=Outcome.CONTAINED)


@pytest.mark.parametrize("late", ["step", "dial", "checkpoint", "question"])
async def test_whatever_comes_after_the_end_does_not_shorten_the_time_it_is_known(
    table: OwnTable, repository: DynamoRepository, late: str
) -> None:
    await repository.close_call("CA1", Outcome.CONTAINED)
    match late:
        case "step":
            await repository.remember_step("CA1", HangUp())
        case "dial":
            await repository.note_dial("CA1", 1, DialOutcome.CONNECTED)
        case "checkpoint":
            await repository.save_checkpoint("CA1", CHECKPOINT)
        case _:
            await repository.note_asked("CA1")
    table.now += limits.ENDED_CALL_TTL_S - 1
    assert (await repository.recall_call("CA1")).outcome is Outcome.CONTAINED

    table.now += 1
    assert await repository.recall_call("CA1") == CallItem()


async def test_an_outcome_that_another_version_wrote_is_none(table: OwnTable, repository: DynamoRepository) -> None:
    await table.write("call#CA1", outcome="abducted")

    assert (await repository.recall_call("CA1")).outcome is None
