import pytest

from voice_openai_connect.call.next_step import HangUp
from voice_openai_connect.simulator.dynamo import SimulatedDynamo
from voice_openai_connect.simulator.dynamo_table import own_table


async def test_two_tables_know_nothing_of_each_other(dynamo: SimulatedDynamo) -> None:
    async with own_table(dynamo) as one, own_table(dynamo) as two:
        await one.write("call#CA1", outcome="contained")

        assert await one.keys() == {"call#CA1"}
        assert await two.keys() == set()
        assert (await one.item("call#CA1"))["outcome"] == "contained"


async def test_a_lossy_line_carries_the_first_write_out_and_loses_its_reply(dynamo: SimulatedDynamo) -> None:
    async with own_table(dynamo) as table:
        async with table.losing_reply() as url, table.repository(at=url) as repository:
            await repository.remember_step("CA1", HangUp())  # the client asks again

        assert await table.keys() == {"call#CA1"}


async def test_a_lossy_line_that_lost_nothing_is_a_mistake_of_the_test(dynamo: SimulatedDynamo) -> None:
    async with own_table(dynamo) as table:
        with pytest.raises(AssertionError, match="no reply"):
            async with table.losing_reply() as url, table.repository(at=url) as repository:
                await repository.recall_call("CA1")
