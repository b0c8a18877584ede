"""The transfer: the contact centre cannot or will not take the caller."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from voice_openai_connect.simulator.caller import Listen, Press, Step, Wait
from voice_openai_connect.simulator.town import Town
from voice_openai_connect.simulator.witness import hears_carrier_say, over, ring

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
KEY_0: tuple[Step, ...] = (Listen(ms=300), Press("0"), Wait(60_000))
NOBODY = "+61255509999"


@pytest.mark.parametrize("how", ["busy", "no answer", "failed"])
async def test_C1_a_dial_that_reaches_nobody(quick_town: OpenTown, how: str) -> None:
    """Fault: the contact centre's number is busy, is not answered, or does not exist.

    Hears: an apology, a second try without the token, then a promise to call back; never a silent end.
    """
    plan: dict[str, Any] = {
        "busy": {"center": {"busy": True}},
        "no answer": {"center": {"unanswered": True}},
        "failed": {"settings": {"CONNECT_PHONE_NUMBER": NOBODY}},
    }
    async with quick_town(**plan[how]) as town:
        call = await ring(town, *KEY_0)

        assert await over(call) == "hung-up"
        first, second = call.dials
        assert first.digits
        assert not second.digits
        assert "call you back" in hears_carrier_say(town)
        assert len(town.crm.tickets) == 1


async def test_C4_a_contact_centre_that_is_closed(quick_town: OpenTown) -> None:
    """Fault: the contact centre is closed: its flow answers, says so, and hangs up.

    Hears: the contact centre's own announcement; the call ends.
    """
    async with quick_town(center={"closed": True}) as town:
        call = await ring(town, *KEY_0)

        assert await over(call) == "hung-up"
        assert town.center.contacts[0].states == ["flow", "ended"]
        assert len(town.crm.tickets) == 1


async def test_C5_the_person_hangs_up(quick_town: OpenTown) -> None:
    """Fault: none: the person hangs up first.

    Hears: the end of the call; nobody is dialled again.
    """
    async with quick_town(center={"talk_ms": 1_000}) as town:
        call = await ring(town, *KEY_0)

        assert await over(call) == "hung-up"
        assert len(call.dials) == 1
        assert call.dials[0].bridged
