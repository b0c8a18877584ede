"""OpenAI: it cannot be reached, is slow, breaks off, stalls, talks nonsense, refuses."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.own_tools import ToolContext, tool
from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.caller import Listen, Press
from voice_openai_connect.simulator.model_mind import Failure, Mishap, Reply, ToolCall, fail, say
from voice_openai_connect.simulator.model_protocol import RefusedError
from voice_openai_connect.simulator.model_response import Delivery
from voice_openai_connect.simulator.model_session import ModelSession, Truncation
from voice_openai_connect.simulator.town import Town
from voice_openai_connect.simulator.witness import (
    END_S,
    TO_A_PERSON,
    answers,
    greeted,
    hears_carrier_say,
    hears_holding_sound,
    over,
    person_knows,
    reason_of_transfer,
    ring,
)

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
LONG_MS = 4_000
LONG = sound.ulaw_encode(sound.tone(440, LONG_MS))


async def second_session(town: Town) -> ModelSession:
    """The session that the model was tried again with, once it has answered."""
    second = await town.model.next_session(seconds=END_S)
    await second.until(lambda s: bool(s.sent("response.done")), seconds=END_S)
    return second


def errors(session: ModelSession) -> list[dict[str, Any]]:
    """What the model refused of what it was sent."""
    return session.sent("error")


# --- it cannot be reached


@pytest.mark.parametrize("how", ["refused", "reset", "no TLS", "no such host"])
async def test_O1_a_model_that_cannot_be_reached(quick_town: OpenTown, how: str) -> None:
    """Fault: no connection to the model: refused, reset, TLS or DNS.

    Hears: an announcement, then a person who knows why.
    """
    settings: dict[str, str] = {}
    if how == "no TLS":
        settings["OPENAI_BASE_URL"] = "https://127.0.0.1:9/v1"
    if how == "no such host":
        settings["OPENAI_BASE_URL"] = "https://model.invalid/v1"
    async with quick_town(proxied={"model"}, settings=settings) as town:
        proxy = town.proxies["model"]
        if how == "refused":
            await proxy.go_away()
        proxy.turned_away = set(range(1, 100))
        call = await ring(town, *TO_A_PERSON)
        await over(call)

        assert hears_carrier_say(town)
        assert person_knows(town)
        assert reason_of_transfer(town) == "model_lost"
        if how == "reset":
            assert proxy.accepted == limits.MODEL_CONNECTS


@pytest.mark.parametrize("how", ["silent socket", "no session.created", "no session.updated"])
async def test_O2_a_model_that_does_not_get_ready(quick_town: OpenTown, how: str) -> None:
    """Fault: the model's socket opens slowly or stays silent.

    Hears: the holding sound, then within `MODEL_READY_MS` an announcement and a person.
    """
    async with quick_town(proxied={"model"}) as town:
        town.proxies["model"].back.stalled = how == "silent socket"
        town.model.faults.hold_created = how == "no session.created"
        town.model.faults.ignore_updates = how == "no session.updated"
        call = await ring(town, *TO_A_PERSON)
        await over(call)
        town.proxies["model"].back.stalled = False

        assert hears_holding_sound(call)
        assert hears_carrier_say(town)
        assert reason_of_transfer(town) == "model_lost"


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_O3_a_model_that_will_not_have_us(
    quick_town: OpenTown, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: the key or the model is refused (401, 403, 404).

    Hears: an announcement at once, then a person; it is not tried again.
    """
    monkeypatch.setattr(limits, "PROBE_FIRST_S", END_S)
    async with quick_town() as town:
        town.model.faults.handshake_status = status
        call = await ring(town, *TO_A_PERSON)
        await over(call)

        assert town.model.refused_handshakes == [status]
        assert not hears_holding_sound(call)
        assert hears_carrier_say(town)
        assert reason_of_transfer(town) == "model_lost"


async def test_O3_callers_after_the_first_while_the_model_is_down(
    quick_town: OpenTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: the model has refused one call, and then is back.

    Hears: the next caller, an announcement and a person, without a try at the model; once a probe without a caller has
    succeeded, the assistant again.
    """
    monkeypatch.setattr(limits, "PROBE_FIRST_S", 1.0)
    async with quick_town() as town:
        assert town.parts is not None
        town.model.faults.handshake_status = 401
        first = await ring(town, *TO_A_PERSON)
        await over(first)
        second = await ring(town, *TO_A_PERSON)
        await second.until(lambda c: bool(c.dials), within_s=END_S)
        metrics = town.parts.metrics.render()
        town.model.faults.handshake_status = None
        probe = await town.model.next_session(seconds=END_S)
        await probe.until(lambda s: s.closed.is_set(), seconds=END_S)
        await over(second)

        assert second.streams == []
        assert b"voice_connect_model_down 1.0" in metrics
        assert b'voice_connect_refused_total{reason="model_down",what="call"} 1.0' in metrics
        assert len(probe.sent("session.updated")) == 1
        assert probe.sent("response.created") == []
        assert probe.caller_audio == b""

        third = await ring(town)
        assert await answers(await greeted(town, third))
        assert b"voice_connect_model_down 0.0" in town.parts.metrics.render()


async def test_O3_an_account_that_runs_out_of_credit(quick_town: OpenTown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: the account runs out of credit: sessions still work, every response fails.

    Hears: the transfer sentence from Twilio, then a person; no second try. The next caller, a person at once.
    """
    monkeypatch.setattr(limits, "PROBE_FIRST_S", END_S)
    spent = fail("insufficient_quota", "You exceeded your current quota, please check your plan and billing details.")
    async with quick_town([spent, "Nobody asked for this."]) as town:
        first = await ring(town, *TO_A_PERSON)
        session = await greeted(town, first)
        session.caller_said("Hello?")
        await over(first)
        second = await ring(town, *TO_A_PERSON)
        await over(second)

        assert hears_carrier_say(town)
        assert reason_of_transfer(town) == "model_lost"
        assert "Nobody asked for this." not in [item.text for item in session.items]
        assert len(town.model.sessions) == 1
        assert second.streams == []


async def test_O1_callers_after_some_while_the_model_cannot_be_reached(quick_town: OpenTown) -> None:
    """Fault: the model cannot be reached for a while, and two callers have found that out.

    Hears: the third, an announcement and a person at once.
    """
    async with quick_town(proxied={"model"}) as town:
        await town.proxies["model"].go_away()
        for call in [await ring(town, *TO_A_PERSON) for _ in range(2)]:
            await over(call)
        third = await ring(town, *TO_A_PERSON)
        await over(third)

        assert third.streams == []
        assert len(third.dials) == 1
        assert "connected" in town.center.contacts[2].states


# --- it is lost in the middle of a call


@pytest.mark.parametrize("how", ["reset", 1000, 1011, "oversize"])
async def test_O4_O7_a_model_lost_in_mid_sentence(quick_town: OpenTown, how: Any) -> None:
    """Fault: the model's socket breaks off, is closed, or sends a message of 2 MiB, in mid-sentence.

    Hears: the sentence stops; a new session that knows the turns so far goes on.
    """
    broken = say("one two three four five six", audio=LONG, mishap=Mishap(1_000, how))
    async with quick_town([broken, "As I was saying."], model={"delivery": Delivery(speed=4.0)}) as town:
        call = await ring(town)
        first = await greeted(town, call)
        first.caller_said("Tell me everything")
        second = await second_session(town)

        assert ("user", "Tell me everything") in [(item.role, item.text) for item in second.items]
        assert await answers(second)
        assert errors(second) == []
        assert call.dials == []


async def test_O4_a_model_lost_twice(quick_town: OpenTown) -> None:
    """Fault: the model is lost a second time in the same call.

    Hears: an announcement, then a person.
    """
    async with quick_town(proxied={"model"}) as town:
        call = await ring(town, *TO_A_PERSON)
        await greeted(town, call)
        town.proxies["model"].reset()
        await second_session(town)
        town.proxies["model"].reset()
        await over(call)

        assert town.proxies["model"].accepted == 1 + limits.RECOVERIES
        assert hears_carrier_say(town)
        assert reason_of_transfer(town) == "model_lost"


async def test_O5_a_half_open_model(quick_town: OpenTown) -> None:
    """Fault: the model's connection carries nothing any more, and nobody closes it.

    Hears: the holding sound while the model owes an answer; then a new session goes on.
    """
    pausing = say("Let me see.", audio=LONG, mishap=Mishap(1_000, "stall"))
    async with quick_town([pausing], proxied={"model"}) as town:
        call = await ring(town)
        first = await greeted(town, call)
        before = call.stream.playout.played_ms
        first.caller_said("Hello?")
        await call.until(lambda c: c.stream.playout.played_ms > before + 500, within_s=END_S)
        town.proxies["model"].strand()
        second = await second_session(town)

        assert await answers(second)
        assert hears_holding_sound(call)
        assert call.dials == []
        town.proxies["model"].reset()


async def test_O6_a_few_unreadable_messages(quick_town: OpenTown) -> None:
    """Fault: malformed JSON, wrong types and missing fields from the model.

    Hears: nothing of it.
    """
    async with quick_town() as town:
        call = await ring(town)
        session = await greeted(town, call)
        for text in (
            "{",
            "[]",
            '"words"',
            '{"type":7}',
            '{"type":"response.done"}',
            '{"type":"response.output_audio.delta","delta":5}',
            '{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"%%%"}',
        ):
            session.wire.send_raw(text)

        assert await answers(session)
        assert len(town.model.sessions) == 1


async def test_O6_a_model_that_talks_nothing_but_nonsense(quick_town: OpenTown) -> None:
    """Fault: so many unreadable messages that the session is worth nothing.

    Hears: a new session goes on.
    """
    async with quick_town() as town:
        call = await ring(town)
        session = await greeted(town, call)
        for _ in range(limits.MODEL_BAD_MESSAGES):
            session.wire.send_raw("{")

        assert await answers(await second_session(town))
        assert call.dials == []


# --- it says what nobody asked for


async def test_O8_events_of_an_unknown_kind(quick_town: OpenTown) -> None:
    """Fault: event types that nobody has heard of, before every event.

    Hears: nothing of it.
    """
    async with quick_town() as town:
        town.model.faults.unknown_events = True
        call = await ring(town)
        session = await greeted(town, call)

        assert await answers(session)
        assert errors(session) == []


@pytest.mark.parametrize(
    "code",
    [
        "conversation_already_has_active_response",
        "response_cancel_not_active",
        "input_audio_buffer_commit_empty",
        "invalid_value",
    ],
)
async def test_O9_O15_errors_that_cost_nothing(quick_town: OpenTown, code: str) -> None:
    """Fault: an `error` event that ends nothing, such as a truncation that was refused.

    Hears: nothing of it.
    """
    async with quick_town() as town:
        call = await ring(town)
        session = await greeted(town, call)
        session.wire.refuse(RefusedError("Refused for the test.", code), "event_1")

        assert await answers(session)
        assert len(town.model.sessions) == 1


async def test_O10_a_response_that_fails_once(quick_town: OpenTown) -> None:
    """Fault: a response ends as `failed`, which is silent.

    Hears: the answer a moment later; it is asked for again.
    """
    async with quick_town([fail(), "Here I am again."]) as town:
        call = await ring(town)
        session = await greeted(town, call)
        session.caller_said("Hello?")
        await session.until(lambda s: any(item.text == "Here I am again." for item in s.items), seconds=END_S)

        assert call.dials == []


async def test_O10_a_response_that_fails_twice(quick_town: OpenTown) -> None:
    """Fault: two responses in a row end as `failed`.

    Hears: the transfer sentence, then a person.
    """
    async with quick_town([fail(), fail()]) as town:
        call = await ring(town, *TO_A_PERSON)
        (await greeted(town, call)).caller_said("Hello?")
        await over(call)

        assert reason_of_transfer(town) == "repeated_failure"


async def test_O11_a_rate_limit_that_passes_soon(quick_town: OpenTown) -> None:
    """Fault: a rate limit that asks for a second.

    Hears: the answer after that second.
    """
    limited = Reply(failure=Failure("rate_limit_exceeded", "Rate limit reached. Please try again in 1s."))
    async with quick_town([limited, "Here I am again."]) as town:
        call = await ring(town)
        session = await greeted(town, call)
        session.caller_said("Hello?")
        await session.until(lambda s: any(item.text == "Here I am again." for item in s.items), seconds=END_S)

        assert call.dials == []


async def test_O11_a_rate_limit_that_lasts(quick_town: OpenTown) -> None:
    """Fault: a rate limit that asks for twenty seconds.

    Hears: the transfer sentence, then a person.
    """
    limited = Reply(failure=Failure("rate_limit_exceeded", "Rate limit reached. Please try again in 20s."))
    async with quick_town([limited]) as town:
        call = await ring(town, *TO_A_PERSON)
        (await greeted(town, call)).caller_said("Hello?")
        await over(call)

        assert reason_of_transfer(town) == "repeated_failure"


async def test_O12_a_session_that_expires(quick_town: OpenTown) -> None:
    """Fault: `session_expired`, and the socket is closed with 1001.

    Hears: a new session that knows the turns so far goes on.
    """
    async with quick_town() as town:
        call = await ring(town)
        first = await greeted(town, call)
        assert await answers(first, "My name is Kim.")
        first.wire.refuse(RefusedError("Your session hit the maximum duration of 60 minutes.", "session_expired"))
        await first.wire.end(1001, "expired")
        second = await second_session(town)

        assert "My name is Kim." in [item.text for item in second.items]
        assert await answers(second)


async def test_O13_audio_faster_than_real_time(quick_town: OpenTown) -> None:
    """Fault: forty seconds of an answer arrive at once.

    Hears: all of it in its own time; an interruption ends it at once.
    """
    answer = sound.ulaw_encode(sound.tone(440, 40_000))
    async with quick_town([say("much to say", audio=answer)]) as town:
        call = await ring(town)
        session = await greeted(town, call)
        before = sum(piece.size for piece in call.stream.playout.sent)
        assert await answers(session, "Tell me everything")
        whole = before + len(answer)
        await call.until(lambda c: sum(piece.size for piece in c.stream.playout.sent) >= whole, within_s=END_S)
        session.caller_starts_speaking()
        await call.until(lambda c: c.stream.playout.queued_ms == 0, within_s=END_S)

        await session.until(lambda s: bool(s.truncations))
        assert errors(session) == []
        session.caller_stops_speaking("Stop.")


def cuts_of_the_answer(session: ModelSession) -> list[Truncation]:
    """Not of the greeting, the last mark of which may still be on its way when the caller speaks."""
    return [cut for cut in session.truncations if cut.item_ms >= limits.UNHEARD_AUDIO_MS]


async def test_O13_an_answer_that_is_longer_than_anyone_listens(quick_town: OpenTown, tmp_path: Path) -> None:
    """Fault: ninety seconds of an answer arrive at once, as a profile may allow.

    Hears: the first minute of it; whoever interrupts it is answered, and the model knows where it broke off.
    """
    answer = sound.ulaw_encode(sound.tone(440, 90_000))
    profile = tmp_path / "agent.toml"
    profile.write_text("[profile.default]\nmax_output_tokens = 4096\n")
    settings = {"AGENT_PROFILE": str(profile)}
    async with quick_town([say("far too much to say", audio=answer)], settings=settings) as town:
        assert town.parts is not None
        call = await ring(town)
        session = await greeted(town, call)
        before, greeted_ms = sum(piece.size for piece in call.stream.playout.sent), call.stream.playout.played_ms
        session.caller_said("Tell me everything")
        await session.until(lambda s: bool(cuts_of_the_answer(s)), seconds=END_S)
        await call.until(lambda c: c.stream.playout.played_ms > greeted_ms + 500, within_s=END_S)

        assert cuts_of_the_answer(session)[0].audio_end_ms == limits.UNHEARD_AUDIO_MS
        assert await answers(session, "Stop.")
        await session.until(lambda s: len(cuts_of_the_answer(s)) > 1, seconds=END_S)
        sent = sum(piece.size for piece in call.stream.playout.sent) - before
        assert sent <= (limits.UNHEARD_AUDIO_MS + 5_000) * limits.BYTES_PER_MS
        assert cuts_of_the_answer(session)[-1].audio_end_ms < limits.UNHEARD_AUDIO_MS
        assert {error["error"]["code"] for error in errors(session)} <= {"response_cancel_not_active"}
        assert b'audio_dropped_seconds_total{where="unheard_limit"}' in town.parts.metrics.render()


async def test_O14_audio_of_an_item_that_was_cut_off(quick_town: OpenTown) -> None:
    """Fault: pieces of a cancelled answer still arrive after the interruption.

    Hears: nothing of them.
    """
    late = b"\x55" * 160
    async with quick_town([say("a long answer", audio=LONG)], model={"delivery": Delivery(speed=1.5)}) as town:
        town.model.faults.late_deltas = 5
        call = await ring(town)
        session = await greeted(town, call)
        before = call.stream.playout.played_ms
        session.caller_said("Tell me everything")
        await call.until(lambda c: c.stream.playout.played_ms > before + 500, within_s=END_S)
        session.caller_starts_speaking()
        session.caller_stops_speaking("Stop.")
        await session.until(lambda s: len(s.sent("response.done")) == 3, seconds=END_S)
        await call.until(lambda c: c.stream.playout.queued_ms == 0, within_s=END_S)

        assert late not in b"".join(piece.audio for piece in call.heard)


# --- its tools


@tool("The state of an order.", {"order": {"type": "string"}})
async def order_status(arguments: Mapping[str, Any], context: ToolContext) -> str:
    raise AssertionError("never called")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("order_status", '{"order":'),
        ("order_status", '["1042"]'),
        ("order_status", json.dumps({"order": "1" * limits.TOOL_ARGUMENTS_CHARS})),
        ("open_the_safe", "{}"),
    ],
    ids=["broken JSON", "no object", "huge", "unknown name"],
)
async def test_O16_tool_calls_that_make_no_sense(quick_town: OpenTown, name: str, arguments: str) -> None:
    """Fault: a tool call with broken or huge arguments, or of a tool that there is not.

    Hears: the model's next answer; the model is told what was wrong, or asked again when it broke off itself.
    """
    async with quick_town([Reply((ToolCall(name, arguments),)), "Let me try again."], tools=(order_status,)) as town:
        call = await ring(town)
        session = await greeted(town, call)
        session.caller_said("Where is my order?")
        await session.until(lambda s: any(item.text == "Let me try again." for item in s.items), seconds=END_S)

        told = [item for item in session.items if item.type == "function_call_output"]
        assert len(told) == (name != "order_status" or len(arguments) < limits.TOOL_ARGUMENTS_CHARS)
        assert errors(session) == []


async def test_O17_every_way_to_ask_for_a_person_at_once(quick_town: OpenTown) -> None:
    """Fault: two tool calls, the caller's words and key 0 all ask for a person.

    Hears: one transfer.
    """
    wish = Reply((ToolCall("transfer_to_human", "{}"), ToolCall("transfer_to_human", "{}")))
    async with quick_town([wish]) as town:
        call = await ring(town, Listen(ms=300), Press("00"), *TO_A_PERSON)
        (await greeted(town, call)).caller_said("I want to speak to an agent, please.")
        await over(call)

        assert len(call.dials) == len(town.crm.tickets) == len(town.center.contacts) == 1
