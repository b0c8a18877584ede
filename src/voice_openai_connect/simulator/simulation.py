"""Whole calls through the pure machine in an abstract world; one seed is one call, and its promises are checked.

    python -m voice_openai_connect.simulator.simulation --seeds 2000     many calls; broken promises with their seeds
    python -m voice_openai_connect.simulator.simulation --seed 17        one of them, told line by line

What dead air is: a stretch with nothing to hear on the caller's line, while the stream is open and it is not the
caller's own turn. It is the caller's turn

- while they speak, and after that until the turn detection says that they have stopped;
- once the model has completed a response and no tool of that response is running, until they begin to speak. Whatever
  of the response is still being played is no silence. Keys, like words, are the caller's until they are over.

It is ours at the start, while a person is on the way, while a goodbye is said, while the model is lost or was asked to
speak, and after a turn of the caller's until the model has completed its answer.
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.next_step import DialPerson, HangUp
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings, Intent
from voice_openai_connect.simulator.simulation_world import (
    HOLD_BYTE,
    OWN_TOOL,
    Agenda,
    Line,
    Model,
    Services,
    Turns,
    Weather,
    dead_air,
)

DEAD_AIR_MS: Final = 4_000
LONGEST_CALL_MS: Final = 120_000
HORIZON_MS: Final = 400_000
"""By then every call is over, or never will be."""
TICK_MS: Final = 240
IDLE_MS: Final = 6_000
_PAUSE_MS: Final = 500
"""A shorter one does not end a turn of the caller's."""

_ONCE: Final = (do.FindContact, do.OpenTicket, do.SaveHandover, do.CloseStream)
_DEADLINES: Final = {
    Phase.STARTING: {"model_ready"},
    Phase.RECOVERING: {"model_ready"},
    Phase.TALKING: {"call_limit"},
    Phase.SAYING_GOODBYE: {"goodbye"},
    Phase.HANDING_OVER: {"sentence", "summary", "crm", "save"},
    Phase.DIALING: {"late"},
}
"""Of these timers, at least one is set in the phase."""
_GENERAL: Final = Intent("general", "support", "normal")
_WISH: Final = "a person, please"


class _Phrases:
    def wants_person(self, text: str) -> bool:
        return text == _WISH


@dataclass(slots=True)
class Outcome:
    """How one call went."""

    seed: int
    how: str
    """dial, goodbye or caller_left; empty if it never ended."""
    lasted_ms: int
    longest_dead_air_ms: int
    broken: list[str] = field(default_factory=list[str])
    """Promises that were broken, with the time in ms."""
    trace: list[str] = field(default_factory=list[str])


class Simulation:
    """One call from its first moment to its last, in one world."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._weather = Weather.drawn(self._rng)
        self._agenda = Agenda()
        self._call = Call(CallIdentity("CA1", "conv", "ho", "+15550100", "+15550199"), self._settings())
        self._line = Line(self._agenda, self._rng, self._mark_back, self._weather.marks_lost)
        self._model = Model(self._agenda, self._rng, self._weather, self._post)
        self._services = Services(self._agenda, self._rng, self._weather, self._post)
        self._turns = Turns(self._agenda)
        self._timers: dict[str, int] = {}
        self._tools: set[str] = set()
        self._asked: Counter[str] = Counter()
        self._speaking = False
        self._spoke_at = 0
        self._quiet_since = 0
        self._closing = False
        self._closed_at: int | None = None
        self.outcome = Outcome(seed, "", 0, 0)

    def _settings(self) -> CallSettings:
        return CallSettings(
            greeting="Hello!",
            transfer_sentence="One moment.",
            goodbye_sentence="Bye!",
            phrases=_Phrases(),
            intents={"general": _GENERAL},
            default_intent=_GENERAL,
            tools=frozenset({OWN_TOOL}),
            holding_sound=bytes([HOLD_BYTE]) * (limits.HOLD_MS * limits.BYTES_PER_MS),
            call_ms=self._rng.randrange(20_000, LONGEST_CALL_MS),
        )

    def run(self) -> Outcome:
        """Let the call happen, and say how it went."""
        self._turns.set(ours=True)
        self._post(ev.StreamStarted("MZ1"))
        self._agenda.after(TICK_MS, self._caller_decides)
        if self._weather.ordered_after_ms is not None:
            self._agenda.after(self._weather.ordered_after_ms, lambda: self._post(ev.HandoverOrdered()))
        while self._agenda.step(HORIZON_MS):
            pass
        self._judge()
        return self.outcome

    # --- what happens, and what is asked for

    def _post(self, event: ev.Event) -> None:
        was = self._call.phase
        if self._line.closed and isinstance(event, ev.CallerAudio | ev.PlaybackReached | ev.KeyPressed):
            return
        commands = self._call.handle(event, self._agenda.now)
        if not isinstance(event, ev.CallerAudio | ev.PlaybackReached):
            self._note("→", event)
        if was is Phase.ENDED and commands:
            self._break("asked for something after its end")
        self._see_turn(event)
        for command in commands:
            self._carry_out(command)
        self._check_deadlines()

    def _carry_out(self, command: do.Command) -> None:
        if not isinstance(command, do.MarkPlayback | do.SendCallerAudio | do.SetTimer | do.CancelTimer):
            self._note("   ", command)
        self._count(command)
        self._look_at(command)
        match command:
            case do.SetTimer(name=name, at=at):
                self._timers[name] = at
                self._agenda.after(max(0, at - self._agenda.now), lambda: self._fire(name, at))
            case do.CancelTimer(name=name):
                self._timers.pop(name, None)
            case do.PlayAudio() | do.MarkPlayback() | do.ClearPlayback():
                self._line.carry_out(command)
            case do.CloseStream(next_step=step):
                self._close("dial" if isinstance(step, DialPerson) else "goodbye")
            case do.ModelCommand():
                self._model.carry_out(command)
            case _:
                self._services.carry_out(command)

    def _look_at(self, command: do.Command) -> None:
        """What a command says about the turn, and whether it keeps what was promised."""
        match command:
            case do.Tell(fact=Fact.ESCALATED):
                self._turns.set(ours=True)
            case do.RequestResponse() if not self._speaking:
                self._turns.set(ours=True)
            case do.PlayAudio() if self._closing:
                self._break("played something after the close")
            case do.CloseStream(next_step=HangUp(farewell=False)):
                self._check_farewell()
            case do.TruncateItem(item_id=item_id, audio_end_ms=ms):
                self._check_truncation(item_id, ms)
            case _:
                pass

    def _fire(self, name: str, at: int) -> None:
        if self._timers.get(name) == at == self._agenda.now:
            del self._timers[name]
            self._post(ev.TimerFired(name))

    def _mark_back(self, name: str) -> None:
        self._post(ev.PlaybackReached(name))

    def _close(self, how: str) -> None:
        self._closing = True
        self.outcome.how = how
        self._agenda.after(self._rng.randint(0, 300), self._closed)

    def _closed(self) -> None:
        if self._closed_at is None:
            self._closed_at = self._agenda.now
            self._line.close()

    # --- whose turn it is

    def _see_turn(self, event: ev.Event) -> None:
        """Turn changes that come from what happened; those that come from commands are seen where they are."""
        if self._speaking:
            return
        ours_anyway = self._call.phase not in {Phase.TALKING, Phase.ENDED}
        match event:
            case ev.CallerSpeechStopped() | ev.ModelLost():
                self._turns.set(ours=True)
            case ev.ModelResponseFinished(status="completed", purpose=purpose) if purpose != "summary":
                if not (self._tools or ours_anyway or self._model.hears_turn):
                    self._turns.set(ours=False)
            case _:
                if ours_anyway:
                    self._turns.set(ours=True)

    # --- the caller

    def _caller_decides(self) -> None:
        """Several times a second: speak, interrupt, press a key, hang up, or go on listening."""
        if self._closing or self._call.phase is Phase.ENDED:
            return
        self._agenda.after(TICK_MS, self._caller_decides)
        now, weather, rng = self._agenda.now, self._weather, self._rng
        self._post(ev.CallerAudio("A" * 216))
        if self._line.audible or self._speaking or self._turns.ours:
            self._quiet_since = now
        if rng.random() < weather.leaves:
            self._note("⇤ ", "the caller hangs up")
            self.outcome.how = "caller_left"
            self._post(ev.StreamStopped() if rng.random() < 0.7 else ev.StreamLost("reset"))
            self._closed()
        elif rng.random() < weather.keys:
            self._post(ev.KeyPressed(rng.choice("0123456789*#")))
        elif self._speaking or (weather.caller_silent and rng.random() < 0.99):
            self._feel_idle(now)
        elif (self._line.audible and rng.random() < weather.interrupts) or (
            now - self._quiet_since > rng.randint(300, 9_000)
        ):
            self._speak()
        else:
            self._feel_idle(now)

    def _feel_idle(self, now: int) -> None:
        if now - self._quiet_since > IDLE_MS and not self._speaking:
            self._quiet_since = now
            self._model.hear_nothing()

    def _speak(self) -> None:
        rng, length = self._rng, self._rng.randint(300, 4_000)
        text = _WISH if rng.random() < self._weather.wants_person else "something else"
        self._note("☎ ", f"the caller speaks for {length} ms: {text}")
        self._speaking = True
        self._turns.set(ours=False)
        after = rng.randint(60, min(280, length))
        self._agenda.after(after, self._speech_noticed)
        self._agenda.after(length, self._speech_ends)
        self._agenda.after(length + _PAUSE_MS, lambda: self._stop_noticed(text))

    @property
    def _listened_to(self) -> bool:
        """Whether the caller's voice still reaches the model."""
        return self._call.phase in {Phase.TALKING, Phase.SAYING_GOODBYE}

    def _speech_noticed(self) -> None:
        if self._listened_to:
            self._model.hear_start()

    def _stop_noticed(self, text: str) -> None:
        if not self._speaking and self._agenda.now - self._spoke_at >= _PAUSE_MS:
            self._speech_noticed()  # words that waited for the model are heard late, and all at once
            self._model.hear_stop(text)

    def _speech_ends(self) -> None:
        self._speaking = False
        self._spoke_at = self._agenda.now
        if not (self._listened_to and self._model.hears_turn):
            self._turns.set(ours=True)

    # --- promises

    def _note(self, sign: str, what: object) -> None:
        self.outcome.trace.append(f"{self._agenda.now:>7} {self._call.phase.value:<14} {sign} {_short(what)}")

    def _break(self, what: str) -> None:
        self.outcome.broken.append(f"at {self._agenda.now} ms: {what}")
        self._note("✗ ", what)

    def _count(self, command: do.Command) -> None:
        name = type(command).__name__
        if isinstance(command, do.Tell):
            name = command.fact.value
        if isinstance(command, do.Tell | do.RunTool | do.AnswerTool | do.ModelCommand):
            self._follow_tools(command)
        self._asked[name] += 1
        once = isinstance(command, _ONCE) or name == Fact.ESCALATED.value
        if once and self._asked[name] > 1:
            self._break(f"{name} for the second time")

    def _follow_tools(self, command: do.Command) -> None:
        if isinstance(command, do.RunTool):
            self._tools.add(command.call_id)
        elif isinstance(command, do.AnswerTool):
            self._tools.discard(command.call_id)
        elif isinstance(command, do.ConnectModel):
            self._tools.clear()  # their answers would go to a session that knows nothing of them

    def _check_deadlines(self) -> None:
        wanted = _DEADLINES.get(self._call.phase)
        if wanted and not wanted & self._timers.keys():
            self._break(f"waits without a timer, {self._call.phase.value}")
        if self._call.phase is Phase.TALKING:
            for call_id in self._tools:
                if f"tool:{call_id}" not in self._timers:
                    self._break(f"waits for the tool {call_id} without a timer")

    def _check_truncation(self, item_id: str, ms: int) -> None:
        truth = self._line.heard_ms(self._model.made_of[item_id])
        if ms > truth:
            self._break(f"told the model that {ms} ms of {item_id} were heard; it was {truth}")

    def _check_farewell(self) -> None:
        """A hang-up without a word from Twilio: then the caller must have heard one from us."""
        last = max((s.end for s in self._line.played if s.made_of != HOLD_BYTE), default=-1)
        if last <= self._spoke_at:
            self._break("hung up on a caller who had heard nothing since they spoke")

    def _judge(self) -> None:
        outcome = self.outcome
        outcome.lasted_ms = self._closed_at or HORIZON_MS
        if self._call.phase is not Phase.ENDED or not outcome.how:
            self._break(f"never ended: {self._call.phase.value}, {outcome.how or 'no way out'}")
        gaps = dead_air(self._turns.changes, self._line.played, outcome.lasted_ms)
        outcome.longest_dead_air_ms = max((length for _, length in gaps), default=0)
        outcome.broken += [f"at {at} ms: {ms} ms of dead air" for at, ms in gaps if ms > DEAD_AIR_MS]


def _short(what: object) -> str:
    if isinstance(what, do.PlayAudio | ev.ModelAudio):
        ms = len(what.audio) // limits.BYTES_PER_MS
        return f"{type(what).__name__} {ms} ms of {what.audio[:1].hex()}"
    text = str(what)
    return text if len(text) <= 150 else text[:149] + "…"


def simulate(seed: int) -> Outcome:
    """One call. The same seed is the same call, to the last millisecond."""
    return Simulation(seed).run()


def main(arguments: list[str] | None = None) -> int:
    """Run seeds; 1 if any promise was broken."""
    parser = argparse.ArgumentParser(prog="simulation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=200, help="how many calls")
    parser.add_argument("--seed", type=int, help="one call, told line by line")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        outcome = simulate(chosen.seed)
        sys.stdout.write("\n".join([*outcome.trace, *(f"✗ {each}" for each in outcome.broken), ""]))
        return bool(outcome.broken)
    began, ends, broken, longest = time.monotonic(), Counter[str](), 0, 0
    for seed in range(chosen.seeds):
        outcome = simulate(seed)
        ends[outcome.how] += 1
        longest = max(longest, outcome.longest_dead_air_ms)
        broken += bool(outcome.broken)
        for each in outcome.broken:
            sys.stdout.write(f"seed {seed} {each}\n")
    took = time.monotonic() - began
    how = ", ".join(f"{count} {name}" for name, count in ends.most_common())
    sys.stdout.write(
        f"{chosen.seeds} calls ({how}) in {took:.1f} s; longest dead air {longest} ms; {broken} with a broken promise\n"
    )
    return bool(broken)


if __name__ == "__main__":
    raise SystemExit(main())
