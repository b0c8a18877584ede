"""A third party's idea of Twilio Media Streams (`streamdouble`) talks to the gateway, over good lines and bad ones."""

import asyncio
import functools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import pytest
import websockets
from streamdouble import session as double
from streamdouble.protocol import StreamIdentity
from twilio.request_validator import RequestValidator

from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.town import ACCOUNT_SID, AUTH_TOKEN, CALLER, GATEWAY_NUMBER, Town
from voice_openai_connect.wire.stream_ticket import issue_ticket

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
CALL_SID = "CA" + "d" * 32
SPEECH_MS = 1_000


async def double_calls(town: Town, monkeypatch: pytest.MonkeyPatch, config: Any) -> Any:
    """streamdouble opens a bare socket; the one thing added is the signature that Twilio would send with it."""
    ticket = issue_ticket(AUTH_TOKEN, call_sid=CALL_SID, expires_at_s=4_000_000_000, nonce=b"streamdouble....")
    url = f"{town.settings['PUBLIC_HOST'].replace('http', 'ws', 1)}/twilio/stream/{ticket}"
    signature = cast("Any", RequestValidator(AUTH_TOKEN)).compute_signature(url, {})
    signed = functools.partial(websockets.connect, additional_headers={"x-twilio-signature": signature})
    monkeypatch.setattr(double.websockets, "connect", signed)
    frames = sound.frames(sound.ulaw_encode(sound.tone(440, SPEECH_MS)))
    identity = StreamIdentity(account_sid=ACCOUNT_SID, call_sid=CALL_SID)
    return await double.Session(url, frames, config=config, identity=identity).run()


@pytest.mark.parametrize(
    "line",
    [double.Impairments(), double.Impairments(loss=0.05, jitter_ms=60, latency_ms=120)],
    ids=["good line", "bad line"],
)
async def test_it_hears_the_gateway_gets_its_marks_and_finds_no_violation(
    quick_town: OpenTown, monkeypatch: pytest.MonkeyPatch, line: double.Impairments
) -> None:
    parameters = {"caller": CALLER, "called": GATEWAY_NUMBER}
    config = double.SessionConfig(custom_parameters=parameters, impairments=line, chaos_seed=3)
    async with quick_town() as town:
        result = await double_calls(town, monkeypatch, config)
        session = await town.model.next_session()
        await asyncio.wait_for(session.closed.wait(), 10)

    said = sum(item.audio_ms for item in session.items if item.is_model_speech) * 8
    assert result.violations == []
    assert result.unknown_events == []
    assert said <= len(result.audio_received) <= said + 160
    assert result.marks_received
    assert set(result.marks_received) == set(result.marks_echoed)
    assert len(session.caller_audio) == result.frames_sent * 160
