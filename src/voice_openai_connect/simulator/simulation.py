"""Whole calls through the pure machine in an abstract world; one seed is one call, and its promises are checked.

    python -m voice_openai_connect.simulator.simulation --seeds 2000     many calls; broken promises with their seeds
    python -m voice_openai_connect.simulator.simulation --seed 17        one of them, told line by line

A call may have several streams, one after the other: a line breaks, an instance dies, a deploy moves the call, the
contact centre does not answer and the caller comes back. Twilio's questions in between are answered by the same
functions as in the gateway, out of what the streams have left in the store.

What dead air is: a stretch with nothing to hear on the caller's line while it is not the caller's own turn. It is the
caller's turn

- while they speak, and after that until the turn detection says that they have stopped;
- once the model has completed a response and no tool of that response is running, until they begin to speak. Whatever
  of the response is still being played is no silence. Keys, like words, are the caller's until they are over.

It is ours at the start of every stream, while a person is on the way, while a goodbye is said, while the model is lost
or was asked to speak, and after a turn of the caller's until the model has completed its answer; also when the line
breaks just then. While Twilio dials, the caller hears it ring.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from random import Random
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import LOST, Checkpoint
from voice_openai_connect.call.next_step import DialPerson, NextStep, PromiseCallBack, ResumeStream
from voice_openai_connect.call.outcome import DialOutcome
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.transfer import after_dial, after_stream, dial_outcome, to_a_person
from voice_openai_connect.simulator.simulation_promises import DEAD_AIR_MS, Outcome, Promises
from voice_openai_connect.simulator.simulation_stream import WISH, Scene, Stream
from voice_openai_connect.simulator.simulation_world import Agenda, Turns, Weather

__all__ = ["DEAD_AIR_MS", "Outcome", "Simulation", "simulate"]

HORIZON_MS: Final = 1_200_000
"""By then every call is over, or never will be."""
TICK_MS: Final = 240
IDLE_MS: Final = 6_000
_PAUSE_MS: Final = 500
"""A shorter one does not end a turn of the caller's."""
_TWILIO_ASKS_MS: Final = (40, 300)
_STREAM_OPENS_MS: Final = (150, 500)
_DIAL_MS: Final = (1_000, 35_000)
_FAILED_DIALS: Final = (
    ("busy", 0, None),
    ("no-answer", 0, None),
    ("failed", 0, None),
    ("canceled", 0, None),
    ("completed", 2, True),
    ("completed", 40, False),
    ("something new", 0, None),
)
_MANY: Final = 100
"""Fewer calls are not worth a second process."""


class Simulation:
    """One call from its first moment to its last, in one world."""

    def __init__(self, seed: int, *, told: bool = True) -> None:
        rng, agenda = Random(seed), Agenda()
        weather = Weather.drawn(rng)
        self._promises = Promises(seed, agenda, told=told)
        self._scene = Scene(agenda, rng, weather, Turns(agenda), self._promises)
        self._agenda, self._rng, self._weather, self._turns = agenda, rng, weather, self._scene.turns
        self._streams: list[Stream] = []
        self._stream: Stream | None = None
        """The one that is open."""
        self._ringing = False
        """Whether the caller hears Twilio dial."""
        self._quiet_since = 0
        self.outcome = self._promises.outcome

    def run(self) -> Outcome:
        """Let the call happen, and say how it went."""
        self._open(None)
        self._agenda.after(TICK_MS, self._caller_decides)
        if (at := self._weather.ordered_after_ms) is not None:
            self._agenda.after(at, lambda: self._order(ev.HandoverOrdered(self._rng.random() < 0.5)))
        if (at := self._weather.moved_after_ms) is not None:
            self._agenda.after(at, lambda: self._order(ev.MoveOrdered(at_once=self._rng.random() < 0.2)))
        while self._agenda.step(HORIZON_MS):
            pass
        self._judge()
        return self.outcome

    def _order(self, event: ev.Event) -> None:
        if self._stream:
            self._stream.post(event)

    # --- one stream after the other

    def _open(self, resumed: Checkpoint | None) -> None:
        if self._over:
            return
        self._ringing = False
        self._stream = Stream(self._scene, len(self._streams) + 1, resumed, self._stream_closed)
        self._streams.append(self._stream)
        self._stream.start()

    def _stream_closed(self) -> None:
        """On purpose."""
        self._stream = None
        if isinstance(self._scene.item.step, DialPerson):
            self._ring()
        self._twilio_asks()

    def _line_breaks(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        if self._rng.random() < self._weather.instance_dies:
            self._note("the instance dies")
            stream.die()
        else:
            self._note("the line breaks")
            stream.post(ev.StreamLost("reset"))
            stream.line.close()
        self._twilio_asks()

    def _ring(self) -> None:
        self._ringing = True
        self._turns.set(ours=False)

    def _twilio_asks(self) -> None:
        self._agenda.after(self._rng.randint(*_TWILIO_ASKS_MS), lambda: self._go_on(self._next_step()))

    def _next_step(self) -> NextStep:
        item = self._scene.item
        step = after_stream(item, caller_left=False)
        return to_a_person(item) if isinstance(step, ResumeStream) and not self._room() else step

    def _room(self) -> bool:
        """Whether another instance, or this one, takes a stream."""
        return self._rng.random() >= self._weather.no_room

    def _go_on(self, step: NextStep) -> None:
        if self._over:
            return
        self._note(step)
        match step:
            case ResumeStream():
                if self._scene.lost_a_decision:
                    self._promises.forgive()
                resumed = self._scene.item.checkpoint or LOST
                self._agenda.after(self._rng.randint(*_STREAM_OPENS_MS), lambda: self._open(resumed))
            case DialPerson(token=token, attempt=attempt):
                self._ring()
                self._promises.dialled(token)
                self._agenda.after(self._rng.randint(*_DIAL_MS), lambda: self._dial_ended(attempt))
            case PromiseCallBack():
                self._end("promise")
            case _:
                self._end("goodbye")

    def _dial_ended(self, attempt: int) -> None:
        if self._over:
            return
        item, outcome = self._scene.item, self._draw_dial()
        step = after_dial(outcome, item, attempt=attempt, may_resume=self._room())
        item = self._scene.item = replace(item, dials={**item.dials, attempt: outcome})
        if isinstance(step, ResumeStream) and item.checkpoint and not item.checkpoint.nobody_came:
            back = item.checkpoint.brought_back(step.nobody_came)
            self._scene.item = replace(item, checkpoint=back, step=None)
        if outcome is DialOutcome.CONNECTED:
            self._end("dial")
        else:
            self._go_on(step)

    def _draw_dial(self) -> DialOutcome:
        status, duration_s, bridged = "completed", 60, True
        if self._rng.random() < self._weather.dial_fails:
            status, duration_s, bridged = self._rng.choice(_FAILED_DIALS)
        return dial_outcome(status, duration_s=duration_s, bridged=bridged, caller_left=False)

    @property
    def _over(self) -> bool:
        return bool(self.outcome.how)

    def _end(self, how: str) -> None:
        self.outcome.how = how
        self.outcome.lasted_ms = self._agenda.now
        self._note(f"the end: {how}")

    # --- the caller

    def _caller_decides(self) -> None:
        """Several times a second: speak, interrupt, press a key, hang up, or go on listening."""
        if self._over:
            return
        self._agenda.after(TICK_MS, self._caller_decides)
        now, weather, rng, stream = self._agenda.now, self._weather, self._rng, self._stream
        if rng.random() < weather.leaves:
            self._hang_up()
            return
        if stream is None or stream.closing:
            return
        stream.post(ev.CallerAudio(bytes(limits.FRAME_BYTES)))
        audible = stream.line.audible
        if audible or self._scene.speaking or self._turns.ours:
            self._quiet_since = now
        if rng.random() < weather.line_breaks:
            self._line_breaks()
        elif rng.random() < weather.keys:
            stream.post(ev.KeyPressed(rng.choice("0123456789*#")))
        elif self._scene.speaking or (weather.caller_silent and rng.random() < 0.99):
            self._feel_idle(stream)
        elif (audible and rng.random() < weather.interrupts) or (now - self._quiet_since > rng.randint(300, 9_000)):
            self._speak()
        else:
            self._feel_idle(stream)

    def _hang_up(self) -> None:
        self._end("caller_left")
        if self._stream and not self._stream.closing:
            self._stream.post(ev.StreamStopped() if self._rng.random() < 0.7 else ev.StreamLost("reset"))
        if self._stream:
            self._stream.line.close()

    def _feel_idle(self, stream: Stream) -> None:
        if self._agenda.now - self._quiet_since > IDLE_MS and not self._scene.speaking:
            self._quiet_since = self._agenda.now
            if stream.model.knows_more and stream.call.phase is Phase.TALKING:
                self._promises.break_("kept from the caller what a tool had found")
            stream.model.hear_nothing()

    def _speak(self) -> None:
        rng, length = self._rng, self._rng.randint(300, 4_000)
        text = WISH if rng.random() < self._weather.wants_person else "something else"
        self._note(f"the caller speaks for {length} ms: {text}")
        self._scene.speaking = True
        self._turns.set(ours=False)
        self._agenda.after(rng.randint(60, min(280, length)), self._speech_noticed)
        self._agenda.after(length, self._speech_ends)
        self._agenda.after(length + _PAUSE_MS, lambda: self._stop_noticed(text))

    def _speech_noticed(self) -> None:
        if self._stream and self._stream.listened_to:
            self._stream.model.hear_start()

    def _stop_noticed(self, text: str) -> None:
        if self._stream and not self._scene.speaking and self._agenda.now - self._scene.spoke_at >= _PAUSE_MS:
            self._speech_noticed()  # words that waited for the model are heard late, and all at once
            self._stream.model.hear_stop(text)

    def _speech_ends(self) -> None:
        self._scene.speaking = False
        self._scene.spoke_at = self._agenda.now
        stream = self._stream
        heard = stream and stream.listened_to and stream.model.hears_turn
        if not (heard or self._ringing):
            self._turns.set(ours=True)

    # --- looking back

    def _note(self, what: object) -> None:
        self._promises.note("", "☎ ", what)

    def _judge(self) -> None:
        self.outcome.streams = len(self._streams)
        self.outcome.lasted_ms = self.outcome.lasted_ms or HORIZON_MS
        for number, stream in enumerate(self._streams, 1):
            if not stream.at_rest:
                model = "open" if stream.model.running else "closed"
                self._promises.break_(f"never ended: {stream.call.phase.value}, stream {number}, its model {model}")
        self._promises.judge(self._turns, [sound for stream in self._streams for sound in stream.line.played])


def simulate(seed: int, *, told: bool = True) -> Outcome:
    """One call; with its trace, if it is to be told. The same seed is the same call, to the last millisecond."""
    return Simulation(seed, told=told).run()


def simulate_many(seeds: Iterable[int], *, jobs: int) -> Iterator[Outcome]:
    """Their outcomes, in order and without traces, from so many processes."""
    untold = partial(simulate, told=False)
    if jobs == 1:
        yield from map(untold, seeds)
        return
    # Not by fork: whoever runs this may have threads, and a fork takes their locks along.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(untold, seeds, chunksize=20)


def main(arguments: list[str] | None = None) -> int:
    """Run seeds; 1 if any promise was broken."""
    parser = argparse.ArgumentParser(prog="simulation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=200, help="how many calls")
    parser.add_argument("--seed", type=int, help="one call, told line by line")
    parser.add_argument("--jobs", type=int, help="how many processes; as many as there are cores, unless told")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        outcome = simulate(chosen.seed)
        sys.stdout.write("\n".join([*outcome.trace, *(f"✗ {each}" for each in outcome.broken), ""]))
        return bool(outcome.broken)
    began, ends, streams, broken, longest = time.monotonic(), Counter[str](), 0, 0, 0
    jobs = chosen.jobs or (1 if chosen.seeds < _MANY else os.cpu_count() or 1)
    for outcome in simulate_many(range(chosen.seeds), jobs=jobs):
        ends[outcome.how] += 1
        streams += outcome.streams
        longest = max(longest, outcome.longest_dead_air_ms)
        broken += bool(outcome.broken)
        for each in outcome.broken:
            sys.stdout.write(f"seed {outcome.seed} {each}\n")
    took = time.monotonic() - began
    how = ", ".join(f"{count} {name}" for name, count in ends.most_common())
    sys.stdout.write(
        f"{chosen.seeds} calls ({how}) on {streams} streams in {took:.1f} s; longest dead air {longest} ms; "
        f"{broken} with a broken promise\n"
    )
    return bool(broken)


if __name__ == "__main__":
    raise SystemExit(main())
