"""Twilio: its side fails, or somebody pretends to be Twilio: forged, repeated, lost, slow, hostile."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, cast
from urllib.parse import urlencode

import httpx2
import pytest
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voice_openai_connect import limits
from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.caller import HangUp, Listen, Press
from voice_openai_connect.simulator.carrier_call import CarriedCall, Habits
from voice_openai_connect.simulator.carrier_media import MediaHabits
from voice_openai_connect.simulator.model_mind import call as calls
from voice_openai_connect.simulator.model_mind import say
from voice_openai_connect.simulator.model_session import ModelSession
from voice_openai_connect.simulator.town import ACCOUNT_SID, AUTH_TOKEN, CALLER, FALLBACK_URL, GATEWAY_NUMBER, Town
from voice_openai_connect.simulator.witness import (
    END_S,
    TO_A_PERSON,
    answers,
    goes_on,
    greeted,
    hears_carrier_say,
    in_conversation,
    over,
    person_knows,
    reason_of_transfer,
    remembered,
    ring,
)
from voice_openai_connect.wire.stream_ticket import issue_ticket

AfterDrop = Literal["action", "fallback"]
EITHER_WAY: tuple[AfterDrop, ...] = ("action", "fallback")
"""Twilio's documents leave open which of them is asked when a stream has broken, or never comes to be."""
OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
CALL_SID = "CA" + "8" * 32
FORM = {
    "AccountSid": ACCOUNT_SID,
    "CallSid": CALL_SID,
    "From": CALLER,
    "To": GATEWAY_NUMBER,
    "CallStatus": "ringing",
    "Direction": "inbound",
}


def sign(url: str, form: Mapping[str, str], token: str = AUTH_TOKEN) -> str:
    return str(cast("Any", RequestValidator(token)).compute_signature(url, dict(form)))


async def post(town: Town, path: str, form: Mapping[str, str], token: str = AUTH_TOKEN) -> httpx2.Response:
    """A webhook, signed with `token`."""
    url = town.settings["PUBLIC_HOST"] + path
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-twilio-signature": sign(url, form, token),
    }
    async with httpx2.AsyncClient() as client:
        return await client.post(url, content=urlencode(form), headers=headers)


def stream(town: Town, call_sid: str = CALL_SID, token: str = AUTH_TOKEN, *, resumes: bool = False) -> connect:
    """The media socket of a call, signed with `token`."""
    until, nonce = int(time.time()) + 60, token.encode()[:16].ljust(16)
    ticket = issue_ticket(AUTH_TOKEN, call_sid=call_sid, expires_at_s=until, nonce=nonce, resumes=resumes)
    url = f"{town.settings['PUBLIC_HOST'].replace('http', 'ws', 1)}/twilio/stream/{ticket}"
    return connect(url, additional_headers={"x-twilio-signature": sign(url, {}, token)}, compression=None)


def start_message(call_sid: str = CALL_SID) -> str:
    start = {
        "streamSid": "MZ1",
        "accountSid": ACCOUNT_SID,
        "callSid": call_sid,
        "tracks": ["inbound"],
        "customParameters": {"caller": CALLER, "called": GATEWAY_NUMBER},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    return json.dumps({"event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": start})


CONNECTED = json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})


def media_message(payload: object = base64.b64encode(b"\xff" * 160).decode(), chunk: int = 1) -> str:
    media = {"track": "inbound", "chunk": str(chunk), "timestamp": "0", "payload": payload}
    return json.dumps({"event": "media", "sequenceNumber": "2", "streamSid": "MZ1", "media": media})


async def line_lost(town: Town, call: CarriedCall, session: ModelSession) -> None:
    """The stream is over for good, and Twilio is told at once what is next: a person, or a new stream."""
    await call.until(lambda c: bool(c.dials) or len(c.streams) > 1, within_s=END_S)
    await session.until(lambda s: s.closed.is_set(), seconds=END_S)
    assert session.wire.closed_by == "client"
    assert call.asked("/twilio/next")[0].status == 200


# --- who is it?


async def test_T1_requests_that_twilio_did_not_sign(quick_town: OpenTown) -> None:
    """Fault: webhooks and sockets with a wrong signature.

    Hears: nothing; it is an attacker, and gets 403.
    """
    async with quick_town() as town:
        for path in ("/twilio/voice", "/twilio/next", "/twilio/dialed/1", "/twilio/stream-status"):
            answer = await post(town, path, FORM, "another token of theirs")
            assert answer.status_code == 403
            assert "Response" not in answer.text
        with pytest.raises(InvalidStatus):
            await stream(town, token="another token of theirs")
        assert town.model.sessions == []


async def test_T2_a_webhook_that_comes_twice(quick_town: OpenTown) -> None:
    """Fault: Twilio repeats a webhook.

    Hears: nothing of it; the same question gets the same answer.
    """
    async with quick_town() as town:
        call = await ring(town, Listen(ms=300), Press("0"), *TO_A_PERSON)
        await over(call)
        for path in ("/twilio/next", "/twilio/dialed/1"):
            for asked in call.asked(path):
                assert (await post(town, path, asked.params)).content == asked.body
        (voice,) = call.asked("/twilio/voice")
        assert (await post(town, "/twilio/voice", voice.params)).text.count("<Stream") == 1

        assert len(town.model.sessions) == len(call.dials) == len(town.crm.tickets) == 1


async def test_T5_a_second_socket_or_a_second_start_for_a_call(quick_town: OpenTown) -> None:
    """Fault: `start` comes again, and a second socket claims a call that is on the line.

    Hears: nothing of it; the first keeps the call.
    """
    async with quick_town() as town:
        call = await ring(town)
        session = await greeted(town, call)
        await call.stream.socket.send(start_message(call.sid))
        async with stream(town, call.sid) as second:
            with pytest.raises(ConnectionClosed) as refused:
                await second.recv()

        assert refused.value.rcvd is not None
        assert refused.value.rcvd.code == 1008
        assert await answers(session)
        assert len(town.model.sessions) == 1


# --- the line is lost


@pytest.mark.parametrize("after_drop", EITHER_WAY)
async def test_T3_a_stream_that_never_opens(quick_town: OpenTown, after_drop: AfterDrop) -> None:
    """Fault: Twilio cannot open the media socket, and asks us what is next, or goes to the number's fallback.

    Hears: an announcement, then a person.
    """
    async with quick_town(proxied={"twilio"}, habits=Habits(after_drop=after_drop)) as town:
        town.proxies["twilio"].turned_away = {2}
        call = await ring(town, *TO_A_PERSON)
        await over(call)

        assert call.streams == []
        assert town.model.sessions == []
        assert hears_carrier_say(town)
        assert not person_knows(town)


async def test_T4_a_socket_lost_in_mid_call(quick_town: OpenTown) -> None:
    """Fault: the media socket breaks off, and Twilio asks us what is next.

    Hears: a short interruption; then the conversation goes on where it was.
    """
    async with quick_town(proxied={"twilio"}) as town:
        call = await ring(town)
        session = await in_conversation(town, call)
        town.proxies["twilio"].reset()

        again = await goes_on(town, call)
        assert session.wire.closed_by == "client"
        assert await answers(again)


async def test_T4_a_socket_lost_where_twilio_goes_to_the_fallback(quick_town: OpenTown) -> None:
    """Fault: the media socket breaks off, and Twilio goes to the number's fallback instead of asking us.

    Hears: the fallback's announcement, then a person, who has to ask; no server of ours is needed for it.
    """
    async with quick_town() as town:
        call = await ring(town, *TO_A_PERSON)
        session = await in_conversation(town, call)
        call.after_drop = "fallback"
        call.stream.drop()
        await over(call)

        assert FALLBACK_URL in [asked.url for asked in call.requests]
        assert call.asked("/twilio/next") == []
        assert "connecting you" in hears_carrier_say(town)
        assert not person_knows(town)
        assert session.wire.closed_by == "client"


async def test_T4_T6_a_socket_that_falls_silent(quick_town: OpenTown) -> None:
    """Fault: nothing comes from the media socket any more, and neither a `stop` nor a close.

    Hears: silence for `STREAM_SILENT_MS`, then what Twilio is told next: here, before the first turn, a person.
    """
    async with quick_town() as town:
        call = await ring(town)
        session = await greeted(town, call)
        call.stream.sending = False
        await line_lost(town, call, session)


async def test_T4_T5_a_socket_that_twilio_has_left_and_nobody_has_closed(quick_town: OpenTown) -> None:
    """Fault: the media socket is half open: Twilio has lost it and asks us what is next, and we see no end of it.

    Hears: a short interruption; the new socket takes the line over, and the old one ends without a word.
    """
    async with quick_town(proxied={"twilio"}) as town:
        assert town.parts is not None
        call = await ring(town)
        session = await in_conversation(town, call)
        town.proxies["twilio"].strand()
        call.stream.drop()

        again = await goes_on(town, call)
        await session.until(lambda s: s.closed.is_set(), seconds=END_S)
        assert list(town.parts.sessions.live) == [call.sid]
        assert await answers(again)
        assert call.dials == []


async def test_T4_a_line_that_keeps_breaking(quick_town: OpenTown) -> None:
    """Fault: the media socket breaks off more often than `RESUMES`.

    Hears: each time a short interruption; in the end an announcement and a person.
    """
    async with quick_town() as town:
        call = await ring(town)
        await in_conversation(town, call)
        for broken in range(1, limits.RESUMES + 1):
            call.stream.drop()
            await goes_on(town, call, streams=broken + 1)
            await remembered(town, call, breaks=broken)
        call.stream.drop()

        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert len(call.streams) == limits.RESUMES + 1


async def test_T4_a_socket_lost_where_nothing_is_kept(quick_town: OpenTown) -> None:
    """Fault: the media socket breaks off, and `CHECKPOINTS` are switched off.

    Hears: an announcement, then a person.
    """
    async with quick_town(settings={"CHECKPOINTS": "false"}) as town:
        call = await ring(town)
        await greeted(town, call)
        call.stream.drop()

        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert len(call.streams) == 1


async def test_T4_a_call_to_be_resumed_of_which_nothing_is_known(quick_town: OpenTown) -> None:
    """Fault: a stream is opened to go on with a call, and its checkpoint is gone.

    Hears: no greeting, as if nothing had been; an announcement, then a person who knows of the interruption.
    """
    async with quick_town() as town, stream(town, resumes=True) as socket:
        for message in (CONNECTED, start_message()):
            await socket.send(message)
        heard = [json.loads(text)["event"] async for text in socket]
        answer = await post(town, "/twilio/next", {**FORM, "CallStatus": "in-progress"})

        assert "media" not in heard
        assert "connecting you" in answer.text
        assert "sendDigits" in answer.text
        assert town.model.sessions == []
        (ticket,) = town.crm.tickets.values()
        assert "interrupted" in ticket.properties["content"]


async def test_T6_media_before_start(quick_town: OpenTown) -> None:
    """Fault: audio comes before `start`.

    Hears: nothing of it; it is passed over.
    """
    async with quick_town() as town, stream(town) as socket:
        for message in (CONNECTED, media_message(), start_message()):
            await socket.send(message)
        session = await town.model.next_session(seconds=END_S)
        await session.until(lambda s: bool(s.sent("response.done")), seconds=END_S)

        assert session.caller_audio == b""


# --- it talks nonsense


async def test_T7_repeated_and_missing_frames(quick_town: OpenTown) -> None:
    """Fault: gaps and repeats in the numbers of the frames.

    Hears: nothing of it; what was lost is counted.
    """
    async with quick_town() as town:
        assert town.parts is not None
        call = await ring(town)
        session = await greeted(town, call)
        for chunk in (3, 3, 1, 100_000):
            await call.stream.socket.send(media_message(chunk=chunk))

        assert await answers(session)
        call.complete()
        await session.until(lambda s: s.closed.is_set(), seconds=END_S)
        await over(call)
        assert b"voice_connect_caller_frames_lost_total 0.0" not in town.parts.metrics.render()


async def test_T10_a_few_messages_that_make_no_sense(quick_town: OpenTown) -> None:
    """Fault: binary frames, broken JSON, payloads that are no base64 or no text, keys that no telephone has.

    Hears: nothing of it.
    """
    dtmf = {"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": "77"}}
    async with quick_town() as town:
        call = await ring(town)
        session = await greeted(town, call)
        for message in (b"\x00\xff", "{", "[]", media_message("%%%"), media_message(7), media_message(""), "{}"):
            await call.stream.socket.send(message)
        await call.stream.socket.send(json.dumps(dtmf))
        assert await answers(session)

        sent = len(session.caller_audio)
        await session.until(lambda s: len(s.caller_audio) > sent)  # and the caller is still heard


@pytest.mark.parametrize("how", ["nothing but nonsense", "one of a megabyte"])
async def test_T10_messages_that_nobody_should_read(quick_town: OpenTown, how: str) -> None:
    """Fault: nothing but nonsense on the media socket, or one message of a megabyte.

    Hears: what Twilio is told next when the socket is closed: a person, or a new stream.
    """
    async with quick_town() as town:
        call = await ring(town)
        session = await greeted(town, call)
        if how == "one of a megabyte":
            await call.stream.socket.send(media_message("A" * 1_048_576))
        else:
            for _ in range(limits.BAD_MESSAGES_MAX + 1):
                await call.stream.socket.send("{")
        await line_lost(town, call, session)


async def test_T8_a_socket_that_floods(quick_town: OpenTown) -> None:
    """Fault: ten times the messages of a call on one media socket.

    Hears: what Twilio is told next when the socket is closed: a person, or a new stream; other callers nothing of it.
    """
    async with quick_town() as town:
        other = await ring(town)
        undisturbed = await greeted(town, other)
        call = await ring(town)
        session = await greeted(town, call)
        flooded = call.stream
        with contextlib.suppress(ConnectionClosed):
            for _ in range(10 * limits.STREAM_MESSAGES_BURST):
                await flooded.socket.send(media_message())
        await line_lost(town, call, session)

        assert flooded.socket.close_code == 1008
        assert await answers(undisturbed)
        assert len(other.streams) == 1


# --- it is slow


async def test_T9_a_socket_that_is_not_read(quick_town: OpenTown) -> None:
    """Fault: Twilio reads nothing of what we send, while the caller asks for a person.

    Hears: a gap; then a person who knows why.
    """
    long_answer = say("a long answer", audio=sound.ulaw_encode(sound.tone(440, 20_000)))
    async with quick_town([long_answer]) as town:
        assert town.parts is not None
        call = await ring(town, *TO_A_PERSON)
        session = await greeted(town, call)
        call.stream.pause_reading()
        session.caller_said("Please let me speak to a person.")
        await session.until(lambda s: s.closed.is_set(), seconds=END_S)
        call.stream.resume_reading()
        await over(call)

        assert person_knows(town)


LOSES_MARKS = Habits(media=MediaHabits(marks_lost=True))


async def test_T11_marks_that_never_come_back(quick_town: OpenTown) -> None:
    """Fault: Twilio plays everything and returns no mark, neither for what was played nor for what was cleared.

    Hears: nothing of it; an interruption is told to the model by the clock, and the transfer is only a little late.
    """
    answer = say("a long answer", audio=sound.ulaw_encode(sound.tone(440, 8_000)))
    async with quick_town([answer], habits=LOSES_MARKS) as town:
        call = await ring(town, *TO_A_PERSON)
        session = await greeted(town, call)
        before = call.stream.playout.played_ms
        session.caller_said("Tell me everything")
        played_ms = before + limits.MARKS_GONE_MS + 2_000  # the clock of a busy machine may begin late
        await call.until(lambda c: c.stream.playout.played_ms > played_ms, within_s=END_S)
        session.caller_starts_speaking()
        await session.until(lambda s: bool(s.truncations))
        await call.until(lambda c: c.stream.clears > 0 and c.stream.playout.queued_ms == 0)
        heard_ms = call.stream.playout.played_ms - before
        assert limits.MARKS_GONE_MS < session.truncations[0].audio_end_ms <= heard_ms
        assert session.sent("error") == []

        session.caller_stops_speaking("Please let me speak to a person.")
        await over(call)
        assert person_knows(town)


async def test_T11_a_goodbye_of_which_no_mark_comes_back(quick_town: OpenTown) -> None:
    """Fault: Twilio returns no mark of the last words.

    Hears: the goodbye to its end; then the call is over.
    """
    async with quick_town([calls("end_call", reason="done")], habits=LOSES_MARKS) as town:
        assert town.parts is not None
        call = await ring(town)
        session = await greeted(town, call)
        session.caller_said("That was all, thank you.")

        assert await over(call) == "hung-up"
        assert call.stream.playout.queued_ms == 0
        assert "Goodbye" in session.items[-1].text
        assert b"voice_connect_calls_without_marks_total 1.0" in town.parts.metrics.render()
        assert hears_carrier_say(town) == ""


async def test_T12_marks_that_come_back_after_a_clear(quick_town: OpenTown) -> None:
    """Fault: marks of cleared audio come back late, as if it had been heard.

    Hears: nothing of it; the model is told what was really heard.
    """
    answer = say("a long answer", audio=sound.ulaw_encode(sound.tone(440, 4_000)))
    habits = Habits(media=MediaHabits(mark_delay_ms=300))
    async with quick_town([answer], habits=habits) as town:
        call = await ring(town)
        session = await greeted(town, call)
        before = call.stream.playout.played_ms
        session.caller_said("Tell me everything")
        await call.until(lambda c: c.stream.playout.played_ms > before + 1_000, within_s=END_S)
        session.caller_starts_speaking()
        await session.until(lambda s: bool(s.truncations))
        await call.until(lambda c: c.stream.clears > 0 and c.stream.playout.queued_ms == 0)
        session.caller_stops_speaking("Stop.")

        assert session.truncations[0].audio_end_ms <= call.stream.playout.played_ms - before
        assert session.sent("error") == []


# --- the caller's keys, and the end


async def test_T13_a_flood_of_keys(quick_town: OpenTown) -> None:
    """Fault: hundreds of keys.

    Hears: one answer; the model is told no more than `KEYS_MAX` of them.
    """
    async with quick_town() as town:
        call = await ring(town)
        session = await greeted(town, call)
        for _ in range(200):
            dtmf = {"track": "inbound_track", "digit": "7"}
            await call.stream.socket.send(json.dumps({"event": "dtmf", "streamSid": "MZ1", "dtmf": dtmf}))
        await session.until(lambda s: any("7777" in item.text for item in s.items), seconds=END_S)

        assert max(item.text.count("7") for item in session.items) == limits.KEYS_MAX
        assert await answers(session)


async def test_T14_twilios_rest_api_is_not_there(quick_town: OpenTown) -> None:
    """Fault: Twilio's REST API cannot be reached.

    Hears: nothing of it; a transfer does not need it.
    """
    async with quick_town(settings={"TWILIO_API_BASE_URL": "http://127.0.0.1:9"}) as town:
        call = await ring(town, Listen(ms=300), Press("0"), *TO_A_PERSON)
        await over(call)

        assert person_knows(town)
        assert reason_of_transfer(town) == "key"


async def test_T15_a_caller_who_leaves_during_the_transfer(quick_town: OpenTown) -> None:
    """Fault: the caller hangs up while the transfer is being prepared.

    Hears: nothing more; nobody is dialled, and the ticket says that the caller left.
    """
    async with quick_town() as town:
        call = await ring(town, Listen(ms=300), Press("0"), HangUp())

        assert await over(call) == "caller-hung-up"
        assert call.dials == []
        assert town.center.contacts == []
        async with asyncio.timeout(END_S):
            while "caller left" not in str(town.crm.tickets):  # noqa: ASYNC110 - the outbox delivers when it can
                await asyncio.sleep(0.05)
