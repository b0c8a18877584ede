"""Minutes of audio through the real gateway, byte for byte, both ways; and `audio_end_ms` against what was heard."""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import numpy as np
import pytest
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect

from voice_openai_connect import limits
from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.caller import Caller, Say, Wait
from voice_openai_connect.simulator.carrier_call import CarriedCall, Habits
from voice_openai_connect.simulator.carrier_media import MediaHabits
from voice_openai_connect.simulator.model_mind import Mishap, say
from voice_openai_connect.simulator.model_response import Delivery
from voice_openai_connect.simulator.model_session import ModelSession
from voice_openai_connect.simulator.town import ACCOUNT_SID, AUTH_TOKEN, CALLER, GATEWAY_NUMBER, Town
from voice_openai_connect.wire.stream_ticket import issue_ticket

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
MINUTES = 3
FRAMES = MINUTES * 60 * 50


class HastyTwilio:
    """A media socket that speaks Twilio's protocol without Twilio's patience: no waiting between frames."""

    def __init__(self, socket: ClientConnection, call_sid: str) -> None:
        self.socket, self.call_sid, self.sequence = socket, call_sid, 0
        self.played = bytearray()
        self.pulse = asyncio.Event()

    async def send(self, event: str, **body: Any) -> None:
        self.sequence += 1
        message = {"event": event, "sequenceNumber": str(self.sequence), "streamSid": "MZ" + "1" * 32, **body}
        await self.socket.send(json.dumps(message))

    async def start(self) -> None:
        await self.socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        start = {
            "streamSid": "MZ" + "1" * 32,
            "accountSid": ACCOUNT_SID,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "customParameters": {"caller": CALLER, "called": GATEWAY_NUMBER},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        await self.send("start", start=start)

    async def speak(self, frames: list[bytes]) -> None:
        for chunk, frame in enumerate(frames, 1):
            payload = base64.b64encode(frame).decode()
            media = {"track": "inbound", "chunk": str(chunk), "timestamp": str(chunk * 20), "payload": payload}
            await self.send("media", media=media)

    async def play(self) -> None:
        """Hear everything at once, and say so."""
        async for text in self.socket:
            message = json.loads(text)
            if message["event"] == "media":
                self.played += base64.b64decode(message["media"]["payload"])
                self.pulse.set()
            elif message["event"] == "mark":
                await self.send("mark", mark=message["mark"])

    async def has_played(self, size: int) -> None:
        async with asyncio.timeout(60):
            while len(self.played) < size:
                self.pulse.clear()
                await self.pulse.wait()


def audio_of(session: ModelSession) -> bytes:
    """All that the model has said."""
    return b"".join(base64.b64decode(event["delta"]) for event in session.sent("response.output_audio.delta"))


def hasty_stream(town: Town, call_sid: str) -> Any:
    ticket = issue_ticket(AUTH_TOKEN, call_sid=call_sid, expires_at_s=4_000_000_000, nonce=b"0123456789abcdef")
    url = f"{town.settings['PUBLIC_HOST'].replace('http', 'ws')}/twilio/stream/{ticket}"
    signature = cast("Any", RequestValidator(AUTH_TOKEN)).compute_signature(url, {})
    return connect(url, additional_headers={"x-twilio-signature": signature}, compression=None)


async def test_minutes_of_audio_arrive_unchanged_in_both_directions(
    quick_town: OpenTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_MESSAGES_BURST", 10 * FRAMES)  # this Twilio speaks faster than any line does
    noise = random.Random(7)
    caller = [noise.randbytes(160) for _ in range(FRAMES)]
    answers = [noise.randbytes(8 * noise.randrange(15_000, 45_000)) for _ in range(6)]
    async with quick_town([say("words", audio=answer) for answer in answers]) as town:
        call_sid = "CA" + "7" * 32
        async with hasty_stream(town, call_sid) as socket:
            twilio = HastyTwilio(socket, call_sid)
            listening = asyncio.create_task(twilio.play())
            await twilio.start()
            session = await town.model.next_session()
            await session.until(lambda s: len(s.sent("response.done")) == 1)
            greeting = -(-len(audio_of(session)) // 160) * 160
            await twilio.has_played(greeting)
            await twilio.speak(caller)
            await session.until(lambda s: len(s.caller_audio) >= FRAMES * 160, seconds=60)
            for turn in range(len(answers)):
                session.caller_said(f"turn {turn}")
                await session.until(lambda s, done=turn + 2: len(s.sent("response.done")) == done, seconds=60)
            expected = b"".join(answer.ljust(-(-len(answer) // 160) * 160, b"\xff") for answer in answers)
            await twilio.has_played(greeting + len(expected))
            listening.cancel()

    assert bytes(session.caller_audio) == b"".join(caller)
    assert bytes(twilio.played[-len(expected) :]) == expected
    assert len(expected) > 60 * 8_000


# --- what was heard


def all_is_quiet(call: CarriedCall) -> bool:
    """Everything has been played, and every mark has had the time to come home."""
    return bool(call.heard) and call.now_ms - call.heard[-1].at_ms > 400


FRAME_MS, MARGIN_MS = 20, 20
LOOK_MS, LATE_MS = 5, 10
BURSTS = Delivery(pieces_ms=(384, 200.125, 384, 333.5), speed=6.0)
AT_ONCE = Delivery()
TRICKLE = Delivery(pieces_ms=(40, 61.25, 20.5), speed=1.3)


def delays_once_sure(call: CarriedCall, returned: int, before_ms: int) -> list[int]:
    """How late those marks came back that stand where the line can no longer have run dry. What an earlier one told
    holds for its own frame only."""
    sure_ms = before_ms + limits.PLAYOUT_MARGIN_MS + limits.UNSURE_MARK_INTERVAL_MS
    marks = zip(call.stream.playout.marks, call.stream.mark_delays, strict=False)  # the last ones are still out
    return [delay for mark, delay in list(marks)[returned:] if mark.position // limits.BYTES_PER_MS >= sure_ms]


class Stalls:
    """For how long this machine let everything stand still, the caller's line and the gateway alike. No line does that,
    so what was heard meanwhile can be told only so exactly. Ordinarily 0."""

    def __init__(self) -> None:
        self.ms = 0

    async def watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            looked_at = clock()
            await asyncio.sleep(LOOK_MS / 1_000)
            late_ms = round((clock() - looked_at) * 1_000) - LOOK_MS
            self.ms += late_ms if late_ms > LATE_MS else 0


@pytest.fixture
async def stalls() -> AsyncIterator[Stalls]:
    """From the beginning of the test."""
    stalls = Stalls()
    watching = asyncio.create_task(stalls.watch())
    yield stalls
    watching.cancel()


@pytest.mark.parametrize("delivery", [BURSTS, AT_ONCE, TRICKLE], ids=["bursts", "at once", "trickle"])
@pytest.mark.parametrize("late", [(0, 0), (0, 80)], ids=["prompt marks", "late marks"])
async def test_the_model_learns_what_was_heard_never_more_and_at_most_20_ms_less(
    quick_town: OpenTown, stalls: Stalls, delivery: Delivery, late: tuple[int, int]
) -> None:
    speech = [say("a long answer", audio=sound.ulaw_encode(sound.tone(440, 4_000))) for _ in range(6)]
    habits = Habits(media=MediaHabits(mark_delay_ms=late[0], mark_jitter_ms=late[1]))
    async with quick_town(speech, model={"delivery": delivery}, habits=habits) as town:
        call = await town.carrier.place_call(Caller([Wait(120_000)]), from_=CALLER)
        session = await town.model.next_session()
        await session.until(lambda s: bool(s.sent("response.done")))
        await call.until(all_is_quiet)
        session.caller_said("tell me everything")
        for turn, heard_ms in enumerate((700, 1_100, 1_500, 1_900)):
            before, returned, stalls.ms = call.stream.playout.played_ms, len(call.stream.mark_delays), 0
            await call.until(lambda c, due=before + heard_ms: c.stream.playout.played_ms >= due, within_s=30)
            # Nothing can be known sooner than the quickest mark tells it. A trickle that is only just ahead of the
            # caller has but the last mark to go by.
            quickest = late[1] if delivery is TRICKLE else min(delays_once_sure(call, returned, before))
            interrupted_at = call.stream.playout.played_ms - before
            session.caller_starts_speaking()
            await session.until(lambda s, n=turn + 1: len(s.truncations) == n)
            await call.until(lambda c: c.stream.playout.queued_ms == 0)
            cleared_at = call.stream.playout.played_ms - before
            told = session.truncations[turn].audio_end_ms
            # A frame counts as played when it begins; the one in the caller's ear at that moment is still being heard.
            # What is played until `clear` has arrived is heard as well, and on a busy machine that may take a while.
            at_least = interrupted_at - MARGIN_MS - quickest - FRAME_MS
            assert at_least - stalls.ms <= told <= cleared_at + stalls.ms
            session.caller_stops_speaking("go on")
        call.complete()


async def test_after_a_stall_nothing_counts_as_heard_that_was_still_on_its_way(
    quick_town: OpenTown, stalls: Stalls
) -> None:
    audio = sound.ulaw_encode(sound.tone(440, 3_000))
    async with quick_town([say("words", audio=audio, mishap=Mishap(1_000, "stall"))]) as town:
        call = await town.carrier.place_call(Caller([Wait(120_000)]), from_=CALLER)
        session = await town.model.next_session()
        await session.until(lambda s: bool(s.sent("response.done")))
        await call.until(all_is_quiet)
        before = call.stream.playout.played_ms
        session.caller_said("go on")
        await call.until(lambda c: c.stream.playout.played_ms >= before + 900 and c.stream.playout.queued_ms == 0)
        session.go_on()
        await call.until(lambda c: c.stream.playout.played_ms >= before + 1_500)
        session.caller_starts_speaking()
        await session.until(lambda s: bool(s.truncations))
        await call.until(lambda c: c.stream.playout.queued_ms == 0)

        truth = call.stream.playout.played_ms - before
        assert truth - 40 - stalls.ms <= session.truncations[0].audio_end_ms <= truth + stalls.ms
        call.complete()


async def test_a_model_without_g711_hears_and_is_heard_through_the_resampler(quick_town: OpenTown) -> None:
    answer = sound.ulaw_encode(sound.tone(1_000, 1_500))
    async with quick_town([say("a tone", audio=answer)], settings={"OPENAI_AUDIO_FORMAT": "pcm16"}) as town:
        question = sound.ulaw_encode(sound.tone(440, 1_000))
        caller = Caller([Wait(4_000), Say(question), Wait(60_000)])
        call = await town.carrier.place_call(caller, from_=CALLER)
        session = await town.model.next_session()
        await session.until(lambda s: bool(s.sent("response.done")))
        await call.until(all_is_quiet)
        before = call.stream.playout.played_ms
        session.caller_said("go on")
        await call.until(lambda c: c.stream.playout.played_ms > before and all_is_quiet(c), within_s=20)
        await call.until(lambda c: c.now_ms > 6_500, within_s=20)
        call.complete()

    played = b"".join(piece.audio for piece in call.heard)[before * 8 :]
    assert len(answer) <= len(played) <= len(answer) + 8 * 25
    assert abs(pitch(sound.ulaw_decode(played[1_600:-1_600]), 8_000) - 1_000) < 5
    asked: sound.Samples = np.frombuffer(bytes(session.caller_audio), np.int16)
    loud = asked[np.abs(asked.astype(np.int32)) > 3_000]
    assert abs(pitch(asked[np.flatnonzero(np.abs(asked.astype(np.int32)) > 3_000)[0] :][:18_000], 24_000) - 440) < 5
    assert 0.9 < loud.size / (24_000 * 0.75) < 1.1  # a sine is above 3/8 of its peak three quarters of the time


def pitch(samples: sound.Samples, rate: int) -> float:
    """The strongest frequency, in Hz."""
    windowed = samples.astype(np.float64) * np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(windowed))
    return float(np.argmax(spectrum) * rate / len(samples))
