"""One stream of a simulated call: the machine that has it, its line, its model and its services."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.instructions import NO_PAUSE
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.next_step import HangUp
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings, Intent
from voice_openai_connect.simulator.simulation_outside import OWN_TOOL, Model, Services
from voice_openai_connect.simulator.simulation_promises import Promises
from voice_openai_connect.simulator.simulation_world import HOLD_BYTE, Agenda, Line, Sound, Turns, Weather

WISH: Final = "a person, please"
LONGEST_TALK_MS: Final = 120_000
_CLOSE_MS: Final = 300
_GENERAL: Final = Intent("general", "support", "normal")
_ON_THE_LINE: Final = frozenset({ev.CallerAudio, ev.PlaybackReached, ev.KeyPressed})
_FOR_THE_LINE: Final = frozenset({do.PlayAudio, do.MarkPlayback, do.ClearPlayback})
_NOT_TOLD: Final = frozenset(
    {ev.CallerAudio, ev.PlaybackReached, do.MarkPlayback, do.SendCallerAudio, do.SetTimer, do.CancelTimer}
)
_OPEN_END: Final = frozenset({Phase.TALKING, Phase.ENDED, Phase.CLEARING_UP})
"""In the other phases the caller waits for us, whatever else happens."""


class _Phrases:
    def wants_person(self, text: str) -> bool:
        return text == WISH


@dataclass(slots=True)
class Scene:
    """What all the streams of one call have in common."""

    agenda: Agenda
    rng: Random
    weather: Weather
    turns: Turns
    promises: Promises
    item: CallItem = field(default_factory=CallItem)
    """What every instance knows about the call."""
    lost_a_decision: bool = False
    """The store did not take it that a person is needed."""
    speaking: bool = False
    """Whether the caller is speaking."""
    spoke_at: int = 0


class Stream:
    """Runs one `Call` as an instance of the gateway would. `on_close` hears that the stream was closed on purpose."""

    def __init__(self, scene: Scene, number: int, resumed: Checkpoint | None, on_close: Callable[[], None]) -> None:
        agenda, rng, weather = scene.agenda, scene.rng, scene.weather
        self._scene = scene
        self._promises = scene.promises
        self._number = number
        self._on_close = on_close
        identity = CallIdentity("CA1", "conv", "ho", "+15550100", "+15550199")
        settings = _settings(rng)
        self.call = Call(identity, settings, resumed)
        self.line = Line(agenda, rng, lambda name: self.post(ev.PlaybackReached(name)), weather.marks)
        back = weather.closed or (resumed is not None and bool(resumed.nobody_came))
        interrupts = settings.server_interrupts
        self.model = Model(agenda, rng, weather, self.post, takes_messages=back, interrupts=interrupts)
        self._services = Services(agenda, rng, weather, self.post)
        self._timers: dict[str, int] = {}
        self._tools: set[str] = set()
        self._has_model = False
        """As far as the call knows; so with the next one."""
        self._caller_speaks = False
        self._asked_into_noise = False
        self._spoken_over: set[str] = set()
        """Answers that the call had asked for, and that began when it knew that the caller speaks."""
        self.closing = False
        self.dead = False

    @property
    def listened_to(self) -> bool:
        """Whether the caller's voice still reaches the model."""
        return self.call.phase in {Phase.TALKING, Phase.SAYING_GOODBYE} and not self.dead

    @property
    def at_rest(self) -> bool:
        """Whether nothing of it is left: its instance has died, or the call has ended and so has its model."""
        return self.dead or (self.call.phase is Phase.ENDED and not self.model.running)

    def start(self) -> None:
        """Twilio has opened it."""
        if not self._scene.speaking:
            self._scene.turns.set(ours=True)
        self.post(ev.StreamStarted(f"MZ{self._number}"))
        if self._scene.weather.closed:
            self.post(ev.QueuesUnattended(closed=frozenset({_GENERAL.queue})))
            opens_after_ms = self._scene.rng.randrange(LONGEST_TALK_MS)
            self._scene.agenda.after(opens_after_ms, lambda: self.post(ev.QueuesUnattended()))

    def die(self) -> None:
        """Its instance is gone, and hears nothing of it."""
        self.dead = True
        self.line.close()

    def post(self, event: ev.Event) -> None:
        """Something has happened to the call."""
        kind = type(event)
        if self.dead or (self.line.closed and kind in _ON_THE_LINE):
            return
        self._learn(event)
        was = self.call.phase
        commands = self.call.handle(event, self._scene.agenda.now)
        if self._promises.told:
            self._note("→", event)
        if was is Phase.ENDED and commands:
            self._promises.break_("asked for something after its end")
        if not (self._scene.speaking or self.line.closed):
            self._see_turn(event)
        for command in commands:
            self._carry_out(command)
        self._check_voice(event, commands)
        self._promises.check_deadlines(self.call.phase, self._timers, self._tools)

    def _learn(self, event: ev.Event) -> None:
        match event:
            case ev.ModelLost():
                self._has_model = self._caller_speaks = False
            case ev.CallerSpeechStarted():
                self._caller_speaks, self._asked_into_noise = True, False
            case ev.CallerSpeechStopped():
                self._caller_speaks = False
            case ev.ModelResponseStarted(response_id=response_id, purpose="reply" | "goodbye"):
                if self._caller_speaks and not self._asked_into_noise:
                    self._spoken_over.add(response_id)
            case _:
                pass

    # --- commands

    def _carry_out(self, command: do.Command) -> None:
        kind = type(command)
        if self._promises.told:
            self._note("   ", command)
        if kind in _FOR_THE_LINE:
            if self.closing and kind is do.PlayAudio:
                self._promises.break_("played something after the close")
            self.line.carry_out(command)
        elif kind is do.SendCallerAudio:
            pass  # the model hears the caller by `hear_start` and `hear_stop`
        else:
            self._promises.count(command, self._number)
            self._look_at(command)
            self._arrange(command)

    def _arrange(self, command: do.Command) -> None:
        item = self._scene.item
        match command:
            case do.SetTimer(name=name, at=at):
                self._timers[name] = at
                self._scene.agenda.after(max(0, at - self._scene.agenda.now), lambda: self._fire(name, at))
            case do.CancelTimer(name=name):
                self._timers.pop(name, None)
            case do.CloseStream(next_step=step):
                self._scene.item = replace(item, step=step)
                self._close()
            case do.SaveCheckpoint(checkpoint=checkpoint):
                self._keep(checkpoint)
            case do.MoveStream(checkpoint=checkpoint):
                self._keep(checkpoint)
                self._close()
            case do.NoteOutcome(outcome=outcome):
                self._scene.item = replace(item, checkpoint=None, outcome=outcome)
            case do.ModelCommand():
                self._check_model(command)
                self.model.carry_out(command)
            case _:
                self._services.carry_out(command)

    def _keep(self, checkpoint: Checkpoint) -> None:
        if self._scene.rng.random() < self._scene.weather.store_fails:
            self._scene.lost_a_decision |= checkpoint.person_needed
            return
        self._scene.item = replace(self._scene.item, checkpoint=checkpoint, step=None)

    def _close(self) -> None:
        self.closing = True
        self._scene.agenda.after(self._scene.rng.randint(0, _CLOSE_MS), self._closed)

    def _closed(self) -> None:
        if not self.line.closed:
            self.line.close()
            self._on_close()

    def _fire(self, name: str, at: int) -> None:
        if self._timers.get(name) == at == self._scene.agenda.now:
            del self._timers[name]
            self.post(ev.TimerFired(name))

    # --- whose turn it is, and what was promised

    def _see_turn(self, event: ev.Event) -> None:
        """Turn changes that come from what happened; those that come from commands are seen where they are."""
        turns, ours_anyway = self._scene.turns, self.call.phase not in _OPEN_END
        match event:
            case ev.CallerSpeechStopped() | ev.ModelLost():
                turns.set(ours=True)
            case ev.CallerSpeechStarted() if not ours_anyway:
                turns.set(ours=False)
            case ev.ModelResponseFinished(status="completed", purpose=purpose) if purpose != "summary":
                if not (self._tools or ours_anyway):
                    turns.set(ours=False)
            case _:
                if ours_anyway:
                    turns.set(ours=True)

    def _look_at(self, command: do.Command) -> None:
        """What a command says about the turn, and whether it keeps what was promised."""
        match command:
            case do.Tell(fact=Fact.ESCALATED):
                self._scene.turns.set(ours=True)
            case do.RequestResponse() if not self._scene.speaking:
                self._scene.turns.set(ours=True)
            case do.CloseStream(next_step=HangUp(farewell=False)):
                self._check_farewell()
            case do.TruncateItem(item_id=item_id, audio_end_ms=ms):
                self._check_truncation(item_id, ms)
            case do.RunTool(call_id=call_id):
                self._tools.add(call_id)
            case do.AnswerTool(call_id=call_id):
                self._tools.discard(call_id)
            case do.ConnectModel():
                self._tools.clear()  # their answers would go to a session that knows nothing of them
            case _:
                pass

    def _check_truncation(self, item_id: str, ms: int) -> None:
        truth = self.line.heard_ms(self.model.made_of[item_id])
        if ms > truth:
            self._promises.break_(f"told the model that {ms} ms of {item_id} were heard; it was {truth}")

    def _check_model(self, command: do.ModelCommand) -> None:
        if isinstance(command, do.ConnectModel | do.DisconnectModel):
            self._has_model, self._caller_speaks = isinstance(command, do.ConnectModel), False
        if isinstance(command, do.RequestResponse) and not self._has_model:
            self._promises.break_("asked for a response where no model is")
        self._asked_into_noise |= command == do.RequestResponse("reply", NO_PAUSE)
        if command == do.RequestResponse("reply") and self._caller_speaks:
            self._promises.break_("asked for an answer while the caller speaks, whose words bring one")

    def _check_voice(self, event: ev.Event, commands: Sequence[do.Command]) -> None:
        if not (self._caller_speaks and isinstance(event, ev.ModelAudio) and event.response_id in self._spoken_over):
            return
        if any(isinstance(command, do.PlayAudio) for command in commands):
            self._promises.break_("spoke over the caller's words")

    def _check_farewell(self) -> None:
        """A hang-up without a word from Twilio: then the caller must have heard one from us."""
        last = max((s.end for s in self.words), default=-1)
        if last <= self._scene.spoke_at:
            self._promises.break_("hung up on a caller who had heard nothing since they spoke")

    @property
    def words(self) -> list[Sound]:
        """What the caller has heard of the model's."""
        return [sound for sound in self.line.played if sound.made_of != HOLD_BYTE]

    def _note(self, sign: str, what: object) -> None:
        if type(what) not in _NOT_TOLD:
            self._promises.note(f"{self._number} {self.call.phase.value}", sign, what)


def _settings(rng: Random) -> CallSettings:
    return CallSettings(
        greeting="Hello!",
        transfer_sentence="One moment.",
        goodbye_sentence="Bye!",
        phrases=_Phrases(),
        intents={"general": _GENERAL},
        default_intent=_GENERAL,
        tools=frozenset({OWN_TOOL}),
        server_interrupts=rng.random() < 0.8,
        holding_sound=bytes([HOLD_BYTE]) * (limits.HOLD_MS * limits.BYTES_PER_MS),
        call_ms=rng.randrange(20_000, LONGEST_TALK_MS),
    )
