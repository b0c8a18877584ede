import asyncio
import base64
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from voice_openai_connect import limits
from voice_openai_connect.call.commands import (
    CancelResponse,
    ConfigureModel,
    ConnectModel,
    DeleteItem,
    DisconnectModel,
    RequestResponse,
    SendCallerAudio,
)
from voice_openai_connect.call.events import (
    CallerSpeechStarted,
    Event,
    ModelAudio,
    ModelAudioFinished,
    ModelConfigured,
    ModelConnected,
    ModelErred,
    ModelLost,
)
from voice_openai_connect.call.model_settings import ModelSettings
from voice_openai_connect.gateway.ports import ModelLeg
from voice_openai_connect.integrations import openai_client
from voice_openai_connect.integrations.model_socket import open_picows, open_websockets
from voice_openai_connect.integrations.openai_client import RealtimeLeg, session_url
from voice_openai_connect.simulator.ports import free_port

KEY = "sk-a-key-that-must-not-be-seen"
SETTINGS = ModelSettings(model="gpt-realtime-2.1", voice="marin", instructions="Be brief.", tools=())
CREATED = {"type": "session.created", "event_id": "e", "session": {"type": "realtime"}}
SPEECH = {"type": "input_audio_buffer.speech_started", "event_id": "e", "audio_start_ms": 0, "item_id": "item_1"}
DEADLINE_S = 10
"""For what must happen at all; nothing here is measured."""


@dataclass
class Model:
    """A small strict model: it says `session.created`, keeps every message, and does what a test tells it to."""

    behave: Callable[[ServerConnection], Awaitable[None]] | None = None
    status: int = 101
    headers: dict[str, str] = field(default_factory=dict[str, str])
    greeting: tuple[str | bytes, ...] = (json.dumps(CREATED),)
    requests: list[Request] = field(default_factory=list[Request])
    heard: "asyncio.Queue[dict[str, Any]]" = field(default_factory=asyncio.Queue[dict[str, Any]])
    closed: "asyncio.Queue[int | None]" = field(default_factory=asyncio.Queue[int | None])
    base_url: str = ""

    async def refuse(self, socket: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if self.status == 101:
            return None
        response = socket.respond(HTTPStatus(self.status), "no")
        response.headers.update(self.headers)
        return response

    async def serve(self, socket: ServerConnection) -> None:
        try:
            for text in self.greeting:
                await socket.send(text)
            if self.behave is not None:
                await self.behave(socket)
            async for text in socket:
                await self.hear(socket, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            await socket.wait_closed()
            self.closed.put_nowait(socket.close_code)

    async def hear(self, socket: ServerConnection, message: dict[str, Any]) -> None:
        self.heard.put_nowait(message)
        if message["type"] == "session.update":
            await socket.send(json.dumps({"type": "session.updated", "event_id": "e", "session": message["session"]}))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            return await self.heard.get()

    async def close_code(self) -> int | None:
        async with asyncio.timeout(DEADLINE_S):
            return await self.closed.get()


@dataclass
class Call:
    """The call's side: every event that was posted, and a leg that runs."""

    leg: RealtimeLeg
    events: list[Event] = field(default_factory=list[Event])
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    running: "asyncio.Task[None] | None" = None

    def post(self, event: Event) -> None:
        self.events.append(event)
        self.arrived.set()

    def start(self) -> "Call":
        self.running = asyncio.create_task(self.leg.run(self.post))
        return self

    async def until(self, kind: type[Event]) -> Event:
        """The first event of that kind, once it is there."""
        async with asyncio.timeout(DEADLINE_S):
            while not (found := [event for event in self.events if isinstance(event, kind)]):
                self.arrived.clear()
                await self.arrived.wait()
        return found[0]

    async def ended(self) -> list[Event]:
        """Everything posted, once `run` is over."""
        assert self.running is not None
        async with asyncio.timeout(DEADLINE_S):
            await self.running
        return self.events


Dial = Callable[..., Call]


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    model = Model()
    async with serve(model.serve, "127.0.0.1", 0, process_request=model.refuse, close_timeout=0.1) as server:
        model.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield model


@pytest.fixture(params=[open_picows, open_websockets], ids=["picows", "websockets"])
async def dial(model: Model, request: pytest.FixtureRequest) -> AsyncIterator[Dial]:
    """Dials the model, with either library."""
    calls: list[Call] = []

    def dial(settings: ModelSettings = SETTINGS, **options: Any) -> Call:
        given: dict[str, Any] = {"api_key": KEY, "base_url": model.base_url, "open_socket": request.param}
        calls.append(Call(RealtimeLeg(settings, **(given | options))))
        return calls[-1]

    yield dial
    for call in calls:
        await call.leg.close()


def test_the_leg_fits_its_port() -> None:
    leg: ModelLeg = RealtimeLeg(SETTINGS, api_key=KEY, base_url="https://api.openai.com/v1")
    assert leg


class TestUrl:
    @pytest.mark.parametrize(
        ("base", "url"),
        [
            ("https://api.openai.com/v1", "wss://api.openai.com/v1/realtime?model=a%2Fb%20c"),
            ("https://api.openai.com/v1/", "wss://api.openai.com/v1/realtime?model=a%2Fb%20c"),
            ("http://127.0.0.1:9/v1", "ws://127.0.0.1:9/v1/realtime?model=a%2Fb%20c"),
            ("wss://example.com", "wss://example.com/realtime?model=a%2Fb%20c"),
        ],
    )
    def test_it_is_the_base_with_a_socket_scheme(self, base: str, url: str) -> None:
        assert session_url(base, "a/b c") == url

    @pytest.mark.parametrize("base", ["", "api.openai.com/v1", "ftp://example.com", "https://"])
    def test_a_base_that_is_none_is_refused(self, base: str) -> None:
        with pytest.raises(ValueError, match="https://"):
            session_url(base, "m")


class TestConnecting:
    async def test_the_handshake_names_model_key_and_caller_and_nothing_of_the_beta(
        self, model: Model, dial: Dial
    ) -> None:
        await dial(safety_identifier="caller-hash").start().until(ModelConnected)
        (request,) = model.requests
        assert request.path == "/v1/realtime?model=gpt-realtime-2.1"
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        assert request.headers["OpenAI-Safety-Identifier"] == "caller-hash"
        assert "OpenAI-Beta" not in request.headers
        assert "Sec-WebSocket-Extensions" not in request.headers

    async def test_without_a_safety_identifier_the_header_is_not_there(self, model: Model, dial: Dial) -> None:
        await dial().start().until(ModelConnected)
        assert "OpenAI-Safety-Identifier" not in model.requests[0].headers

    async def test_the_model_is_configured_when_the_call_says_so(self, model: Model, dial: Dial) -> None:
        call = dial().start()
        await call.until(ModelConnected)
        call.leg.send(ConnectModel())
        call.leg.send(ConfigureModel())
        assert (await model.next())["session"]["instructions"] == "Be brief."
        assert await call.until(ModelConfigured) == ModelConfigured("audio/pcmu", "audio/pcmu")

    async def test_nothing_is_told_before_the_session_exists(self, model: Model, dial: Dial) -> None:
        model.greeting = (json.dumps(SPEECH), json.dumps(CREATED), json.dumps(SPEECH))
        call = dial().start()
        await call.until(CallerSpeechStarted)
        assert call.events == [ModelConnected(), CallerSpeechStarted("item_1")]

    @pytest.mark.parametrize(
        ("status", "permanent"), [(401, True), (403, True), (404, True), (400, False), (429, False), (503, False)]
    )
    async def test_a_refused_handshake(self, model: Model, dial: Dial, status: int, permanent: bool) -> None:
        model.status = status
        assert await dial().start().ended() == [ModelLost(f"http_{status}", permanent=permanent)]

    async def test_a_server_that_is_not_there(self, dial: Dial) -> None:
        assert await dial(base_url=f"http://127.0.0.1:{free_port()}").start().ended() == [ModelLost("connect_failed")]

    async def test_a_server_that_never_answers(self, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "MODEL_CONNECT_MS", 50)
        done = asyncio.Event()

        async def stall(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await done.wait()
            writer.close()

        async with await asyncio.start_server(stall, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert await dial(base_url=f"http://127.0.0.1:{port}").start().ended() == [ModelLost("connect_timeout")]
            done.set()

    async def test_a_socket_without_a_session(self, model: Model, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "MODEL_CONNECT_MS", 50)
        model.greeting = (json.dumps(SPEECH),)
        assert await dial().start().ended() == [ModelLost("connect_timeout")]
        assert await model.close_code() == 1006

    async def test_the_deadline_ends_with_the_first_event(
        self, model: Model, dial: Dial, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MODEL_CONNECT_MS", 7_777)
        deadlines: list[asyncio.Timeout] = []
        timeout = asyncio.timeout

        def remembered(delay: float | None) -> asyncio.Timeout:
            made = timeout(delay)
            deadlines.extend([made] if delay == 7.777 else [])
            return made

        monkeypatch.setattr(asyncio, "timeout", remembered)
        await dial().start().until(ModelConnected)
        (until_connected,) = deadlines
        assert until_connected.when() is None


class TestLosing:
    @pytest.mark.parametrize(
        ("code", "reason", "lost"),
        [
            (1000, "", ModelLost("closed_1000")),
            (1001, "Your session hit the maximum duration of 60 minutes.", ModelLost("closed_1001")),
            (1011, "internal error", ModelLost("closed_1011")),
            (
                4000,
                "invalid_request_error.beta_api_shape_disabled",
                ModelLost("closed_4000:invalid_request_error.beta_api_shape_disabled", permanent=True),
            ),
        ],
    )
    async def test_a_closed_session_is_a_lost_model(
        self, model: Model, dial: Dial, code: int, reason: str, lost: ModelLost
    ) -> None:
        async def behave(socket: ServerConnection) -> None:
            await socket.close(code, reason)

        model.behave = behave
        assert await dial().start().ended() == [ModelConnected(), lost]

    async def test_a_connection_that_breaks_is_a_lost_model(self, model: Model, dial: Dial) -> None:
        async def behave(socket: ServerConnection) -> None:
            socket.transport.abort()

        model.behave = behave
        assert await dial().start().ended() == [ModelConnected(), ModelLost("closed_1006")]

    async def test_a_fatal_error_is_told_once_though_the_socket_closes_after_it(self, model: Model, dial: Dial) -> None:
        error = {"type": "invalid_request_error", "code": "beta_api_shape_disabled", "message": "no"}
        model.greeting = (json.dumps({"type": "error", "event_id": "e", "error": error}),)

        async def behave(socket: ServerConnection) -> None:
            await socket.close(4000, "invalid_request_error.beta_api_shape_disabled")

        model.behave = behave
        assert await dial().start().ended() == [ModelLost("beta_api_shape_disabled", permanent=True)]

    async def test_a_refused_configuration_is_a_lost_model(self, model: Model, dial: Dial) -> None:
        async def behave(socket: ServerConnection) -> None:
            update = json.loads(await socket.recv())
            error = {"type": "invalid_request_error", "code": "invalid_value", "event_id": update["event_id"]}
            await socket.send(json.dumps({"type": "error", "event_id": "e", "error": error}))

        model.behave = behave
        call = dial().start()
        await call.until(ModelConnected)
        call.leg.send(ConfigureModel())
        assert await call.ended() == [ModelConnected(), ModelLost("settings_refused:invalid_value", permanent=True)]

    async def test_a_few_messages_that_cannot_be_read_are_counted(self, model: Model, dial: Dial) -> None:
        bad: list[str | bytes] = ["nonsense", b"\x00binary", "{}"] * 3
        model.greeting = (json.dumps(CREATED), *bad, json.dumps(SPEECH))
        call = dial().start()
        await call.until(CallerSpeechStarted)
        assert call.leg.bad_messages == 9
        assert call.events == [ModelConnected(), CallerSpeechStarted("item_1")]

    async def test_too_many_of_them_are_a_lost_model(self, model: Model, dial: Dial) -> None:
        model.greeting = (json.dumps(CREATED), *["nonsense"] * limits.MODEL_BAD_MESSAGES)
        assert await dial().start().ended() == [ModelConnected(), ModelLost("bad_messages")]

    async def test_a_message_that_is_too_long_is_a_lost_model(self, model: Model, dial: Dial) -> None:
        model.greeting = (json.dumps(CREATED), '"' + "x" * limits.MODEL_MESSAGE_BYTES + '"')
        assert await dial().start().ended() == [ModelConnected(), ModelLost("closed_1009")]

    async def test_text_that_is_not_utf8_is_a_lost_model(self, model: Model, dial: Dial) -> None:
        async def behave(socket: ServerConnection) -> None:
            await socket.send(b"\xff\xfe", text=True)

        model.behave = behave
        assert await dial().start().ended() == [ModelConnected(), ModelLost("closed_1007")]

    async def test_a_model_that_answers_no_ping_is_lost(
        self, model: Model, dial: Dial, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MODEL_PING_S", 0.05)

        async def behave(socket: ServerConnection) -> None:
            socket.transport.pause_reading()

        model.behave = behave
        assert await dial().start().ended() == [ModelConnected(), ModelLost("closed_1011")]

    async def test_unknown_messages_are_counted_by_name(self, model: Model, dial: Dial) -> None:
        model.greeting = (json.dumps(CREATED), '{"type":"brand.new"}', json.dumps(SPEECH))
        call = dial().start()
        await call.until(CallerSpeechStarted)
        assert call.leg.unknown == {"brand.new": 1}

    async def test_a_mistake_of_ours_is_a_lost_model_and_its_words_are_not_logged(
        self, dial: Dial, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        words = "what the caller said"

        def read(_self: object, _text: str) -> tuple[Event, ...]:
            raise KeyError(words)

        monkeypatch.setattr(openai_client.RealtimeReader, "read", read)
        assert await dial().start().ended() == [ModelLost("internal:KeyError")]
        assert "KeyError" in caplog.text
        assert words not in "".join(record.getMessage() for record in caplog.records)


class TestSending:
    async def test_requests_arrive_in_order_and_each_has_its_own_id(self, model: Model, dial: Dial) -> None:
        call = dial().start()
        await call.until(ModelConnected)
        call.leg.send(RequestResponse("greeting"))
        call.leg.send_audio(b"\xff\xff")
        call.leg.send(DeleteItem("item_1"))
        assert [await model.next() for _ in range(3)] == [
            {
                "type": "response.create",
                "event_id": "RequestResponse.1",
                "response": {"metadata": {"purpose": "greeting"}},
            },
            {"type": "input_audio_buffer.append", "audio": "//8="},
            {"type": "conversation.item.delete", "event_id": "DeleteItem.2", "item_id": "item_1"},
        ]

    async def test_an_error_names_the_request_it_is_about(self, model: Model, dial: Dial) -> None:
        async def behave(socket: ServerConnection) -> None:
            request = json.loads(await socket.recv())
            error = {
                "type": "invalid_request_error",
                "code": "response_cancel_not_active",
                "event_id": request["event_id"],
            }
            await socket.send(json.dumps({"type": "error", "event_id": "e", "error": error}))

        model.behave = behave
        call = dial().start()
        await call.until(ModelConnected)
        call.leg.send(CancelResponse("resp_1"))
        assert await call.until(ModelErred) == ModelErred("response_cancel_not_active", "CancelResponse.1")

    async def test_audio_from_before_the_socket_was_open_is_never_sent(self, model: Model, dial: Dial) -> None:
        call = dial()
        call.leg.send(SendCallerAudio(b"stale"))
        call.start()
        call.leg.send(SendCallerAudio(b"stale"))
        await call.until(ModelConnected)
        call.leg.send(SendCallerAudio(b"fresh"))
        assert (await model.next())["audio"] == "ZnJlc2g="

    async def test_nothing_is_sent_after_the_end(self, model: Model, dial: Dial) -> None:
        call = dial().start()
        await call.until(ModelConnected)
        await call.leg.close()
        call.leg.send_audio(b"\xff\xff")
        call.leg.send(ConfigureModel())
        await model.close_code()
        assert model.heard.empty()

    async def test_a_model_that_does_not_read_is_lost(
        self, model: Model, dial: Dial, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "OUTBOX_BYTES", 100_000)

        deaf: list[ServerConnection] = []

        async def behave(socket: ServerConnection) -> None:
            socket.transport.pause_reading()
            deaf.append(socket)

        model.behave = behave
        call = dial().start()
        await call.until(ModelConnected)
        while ModelLost not in map(type, call.events):
            call.leg.send(SendCallerAudio(bytes(30_000)))
            await asyncio.sleep(0)
        assert await call.ended() == [ModelConnected(), ModelLost("outbox_full")]
        deaf[0].transport.resume_reading()
        assert await model.close_code() == 1006


class TestClosing:
    async def test_close_says_goodbye_and_loses_nothing(self, model: Model, dial: Dial) -> None:
        call = dial().start()
        await call.until(ModelConnected)
        await call.leg.close()
        await call.leg.close()
        assert await call.ended() == [ModelConnected()]
        assert await model.close_code() == 1000

    async def test_disconnecting_from_within_an_event_closes_properly(self, model: Model, dial: Dial) -> None:
        model.greeting = (json.dumps(CREATED), json.dumps(SPEECH), json.dumps(SPEECH))
        call = dial()
        seen: list[Event] = []
        sessions: list[asyncio.Task[Any] | None] = []

        def post(event: Event) -> None:
            seen.append(event)
            if isinstance(event, CallerSpeechStarted):
                call.leg.send(DisconnectModel())
                sessions.append(asyncio.current_task())

        async with asyncio.timeout(DEADLINE_S):
            await call.leg.run(post)
        assert seen == [ModelConnected(), CallerSpeechStarted("item_1")]
        assert [session.cancelled() for session in sessions if session] == [False]  # it had time to say goodbye
        assert await model.close_code() == 1000

    async def test_close_while_connecting_ends_it(self, dial: Dial) -> None:
        arrived, done = asyncio.Event(), asyncio.Event()

        async def stall(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            arrived.set()
            await done.wait()
            writer.close()

        async with await asyncio.start_server(stall, "127.0.0.1", 0) as server:
            call = dial(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}").start()
            await arrived.wait()
            await call.leg.close()
            assert await call.ended() == []
            done.set()

    async def test_close_before_run_leaves_nothing_to_run(self, model: Model, dial: Dial) -> None:
        call = dial()
        await call.leg.close()
        assert await call.start().ended() == []
        assert model.requests == []

    async def test_cancelling_run_closes_the_socket_and_leaves_no_task(self, model: Model, dial: Dial) -> None:
        call = dial().start()
        await call.until(ModelConnected)
        assert call.running is not None
        call.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.running
        assert await model.close_code() == 1000
        assert not {task.get_name() for task in asyncio.all_tasks()} & {"model session", "model writer"}

    async def test_a_server_that_does_not_say_goodbye_is_not_waited_for(
        self, model: Model, dial: Dial, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MODEL_CLOSE_S", 0.05)

        async def behave(socket: ServerConnection) -> None:
            socket.transport.pause_reading()

        model.behave = behave
        call = dial().start()
        await call.until(ModelConnected)
        await call.leg.close()
        assert await call.ended() == [ModelConnected()]


async def test_neither_key_nor_audio_is_logged_at_any_level(
    model: Model, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("websockets", "websockets.client"):
        caplog.set_level(logging.DEBUG, logger=name)
    call = dial().start()
    await call.until(ModelConnected)
    call.leg.send(SendCallerAudio(b"private"))
    await model.next()
    await call.leg.close()
    ours = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    assert KEY not in "\n".join(ours)
    assert "cHJpdmF0ZQ==" not in "\n".join(ours)
    assert KEY not in repr(call.leg)


class TestPcm:
    PCM = replace(SETTINGS, audio_format="audio/pcm")

    def amplitude(self, samples: "np.ndarray[Any, Any]", rate: int) -> float:
        middle = samples.astype(np.float64)[rate // 10 : -rate // 10]
        return float(2 * abs((middle * np.exp(-2j * np.pi * 1_000 * np.arange(len(middle)) / rate)).mean()))

    async def test_a_tone_survives_both_ways_and_stays_as_long_as_it_was(self, model: Model, dial: Dial) -> None:
        from voice_openai_connect.integrations.resampling import ulaw_decode, ulaw_encode

        tone = (10_000 * np.sin(2 * np.pi * 1_000 * np.arange(24_000) / 24_000)).astype("<i2").tobytes()
        spoken = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0, "event_id": "e"}
        deltas = [base64.b64encode(tone[i : i + 4_801]).decode() for i in range(0, len(tone), 4_801)]
        model.greeting = (
            json.dumps(CREATED),
            *(json.dumps({"type": "response.output_audio.delta", "delta": delta} | spoken) for delta in deltas),
            json.dumps({"type": "response.output_audio.done"} | spoken),
        )
        call = dial(self.PCM).start()
        await call.until(ModelAudioFinished)
        down = b"".join(event.audio for event in call.events if isinstance(event, ModelAudio))
        assert len(down) == 8_000
        assert self.amplitude(ulaw_decode(down), 8_000) == pytest.approx(10_000, rel=0.02)

        ulaw = ulaw_encode((10_000 * np.sin(2 * np.pi * 1_000 * np.arange(8_000) / 8_000)).astype(np.float32))
        for i in range(0, len(ulaw), 160):
            call.leg.send(SendCallerAudio(ulaw[i : i + 160]))
        frames = [base64.b64decode((await model.next())["audio"]) for _ in range(50)]
        assert {len(frame) for frame in frames} == {960}
        assert self.amplitude(np.frombuffer(b"".join(frames), "<i2"), 24_000) == pytest.approx(10_000, rel=0.02)

    async def test_the_model_is_asked_for_pcm(self, model: Model, dial: Dial) -> None:
        call = dial(self.PCM).start()
        await call.until(ModelConnected)
        call.leg.send(ConfigureModel())
        assert (await model.next())["session"]["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
        assert await call.until(ModelConfigured) == ModelConfigured("audio/pcm", "audio/pcm")

    async def test_nothing_is_told_after_disconnecting_in_the_middle_of_a_message(
        self, model: Model, dial: Dial
    ) -> None:
        spoken = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0, "event_id": "e"}
        short = base64.b64encode(bytes(20)).decode()
        model.greeting = (
            json.dumps(CREATED),
            json.dumps({"type": "response.output_audio.delta", "delta": short} | spoken),
            json.dumps({"type": "response.output_audio.done"} | spoken),
        )
        call = dial(self.PCM)
        seen: list[Event] = []

        def post(event: Event) -> None:
            seen.append(event)
            if isinstance(event, ModelAudio):
                call.leg.send(DisconnectModel())

        async with asyncio.timeout(DEADLINE_S):
            await call.leg.run(post)
        assert [type(event) for event in seen] == [ModelConnected, ModelAudio]

    def test_without_numpy_the_error_names_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "voice_openai_connect.integrations.resampling", raising=False)
        monkeypatch.setitem(sys.modules, "numpy", None)
        with pytest.raises(RuntimeError, match=r"voice-openai-connect\[pcm16\]"):
            RealtimeLeg(self.PCM, api_key=KEY, base_url="https://api.openai.com/v1")
        assert RealtimeLeg(SETTINGS, api_key=KEY, base_url="https://api.openai.com/v1")
