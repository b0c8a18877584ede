"""One call under every event in any order, with time passing: what is promised holds all the same."""

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings, Intent

DEADLINES = {
    Phase.STARTING: {"model_ready"},
    Phase.TALKING: {"call_limit"},
    Phase.RECOVERING: {"model_ready"},
    Phase.SAYING_GOODBYE: {"goodbye"},
    Phase.HANDING_OVER: {"sentence", "summary", "crm", "save"},
    Phase.DIALING: {"late"},
}
GENERAL = Intent("general", "support", "normal")


class SaysAgent:
    def wants_person(self, text: str) -> bool:
        return "agent" in text


ids = st.sampled_from(["a", "b", "c"])
purposes = st.sampled_from(["reply", "greeting", "transfer", "goodbye", "summary"])
events: st.SearchStrategy[ev.Event] = st.one_of(
    st.builds(ev.StreamStarted, st.just("MZ1")),
    st.builds(ev.CallerAudio, st.sampled_from([bytes(3), b"\xff" * 150])),
    st.builds(ev.KeyPressed, st.sampled_from("0123*#")),
    st.builds(ev.StreamStopped),
    st.builds(ev.StreamLost, st.just("closed")),
    st.builds(ev.ModelConnected),
    st.builds(ev.ModelConfigured, st.just("audio/pcmu"), st.sampled_from(["audio/pcmu", "audio/pcm"])),
    st.builds(ev.ModelLost, st.just("reset"), st.booleans()),
    st.builds(ev.CallerSpeechStarted, ids),
    st.builds(ev.CallerSpeechStopped, ids),
    st.builds(ev.CallerStayedSilent, ids),
    st.builds(ev.CallerTranscribed, ids, st.sampled_from(["hello", "an agent please", ""])),
    st.builds(ev.CallerTranscriptionFailed, ids, st.just("x")),
    st.builds(ev.ModelResponseStarted, ids, purposes),
    st.builds(ev.ModelAudio, ids, ids, st.sampled_from([b"", b"x", b"x" * 160, b"x" * 5_001])),
    st.builds(ev.ModelAudioFinished, ids, ids),
    st.builds(ev.ModelSaid, ids, ids, st.just("some words"), st.booleans()),
    st.builds(
        ev.ModelToolCalled,
        ids,
        ids,
        ids,
        st.sampled_from(["transfer_to_human", "end_call", "mine", "no"]),
        st.just("{}"),
    ),
    st.builds(
        ev.ModelResponseFinished,
        ids,
        purposes,
        st.sampled_from(["completed", "cancelled", "failed", "incomplete"]),
        text=st.sampled_from(["", "A summary."]),
    ),
    st.builds(ev.ModelErred, st.sampled_from(["conversation_already_has_active_response", "x"])),
    st.builds(ev.ToolFinished, ids, st.just("done")),
    st.builds(ev.ToolFailed, ids, st.just("x")),
    st.builds(ev.HandoverOrdered, st.booleans()),
    st.builds(ev.MoveOrdered),
    st.sampled_from([ev.QueuesUnattended(), ev.QueuesUnattended(closed=frozenset({GENERAL.queue}))]),
)


class OneCall(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        settings_ = CallSettings(
            greeting="Hello!",
            transfer_sentence="One moment.",
            goodbye_sentence="Bye!",
            phrases=SaysAgent(),
            intents={"general": GENERAL},
            default_intent=GENERAL,
            tools=frozenset({"mine"}),
        )
        self.call = Call(CallIdentity("CA1", "conv", "ho", "+15550100", "+15550199"), settings_)
        self.now = 0
        self.timers: dict[str, int] = {}
        self.asked: Counter[str] = Counter()
        self.open: set[type[do.Command]] = set()
        self.closed = False
        self.last: Any = None
        self.epoch_sent = 0
        self.post(ev.StreamStarted("MZ1"))

    def post(self, event: ev.Event) -> None:
        was = self.call.phase
        for command in self.call.handle(event, self.now):
            self.asked[type(command).__name__] += 1
            self.check(command, was)
        self.last = event

    def check(self, command: do.Command, was: Phase) -> None:
        assert was is not Phase.ENDED, "a call that has ended asks for nothing"
        match command:
            case do.SetTimer(name=name, at=at):
                assert at >= self.now
                self.timers[name] = at
            case do.CancelTimer(name=name):
                self.timers.pop(name, None)
            case do.PlayAudio(audio=audio):
                assert not self.closed
                assert audio
                assert len(audio) % 160 == 0
                self.epoch_sent += len(audio) // 8
            case do.ClearPlayback():
                self.epoch_sent = 0
            case do.TruncateItem(audio_end_ms=ms):
                assert ms > 0
            case do.CloseStream() | do.MoveStream():
                assert not self.closed
                self.closed = True
            case do.SaveHandover(record=record):
                assert record.summary
                self.open.add(do.SaveHandover)
            case do.FindContact() | do.OpenTicket():
                self.open.add(type(command))
            case do.Tell(fact=Fact.ESCALATED):
                self.asked["escalated"] += 1
            case _:
                pass

    @rule(event=events)
    def something_happens(self, event: ev.Event) -> None:
        self.post(event)

    @rule(name=st.integers(1, 60))
    def a_mark_returns(self, name: int) -> None:
        self.post(ev.PlaybackReached(f"m{name}"))

    @rule(ms=st.sampled_from([1, 90, 700, 3_000]))
    def time_passes(self, ms: int) -> None:
        self.now += ms
        for name in sorted(name for name, at in self.timers.items() if at <= self.now):
            if self.timers.get(name, self.now + 1) > self.now:
                continue  # one that was due before has cancelled it, or put it off
            del self.timers[name]
            self.post(ev.TimerFired(name))

    @rule(well=st.booleans())
    def an_answer_comes(self, *, well: bool) -> None:
        answers: dict[type[do.Command], tuple[ev.Event, ev.Event]] = {
            do.FindContact: (ev.ContactFound("c1"), ev.ContactNotFound("x")),
            do.OpenTicket: (ev.TicketOpened("t1"), ev.TicketNotOpened("x")),
            do.SaveHandover: (ev.HandoverSaved("0123456789"), ev.HandoverNotSaved("x")),
        }
        for command in sorted(self.open, key=lambda c: c.__name__):
            self.open.discard(command)
            self.post(answers[command][0 if well else 1])

    @invariant()
    def one_escalation_one_contact_one_ticket_one_token_one_way_out(self) -> None:
        for name in ("escalated", "FindContact", "OpenTicket", "SaveHandover", "CloseStream"):
            assert self.asked[name] <= 1, name

    @invariant()
    def whoever_waits_for_something_has_a_deadline(self) -> None:
        deadlines = DEADLINES.get(self.call.phase)
        assert deadlines is None or deadlines & self.timers.keys()

    def teardown(self) -> None:
        """However it went, patience alone brings every call to its end."""
        for _ in range(40):
            if self.call.phase is Phase.ENDED or not self.timers:
                break
            self.now = max(self.now, min(self.timers.values()))
            self.time_passes(0)
        assert self.call.phase is Phase.ENDED
        assert self.closed or self.asked["DisconnectModel"]


OneCall.TestCase.settings = settings(max_examples=250, stateful_step_count=40)
test_one_call_keeps_its_promises_whatever_happens_in_whatever_order = OneCall.TestCase
