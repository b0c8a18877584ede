"""Waiting for somebody else's answer, but never for long."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def within(
    seconds: float, work: Coroutine[Any, Any, _T], on_failure: Callable[[BaseException], None]
) -> _T | None:
    """The answer; or None when the work failed or took too long, of which `on_failure` is told."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except Exception as error:  # noqa: BLE001 - whoever waits goes on without the answer
        on_failure(error)
        return None
