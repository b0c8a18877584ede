"""A stream is stepped by hand here: every `exchange` is 20 ms, however long it really takes."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from voice_openai_connect.simulator.carrier_media import BACKLOG_FRAMES, Ending, MediaHabits, MediaStream
from voice_openai_connect.simulator.telephone import SILENCE

Message = dict[str, Any]
WORD = b"\x21" * 160


class Gateway:
    """The server's side of one media socket."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def message(self) -> Message:
        async with asyncio.timeout(30):
            decoded: Message = json.loads(await self.socket.recv())
            return decoded

    async def messages(self, count: int) -> list[Message]:
        return [await self.message() for _ in range(count)]

    async def until(self, event: str) -> Message:
        while (message := await self.message())["event"] != event:
            pass
        return message

    async def send(self, event: str, stream: MediaStream, **fields: Any) -> None:
        await self.socket.send(json.dumps({"event": event, "streamSid": stream.stream_sid, **fields}))

    async def say(self, stream: MediaStream, audio: bytes) -> None:
        await self.send("media", stream, media={"payload": base64.b64encode(audio).decode()})

    async def mark(self, stream: MediaStream, name: str) -> None:
        await self.send("mark", stream, mark={"name": name})


class Scene:
    """A stream between a carrier's side, stepped by hand, and a gateway's side, spoken by hand."""

    def __init__(self, stream: MediaStream, gateway: Gateway, complaints: list[int]) -> None:
        self.stream = stream
        self.gateway = gateway
        self.complaints = complaints
        self.running: asyncio.Task[Ending] = asyncio.create_task(stream.run())

    def step(self, said: bytes = SILENCE, *, keys: str = "") -> bytes:
        return self.stream.exchange(said, list(keys))

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until the stream has taken the messages that make it so."""
        async with asyncio.timeout(30):
            while not holds():
                await self.stream.taken.wait()

    async def until_taken(self, *, audio: int = 0, marks: int = 0) -> None:
        playout = self.stream.playout
        await self.until(lambda: len(playout.sent) >= audio and len(playout.marks) >= marks)


@pytest.fixture
async def habits() -> MediaHabits:
    return MediaHabits()


@pytest.fixture
async def scene(habits: MediaHabits) -> AsyncGenerator[Scene]:
    sockets: asyncio.Queue[ServerConnection] = asyncio.Queue()
    over = asyncio.Event()

    async def accept(socket: ServerConnection) -> None:
        sockets.put_nowait(socket)
        await over.wait()

    complaints: list[int] = []
    async with serve(accept, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        socket = await connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None, close_timeout=1)
        stream = MediaStream(
            socket, "AC1", "CA1", lambda code, _: complaints.append(code), lambda: 0, {"ticket": "t1"}, habits
        )
        await stream.begin()
        scene = Scene(stream, Gateway(await sockets.get()), complaints)
        yield scene
        scene.running.cancel()
        await asyncio.gather(scene.running, return_exceptions=True)
        over.set()


async def test_a_stream_begins_with_connected_and_start_as_documented(scene: Scene) -> None:
    connected, start = await scene.gateway.messages(2)
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": scene.stream.stream_sid,
        "start": {
            "streamSid": scene.stream.stream_sid,
            "accountSid": "AC1",
            "callSid": "CA1",
            "tracks": ["inbound"],
            "customParameters": {"ticket": "t1"},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }


async def test_the_callers_voice_and_keys_come_as_numbered_messages(scene: Scene) -> None:
    scene.step(WORD)
    scene.step(SILENCE, keys="0")
    first, key, second = (await scene.gateway.messages(5))[2:]
    sid = scene.stream.stream_sid
    payload = base64.b64encode(WORD).decode()
    assert first == {
        "event": "media",
        "sequenceNumber": "2",
        "streamSid": sid,
        "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": payload},
    }
    assert key == {
        "event": "dtmf",
        "sequenceNumber": "3",
        "streamSid": sid,
        "dtmf": {"track": "inbound_track", "digit": "0"},
    }
    assert (second["sequenceNumber"], second["media"]["chunk"], second["media"]["timestamp"]) == ("4", "2", "20")


async def test_audio_is_played_in_order_and_its_mark_comes_back_when_it_was_heard(scene: Scene) -> None:
    await scene.gateway.say(scene.stream, WORD + b"\x22" * 40)
    await scene.gateway.mark(scene.stream, "end")
    await scene.until_taken(audio=1, marks=1)
    assert scene.step() == WORD
    assert scene.step() == b"\x22" * 40 + SILENCE[40:]
    assert scene.step() == SILENCE
    assert (await scene.gateway.until("mark"))["mark"] == {"name": "end"}
    assert scene.stream.age_ms == 60
    assert [piece.audio for piece in scene.stream.playout.heard] == [WORD, b"\x22" * 40]


async def test_clear_silences_the_line_and_returns_the_marks(scene: Scene) -> None:
    await scene.gateway.say(scene.stream, WORD * 50)
    await scene.gateway.mark(scene.stream, "one")
    await scene.gateway.mark(scene.stream, "two")
    await scene.until_taken(audio=1, marks=2)
    scene.step()
    await scene.gateway.send("clear", scene.stream)
    returned = [(await scene.gateway.until("mark"))["mark"]["name"] for _ in range(2)]
    assert returned == ["one", "two"]
    assert scene.step() == SILENCE
    assert scene.stream.playout.sent[0].played_ms == 20
    assert scene.stream.clears == 1


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        "{}",
        '{"event":"hello","streamSid":"SID"}',
        '{"event":"media","streamSid":"SID"}',
        '{"event":"media","media":{"payload":"AAAA"}}',
        '{"event":"media","streamSid":"MZother","media":{"payload":"AAAA"}}',
        '{"event":"media","streamSid":"SID","media":{"payload":""}}',
        '{"event":"media","streamSid":"SID","media":{"payload":"not base64!"}}',
        '{"event":"media","streamSid":"SID","media":{"payload":"AAAA","track":"outbound"}}',
        '{"event":"media","streamSid":"SID","sequenceNumber":"1","media":{"payload":"AAAA"}}',
        '{"event":"mark","streamSid":"SID"}',
        '{"event":"mark","streamSid":"SID","name":"x"}',
        '{"event":"mark","streamSid":"SID","mark":{"name":7}}',
        '{"event":"clear","streamSid":"SID","clear":{}}',
        '{"event":"clear","stream_sid":"SID"}',
    ],
)
async def test_any_message_twilio_would_not_take_is_noticed_and_the_stream_goes_on(scene: Scene, message: str) -> None:
    await scene.gateway.socket.send(message.replace('"SID"', f'"{scene.stream.stream_sid}"'))
    await scene.until(lambda: scene.complaints)
    assert scene.complaints == [31951]
    await scene.gateway.mark(scene.stream, "still here")
    assert (await scene.gateway.until("mark"))["mark"]["name"] == "still here"
    assert len(scene.complaints) == 1


async def test_a_binary_frame_has_a_warning_of_its_own(scene: Scene) -> None:
    await scene.gateway.socket.send(b"\x00\x01")
    await scene.until(lambda: scene.complaints)
    assert scene.complaints == [31950]


async def test_a_close_by_the_gateway_ends_the_stream(scene: Scene) -> None:
    await scene.gateway.socket.close()
    assert await asyncio.wait_for(scene.running, 30) == "closed"


async def test_a_broken_connection_is_a_drop(scene: Scene) -> None:
    scene.gateway.socket.transport.abort()
    assert await asyncio.wait_for(scene.running, 30) == "dropped"


async def test_leaving_says_stop_last_and_closes(scene: Scene) -> None:
    scene.step()
    scene.running.cancel()
    _, _, media, stop = await scene.gateway.messages(4)
    assert media["event"] == "media"
    assert stop == {
        "event": "stop",
        "sequenceNumber": "3",
        "streamSid": scene.stream.stream_sid,
        "stop": {"accountSid": "AC1", "callSid": "CA1"},
    }
    with pytest.raises(ConnectionClosed):
        await scene.gateway.message()
    assert scene.stream.ending == "left"


async def test_a_line_that_stands_still_plays_nothing_and_returns_no_mark(scene: Scene) -> None:
    await scene.gateway.say(scene.stream, WORD)
    await scene.gateway.mark(scene.stream, "m")
    await scene.until_taken(audio=1, marks=1)
    scene.stream.playing = False
    assert [scene.step() for _ in range(3)] == [SILENCE] * 3
    scene.stream.playing = True
    assert scene.step() == WORD


async def test_a_half_open_stream_sends_nothing(scene: Scene) -> None:
    scene.stream.sending = False
    scene.step(WORD, keys="1")
    scene.stream.sending = True
    scene.step(WORD)
    assert (await scene.gateway.messages(3))[2]["media"]["chunk"] == "2"


async def test_a_gateway_that_does_not_read_loses_audio_and_is_told_once(scene: Scene) -> None:
    for _ in range(BACKLOG_FRAMES + 10):
        scene.step()  # without giving the writer a turn
    assert scene.complaints == [31930]
    await scene.gateway.messages(2 + BACKLOG_FRAMES)
    scene.step()
    assert (await scene.gateway.message())["media"]["chunk"] == str(BACKLOG_FRAMES + 11)


async def test_a_carrier_that_does_not_read_lets_messages_pile_up_until_it_does(scene: Scene) -> None:
    scene.stream.pause_reading()
    await scene.gateway.mark(scene.stream, "taken, because it was already being waited for")
    await scene.until_taken(marks=1)
    await scene.gateway.mark(scene.stream, "left lying")
    await (await scene.gateway.socket.ping())
    assert len(scene.stream.playout.marks) == 1
    scene.stream.resume_reading()
    await scene.until_taken(marks=2)


class TestLostMarks:
    @pytest.fixture
    async def habits(self) -> MediaHabits:
        return MediaHabits(marks_lost=True)

    async def test_no_mark_comes_back_though_its_audio_is_played(self, scene: Scene) -> None:
        await scene.gateway.mark(scene.stream, "a")
        await scene.until_taken(marks=1)
        scene.step()
        assert scene.stream.playout.marks[0].heard
        for _ in range(100):
            scene.step()
        assert {message["event"] for message in (await scene.gateway.messages(100))[2:]} == {"media"}


class TestLateMarks:
    @pytest.fixture
    async def habits(self) -> MediaHabits:
        return MediaHabits(mark_delay_ms=100, mark_jitter_ms=60)

    async def test_marks_come_late_and_never_overtake_each_other(self, scene: Scene) -> None:
        for name in "abcde":
            await scene.gateway.mark(scene.stream, name)
        await scene.until_taken(marks=5)
        for _ in range(5):
            scene.step()
        early = (await scene.gateway.messages(7))[2:]
        assert [message["event"] for message in early] == ["media"] * 5
        for _ in range(4):
            scene.step()
        names = [(await scene.gateway.until("mark"))["mark"]["name"] for _ in range(5)]
        assert names == list("abcde")
