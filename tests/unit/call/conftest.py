"""A call on a hand-set clock, and short words for what happens to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.settings import CallIdentity, CallSettings, Intent

C = TypeVar("C", bound=do.Command)
IDENTITY = CallIdentity("CA" + "0" * 32, "conv-1", "ho-1", "+15550100", "+15550199")


class SaysAgent:
    """Phrases of these tests: whoever says "agent" wants one."""

    def wants_person(self, text: str) -> bool:
        return "agent" in text


def settings(**changes: Any) -> CallSettings:
    general = Intent("general", "support", "normal")
    values: dict[str, Any] = {
        "greeting": "This call is answered by an AI. Hello!",
        "transfer_sentence": "I am connecting you now.",
        "goodbye_sentence": "Goodbye!",
        "phrases": SaysAgent(),
        "intents": {"general": general, "billing": Intent("billing", "billing", "high")},
        "default_intent": general,
        "tools": frozenset({"order_status"}),
    }
    return CallSettings(**(values | changes))


@dataclass
class Line:
    """A call with its clock, timers and everything it has asked for so far."""

    call: Call
    now: int = 1_000
    commands: list[do.Command] = field(default_factory=list[do.Command])
    timers: dict[str, int] = field(default_factory=dict[str, int])

    def post(self, *events: ev.Event) -> list[do.Command]:
        """Post events at the present moment; the commands they brought."""
        new: list[do.Command] = []
        for event in events:
            for command in self.call.handle(event, self.now):
                new.append(command)
                if isinstance(command, do.SetTimer):
                    self.timers[command.name] = command.at
                elif isinstance(command, do.CancelTimer):
                    self.timers.pop(command.name, None)
        self.commands += new
        return new

    def wait(self, ms: int) -> list[do.Command]:
        """Let time pass; timers fire when they are due, in order."""
        end, new = self.now + ms, list[do.Command]()
        while due := sorted((at, name) for name, at in self.timers.items() if at <= end):
            at, name = due[0]
            self.now = max(self.now, at)
            del self.timers[name]
            new += self.post(ev.TimerFired(name))
        self.now = end
        return new

    def sent(self, kind: type[C], among: Sequence[do.Command] | None = None) -> list[C]:
        """The commands of one kind."""
        return [c for c in (self.commands if among is None else among) if isinstance(c, kind)]

    def facts(self, fact: Fact) -> list[do.Tell]:
        return [t for t in self.sent(do.Tell) if t.fact is fact]

    # --- what usually happens

    def talk(self) -> None:
        """The model is ready and its greeting has been heard."""
        self.post(ev.StreamStarted("MZ1"), ev.ModelConnected(), ev.ModelConfigured("audio/pcmu", "audio/pcmu"))
        self.say("greet", purpose="greeting")

    def begin_saying(self, name: str, ms: int = 400, purpose: ev.Purpose = "reply") -> list[do.Command]:
        """The model begins a response with one item of `ms`; it is not over."""
        return self.post(
            ev.ModelResponseStarted(f"r-{name}", purpose),
            ev.ModelAudio(f"r-{name}", f"i-{name}", b"\x55" * (ms * 8)),
        )

    def end_saying(self, name: str, purpose: ev.Purpose = "reply") -> list[do.Command]:
        return self.post(
            ev.ModelSaid(f"r-{name}", f"i-{name}", f"words of {name}", final=True),
            ev.ModelAudioFinished(f"r-{name}", f"i-{name}"),
            ev.ModelResponseFinished(f"r-{name}", purpose, "completed"),
        )

    def say(self, name: str, ms: int = 400, purpose: ev.Purpose = "reply") -> list[do.Command]:
        """A whole response, heard to its end."""
        commands = self.begin_saying(name, ms, purpose) + self.end_saying(name, purpose)
        return commands + self.hear_everything()

    def hear_everything(self) -> list[do.Command]:
        """Every mark that is out comes back, played."""
        marks = self.sent(do.MarkPlayback)
        return self.post(*(ev.PlaybackReached(mark.name) for mark in marks))

    def caller_says(self, text: str, item: str = "u1") -> list[do.Command]:
        return self.post(ev.CallerSpeechStarted(item), ev.CallerSpeechStopped(item), ev.CallerTranscribed(item, text))


@pytest.fixture
def make_line() -> Callable[..., Line]:
    def make(**changes: Any) -> Line:
        return Line(Call(IDENTITY, settings(**changes)))

    return make


@pytest.fixture
def line(make_line: Callable[..., Line]) -> Line:
    """A call that has just been made."""
    return make_line()


@pytest.fixture
def talking(line: Line) -> Line:
    """A call in which the greeting has been heard."""
    line.talk()
    line.commands.clear()
    return line
