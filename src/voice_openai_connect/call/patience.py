"""Whose silence it is. While the caller waits for us it is ours: it is filled, and it does not last."""

from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Command, SetTimer, Tell
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.speech import Speech

QUIET_TIMER: Final = "quiet"
STALLED_TIMER: Final = "stalled"


class Patience:
    """Knows whether an answer is owed to the caller, and plays the holding sound while it does not come."""

    def __init__(self, speech: Speech, holding_sound: bytes) -> None:
        self._speech = speech
        self._sound = holding_sound
        self._rounds = 0
        self._hold_after = limits.HOLD_AFTER_MS
        self._sign_at = 0
        self._waits_since: int | None = None
        """Since when the caller has been waiting for us."""
        self.answer_owed = False

    def owe_answer(self, now: int) -> list[Command]:
        """The caller has done their part: the answer must come, and the model must give a sign of it."""
        self.answer_owed, self._sign_at = True, now
        return [self.listen(now), SetTimer(STALLED_TIMER, now + limits.MODEL_SILENT_MS)]

    def take_up(self, now: int) -> Command:
        """The caller's line had broken: they have been waiting for longer than this stream is there."""
        self._hold_after = limits.HOLD_AFTER_BREAK_MS
        return self.listen(now)

    def listen(self, now: int) -> Command:
        """Look again when the line has been quiet for as long as a caller takes for granted.

        A caller who waits already has waited since then: what we begin anew is no news to them.
        """
        if self._waits_since is None:
            self._waits_since = now
        quiet_for_long = max(self._waits_since, self._speech.quiet_from) + self._hold_after
        return SetTimer(QUIET_TIMER, max(now, quiet_for_long))

    def model_gave_sign(self, now: int) -> None:
        """The model has spoken, and what it said is on the line; it may still break off."""
        self._sign_at, self._rounds = max(now, self._speech.quiet_from), 0
        self._hold_after = limits.HOLD_AFTER_MS

    def answer_given(self) -> None:
        """The model has said all it had to say. What follows is the caller's own silence."""
        self.answer_owed, self._waits_since = False, None

    @property
    def sign_due(self) -> int:
        """When the model, silent for so long with nothing of its own left to play, must be taken for lost."""
        return self._sign_at + limits.MODEL_SILENT_MS

    def caller_speaks(self) -> None:
        """Nothing is owed to somebody who is speaking."""
        self.answer_owed, self._waits_since = False, None

    def fill(self, now: int) -> list[Command]:
        """A round of the holding sound, if the line has really been quiet; then another, without a gap."""
        if self._rounds * len(self._sound) >= limits.HOLD_TOTAL_MS * limits.BYTES_PER_MS:
            return []
        if wait := self.not_yet(now):
            return wait
        self._rounds += 1
        sound = self._speech.hold(self._sound, now)
        return [*sound, Tell(Fact.HOLD_PLAYED), SetTimer(QUIET_TIMER, self._speech.quiet_from)]

    def not_yet(self, now: int) -> list[Command]:
        """Look again later, if the line has not been quiet for long; else nothing."""
        due = self._speech.quiet_from + (0 if self._rounds else self._hold_after)
        return [SetTimer(QUIET_TIMER, due)] if due > now else []
