import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from voice_openai_connect.simulator.model import SimulatedModel
from voice_openai_connect.simulator.model_conversation import Conversation
from voice_openai_connect.simulator.model_mind import (
    Mishap,
    Reply,
    ResponseRequest,
    Speech,
    ToolCall,
    Written,
    call,
    fail,
    say,
)
from voice_openai_connect.simulator.model_response import AT_ONCE, Delivery
from voice_openai_connect.simulator.model_senses import ScriptedSenses
from voice_openai_connect.simulator.sound import tone, ulaw_encode

Connect = Callable[..., Awaitable[Any]]
SECOND = ulaw_encode(tone(400, 1_000))


@pytest.fixture
async def answers(client_of: Connect) -> AsyncIterator[Connect]:
    """A client of a model that gives these replies, set to µ-law; the first response has been asked for."""
    models: list[SimulatedModel] = []

    async def ask(*replies: Reply | str, delivery: Delivery = AT_ONCE, **response: Any) -> Any:
        model = await SimulatedModel.scripted(replies, delivery=delivery).__aenter__()
        models.append(model)
        client = await client_of(model)
        await client.use_pcmu()
        await client.send("response.create", response=response)
        client.session = await model.next_session()
        return client

    yield ask
    for model in models:
        await model.go_away()


def audio_of(client: Any) -> list[bytes]:
    return [base64.b64decode(e["delta"]) for e in client.events if e["type"] == "response.output_audio.delta"]


async def done(client: Any) -> dict[str, Any]:
    return (await client.expect("response.done"))["response"]


async def test_audio_comes_in_pieces_that_are_no_whole_frames_and_add_up(answers: Any) -> None:
    client = await answers(say("Good morning.", audio=SECOND))
    response = await done(client)
    pieces = audio_of(client)
    assert b"".join(pieces) == SECOND
    assert any(len(piece) % 160 for piece in pieces)
    assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "Good morning."}]
    assert response["usage"]["output_token_details"]["audio_tokens"] == pytest.approx(20, abs=2)


async def test_pcm_is_sent_while_nothing_else_was_agreed(client_of: Connect) -> None:
    async with SimulatedModel.scripted([say("Hi.", audio=SECOND)]) as model:
        client = await client_of(model)
        await client.send("response.create")
        await done(client)
    assert sum(map(len, audio_of(client))) == 48_000


async def test_one_response_may_say_write_and_call_in_items_of_their_own(answers: Any) -> None:
    tool = ToolCall("end_call", '{"reason": "bye"}', "call_1")
    client = await answers(Reply((Speech("One."), Speech("Two."), tool, Written("Three."))))
    output = (await done(client))["output"]
    assert [item["type"] for item in output] == ["message", "message", "function_call", "message"]
    assert [e["output_index"] for e in client.events if e["type"] == "response.output_item.done"] == [0, 1, 2, 3]
    assert [item.text for item in client.session.items] == ["One.", "Two.", "", "Three."]


async def test_a_tool_call_arrives_in_pieces_and_once_whole(answers: Any) -> None:
    client = await answers(call("transfer_to_human", reason="The caller asked for a person.", priority="high"))
    response = await done(client)
    deltas = [e["delta"] for e in client.events if e["type"] == "response.function_call_arguments.delta"]
    [whole] = [e for e in client.events if e["type"] == "response.function_call_arguments.done"]
    assert len(deltas) > 1
    assert "".join(deltas) == whole["arguments"] == response["output"][0]["arguments"]
    assert json.loads(whole["arguments"])["priority"] == "high"
    assert response["output"][0]["status"] == "completed"


async def test_broken_and_repeated_tool_calls_are_sent_as_scripted(answers: Any) -> None:
    broken = ToolCall("end_call", '{"reason": ', "call_1")
    client = await answers(Reply((broken, broken)))
    output = (await done(client))["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [("call_1", '{"reason": ')] * 2


async def test_a_failed_response_says_why_in_its_details_and_not_as_an_error(answers: Any) -> None:
    client = await answers(fail("rate_limit_exceeded", "Rate limit reached. Please try again in 166ms."))
    response = await done(client)
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "rate_limit_exceeded"
    assert "166ms" in response["status_details"]["error"]["message"]
    assert not [e for e in client.events if e["type"] == "error"]


async def test_a_reply_that_is_too_long_is_cut_short(answers: Any) -> None:
    client = await answers(say("Good morning.", audio=SECOND * 10), max_output_tokens=50)
    response = await done(client)
    assert (response["status"], response["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
    assert 0 < len(b"".join(audio_of(client))) < len(SECOND) * 10


async def test_a_written_response_has_no_audio(answers: Any) -> None:
    client = await answers(output_modalities=["text"])
    response = await done(client)
    assert audio_of(client) == []
    assert (
        "".join(e["delta"] for e in client.events if e["type"] == "response.output_text.delta")
        == (response["output"][0]["content"][0]["text"])
    )


async def test_a_response_beside_the_conversation_adds_nothing_to_it(answers: Any) -> None:
    client = await answers(conversation="none", output_modalities=["text"], metadata={"topic": "summary"})
    response = await done(client)
    assert response["metadata"] == {"topic": "summary"}
    assert client.session.items == []
    assert not [e for e in client.events if e["type"].startswith("conversation.item")]


async def test_an_interrupted_item_is_closed_with_everything_it_had(answers: Any) -> None:
    client = await answers(say("Long.", audio=SECOND), delivery=Delivery(pieces_ms=(100,), speed=0.5))
    await client.expect("response.output_audio.delta")
    await client.send("response.cancel")
    await done(client)
    assert [e["type"] for e in client.events[-6:]] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]


async def test_an_item_truncated_while_it_is_spoken_stays_truncated(answers: Any) -> None:
    client = await answers(say("Long.", audio=SECOND), delivery=Delivery(pieces_ms=(100,), speed=2))
    item_id = (await client.expect("response.output_audio.delta"))["item_id"]
    await client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=50)
    await done(client)
    [item] = client.session.items
    assert (item.audio_ms, item.text) == (50, "")


async def test_a_stall_lasts_until_it_may_go_on(answers: Any) -> None:
    client = await answers(say("Long.", audio=SECOND, mishap=Mishap(300, "stall")))
    await client.expect("response.output_audio.delta")
    await client.nothing_but()
    client.session.go_on()
    assert (await done(client))["status"] == "completed"
    assert b"".join(audio_of(client)) == SECOND


@pytest.mark.parametrize(("what", "code"), [("reset", 1006), (1001, 1001), (1011, 1011)])
async def test_the_connection_is_lost_in_the_middle_of_an_answer(answers: Any, what: Any, code: int) -> None:
    client = await answers(say("Long.", audio=SECOND, mishap=Mishap(500, what)))
    with pytest.raises(ConnectionClosed):
        await client.expect("response.output_audio.done")
    assert client.connection.close_code == code
    await client.session.closed.wait()
    assert client.session.wire.closed_by == "server"


async def test_an_unknown_event_in_the_middle_changes_nothing(answers: Any) -> None:
    client = await answers(say("Long.", audio=SECOND, mishap=Mishap(0, "unknown")))
    await client.expect("session.weather")
    assert (await done(client))["status"] == "completed"


async def test_a_malformed_message_in_the_middle_is_no_json(answers: Any) -> None:
    client = await answers(say("Long.", audio=SECOND, mishap=Mishap(100, "malformed")))
    with pytest.raises(json.JSONDecodeError):
        await client.expect("response.done")


class FaultyMind:
    async def reply(self, conversation: Conversation, request: ResponseRequest) -> Reply:
        raise RuntimeError("lost my mind")


async def test_a_mind_that_breaks_is_a_failed_response(client_of: Connect) -> None:
    async with SimulatedModel(FaultyMind, ScriptedSenses()) as model:
        client = await client_of(model)
        await client.send("response.create")
        response = await done(client)
    assert response["status_details"]["error"]["code"] == "server_error"
    assert "lost my mind" in response["status_details"]["error"]["message"]
