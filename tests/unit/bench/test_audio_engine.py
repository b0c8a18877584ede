"""What the engine finds wrong with sound, and how it plays: two ends of a socket, no system between them."""

import asyncio
import base64
import json
import shutil
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bench.audio.caller import Caller
from bench.audio.engine import Engine
from bench.audio.frames import FrameReader, frame
from bench.audio.tally import Tally
from voice_openai_connect.call.holding_sound import holding_sound

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="the engine is built with a C compiler, for Linux"
)
DEADLINE_S = 20
STREAM = "MZ" + "1" * 32


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - the engine is C and knows no events of asyncio's
            await asyncio.sleep(0.001)


@dataclass
class Line:
    """A caller with the number 7, and the far end of its socket."""

    engine: Engine
    caller: Caller
    tally: Tally
    far: socket.socket
    reader: FrameReader

    async def sent(self, event: str, count: int) -> list[dict[str, Any]]:
        """The next messages of this kind from the caller."""
        loop, found = asyncio.get_running_loop(), list[dict[str, Any]]()
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < count:
                for _, body in self.reader.feed(await loop.sock_recv(self.far, 65_536)):
                    message = json.loads(body)
                    found += [message] if message["event"] == event else []
        return found

    async def payloads(self, count: int) -> list[bytes]:
        return [str(message["media"]["payload"]).encode() for message in await self.sent("media", count)]

    def say(self, message: dict[str, Any]) -> None:
        self.far.send(frame(json.dumps(message, separators=(",", ":")).encode()))

    def play(self, audio: bytes) -> None:
        self.say({"event": "media", "streamSid": STREAM, "media": {"payload": base64.b64encode(audio).decode()}})

    async def until(self, what: str, count: int = 1) -> None:
        await eventually(lambda: len(self.engine.samples(what)) >= count or self.tally.wrong)

    async def until_wrong(self) -> dict[str, int]:
        await eventually(lambda: self.tally.wrong)
        return dict(self.tally.wrong)


@pytest.fixture
async def line() -> AsyncGenerator[Line]:
    tally = Tally()
    engine = Engine(tally.complain)
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    socket_line = engine.line(near.detach(), client=True, held=b"")
    caller = Caller(engine, socket_line, call_sid="CA" + "2" * 32, stream_sid=STREAM, tally=tally)
    caller.begin(7, {}, slot=0)
    yield Line(engine, caller, tally, far, FrameReader(masked=True))
    far.close()
    engine.stop()


async def test_frames_come_numbered_one_after_the_other(line: Line):
    frames = await line.sent("media", 3)

    assert [message["sequenceNumber"] for message in frames] == ["2", "3", "4"]
    assert [message["media"]["chunk"] for message in frames] == ["1", "2", "3"]
    assert [message["media"]["timestamp"] for message in frames] == ["0", "20", "40"]


async def test_a_frame_that_arrives_is_measured(line: Line):
    for payload in await line.payloads(2):
        line.caller.heard_by_model(payload, time.monotonic())

    assert len(line.engine.samples("up")) == 2
    assert not line.tally.wrong


async def test_frames_that_were_put_together_are_known_one_by_one(line: Line):
    together = b"".join(base64.b64decode(payload) for payload in await line.payloads(3))

    line.caller.heard_by_model(base64.b64encode(together), time.monotonic())

    assert len(line.engine.samples("up")) == 1
    assert not line.tally.wrong


async def test_a_changed_byte_is_found(line: Line):
    audio = bytearray(base64.b64decode((await line.payloads(1))[0]))
    audio[-1] ^= 1

    line.caller.heard_by_model(base64.b64encode(audio), time.monotonic())

    assert await line.until_wrong() == {"changed": 1}


async def test_a_frame_that_is_passed_over_is_lost_once_the_model_was_ready(line: Line):
    line.caller.model_ready(time.monotonic() - 1)
    first, _, third = await line.payloads(3)

    line.caller.heard_by_model(first, time.monotonic())
    line.caller.heard_by_model(third, time.monotonic())

    assert await line.until_wrong() == {"lost": 1}


async def test_old_speech_may_be_thrown_away_until_the_model_is_ready(line: Line):
    _, second = await line.payloads(2)
    line.caller.model_ready(time.monotonic())

    line.caller.heard_by_model(second, time.monotonic())

    assert len(line.engine.samples("up")) == 1
    assert not line.tally.wrong


async def test_a_frame_that_comes_twice_is_found(line: Line):
    (payload,) = await line.payloads(1)

    line.caller.heard_by_model(payload, time.monotonic())
    line.caller.heard_by_model(payload, time.monotonic())

    assert await line.until_wrong() == {"out of order": 1}


async def test_the_models_sound_arrives_in_pieces_of_any_size(line: Line):
    sound = line.caller.new_item(4)
    line.caller.piece_sent(len(sound))

    for start, end in ((0, 100), (100, 320), (320, 640)):
        line.play(sound[start:end])
    await line.until("down", 3)

    assert not line.tally.wrong


async def test_sound_that_nobody_sent_is_found(line: Line):
    sound = bytearray(line.caller.new_item(1))
    sound[30] ^= 1

    line.play(bytes(sound))

    assert await line.until_wrong() == {"changed": 1}


async def test_sound_of_another_call_is_found(line: Line):
    line.caller.new_item(1)

    line.play(line.engine.block(8, 1, 0))

    assert await line.until_wrong() == {"crossed": 1}


async def test_an_item_that_was_given_up_may_be_left_out(line: Line):
    line.caller.new_item(2)
    line.caller.give_up()
    sound = line.caller.new_item(2)
    line.caller.piece_sent(len(sound))

    line.play(sound)
    await line.until("down")

    assert not line.tally.wrong


async def test_an_item_that_was_not_given_up_must_come_first(line: Line):
    line.caller.new_item(2)
    sound = line.caller.new_item(2)

    line.play(sound[:160])

    assert await line.until_wrong() == {"out of order": 1}


async def test_the_gateways_holding_sound_is_no_mistake(line: Line):
    line.play(holding_sound()[:800])
    await eventually(lambda: line.tally.counts)

    assert line.tally.counts == {"frames of the holding sound": 5}
    assert not line.tally.wrong


async def test_a_mark_comes_back_when_what_is_before_it_has_been_played(line: Line):
    sound = line.caller.new_item(5)
    line.caller.piece_sent(len(sound))
    line.play(sound)
    sent_at = time.monotonic()
    line.say({"event": "mark", "streamSid": STREAM, "mark": {"name": "m1"}})

    (mark,) = await line.sent("mark", 1)

    assert mark["mark"] == {"name": "m1"}
    assert time.monotonic() - sent_at >= 0.09  # five frames last a tenth of a second


async def test_clear_gives_every_mark_back_and_is_measured_after_an_interruption(line: Line):
    sound = line.caller.new_item(150)
    line.caller.piece_sent(len(sound))
    line.play(sound)
    line.say({"event": "mark", "streamSid": STREAM, "mark": {"name": "m1"}})
    await line.until("down")
    line.caller.interrupts()

    line.say({"event": "clear", "streamSid": STREAM})
    (mark,) = await line.sent("mark", 1)

    assert mark["mark"] == {"name": "m1"}
    assert len(line.engine.samples("clear")) == 1


async def test_an_item_of_which_something_was_heard_is_over_with_clear(line: Line):
    sound = line.caller.new_item(4)
    line.caller.piece_sent(len(sound))
    line.play(sound[:160])
    line.say({"event": "clear", "streamSid": STREAM})
    line.play(sound[160:320])

    assert await line.until_wrong() == {"out of order": 1}


async def test_an_item_ordered_on_another_socket_may_have_been_begun_before_clear_was_read(line: Line):
    sound = line.caller.new_item(4)
    line.caller.piece_sent(len(sound))
    line.say({"event": "clear", "streamSid": STREAM})
    line.play(sound)
    await line.until("down")

    assert not line.tally.wrong


async def test_a_message_that_twilio_would_not_take_is_found(line: Line):
    line.say({"event": "clear", "streamSid": STREAM, "track": "outbound"})

    assert await line.until_wrong() == {"31951": 1}
