import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from voice_openai_connect.limits import MODEL_MESSAGE_BYTES
from voice_openai_connect.simulator.model import SimulatedModel

Connect = Callable[..., Awaitable[Any]]


async def test_events_arrive_in_the_order_they_were_emitted(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    session = await model.next_session()
    for number in range(20):
        session.emit("input_audio_buffer.committed", item_id=f"item_{number}", previous_item_id=None)
    assert [(await client.next())["item_id"] for _ in range(20)] == [f"item_{number}" for number in range(20)]


async def test_every_event_has_an_id_of_its_own(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    await client.configure(instructions="")
    assert len({event["event_id"] for event in client.events}) == len(client.events) == 2


async def test_a_refusal_names_the_event_it_refuses(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    await client.send("input_audio_buffer.append", event_id="ours_1", audio="*")
    assert (await client.refusal())["event_id"] == "ours_1"
    await client.send("no.such.event", event_id="ours_2")
    assert (await client.refusal())["event_id"] == "ours_2"
    await client.connection.send("{")
    assert (await client.refusal())["event_id"] is None


async def test_what_cannot_be_read_is_kept_as_it_came(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    await client.connection.send("{")
    session = await model.next_session()
    await session.until(lambda s: s.received_events != [])
    assert session.received_events == [{"type": "unreadable", "message": "{"}]


async def test_a_held_session_says_nothing_until_it_may_go_on(model: SimulatedModel, client_of: Connect) -> None:
    model.faults.hold_created = True
    client = await client_of(model, greeted=False)
    session = await model.next_session()
    await client.nothing_but()
    session.go_on()
    assert (await client.next())["type"] == "session.created"


async def test_events_nobody_has_heard_of_come_between(model: SimulatedModel, client_of: Connect) -> None:
    model.faults.unknown_events = True
    client = await client_of(model, greeted=False)
    assert [(await client.next())["type"] for _ in range(2)] == ["session.weather", "session.created"]


async def test_a_dropped_socket_is_reset_without_a_goodbye(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    session = await model.next_session()
    session.wire.drop()
    with pytest.raises(ConnectionClosedError):
        await client.next()
    assert client.connection.close_code == 1006
    await session.until(lambda s: s.closed.is_set())
    assert session.wire.closed_by == "server"


async def test_a_close_comes_after_everything_that_was_said(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    session = await model.next_session()
    for _ in range(50):
        session.emit("input_audio_buffer.cleared")
    await session.wire.end(1011, "keepalive ping timeout")
    for _ in range(50):
        assert (await client.next())["type"] == "input_audio_buffer.cleared"
    with pytest.raises(ConnectionClosed):
        await client.next()
    assert (client.connection.close_code, client.connection.close_reason) == (1011, "keepalive ping timeout")


async def test_broken_and_oversized_messages_can_be_sent(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    session = await model.next_session()
    session.wire.send_raw("{broken")
    assert await client.connection.recv() == "{broken"
    session.wire.send_oversize()
    assert len(await client.connection.recv()) > MODEL_MESSAGE_BYTES


async def test_what_is_sent_after_the_close_is_lost_quietly(model: SimulatedModel, client_of: Connect) -> None:
    client = await client_of(model)
    session = await model.next_session()
    await client.connection.close()
    await session.until(lambda s: s.closed.is_set())
    session.emit("input_audio_buffer.cleared")


async def test_the_handshake_can_be_looked_at(model: SimulatedModel, client_of: Connect) -> None:
    await client_of(model, headers={"OpenAI-Safety-Identifier": "caller-7"})
    session = await model.next_session()
    assert session.wire.headers["OpenAI-Safety-Identifier"] == "caller-7"
    assert json.dumps(session.wire.headers)
