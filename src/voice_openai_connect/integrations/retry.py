"""One way to try again: a few attempts, growing jittered waits, and a budget that is never overrun.

There is one layer of retries for each service. HubSpot and Twilio use this one; DynamoDB has its own, in
`dynamo_requests`, because its one try more must cost nothing where the first is enough.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import stamina

from voice_openai_connect import limits

T = TypeVar("T")

Wait = Callable[[Exception], float | bool]
"""Says of an error: False, give up; True, wait as usual; or the seconds that the service asked us to wait."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and for how long. `total_s` covers every attempt and every wait between them."""

    attempts: int
    total_s: float
    first_wait_s: float = 0.1
    longest_wait_s: float = 2.0


HUBSPOT: Final = RetryPolicy(limits.HUBSPOT_ATTEMPTS, limits.HUBSPOT_TOTAL_S)
TWILIO: Final = RetryPolicy(limits.TWILIO_REST_ATTEMPTS, limits.TWILIO_REST_S)


async def with_retries(work: Callable[[], Awaitable[T]], *, policy: RetryPolicy, wait: Wait) -> T:
    """Do `work` until it succeeds, `wait` says to give up, or the policy is used up; then its last error is raised.

    A wait that would not fit into the budget is not begun. `TimeoutError` is raised only when the very first
    attempt alone outlasts the whole budget.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + policy.total_s
    last: Exception | None = None

    def fits(error: BaseException) -> float | bool:
        nonlocal last
        if not isinstance(error, Exception):  # stamina asks about a cancellation too, and would begin again
            return False
        last = error
        answer = wait(error)
        needed = policy.first_wait_s if isinstance(answer, bool) else answer
        return answer if clock() + needed < deadline else False

    try:
        async with asyncio.timeout_at(deadline):
            async for attempt in stamina.retry_context(
                on=fits,
                attempts=policy.attempts,
                timeout=policy.total_s,
                wait_initial=policy.first_wait_s,
                wait_max=policy.longest_wait_s,
                wait_jitter=policy.first_wait_s,
            ):
                with attempt:
                    return await work()
    except TimeoutError:
        if last is None or clock() < deadline:
            raise
        raise last from None
    raise AssertionError("unreachable: the last attempt returns or raises")
