"""The process: it stands still, is told nonsense, or has a mistake in it."""

import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from voice_openai_connect.call import events as ev
from voice_openai_connect.call.commands import Command
from voice_openai_connect.call.machine import Call
from voice_openai_connect.simulator.caller import Listen, Press, Wait
from voice_openai_connect.simulator.gateway_process import GatewayProcess, free_port
from voice_openai_connect.simulator.town import Town
from voice_openai_connect.simulator.witness import (
    END_S,
    TO_A_PERSON,
    answers,
    greeted,
    hears_carrier_say,
    over,
    person_knows,
    ring,
)

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
STILL_MS = 2_000


async def test_S4_a_process_that_stands_still(quick_town: OpenTown) -> None:
    """Fault: the process stands still for two seconds in the middle of a call.

    Hears: a gap; then the conversation goes on, and key 0 still leads to a person who knows why.
    """
    async with quick_town(own_process=True) as town:
        assert town.gateway is not None
        call = await ring(town, Listen(ms=300), Wait(STILL_MS + 4_000), Press("0"), *TO_A_PERSON)
        session = await greeted(town, call)
        began_ms = call.now_ms
        town.gateway.signal(signal.SIGSTOP)
        try:
            await call.until(lambda c: c.now_ms >= began_ms + STILL_MS)
        finally:
            town.gateway.signal(signal.SIGCONT)

        assert await answers(session)
        await over(call)
        assert len(call.streams) == len(town.model.sessions) == 1
        assert person_knows(town)


async def test_S8_settings_that_are_wrong(quick_town: OpenTown) -> None:
    """Fault: settings are missing or wrong.

    Hears: nothing: the gateway does not start, names every mistake at once, and prints no secret.
    """
    wrong = {"PORT": "high", "OPENAI_API_KEY": "sk-never-to-be-seen", "TWILIO_AUTH_TOKEN": "a secret of ours"}
    with pytest.raises(RuntimeError) as refused:
        async with GatewayProcess(wrong, free_port()):
            pytest.fail("it started")

    for name in ("PUBLIC_HOST", "PORT", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "CONNECT_PHONE_NUMBER"):
        assert name in str(refused.value)
    assert "never-to-be-seen" not in str(refused.value)
    assert "secret of ours" not in str(refused.value)


async def test_S9_a_mistake_of_ours_in_one_call(quick_town: OpenTown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: a mistake in the gateway's own code raises in the middle of one call.

    Hears: an announcement, then a person; other callers hear nothing of it.
    """
    handle = Call.handle

    def mistaken(self: Call, event: ev.Event, now: int) -> tuple[Command, ...]:
        if isinstance(event, ev.KeyPressed):
            raise ZeroDivisionError
        return handle(self, event, now)

    monkeypatch.setattr(Call, "handle", mistaken)
    async with quick_town() as town:
        assert town.parts is not None
        other = await ring(town)
        session = await greeted(town, other)
        call = await ring(town, Listen(ms=300), Press("5"), *TO_A_PERSON)
        await over(call)

        assert hears_carrier_say(town)
        assert "connected" in town.center.contacts[0].states
        assert await answers(session)
        assert list(town.parts.sessions.live) == [other.sid]
        assert b'voice_connect_errors_total{what="call"} 1.0' in town.parts.metrics.render()
        first, second = town.model.sessions
        await second.until(lambda s: s.closed.is_set(), seconds=END_S)
        assert not first.closed.is_set()
