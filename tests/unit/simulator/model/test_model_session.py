import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.model_mind import call, say
from voice_openai_connect.simulator.model_response import Delivery
from voice_openai_connect.simulator.sound import silence, tone, ulaw_encode

Connect = Callable[..., Awaitable[Any]]
SLOW = Delivery(pieces_ms=(100,), speed=1.0)
"""Pieces at the pace they are played: an answer that is still being made when the test acts."""


async def test_a_session_begins_with_pcm_at_24_khz_and_says_when_it_ends(
    model: SimulatedModel, client_of: Connect
) -> None:
    client = await client_of(model)
    session = client.events[0]["session"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert session["id"].startswith("sess_")
    assert session["expires_at"] > 1_700_000_000


async def test_an_update_changes_only_what_it_names(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    await client.use_pcmu()
    session = await client.configure(instructions="Be brief.")
    assert session["instructions"] == "Be brief."
    assert session["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    session = await client.configure(instructions="")
    assert session["instructions"] == ""


async def test_a_refused_update_leaves_the_defaults_and_names_the_event(
    model: SimulatedModel, client_of: Connect
) -> None:
    client = await client_of(model)
    await client.send(
        "session.update",
        event_id="cfg_1",
        session={"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcmu"}, "voice": "fable"}}},
    )
    refusal = await client.refusal()
    assert (refusal["event_id"], refusal["type"]) == ("cfg_1", "invalid_request_error")
    [session] = model.sessions
    assert session.config["audio"]["output"]["format"]["type"] == "audio/pcm"


async def test_updates_can_be_refused_and_ignored_on_request(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    model.faults.refuse_updates = 1
    await client.send("session.update", session={"type": "realtime"})
    assert (await client.refusal())["code"] == "invalid_value"
    model.faults.ignore_updates = True
    await client.send("session.update", session={"type": "realtime"})
    await client.nothing_but()


async def test_the_turn_of_a_caller_is_told_in_the_services_order(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["Good morning."]) as model:
        client = await client_of(model)
        await client.use_pcmu(create_response=True)
        session = await model.next_session()
        session.caller_said("Hello")
        await client.expect("response.done")
        kinds = [event["type"] for event in client.events[2:]]
    floating = "conversation.item.input_audio_transcription."
    assert [kind for kind in kinds if kind.startswith(floating)] == [f"{floating}delta", f"{floating}completed"]
    assert [kind for kind in kinds if not kind.startswith(floating)] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        *["response.output_audio.delta"] * kinds.count("response.output_audio.delta"),
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]


async def test_a_caller_who_speaks_up_interrupts(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["A very long answer, much too long to listen to."], delivery=SLOW) as model:
        client = await client_of(model)
        await client.use_pcmu(interrupt_response=True)
        session = await model.next_session()
        session.caller_said("Hello")
        await client.expect("response.output_audio.delta")
        session.caller_starts_speaking()
        await client.expect("input_audio_buffer.speech_started")
        done = (await client.expect("response.done"))["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
        assert done["output"][0]["status"] == "incomplete"
        assert done["usage"]["output_tokens"] > 0


async def test_without_interrupt_response_the_answer_goes_on(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["Short."], delivery=SLOW) as model:
        client = await client_of(model)
        await client.use_pcmu(interrupt_response=False, create_response=True)
        session = await model.next_session()
        await client.send("response.create")
        await client.expect("response.output_audio.delta")
        session.caller_starts_speaking()
        assert (await client.expect("response.done"))["response"]["status"] == "completed"


async def test_a_second_response_is_refused_while_one_is_active_but_not_beside_the_conversation(
    client_of: Connect,
) -> None:
    async with SimulatedModel.scripted(["A long answer."], summary="In short.", delivery=SLOW) as model:
        client = await client_of(model)
        await client.send("response.create")
        first = await client.expect("response.created")
        await client.send("response.create")
        refusal = await client.refusal()
        assert refusal["code"] == "conversation_already_has_active_response"
        assert first["response"]["id"] in refusal["message"]
        await client.send(
            "response.create",
            response={"conversation": "none", "output_modalities": ["text"], "metadata": {"topic": "summary"}},
        )
        done = (await client.expect("response.done"))["response"]
        assert (done["metadata"], done["conversation_id"]) == ({"topic": "summary"}, None)
        assert done["output"][0]["content"][0]["text"] == "In short."
        [session] = model.sessions
        assert session.active is not None
        assert session.items == [session.active.last_item]


async def test_a_cancel_with_nothing_to_cancel_is_refused(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    await client.send("response.cancel")
    assert (await client.refusal())["code"] == "response_cancel_not_active"
    await client.send("response.cancel", response_id="resp_gone")
    assert (await client.refusal())["code"] == "response_cancel_not_active"


async def test_a_cancelled_response_makes_room_for_the_next_at_once(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["A long answer.", "Next."], delivery=SLOW) as model:
        client = await client_of(model)
        await client.send("response.create")
        await client.expect("response.output_audio.delta")
        await client.send("response.cancel")
        await client.send("response.create")
        assert (await client.expect("response.done"))["response"]["status"] == "cancelled"
        assert (await client.expect("response.done"))["response"]["status"] == "completed"


async def test_audio_of_a_cancelled_response_can_arrive_late(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["A long answer."], delivery=SLOW) as model:
        model.faults.late_deltas = 2
        client = await client_of(model)
        await client.send("response.create")
        item = (await client.expect("response.output_audio.delta"))["item_id"]
        await client.send("response.cancel")
        await client.expect("response.done")
        late = [await client.next(), await client.next()]
    assert [(event["type"], event["item_id"]) for event in late] == [("response.output_audio.delta", item)] * 2


async def test_truncations_are_kept_with_the_length_they_cut(client_of: Connect) -> None:
    audio = ulaw_encode(tone(400, 1_000))
    async with SimulatedModel.scripted([say("Good morning.", audio=audio)]) as model:
        client = await client_of(model)
        await client.use_pcmu()
        await client.send("response.create")
        item_id = (await client.expect("response.output_audio.done"))["item_id"]
        cut = {"item_id": item_id, "content_index": 0}
        await client.send("conversation.item.truncate", **cut, audio_end_ms=1_001)
        assert (await client.refusal())["message"] == "Audio content of 1000ms is already shorter than 1001ms"
        await client.send("conversation.item.truncate", **cut, audio_end_ms=0)
        assert (await client.refusal())["code"] == "unsupported_content_type"
        await client.send("conversation.item.truncate", **cut, audio_end_ms=640)
        await client.expect("conversation.item.truncated")
        [session] = model.sessions
        assert [(t.audio_end_ms, t.item_ms) for t in session.truncations] == [(640, 1_000)]
        await client.send("conversation.item.retrieve", item_id=item_id)
        item = (await client.expect("conversation.item.retrieved"))["item"]
    assert item["content"] == [{"type": "output_audio"}]


async def test_items_are_created_deleted_and_missed(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    item = {"id": "mine", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    await client.send("conversation.item.create", item=item)
    assert (await client.expect("conversation.item.added"))["previous_item_id"] is None
    await client.send("conversation.item.delete", item_id="mine")
    await client.expect("conversation.item.deleted")
    await client.send("conversation.item.delete", item_id="mine")
    assert (await client.refusal())["code"] == "item_delete_invalid_item_id"


async def test_a_tools_answer_needs_its_call(client_of: Connect) -> None:
    async with SimulatedModel.scripted([call("look_up_order", order_id="1")]) as model:
        client = await client_of(model)
        output = {"type": "function_call_output", "call_id": "call_gone", "output": "x"}
        await client.send("conversation.item.create", item=output)
        assert (await client.refusal())["code"] == "invalid_tool_call_id"
        await client.send("response.create")
        done = await client.expect("response.function_call_arguments.done")
        await client.send("conversation.item.create", item={**output, "call_id": done["call_id"]})
        await client.expect("response.done")
        assert (await client.expect("conversation.item.done"))["item"]["output"] == "x"


async def test_the_voice_cannot_change_once_it_has_been_heard(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["Hello."]) as model:
        client = await client_of(model)
        await client.configure(audio={"output": {"voice": "cedar"}})
        await client.send("response.create")
        await client.expect("response.done")
        await client.send("session.update", session={"type": "realtime", "audio": {"output": {"voice": "marin"}}})
        assert (await client.refusal())["code"] == "cannot_update_voice"


async def test_a_lying_server_confirms_ulaw_and_sends_pcm(client_of: Connect) -> None:
    audio = ulaw_encode(tone(400, 100))
    async with SimulatedModel.scripted([say("Hello.", audio=audio)]) as model:
        model.faults.lie_about_format = True
        client = await client_of(model)
        session = await client.use_pcmu()
        assert session["audio"]["output"]["format"] == {"type": "audio/pcmu"}
        await client.send("response.create")
        await client.expect("response.done")
        sent = [e["delta"] for e in client.events if e["type"] == "response.output_audio.delta"]
    assert sum(len(base64.b64decode(delta)) for delta in sent) == 6 * len(audio)


async def test_everything_the_caller_said_is_kept_in_order(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    await client.use_pcmu()
    pieces = [bytes([i]) * 160 for i in range(5)]
    for piece in pieces:
        await client.send("input_audio_buffer.append", audio=base64.b64encode(piece).decode())
    session = await model.next_session()
    await session.until(lambda s: s.caller_bytes == 800)
    assert bytes(session.caller_audio) == b"".join(pieces)
    assert [e["type"] for e in session.received_events] == ["session.update", *["input_audio_buffer.append"] * 5]


async def test_a_bench_may_have_it_remember_nothing(client_of: Connect) -> None:
    async with SimulatedModel.scripted(remember=False) as model:
        client = await client_of(model)
        await client.send("input_audio_buffer.append", audio=base64.b64encode(silence(20)).decode())
        session = await model.next_session()
        await session.until(lambda s: s.caller_bytes > 0)
        assert (session.received_events, session.sent_events, len(session.caller_audio)) == ([], [], 0)


async def test_a_session_ends_when_its_time_is_up(client_of: Connect) -> None:
    async with SimulatedModel.scripted(session_s=0.05) as model:
        client = await client_of(model)
        assert (await client.refusal())["code"] == "session_expired"
        with pytest.raises(ConnectionClosed):
            await client.next()
    assert client.connection.close_code == 1001
    assert "60 minutes" in client.connection.close_reason


async def test_a_silent_caller_is_spoken_to_when_the_idle_time_is_over(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["Hello.", "Are you there?"], hurry=1_000) as model:
        client = await client_of(model)
        await client.use_pcmu(idle_timeout_ms=5_000)
        await client.send("response.create")
        await client.expect("response.done")
        silent = await client.expect("input_audio_buffer.timeout_triggered")
        assert (await client.expect("conversation.item.added"))["item"]["id"] == silent["item_id"]
        said = await client.expect("response.output_audio_transcript.done")
        assert said["transcript"] == "Are you there?"


async def test_a_caller_who_is_speaking_is_not_taken_for_silent(client_of: Connect) -> None:
    async with SimulatedModel.scripted(["Hello."], hurry=1_000) as model:
        client = await client_of(model)
        await client.use_pcmu(idle_timeout_ms=5_000, interrupt_response=False)
        session = await model.next_session()
        session.caller_starts_speaking()
        await client.send("response.create")
        await client.expect("response.done")
        with pytest.raises(TimeoutError):
            await session.until(lambda s: s.sent("input_audio_buffer.timeout_triggered") != [], seconds=0.05)


async def test_what_was_read_before_is_read_from_the_cache(client_of: Connect) -> None:
    async with SimulatedModel.scripted() as model:
        client = await client_of(model)
        await client.configure(instructions="Be kind. " * 100)
        usages: list[Any] = []
        for _ in range(2):
            await client.send("response.create")
            usages.append((await client.expect("response.done"))["response"]["usage"])
    cached = [usage["input_token_details"]["cached_tokens"] for usage in usages]
    assert cached[0] == 0
    assert 0 < cached[1] <= usages[0]["total_tokens"]
    assert cached[1] % 64 == 0


async def test_clearing_the_output_is_for_webrtc_only(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    await client.send("output_audio_buffer.clear")
    assert "WebRTC" in (await client.refusal())["message"]
    await client.send("input_audio_buffer.clear")
    await client.expect("input_audio_buffer.cleared")


async def test_a_response_with_its_own_input_does_not_read_the_conversation(client_of: Connect) -> None:
    async with SimulatedModel.scripted() as model:
        client = await client_of(model)
        text = [{"type": "input_text", "text": "x" * 4_000}]
        item = {"id": "long", "type": "message", "role": "user", "content": text}
        await client.send("conversation.item.create", item=item)
        read: list[int] = []
        inputs: list[Any] = [{"input": []}, {"input": [{"type": "item_reference", "id": "long"}]}, {}]
        for given in inputs:
            await client.send("response.create", response={"conversation": "none", **given})
            read.append((await client.expect("response.done"))["response"]["usage"]["input_tokens"])
    assert read[0] < 100
    assert read[1] == read[2] >= 1_000


async def test_waiting_in_vain_says_what_did_happen(model: SimulatedModel, client_of: Connect) -> None:
    await client_of(model)
    session = await model.next_session()
    with pytest.raises(TimeoutError, match=r"session.created"):
        await session.until(lambda s: s.truncations != [], seconds=0.01)
