import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.sound import frames, silence, tone, ulaw_encode

Connect = Callable[..., Awaitable[Any]]


def spoken(ms: int = 400) -> bytes:
    return silence(500) + ulaw_encode(tone(300, ms)) + silence(600)


async def send_audio(client: Any, ulaw: bytes, *, piece: int = 160) -> None:
    for i in range(0, len(ulaw), piece):
        await client.send("input_audio_buffer.append", audio=base64.b64encode(ulaw[i : i + piece]).decode())


async def test_loud_audio_is_a_turn_with_the_prescribed_words(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["Yes?"], heard=["Hello"], hear_energy=True) as model:
        client = await client_of(model)
        await client.use_pcmu(silence_duration_ms=500, prefix_padding_ms=300)
        await send_audio(client, spoken(400), piece=333)
        started = await client.expect("input_audio_buffer.speech_started")
        stopped = await client.expect("input_audio_buffer.speech_stopped")
        done = await client.expect("conversation.item.input_audio_transcription.completed")
    assert started["audio_start_ms"] == 500 - 300
    assert stopped["audio_end_ms"] == 500 + 400 + 500
    assert started["item_id"] == stopped["item_id"] == done["item_id"]
    assert (done["transcript"], done["languages"]) == ("Hello", [{"code": "en"}])


async def test_two_turns_are_heard_apart_and_timed_from_the_beginning_of_the_session(client_of: Connect) -> None:
    async with SimulatedModel.scripted(heard=["One", "Two"], hear_energy=True) as model:
        client = await client_of(model)
        await client.use_pcmu(silence_duration_ms=500, prefix_padding_ms=0)
        await send_audio(client, spoken())
        await client.expect("response.done")
        await send_audio(client, spoken())
        started = await client.expect("input_audio_buffer.speech_started")
        await client.expect("response.done")
        [session] = model.sessions
        said = [turn.text for turn in session.conversation.turns if turn.role == "user"]
    assert started["audio_start_ms"] == 1_500 + 500
    assert said == ["One", "Two"]


async def test_a_new_turn_detection_keeps_the_clock_of_the_session(client_of: Connect) -> None:
    async with SimulatedModel.scripted(hear_energy=True) as model:
        client = await client_of(model)
        await client.use_pcmu(prefix_padding_ms=0)
        await send_audio(client, silence(1_000))
        await client.use_pcmu(prefix_padding_ms=0, silence_duration_ms=200)
        await send_audio(client, spoken())
        started = await client.expect("input_audio_buffer.speech_started")
    assert started["audio_start_ms"] == 1_500


async def test_without_turn_detection_the_client_ends_the_turn_and_asks(client_of: Connect) -> None:
    async with SimulatedModel.scripted(heard=["Hello"], hear_energy=True) as model:
        client = await client_of(model)
        await client.use_pcmu()
        await client.send("input_audio_buffer.commit")
        assert (await client.refusal())["code"] == "input_audio_buffer_commit_empty"
        await send_audio(client, spoken())
        await client.send("input_audio_buffer.commit")
        committed = await client.expect("input_audio_buffer.committed")
        await client.expect("conversation.item.input_audio_transcription.completed")
        await client.nothing_but()
        [session] = model.sessions
        assert session.items[0].id == committed["item_id"]
        assert session.items[0].audio_ms == 1_500


async def test_a_cleared_buffer_has_nothing_to_commit(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    await client.use_pcmu()
    await send_audio(client, spoken())
    await client.send("input_audio_buffer.clear")
    await client.expect("input_audio_buffer.cleared")
    await client.send("input_audio_buffer.commit")
    assert (await client.refusal())["code"] == "input_audio_buffer_commit_empty"


async def test_turns_are_not_written_down_unless_wanted(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    session = await model.next_session()
    session.caller_said("Hello")
    await client.expect("response.done")
    await client.nothing_but()
    assert [e["type"] for e in client.events if "transcription" in e["type"]] == []
    assert session.items[0].text == "Hello"


async def test_a_failed_transcription_is_an_event_of_its_own_and_no_error(
    model: SimulatedModel, client_of: Connect
) -> None:
    model.faults.transcription_fails = True
    client = await client_of(model)
    await client.use_pcmu(create_response=False)
    session = await model.next_session()
    session.caller_said("Hello")
    failed = await client.expect("conversation.item.input_audio_transcription.failed")
    assert failed["item_id"] == session.items[0].id


async def test_a_turn_without_words_is_completed_empty(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    await client.use_pcmu(create_response=False)
    (await model.next_session()).caller_said("")
    done = await client.expect("conversation.item.input_audio_transcription.completed")
    assert (done["transcript"], done["languages"]) == ("", [])


async def test_a_turn_during_an_answer_that_may_not_be_interrupted_gets_an_error(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["A long answer that goes on."]) as model:
        model.delivery = type(model.delivery)(pieces_ms=(100,), speed=1.0)
        client = await client_of(model)
        await client.use_pcmu(interrupt_response=False)
        session = await model.next_session()
        session.caller_said("One")
        await client.expect("response.output_audio.delta")
        session.caller_said("Two")
        assert (await client.refusal())["code"] == "conversation_already_has_active_response"


async def test_a_silence_becomes_a_turn_of_its_own(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["Are you there?"]) as model:
        client = await client_of(model)
        await client.use_pcmu(idle_timeout_ms=6_000)
        session = await model.next_session()
        await send_audio(client, silence(7_000), piece=8_000)
        await session.until(lambda s: s.caller_bytes == 56_000)
        session.caller_stays_silent()
        silent = await client.expect("input_audio_buffer.timeout_triggered")
        assert (await client.expect("input_audio_buffer.committed"))["item_id"] == silent["item_id"]
        await client.expect("response.done")
    assert (silent["audio_start_ms"], silent["audio_end_ms"]) == (1_000, 7_000)


@pytest.mark.parametrize("again", ["starts", "stops"])
async def test_a_turn_starts_once(model: SimulatedModel, client_of: Connect, again: str) -> None:
    client = await client_of(model)
    await client.use_pcmu(create_response=False)
    session = await model.next_session()
    session.caller_starts_speaking()
    session.caller_starts_speaking() if again == "starts" else session.caller_stops_speaking("Hello")
    session.caller_stops_speaking("Hello") if again == "starts" else None
    await client.expect("conversation.item.input_audio_transcription.completed")
    assert [e["type"] for e in client.events].count("input_audio_buffer.speech_started") == 1
    assert len(frames(b"")) == 0
