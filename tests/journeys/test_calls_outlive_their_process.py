"""Processes stop, die, and lose their sockets; the people on the line do not notice much."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import httpx2
import pytest

from voice_openai_connect.simulator import gateway_process
from voice_openai_connect.simulator.caller import Caller, Step, Wait, WaitForPerson
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.gateway_process import GatewayProcess, free_port
from voice_openai_connect.simulator.model_session import ModelSession
from voice_openai_connect.simulator.town import CALLER, CONNECT_NUMBER, Town

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
END_S = 60
PUBLIC_HOST = "voice.example.com"
PUBLIC_URL = f"https://{PUBLIC_HOST}"
OTHER_CALLER = "+61491570007"
PATIENT: tuple[Step, ...] = (WaitForPerson(), Wait(60_000))


@dataclass
class Pair:
    """A town with two instances of the gateway behind one public name."""

    town: Town
    first: GatewayProcess
    second: GatewayProcess
    routes: dict[str, str]

    def send_to_second(self) -> None:
        """What a balancer does when the first instance is not ready any more."""
        self.routes[PUBLIC_URL] = self.second.base_url


@asynccontextmanager
async def pair_of(quick_town: OpenTown, **plan: object) -> AsyncGenerator[Pair, None]:
    routes: dict[str, str] = {}
    settings = {"PUBLIC_HOST": PUBLIC_HOST}
    async with quick_town(["Tell me more."], own_process=True, settings=settings, routes=routes, **plan) as town:
        assert town.gateway is not None
        routes[PUBLIC_URL] = town.gateway.base_url
        port = free_port()
        async with GatewayProcess({**town.settings, "PORT": str(port)}, port) as second:
            yield Pair(town, town.gateway, second, routes)


async def in_conversation(town: Town, call: CarriedCall) -> ModelSession:
    """The greeting has been heard, the caller has said something, and been answered."""
    session = await town.model.next_session()
    await session.until(lambda s: bool(s.sent("response.done")))
    await call.until(lambda c: bool(c.heard) and c.stream.playout.queued_ms == 0)
    session.caller_said("My order number is four seven one one.")
    await session.until(lambda s: len(s.sent("response.done")) == 2)
    await call.until(lambda c: c.now_ms - c.heard[-1].at_ms > 500)
    return session


async def goes_on(town: Town, call: CarriedCall, streams: int = 2) -> ModelSession:
    """The conversation is taken up again, with what was said, and somebody speaks."""
    session = await town.model.next_session(seconds=20)
    await session.until(lambda s: bool(s.sent("response.done")), seconds=20)
    assert len(call.streams) == streams
    assert any("four seven one one" in item.text for item in session.items)
    await call.until(lambda c: bool(c.stream.playout.heard), within_s=20)
    return session


def facts(gateway: GatewayProcess, name: str) -> list[str]:
    return [str(line.get("label")) for line in gateway.log if line["message"] == name]


async def test_a_stop_moves_every_call_with_its_conversation_and_ends_in_peace(
    quick_town: OpenTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_process, "STOP_S", END_S)
    async with pair_of(quick_town) as pair:
        town = pair.town
        call = await town.carrier.place_call(Caller(PATIENT), from_=CALLER)
        await in_conversation(town, call)
        pair.send_to_second()
        stopped = asyncio.create_task(pair.first.stop(signal.SIGTERM))

        again = await goes_on(town, call)
        assert await asyncio.wait_for(stopped, END_S) == 0
        assert facts(pair.first, "call_ended") == ["moved"]
        assert facts(pair.second, "resumed") == ["0"]
        assert [line for line in pair.first.log if line["level"] == "error"] == []

        again.caller_said("Let me speak to a person, please.")
        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert call.dials[0].digits
        assert call.violations == []
        call.complete()


async def test_a_killed_process_takes_nobody_with_it(quick_town: OpenTown) -> None:
    async with pair_of(quick_town) as pair:
        town = pair.town
        call = await town.carrier.place_call(Caller(PATIENT), from_=CALLER)
        await in_conversation(town, call)
        pair.send_to_second()
        await pair.first.stop(signal.SIGKILL)

        await goes_on(town, call)
        assert facts(pair.second, "resumed") == ["1"]
        call.complete()


async def test_a_process_killed_during_the_handover_still_leads_to_a_person(quick_town: OpenTown) -> None:
    async with pair_of(quick_town) as pair:
        town = pair.town
        town.crm.hang(50)
        call = await town.carrier.place_call(Caller(PATIENT), from_=CALLER)
        session = await in_conversation(town, call)
        session.caller_said("Let me speak to a person, please.")
        async with asyncio.timeout(END_S):
            while not facts(pair.first, "escalated"):  # noqa: ASYNC110 - another process tells it in no other way
                await asyncio.sleep(0.02)
        await session.until(lambda s: any("transfer" in str(e) for e in s.received("response.create")))
        pair.send_to_second()
        await pair.first.stop(signal.SIGKILL)

        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert len(call.streams) == 1
        call.complete()


async def test_a_lost_socket_is_a_short_interruption(quick_town: OpenTown) -> None:
    async with quick_town(["Tell me more."]) as town:
        call = await town.carrier.place_call(Caller(PATIENT), from_=CALLER)
        await in_conversation(town, call)
        call.stream.drop()

        await goes_on(town, call)
        call.complete()


async def test_a_line_that_keeps_breaking_ends_with_a_person(quick_town: OpenTown) -> None:
    async with quick_town(["Tell me more."]) as town:
        call = await town.carrier.place_call(Caller(PATIENT), from_=CALLER)
        await in_conversation(town, call)
        for streams in (2, 3, 4):
            call.stream.drop()
            await goes_on(town, call, streams)
            await call.until(lambda c: c.now_ms - c.heard[-1].at_ms > 500, within_s=20)
        call.stream.drop()

        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert len(call.streams) == 4
        call.complete()


async def test_where_nothing_is_kept_a_lost_socket_leads_to_a_person(quick_town: OpenTown) -> None:
    async with quick_town(["Tell me more."], settings={"CHECKPOINTS": "false"}) as town:
        call = await town.carrier.place_call(Caller(PATIENT), from_=CALLER)
        await in_conversation(town, call)
        call.stream.drop()

        await call.until(lambda c: bool(c.dials), within_s=END_S)
        call.complete()


async def readiness(gateway: GatewayProcess) -> tuple[int, str]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{gateway.base_url}/readyz")
        return answer.status_code, answer.json()["status"]


async def test_the_last_instance_sends_everybody_to_a_person_before_it_stops(
    quick_town: OpenTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_process, "STOP_S", END_S)
    async with quick_town(own_process=True) as town:
        assert town.gateway is not None
        call = await town.carrier.place_call(Caller(PATIENT), from_=CALLER)
        session = await town.model.next_session()
        await session.until(lambda s: bool(s.sent("response.done")))
        session.caller_starts_speaking()  # a caller in mid-sentence is not moved at once
        stopped = asyncio.create_task(town.gateway.stop(signal.SIGTERM))
        async with asyncio.timeout(END_S):
            while await readiness(town.gateway) != (503, "draining"):  # noqa: ASYNC110 - told in no other way
                await asyncio.sleep(0.01)
        late = await town.carrier.place_call(Caller(PATIENT), from_=OTHER_CALLER)
        await late.until(lambda c: bool(c.dials), within_s=END_S)
        assert (late.streams, late.dials[0].number) == ([], CONNECT_NUMBER)

        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert await asyncio.wait_for(stopped, END_S) == 0
        assert town.gateway.other_output == []
        call.complete()
        late.complete()
