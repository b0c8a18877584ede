import asyncio
from collections.abc import Generator

import pytest
import stamina
from stamina.instrumentation import RetryDetails

from voice_openai_connect.integrations.retry import RetryPolicy, Wait, with_retries

PATIENT = RetryPolicy(attempts=3, total_s=60, first_wait_s=0.001, longest_wait_s=0.002)


class TroubleError(Exception):
    pass


class Work:
    """Fails so many times, then succeeds."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.tries = 0

    async def __call__(self) -> str:
        self.tries += 1
        if self.tries <= self.failures:
            raise TroubleError(self.tries)
        return "done"


@pytest.fixture
def waits() -> Generator[list[float]]:
    """The waits that were begun, in seconds."""
    seen: list[float] = []

    def note(details: RetryDetails) -> None:
        seen.append(details.wait_for)

    stamina.instrumentation.set_on_retry_hooks([note])
    yield seen
    stamina.instrumentation.set_on_retry_hooks(None)


async def attempt(work: Work, *, policy: RetryPolicy = PATIENT, wait: Wait = lambda _: True) -> str:
    return await with_retries(work, policy=policy, wait=wait)


async def test_what_succeeds_is_done_once() -> None:
    work = Work(failures=0)
    assert await attempt(work) == "done"
    assert work.tries == 1


async def test_what_fails_is_tried_again() -> None:
    assert await attempt(Work(failures=2)) == "done"


async def test_after_the_last_attempt_its_own_error_is_raised() -> None:
    work = Work(failures=9)
    with pytest.raises(TroubleError) as caught:
        await attempt(work)
    assert caught.value.args == (3,)
    assert work.tries == 3


async def test_what_cannot_get_better_is_not_tried_again() -> None:
    work = Work(failures=9)
    with pytest.raises(TroubleError):
        await attempt(work, wait=lambda _: False)
    assert work.tries == 1


async def test_the_wait_that_the_service_asks_for_is_kept(waits: list[float]) -> None:
    assert await attempt(Work(failures=1), wait=lambda _: 0.0625) == "done"
    assert waits == [0.0625]


async def test_a_wait_that_does_not_fit_into_the_budget_is_not_begun(waits: list[float]) -> None:
    work = Work(failures=1)
    with pytest.raises(TroubleError):
        await attempt(work, wait=lambda _: 61.0)
    assert (work.tries, waits) == (1, [])


async def test_waits_grow_but_not_beyond_the_longest(waits: list[float]) -> None:
    policy = RetryPolicy(attempts=5, total_s=60, first_wait_s=0.001, longest_wait_s=0.003)
    await attempt(Work(failures=4), policy=policy)
    assert len(waits) == 4
    assert all(0.001 <= round(wait, 6) <= 0.003 for wait in waits)
    assert waits[-1] == pytest.approx(0.003)


async def test_work_that_hangs_is_ended_at_the_budget() -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await with_retries(hangs, policy=RetryPolicy(attempts=3, total_s=0.05), wait=lambda _: True)


async def test_when_a_later_attempt_hangs_the_error_of_the_earlier_one_is_raised() -> None:
    tries: list[int] = []

    async def fails_then_hangs() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise TroubleError("first")
        await asyncio.Event().wait()

    policy = RetryPolicy(attempts=3, total_s=1.0, first_wait_s=0.001, longest_wait_s=0.001)
    with pytest.raises(TroubleError, match="first"):
        await with_retries(fails_then_hangs, policy=policy, wait=lambda _: True)
    assert len(tries) == 2


async def test_a_timeout_of_the_work_itself_is_an_error_like_any_other() -> None:
    tries: list[int] = []

    async def times_out() -> None:
        tries.append(1)
        raise TimeoutError("the work's own")

    with pytest.raises(TimeoutError, match="the work's own"):
        await with_retries(times_out, policy=PATIENT, wait=lambda _: True)
    assert len(tries) == 3


async def test_cancelling_is_never_retried() -> None:
    started = asyncio.Event()
    tries: list[int] = []

    async def waits_for_ever() -> None:
        tries.append(1)
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(with_retries(waits_for_ever, policy=PATIENT, wait=lambda _: True))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(tries) == 1
