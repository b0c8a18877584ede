"""The people who call: when they speak, interrupt, and have had enough. Pure: steps of 20 ms and a seed."""

import random
from dataclasses import dataclass
from typing import Final, Literal

STEP_MS: Final = 20
Goal = Literal["hang_up", "ask_for_person", "press_key", "model_transfers", "model_says_goodbye"]
"""How the call is to end: after its last turn the caller hangs up or presses 0, or with its last turn asks for a
person, or the model calls one of its two tools."""
GOALS: Final[tuple[Goal, ...]] = ("hang_up", "ask_for_person", "press_key", "model_transfers", "model_says_goodbye")


@dataclass(frozen=True, slots=True)
class Plan:
    """One call's. `turns` is None for somebody who talks until told to leave."""

    turns: int | None = None
    goal: Goal = "hang_up"
    interrupts: float = 0.0
    """The share of answers that are interrupted."""
    pause_ms: tuple[int, int] = (400, 1_500)
    """After an answer, before the next turn."""
    speech_ms: tuple[int, int] = (800, 2_500)
    interrupt_after_ms: tuple[int, int] = (300, 1_500)


class Person:
    """Somebody on the line. `step` is asked every 20 ms what they do meanwhile."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.turn = 0
        """Turns begun so far."""
        self.speaking = False
        self.has_left = False
        """They have hung up."""
        self.presses_key = False
        self._random = random.Random(seed)
        self._left_ms = 0
        self._heard_ms = 0
        self._quiet_ms = 0
        self._wants_out = False
        self._listen()

    def step(self, *, hears_voice: bool) -> int:
        """20 ms pass. Returns the turn that is being spoken, 0 for silence."""
        if self.speaking:
            self._left_ms -= STEP_MS
            self.speaking = self._left_ms > 0
            return self.turn
        if hears_voice:
            self._heard_ms += STEP_MS
            self._quiet_ms = 0
            if self._heard_ms >= self._patience_ms and not self._has_spoken_last:
                self._speak()
        elif self._heard_ms:
            self._quiet_ms += STEP_MS
            if self._quiet_ms >= self._pause_ms:
                self._go_on()
        return 0

    def leave(self) -> None:
        """Hang up when the next answer has been heard."""
        self._wants_out = True

    @property
    def _has_spoken_last(self) -> bool:
        return self._wants_out or (self.plan.turns is not None and self.turn >= self.plan.turns)

    def _go_on(self) -> None:
        """An answer has been heard to its end."""
        if not self._has_spoken_last:
            self._speak()
        elif self._wants_out or self.plan.goal == "hang_up":
            self.has_left = True
        elif self.plan.goal == "press_key":
            self.presses_key = True

    def _speak(self) -> None:
        self.turn += 1
        self.speaking = True
        self._left_ms = self._random.randint(*self.plan.speech_ms)
        self._listen()

    def _listen(self) -> None:
        """Forget what was heard, and settle how the next answer will be taken."""
        self._heard_ms = self._quiet_ms = 0
        self._pause_ms = self._random.randint(*self.plan.pause_ms)
        interrupts = self._random.random() < self.plan.interrupts
        self._patience_ms = self._random.randint(*self.plan.interrupt_after_ms) if interrupts else 1_000_000
