"""Whole calls, in real time, against a small gateway that is as strict about its caller as Twilio's docs allow."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from twilio.request_validator import RequestValidator  # pyright: ignore[reportMissingTypeStubs] - it has none

from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.caller import Caller, HangUp, InterruptAfter, Listen, Press, Say, Step, Wait
from voice_openai_connect.simulator.carrier import SimulatedCarrier
from voice_openai_connect.simulator.carrier_call import Account, CarriedCall, Habits
from voice_openai_connect.simulator.carrier_twiml import read
from voice_openai_connect.simulator.dtmf import DtmfDetector
from voice_openai_connect.simulator.serving import serving
from voice_openai_connect.simulator.telephone import LineEnd, Subscriber
from voice_openai_connect.simulator.timeline import Timeline

PUBLIC = "https://voice.example.com"
TOKEN = "12345"
ACCOUNT = Account("AC" + "1" * 32, TOKEN, "+15550002")
AGENT = "+15550100"
VOWEL = sound.ulaw_encode(sound.tone(300, 200, -20))
WORD = sound.ulaw_encode(sound.tone(500, 300, -20))
STREAM = (
    '<Connect action="/next"><Stream url="wss://voice.example.com/stream/t1">'
    '<Parameter name="t" value="1"/></Stream></Connect>'
)


class Validates(Protocol):
    def validate(self, uri: str, params: Mapping[str, str], signature: str) -> bool: ...


VALIDATOR = cast("Validates", RequestValidator(TOKEN))


class Media:
    """The gateway's end of one stream."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.start: dict[str, Any] = {}
        self.messages: list[dict[str, Any]] = []

    async def open(self) -> None:
        await self.socket.accept()
        assert (await self.next())["event"] == "connected"
        self.start = (await self.next())["start"]

    async def next(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.socket.receive_json()
        self.messages.append(message)
        return message

    async def until(self, event: str) -> dict[str, Any]:
        while (message := await self.next())["event"] != event:
            pass
        return message

    async def until_loud(self) -> None:
        """Read until a second frame of the caller's speech has come."""
        for _ in range(2):
            while sound.level_dbfs(sound.ulaw_decode(heard(await self.until("media")))) < -40:
                pass

    async def say(self, audio: bytes) -> None:
        await self._send("media", media={"payload": base64.b64encode(audio).decode()})

    async def mark(self, name: str) -> None:
        await self._send("mark", mark={"name": name})

    async def clear(self) -> None:
        await self._send("clear")

    async def _send(self, event: str, **fields: Any) -> None:
        await self.socket.send_json({"event": event, "streamSid": self.start["streamSid"], **fields})


def heard(message: dict[str, Any]) -> bytes:
    return base64.b64decode(message["media"]["payload"])


class When:
    """A step of a caller's script: wait for something that happens elsewhere."""

    def __init__(self, happened: asyncio.Event) -> None:
        self.happened = happened

    async def perform(self, caller: Caller) -> None:
        await asyncio.wait_for(self.happened.wait(), 10)


class Gateway:
    """TwiML by path, and one function that says what a stream does. Refuses whatever is not signed."""

    def __init__(self) -> None:
        self.base = ""
        self.documents: dict[str, str | Callable[[Mapping[str, str]], str | Response]] = {"/twilio/voice": STREAM}
        self.on_stream: Callable[[Media], Awaitable[None]] = self.close_at_once
        self.streams: list[Media] = []
        self.streaming = asyncio.Event()
        """Set when the first frame of a stream has come."""

    async def close_at_once(self, media: Media) -> None:
        await media.socket.close()

    async def listen(self, media: Media) -> None:
        """Hear the caller out."""
        await media.until("media")
        self.streaming.set()
        await media.until("stop")

    async def webhook(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        query = f"?{request.url.query}" if request.url.query else ""
        url = PUBLIC + request.url.path + query
        if not VALIDATOR.validate(url, form, request.headers["x-twilio-signature"]):
            return Response(status_code=403)
        document = self.documents.get(request.url.path, "<Hangup/>")
        answer = document if isinstance(document, str) else document(form)
        if isinstance(answer, Response):
            return answer
        return Response(f"<Response>{answer}</Response>", media_type="text/xml")

    async def stream(self, socket: WebSocket) -> None:
        url = PUBLIC.replace("https", "wss") + socket.url.path
        if not VALIDATOR.validate(url, {}, socket.headers["x-twilio-signature"]):
            await socket.close(1008)
            return
        media = Media(socket)
        await media.open()
        self.streams.append(media)
        await self.on_stream(media)


@pytest.fixture
async def gateway() -> AsyncGenerator[Gateway]:
    gateway = Gateway()
    routes = [
        Route("/{path:path}", gateway.webhook, methods=["GET", "POST"]),
        WebSocketRoute("/stream/{ticket}", gateway.stream),
    ]
    async with serving(Starlette(routes=routes)) as gateway.base:
        yield gateway


Place = Callable[..., Awaitable[CarriedCall]]


@pytest.fixture
async def place(gateway: Gateway) -> AsyncGenerator[Place]:
    carriers: list[SimulatedCarrier] = []

    async def place(
        *script: Step, directory: Mapping[str, Subscriber] | None = None, account: Account = ACCOUNT, **more: Any
    ) -> CarriedCall:
        carrier = SimulatedCarrier(PUBLIC, account, directory=directory, routes={PUBLIC: gateway.base}, **more)
        carriers.append(carrier)
        return await carrier.place_call(Caller(script), from_="+15550001")

    yield place
    for carrier in carriers:
        await carrier.aclose()


async def ended(call: CarriedCall) -> str:
    async with asyncio.timeout(20):
        return await call.ended


async def test_a_call_with_a_stream_that_the_gateway_closes_goes_on_at_the_action(
    gateway: Gateway, place: Place
) -> None:
    call = await place()
    assert await ended(call) == "hung-up"
    assert [request.path for request in call.requests] == ["/twilio/voice", "/next"]
    voice, after = call.requests
    assert (voice.params["CallStatus"], after.params["CallStatus"]) == ("ringing", "in-progress")
    assert (voice.params["From"], voice.params["To"]) == ("+15550001", "+15550002")
    assert gateway.streams[0].start["customParameters"] == {"t": "1"}
    assert gateway.streams[0].start["callSid"] == call.sid
    assert call.violations == []
    assert [alert.code for alert in call.alerts] == [31921]


async def test_the_caller_hears_exactly_what_was_played_and_marks_tell_when(gateway: Gateway, place: Place) -> None:
    order: list[str] = []

    async def speak(media: Media) -> None:
        await media.mark("nothing queued")
        order.append((await media.until("mark"))["mark"]["name"])
        await media.say(VOWEL)
        await media.mark("middle")
        await media.say(WORD)
        await media.mark("end")
        order.append((await media.until("mark"))["mark"]["name"])
        order.append((await media.until("mark"))["mark"]["name"])
        await media.socket.close()

    gateway.on_stream = speak
    call = await place()
    await ended(call)
    assert order == ["nothing queued", "middle", "end"]
    assert b"".join(piece.audio for piece in call.heard) == VOWEL + WORD
    tape = bytes(call.recording.heard)
    for piece in call.heard:
        assert tape[piece.at_ms * 8 :].startswith(piece.audio)
    assert [mark.heard for mark in call.stream.playout.marks] == [True, True, True]


async def test_an_interruption_clears_the_line_and_what_was_heard_is_known_to_the_frame(
    gateway: Gateway, place: Place
) -> None:
    returned: list[str] = []

    async def speak_until_interrupted(media: Media) -> None:
        await media.say(WORD * 20)
        await media.mark("never heard")
        await media.until_loud()
        await media.clear()
        returned.append((await media.until("mark"))["mark"]["name"])
        await media.until("stop")

    gateway.on_stream = speak_until_interrupted
    call = await place(InterruptAfter(200, VOWEL), Listen(ms=300), HangUp())
    assert await ended(call) == "caller-hung-up"
    sent = call.stream.playout.sent[0]
    assert returned == ["never heard"]
    assert 200 <= sent.played_ms < 6_000
    assert sent.played == len(b"".join(piece.audio for piece in call.heard))
    assert call.stream.playout.marks[0].heard is False
    assert gateway.streams[0].messages[-1]["event"] == "stop"
    assert call.violations == []


async def test_the_gateway_hears_every_frame_of_the_caller_once_and_in_order(gateway: Gateway, place: Place) -> None:
    gateway.on_stream = gateway.listen
    speech = b"".join(bytes([value]) * 160 for value in range(1, 40))
    call = await place(When(gateway.streaming), Say(speech), Wait(200), HangUp())
    await ended(call)
    media = [message for message in gateway.streams[0].messages if message["event"] == "media"]
    assert [message["media"]["chunk"] for message in media] == [str(n + 1) for n in range(len(media))]
    said = b"".join(frame for frame in map(heard, media) if frame != sound.silence(20))
    assert said == speech
    numbers = [int(message["sequenceNumber"]) for message in gateway.streams[0].messages[1:]]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_keys_come_as_messages_and_not_as_sound(gateway: Gateway, place: Place) -> None:
    digits: list[str] = []

    async def collect(media: Media) -> None:
        await media.until("media")
        gateway.streaming.set()
        digits.append((await media.until("dtmf"))["dtmf"]["digit"])
        digits.append((await media.until("dtmf"))["dtmf"]["digit"])
        await media.socket.close()

    gateway.on_stream = collect
    call = await place(When(gateway.streaming), Press("0#"))
    await ended(call)
    assert digits == ["0", "#"]
    assert set(bytes(call.recording.sent)) == {0xFF}


async def test_what_twilio_would_not_take_is_a_violation(gateway: Gateway, place: Place) -> None:
    async def misbehave(media: Media) -> None:
        await media.socket.send_json({"event": "media", "stream_sid": "x", "media": {"payload": "AAAA"}})
        await media.socket.send_bytes(b"\x00")
        await media.socket.close()

    gateway.on_stream = misbehave
    call = await place()
    await ended(call)
    assert [alert.code for alert in call.violations] == [31951, 31950]


class Agent:
    """Answers, listens to the digits, says a word, waits to be heard, and hangs up."""

    def __init__(self) -> None:
        self.digits = ""
        self.heard: list[bytes] = []

    async def answer(self, end: LineEnd) -> None:
        detector = DtmfDetector()
        person = Caller([Wait(200), Say(WORD), Wait(200), HangUp()])
        end.pick_up()
        while not self.digits.endswith("#") and (frame := await end.receive()):
            self.digits += detector.feed(frame)
        await person.answer(end)


async def test_a_handover_dials_sends_the_digits_as_tones_and_joins_the_two(gateway: Gateway, place: Place) -> None:
    agent = Agent()
    gateway.documents["/next"] = (
        f'<Dial action="/dialled?attempt=1" timeout="20"><Number sendDigits="w1234567890#">{AGENT}</Number></Dial>'
    )
    call = await place(directory={AGENT: agent})
    assert await ended(call) == "hung-up"
    assert agent.digits == "1234567890#"
    (dial,) = call.dials
    assert (dial.number, dial.digits, dial.status, dial.bridged) == (AGENT, "w1234567890#", "completed", True)
    (after,) = call.asked("/dialled")
    assert after.params["DialCallStatus"] == "completed"
    assert after.params["DialBridged"] == "true"
    assert after.params["DialCallSid"] == dial.sid != call.sid
    assert WORD in bytes(call.recording.heard)


async def test_a_number_that_nobody_has_fails_and_the_callers_way_goes_on(gateway: Gateway, place: Place) -> None:
    gateway.documents["/twilio/voice"] = f'<Dial action="/dialled">{AGENT}</Dial>'
    call = await place()
    assert await ended(call) == "hung-up"
    assert call.asked("/dialled")[0].params["DialCallStatus"] == "failed"


async def test_a_caller_id_that_is_not_ours_to_show_fails(gateway: Gateway, place: Place) -> None:
    gateway.documents["/twilio/voice"] = f'<Dial action="/dialled" callerId="+15559999">{AGENT}</Dial>'
    call = await place(directory={AGENT: Agent()})
    await ended(call)
    assert call.asked("/dialled")[0].params["DialCallStatus"] == "failed"
    assert [alert.code for alert in call.violations] == [13214]


async def test_without_an_action_the_next_verb_follows(gateway: Gateway, place: Place) -> None:
    spoken: list[tuple[str, str]] = []

    def speak(text: str, language: str) -> bytes:
        spoken.append((text, language))
        return VOWEL

    gateway.documents["/twilio/voice"] = (
        '<Connect><Stream url="/stream/t2"/></Connect><Say language="de-DE">Auf Wiederhören</Say>'
    )
    call = await place(speak=speak)
    assert await ended(call) == "ran-out"
    assert spoken == [("Auf Wiederhören", "de-DE")]
    assert VOWEL in bytes(call.recording.heard)


async def test_a_redirect_takes_the_place_of_the_rest(gateway: Gateway, place: Place) -> None:
    gateway.documents["/twilio/voice"] = "<Redirect>/elsewhere</Redirect>"
    gateway.documents["/elsewhere"] = '<Play digits="5"/><Pause length="0"/><Hangup/>'
    call = await place()
    assert await ended(call) == "hung-up"
    detector = DtmfDetector()
    assert "".join(map(detector.feed, sound.frames(bytes(call.recording.heard)))) == "5"


async def test_a_rejected_call_was_never_answered(gateway: Gateway, place: Place) -> None:
    gateway.documents["/twilio/voice"] = '<Reject reason="busy"/>'
    call = await place()
    assert await ended(call) == "busy"
    assert call.status == "busy"


async def test_a_gateway_that_fails_is_apologised_for(gateway: Gateway, place: Place) -> None:
    gateway.documents["/twilio/voice"] = lambda _: Response(status_code=500)
    spoken: list[str] = []

    def speak(text: str, _: str) -> bytes:
        spoken.append(text)
        return VOWEL

    call = await place(speak=speak)
    assert await ended(call) == "error"
    assert [alert.code for alert in call.alerts] == [11200]
    assert "application error" in spoken[0]


async def test_a_fallback_is_asked_with_the_error_and_its_address(gateway: Gateway, place: Place) -> None:
    gateway.documents["/twilio/voice"] = "<Dance/>"
    account = Account(ACCOUNT.sid, TOKEN, ACCOUNT.number, fallback_url=f"{PUBLIC}/fallback")
    call = await place(account=account)
    assert await ended(call) == "hung-up"
    (asked,) = call.asked("/fallback")
    assert (asked.params["ErrorCode"], asked.params["ErrorUrl"]) == ("12200", f"{PUBLIC}/twilio/voice")


async def test_a_bin_is_followed_without_asking_anybody(gateway: Gateway, place: Place) -> None:
    gateway.documents["/twilio/voice"] = lambda _: Response(status_code=500)
    at = "https://handler.twilio.com/twiml/EH1"
    bins = {at: "<Response><Say>Hello.</Say><Hangup/></Response>"}
    call = await place(account=Account(ACCOUNT.sid, TOKEN, ACCOUNT.number, fallback_url=at, bins=bins))

    assert await ended(call) == "hung-up"
    assert [(asked.path, asked.status) for asked in call.requests] == [("/twilio/voice", 500), ("/twiml/EH1", 200)]


@pytest.mark.parametrize("per_call", [False, True], ids=["of the carrier", "of this call"])
@pytest.mark.parametrize(("habit", "path"), [("action", "/next"), ("fallback", "/fallback")])
async def test_a_stream_that_breaks_goes_either_way(
    gateway: Gateway, place: Place, habit: Any, path: str, *, per_call: bool
) -> None:
    async def die(media: Media) -> None:
        await media.until("media")
        if per_call:
            call.after_drop = habit
        call.stream.drop()
        with pytest.raises(WebSocketDisconnect):
            await media.until("stop")

    gateway.on_stream = die
    account = Account(ACCOUNT.sid, TOKEN, ACCOUNT.number, fallback_url=f"{PUBLIC}/fallback")
    call = await place(account=account, habits=Habits() if per_call else Habits(after_drop=habit))
    assert await ended(call) == "hung-up"
    assert [request.path for request in call.requests] == ["/twilio/voice", path]
    assert 31903 in [alert.code for alert in call.alerts]


async def test_a_stream_that_is_refused_falls_through_to_the_action(gateway: Gateway, place: Place) -> None:
    gateway.documents["/twilio/voice"] = STREAM.replace("/stream/t1", "/nowhere/t1")
    call = await place()
    assert await ended(call) == "hung-up"
    assert [alert.code for alert in call.violations] == [31920]


async def test_a_redirect_from_outside_stops_the_stream_and_goes_on_there(gateway: Gateway, place: Place) -> None:
    gateway.on_stream = gateway.listen
    call = await place()
    await asyncio.wait_for(gateway.streaming.wait(), 10)
    call.redirect(read(b"<Response><Redirect>/moved</Redirect></Response>", "text/xml", f"{PUBLIC}/"))
    assert await ended(call) == "hung-up"
    assert [request.path for request in call.requests] == ["/twilio/voice", "/moved"]
    assert gateway.streams[0].messages[-1]["event"] == "stop"


async def test_a_redirect_may_also_ask_the_action_in_vain(gateway: Gateway, place: Place) -> None:
    gateway.on_stream = gateway.listen
    gateway.documents["/next"] = "<Redirect>/never</Redirect>"
    call = await place(habits=Habits(action_after_redirect=True))
    await asyncio.wait_for(gateway.streaming.wait(), 10)
    call.redirect(read(b"<Response><Hangup/></Response>", "text/xml", f"{PUBLIC}/"))
    assert await ended(call) == "hung-up"
    assert [request.path for request in call.requests] == ["/twilio/voice", "/next"]


async def test_a_redirect_during_a_dial_hangs_up_on_the_called_one(gateway: Gateway, place: Place) -> None:
    gateway.documents["/twilio/voice"] = f'<Dial action="/dialled">{AGENT}</Dial>'
    call = await place(directory={AGENT: Caller([])})
    await call.until(lambda call: call.dials and call.dials[0].bridged)
    call.redirect(read(b"<Response><Hangup/></Response>", "text/xml", f"{PUBLIC}/"))
    assert await ended(call) == "hung-up"
    assert call.dials[0].status == "completed"
    assert call.asked("/dialled") == []


async def test_the_end_is_reported_with_the_calls_length(gateway: Gateway, place: Place) -> None:
    account = Account(ACCOUNT.sid, TOKEN, ACCOUNT.number, status_callback=f"{PUBLIC}/status")
    call = await place(account=account)
    await ended(call)
    (report,) = call.asked("/status")
    assert report.params["CallStatus"] == "completed"
    assert report.params["CallDuration"].isdecimal()


@pytest.mark.parametrize("asked", [True, False])
async def test_the_action_after_a_hang_up_is_a_habit_and_its_answer_is_not_used(
    gateway: Gateway, place: Place, asked: bool
) -> None:
    gateway.on_stream = gateway.listen
    call = await place(When(gateway.streaming), HangUp(), habits=Habits(action_after_hang_up=asked))
    assert await ended(call) == "caller-hung-up"
    assert [request.params["CallStatus"] for request in call.asked("/next")] == ["completed"] * asked


async def test_a_caller_who_gives_up_while_it_rings_ends_the_call(gateway: Gateway, place: Place) -> None:
    gateway.documents["/twilio/voice"] = "<Pause length='30'/>"
    call = await place(Wait(100), HangUp())
    assert await ended(call) == "caller-hung-up"


async def test_what_goes_wrong_with_the_caller_is_raised_at_the_end(place: Place, gateway: Gateway) -> None:
    gateway.documents["/twilio/voice"] = "<Pause length='30'/>"
    call = await place(Listen(within_s=0.1))
    with pytest.raises(TimeoutError, match="caller waited"):
        await ended(call)


async def test_until_returns_when_it_holds_and_says_when_it_never_will(gateway: Gateway, place: Place) -> None:
    call = await place()
    await call.until(lambda call: call.streams)
    with pytest.raises(LookupError, match="without it"):
        await call.until(lambda call: call.dials)


async def test_every_step_is_on_the_timeline(place: Place) -> None:
    timeline = Timeline()
    call = await place(timeline=timeline)
    await ended(call)
    assert timeline.said_by("carrier") == ["rings", "asks", "opens a stream", "logs", "asks", "hangs up"]


async def test_closing_the_carrier_ends_its_calls(gateway: Gateway) -> None:
    gateway.documents["/twilio/voice"] = "<Pause length='30'/>"
    async with SimulatedCarrier(PUBLIC, ACCOUNT, routes={PUBLIC: gateway.base}) as carrier:
        call = await carrier.place_call(Caller([]), from_="+15550001")
        await call.until(lambda call: call.status == "in-progress")
    assert call.ended.done()
