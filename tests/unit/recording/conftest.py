"""A call that is recorded while everything private that can happen to it happens."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from voice_openai_connect.call import events as ev
from voice_openai_connect.call.settings import CallIdentity, CallSettings, Intent
from voice_openai_connect.errands import Errands
from voice_openai_connect.recording.recorder import RecordedCall, Recorder


class SaysAgent:
    def wants_person(self, text: str) -> bool:
        return "agent" in text


@pytest.fixture
def identity() -> CallIdentity:
    return CallIdentity("CA1", "conv-1", "ho-1", "+15550100", "+15550199")


@pytest.fixture
def call_settings() -> CallSettings:
    general = Intent("general", "support", "normal")
    return CallSettings(
        greeting="Hello!",
        transfer_sentence="One moment.",
        goodbye_sentence="Bye!",
        phrases=SaysAgent(),
        intents={"general": general, "billing": Intent("billing", "billing", "high")},
        default_intent=general,
        tools=frozenset({"order_status"}),
    )


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def disk() -> Iterator[Errands]:
    errands = Errands("recordings")
    yield errands
    errands.close(20)


@pytest.fixture
def recorded_call(
    disk: Errands, tmp_path: Path, identity: CallIdentity, call_settings: CallSettings, troubles: list[str]
) -> RecordedCall:
    recorder = Recorder(disk, tmp_path, identity, call_settings, lambda reason, _: troubles.append(reason))
    return RecordedCall(identity, call_settings, recorder)


CALL: list[ev.Event] = [
    ev.StreamStarted("MZ1"),
    ev.ModelConnected(),
    ev.CallerAudio(b"SECRETVOICE" * 20),
    ev.ModelConfigured("audio/pcmu", "audio/pcmu"),
    ev.ModelResponseStarted("r1", "greeting"),
    ev.ModelAudio("r1", "i1", b"SECRETSOUND" * 500),
    ev.ModelSaid("r1", "i1", "My secret is a sec"),
    ev.ModelSaid("r1", "i1", "ret, and a long one."),
    ev.PlaybackReached("m1"),
    ev.CallerAudio(b"SECRETVOICE" * 20),
    ev.CallerSpeechStarted("u1"),
    ev.CallerSpeechStopped("u1"),
    ev.ModelResponseFinished("r1", "greeting", "cancelled"),
    ev.CallerTranscribed("u1", "my secret wish"),
    ev.KeyPressed("7"),
    ev.KeyPressed("0"),
    ev.ModelResponseStarted("r2", "reply"),
    ev.ModelToolCalled("r2", "i2", "c1", "order_status", '{"order": "secret"}'),
    ev.ModelToolCalled("r2", "i2", "c2", "secret_tool", '{"order": "secret"'),
    ev.ToolFinished("c1", "a secret parcel"),
    ev.ModelResponseFinished("r2", "reply", "completed"),
    ev.ModelLost("reset"),
    ev.ModelConnected(),
    ev.ModelConfigured("audio/pcmu", "audio/pcmu"),
    ev.CallerTranscribed("u2", "a secret agent, please"),
    ev.ContactFound("secret-contact"),
    ev.ModelResponseFinished("s", "summary", "completed", text="intent: billing\nA secret summary."),
    ev.TicketOpened("secret-ticket", "https://secret.example"),
    ev.HandoverSaved("4444444444"),
    ev.TimerFired("sentence"),
]


@pytest.fixture
def run_call(recorded_call: RecordedCall, disk: Errands) -> Callable[[], None]:
    def run() -> None:
        for number, event in enumerate(CALL):
            recorded_call.handle(event, 1_000 + number * 90)
        assert disk.settled(20)

    return run
