"""Somebody else's answer is waited for, but never for long."""

import asyncio

from voice_openai_connect.gateway.bounded import within

DEADLINE_S = 10


async def says_five() -> int:
    return 5


async def fails() -> int:
    raise ConnectionError


async def hangs() -> int:
    return await asyncio.get_running_loop().create_future()


async def test_an_answer_in_time_is_passed_on_and_nobody_is_told_of_anything() -> None:
    failures: list[BaseException] = []

    assert await within(DEADLINE_S, says_five(), failures.append) == 5
    assert failures == []


async def test_a_failure_and_a_silence_are_told_and_become_no_answer() -> None:
    failures: list[BaseException] = []

    assert await within(DEADLINE_S, fails(), failures.append) is None
    assert await asyncio.wait_for(within(0.01, hangs(), failures.append), DEADLINE_S) is None
    assert [type(failure) for failure in failures] == [ConnectionError, TimeoutError]
