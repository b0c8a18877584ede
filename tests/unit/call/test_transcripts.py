"""Whole calls, event by event and command by command, held against what was written down in transcripts/.

A transcript that differs is a decision that has changed. If it was meant to, write them anew and read the difference:

    python tests/unit/call/test_transcripts.py
"""

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint, Turn
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings, Intent

FOLDER = Path(__file__).parent / "transcripts"
BEGUN_AT = 100_000
GENERAL, BILLING = Intent("general", "support", "normal"), Intent("billing", "billing", "high")
READY = (ev.StreamStarted("MZ1"), ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))

Step = int | str | ev.Event
"""Time that passes (ms), "heard" (every mark that is out comes back), or something that happens."""


class SaysAgent:
    def wants_person(self, text: str) -> bool:
        return "agent" in text


def speech(name: str, purpose: ev.Purpose = "reply", ms: int = 300) -> tuple[ev.Event, ...]:
    """A response of one item, to its end."""
    return (
        ev.ModelResponseStarted(f"r-{name}", purpose),
        ev.ModelAudio(f"r-{name}", f"i-{name}", b"\x55" * (ms * limits.BYTES_PER_MS)),
        ev.ModelSaid(f"r-{name}", f"i-{name}", f"words of {name}", final=True),
        ev.ModelAudioFinished(f"r-{name}", f"i-{name}"),
        ev.ModelResponseFinished(f"r-{name}", purpose, "completed"),
    )


def turn(text: str, item: str = "u1") -> tuple[ev.Event, ...]:
    """Something the caller says."""
    return ev.CallerSpeechStarted(item), ev.CallerSpeechStopped(item), ev.CallerTranscribed(item, text)


def tool(name: str, call_id: str = "c1", response: str = "r-tool", **arguments: str) -> tuple[ev.Event, ...]:
    """A response that only calls a tool."""
    return (
        ev.ModelResponseStarted(response, "reply"),
        ev.ModelToolCalled(response, f"i-{call_id}", call_id, name, json.dumps(arguments)),
        ev.ModelResponseFinished(response, "reply", "completed"),
    )


TALKING: tuple[Step, ...] = (*READY, *speech("greet", "greeting"), 300, "heard", 1_000)
RECORD = (ev.ContactFound("c9"), ev.TicketOpened("t9", "https://crm/t9"), ev.HandoverSaved("0123456789"))
SUMMARY = ev.ModelResponseFinished("s1", "summary", "completed", text="Intent: billing\nWas charged twice.")
KEPT = Checkpoint((Turn("assistant", "How can I help?"), Turn("caller", "I was charged twice")), resumes=2)

CALLS: dict[str, tuple[Step, ...]] = {
    "a transfer in which everything works": (
        *TALKING,
        *turn("an agent please"),
        *speech("transfer", "transfer", 700),
        SUMMARY,
        *RECORD,
        700,
        "heard",
        60_000,
    ),
    "a transfer in which nothing answers": (*TALKING, ev.KeyPressed("0"), 60_000),
    "a transfer in which everything fails": (
        *TALKING,
        ev.HandoverOrdered(),
        ev.ContactNotFound("crm_down"),
        ev.ModelResponseFinished("s1", "summary", "failed"),
        ev.TicketNotOpened("crm_down"),
        ev.HandoverNotSaved("store_down"),
        ev.ModelResponseStarted("x1", "transfer"),
        ev.ModelResponseFinished("x1", "transfer", "failed"),
        ev.ModelResponseStarted("x2", "transfer"),
        ev.ModelResponseFinished("x2", "transfer", "failed"),
        60_000,
    ),
    "a transfer that the model asks for, with a ticket that comes late": (
        *TALKING,
        *turn("I was charged twice"),
        *tool("transfer_to_human", reason="A refund.", summary="Was charged twice.", intent="billing"),
        *speech("transfer", "transfer"),
        ev.ContactFound("c9"),
        limits.CRM_MS,
        ev.HandoverSaved("0123456789"),
        "heard",
        2_000,
        ev.TicketOpened("t9", "https://crm/t9"),
        60_000,
    ),
    "a record that is saved after its time": (
        *TALKING,
        *turn("an agent please"),
        *speech("transfer", "transfer"),
        SUMMARY,
        ev.ContactFound("c9"),
        ev.TicketOpened("t9", "https://crm/t9"),
        300,
        "heard",
        limits.SAVE_MS,
        ev.HandoverSaved("0123456789"),
        60_000,
    ),
    "a caller who leaves while the record is being saved": (
        *TALKING,
        *turn("an agent please"),
        SUMMARY,
        ev.ContactFound("c9"),
        ev.TicketOpened("t9", "https://crm/t9"),
        ev.StreamStopped(),
        ev.HandoverSaved("0123456789"),
        60_000,
    ),
    "a caller who interrupts": (
        *READY,
        *speech("greet", "greeting", 2_000)[:3],
        20,
        ev.PlaybackReached("m1"),
        100,
        ev.PlaybackReached("m2"),
        100,
        ev.PlaybackReached("m3"),
        280,
        *turn("stop"),
        ev.ModelAudio("r-greet", "i-greet", b"\x55" * 800),
        ev.ModelResponseFinished("r-greet", "greeting", "cancelled"),
        *speech("answer"),
        300,
        "heard",
        ev.StreamStopped(),
    ),
    "tools that work, take long, fail, and are not there": (
        *TALKING,
        *turn("where is it?"),
        *tool("order_status", "c1", number="5"),
        ev.ToolFinished("c1", "on its way"),
        *speech("one"),
        300,
        "heard",
        *tool("order_status", "c1"),
        *tool("no_such_tool", "c2", "r-two"),
        *speech("two"),
        *tool("order_status", "c3", "r-three"),
        ev.ToolFailed("c3", "broken"),
        *speech("three"),
        *tool("order_status", "c4", "r-four"),
        limits.TOOL_MS,
        ev.ToolFinished("c4", "too late"),
        ev.StreamLost("reset"),
    ),
    "responses that fail": (
        *TALKING,
        *turn("hello"),
        ev.ModelResponseStarted("r1", "reply"),
        ev.ModelResponseFinished("r1", "reply", "failed", code="server_error"),
        limits.RESPONSE_RETRY_WAIT_MS,
        ev.ModelErred("conversation_already_has_active_response"),
        ev.ModelErred("response_cancel_not_active"),
        ev.ModelResponseStarted("r2", "reply"),
        ev.ModelResponseFinished("r2", "reply", "failed", code="rate_limit_exceeded", retry_after_ms=900),
        *speech("transfer", "transfer"),
        SUMMARY,
        *RECORD,
        300,
        "heard",
        60_000,
    ),
    "a model that is lost, comes back, and is lost again": (
        *TALKING,
        *turn("hello"),
        ev.ModelLost("reset"),
        ev.CallerAudio(b"A" * 160),
        *READY[1:],
        *speech("back"),
        300,
        "heard",
        ev.ModelLost("reset"),
        *RECORD,
        60_000,
    ),
    "a model that falls silent": (*TALKING, *turn("hello"), 60_000),
    "a model that never gets ready": (READY[0], ev.ModelLost("refused"), 60_000),
    "a model with another format": (*READY[:2], ev.ModelConfigured("audio/pcmu", "audio/pcm"), 60_000),
    "words before the model is ready": (
        READY[0],
        *[ev.CallerAudio(b"A" * 160)] * 110,
        *READY[1:],
        ev.CallerAudio(b"B" * 160),
        ev.StreamStopped(),
    ),
    "keys": (*TALKING, *[ev.KeyPressed(key) for key in "47#"], limits.KEYS_PAUSE_MS, ev.StreamStopped()),
    "a caller who says nothing": (
        *TALKING,
        *[ev.CallerStayedSilent("u1")] * limits.IDLE_PROMPTS,
        *speech("bye", "goodbye"),
        300,
        "heard",
        60_000,
    ),
    "a goodbye that is interrupted, and then is not": (
        *TALKING,
        *turn("thank you"),
        *tool("end_call"),
        *speech("bye", "goodbye", 2_000),
        500,
        *turn("one more thing", "u2"),
        *speech("more"),
        300,
        "heard",
        *tool("end_call", "c2", "r-end"),
        60_000,
    ),
    "a goodbye whose model is lost": (*TALKING, *tool("end_call"), ev.ModelLost("reset")),
    "a call that takes its longest time": (*TALKING, 600_000),
    "a reply that is too long": (
        *TALKING,
        ev.ModelResponseStarted("r1", "reply"),
        *[ev.ModelAudio("r1", "i1", b"\x55" * (10_000 * limits.BYTES_PER_MS))] * 8,
        ev.ModelResponseFinished("r1", "reply", "cancelled"),
        ev.StreamStopped(),
    ),
    "a move between two turns": (*TALKING, *turn("hello"), ev.MoveOrdered(), *speech("one"), 300, "heard"),
    "a move in the middle of a sentence": (
        *TALKING,
        *turn("hello"),
        *speech("one", ms=20_000),
        ev.MoveOrdered(),
        20_000,
    ),
    "a move at once": (*TALKING, ev.MoveOrdered(at_once=True)),
    "marks that never come back": (*READY, *speech("greet", "greeting"), 10_000, ev.StreamStopped()),
}
RESUMED: dict[str, tuple[Checkpoint, tuple[Step, ...]]] = {
    "a call that is taken up again": (KEPT, (*READY, 1_000, *speech("back"), 300, "heard", ev.StreamStopped())),
    "a call that was taken up too often": (
        Checkpoint(KEPT.turns, resumes=limits.RESUMES + 1),
        (READY[0], *RECORD, 60_000),
    ),
    "a caller whom nobody answered, and who leaves a message": (
        Checkpoint(KEPT.turns, nobody_came="busy"),
        (
            *READY,
            *speech("sorry"),
            300,
            "heard",
            *turn("an agent please"),
            *speech("no"),
            *tool("take_message", message="Refund me."),
            ev.ToolFinished("c1", "kept"),
            *speech("kept"),
            *tool("end_call", "c2", "r-end"),
            *speech("bye", "goodbye"),
            300,
            "heard",
        ),
    ),
    "a caller whom nobody answered, and whose model is lost": (
        Checkpoint(KEPT.turns, nobody_came="no_answer"),
        (*READY, *speech("sorry"), ev.ModelLost("reset", permanent=True), 60_000),
    ),
}
NAMES = [*CALLS, *RESUMED]


class Telling:
    """Plays one call and writes it down."""

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        settings = CallSettings(
            greeting="Hello!",
            transfer_sentence="One moment.",
            goodbye_sentence="Bye!",
            phrases=SaysAgent(),
            intents={"general": GENERAL, "billing": BILLING},
            default_intent=GENERAL,
            tools=frozenset({"order_status"}),
            call_ms=600_000,
        )
        self.call = Call(CallIdentity("CA1", "conv", "ho", "+15550100", "+15550199"), settings, checkpoint)
        self.now = BEGUN_AT
        self.timers: dict[str, int] = {}
        self.marks: list[str] = []
        self.lines: list[str] = []

    def play(self, steps: Sequence[Step]) -> str:
        for step in steps:
            match step:
                case int():
                    self.wait(step)
                case str():
                    for name in list(self.marks):
                        self.post(ev.PlaybackReached(name))
                case _:
                    self.post(step)
        lines = [self.at_once(list(same), line) for line, same in groupby(self.lines)]
        return "\n".join([*lines, f"{self.at} {self.call.phase.value}", ""])

    @staticmethod
    def at_once(same: list[str], line: str) -> str:
        return line if len(same) == 1 else f"{line}, {len(same)} times"

    @property
    def at(self) -> int:
        return self.now - BEGUN_AT

    def wait(self, ms: int) -> None:
        end = self.now + ms
        while due := sorted((at, name) for name, at in self.timers.items() if at <= end):
            self.now, name = max(self.now, due[0][0]), due[0][1]
            del self.timers[name]
            self.post(ev.TimerFired(name))
        self.now = end

    def post(self, event: ev.Event) -> None:
        phase = self.call.phase
        commands = self.call.handle(event, self.now)
        if phase is Phase.ENDED:
            assert commands == ()
            return
        quiet = isinstance(event, ev.PlaybackReached) and not commands
        if not quiet:
            self.lines.append(f"{self.at} {phase.value}: {written(event, self.now)}")
        for for_the_line, group in groupby(commands, lambda c: isinstance(c, do.PlayAudio | do.MarkPlayback)):
            together = list(group)
            self.lines += [f"    {line}" for line in (self.played(together) if for_the_line else self.told(together))]
        self.note(commands)

    def told(self, commands: Sequence[do.Command]) -> list[str]:
        return [written(command, self.now) for command in commands]

    def played(self, commands: Sequence[do.Command]) -> list[str]:
        """Audio and marks that leave together, in one line."""
        sizes = [len(c.audio) // limits.BYTES_PER_MS for c in commands if isinstance(c, do.PlayAudio)]
        names = [c.name for c in commands if isinstance(c, do.MarkPlayback)]
        lines = [f"plays {sum(sizes)} ms in {len(sizes)} pieces of up to {max(sizes)} ms"] if sizes else []
        return [*lines, f"marks {names[0]} to {names[-1]}"] if names else lines

    def note(self, commands: Sequence[do.Command]) -> None:
        for command in commands:
            match command:
                case do.SetTimer(name=name, at=at):
                    self.timers[name] = at
                case do.CancelTimer(name=name):
                    self.timers.pop(name, None)
                case do.MarkPlayback(name=name):
                    self.marks.append(name)
                case do.ClearPlayback():
                    self.marks.clear()
                case _:
                    pass


def written(what: ev.Event | do.Command, now: int) -> str:
    """One line; audio by its length, long texts by their beginnings, timers by how long they take."""
    match what:
        case ev.ModelAudio(audio=audio) | do.PlayAudio(audio=audio):
            return f"{type(what).__name__} {len(audio) // limits.BYTES_PER_MS} ms"
        case ev.CallerAudio(audio=audio) | do.SendCallerAudio(audio=audio):
            return f"{type(what).__name__} {audio[:1].decode()}"
        case do.SetTimer(name=name, at=at):
            return f"SetTimer {name} in {at - now} ms"
        case do.RequestSummary():
            return "RequestSummary"
        case do.RequestResponse(purpose=purpose, instructions=instructions):
            return f"RequestResponse {purpose} {instructions[-12:]!r}"
        case do.AddText(who=who, text=text):
            return f"AddText {who} {text[:40]!r}"
        case _:
            return repr(what)


def file_of(name: str) -> Path:
    return FOLDER / f"{name.replace(',', '').replace(' ', '_')}.txt"


def transcript(name: str) -> str:
    checkpoint, steps = RESUMED.get(name) or (None, CALLS[name])
    return Telling(checkpoint).play(steps)


@pytest.mark.parametrize("name", NAMES)
def test_a_call_goes_as_it_was_written_down(name: str) -> None:
    assert transcript(name) == file_of(name).read_text(encoding="utf-8")


def test_no_transcript_is_left_without_its_call() -> None:
    assert sorted(FOLDER.glob("*.txt")) == sorted(map(file_of, NAMES))


if __name__ == "__main__":
    for each in NAMES:
        file_of(each).write_text(transcript(each), encoding="utf-8")
