"""The caller's side of the conversation: whether they speak, when they stopped, and how long they have said nothing."""

from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Command, SetTimer, Tell
from voice_openai_connect.call.facts import Fact

SPEECH_TIMER: Final = "speech"


class CallersTurn:
    """What turn detection has told of the caller."""

    def __init__(self) -> None:
        self.speaking = False
        self._stopped_at: int | None = None
        """When the turn ended that has not been answered yet."""
        self._silences = 0
        self._told_at: int | None = None
        """When the model was last told something while the caller spoke."""
        self._without_pause = 0

    def began(self, now: int) -> Command:
        """The caller speaks: nothing is to be answered yet, and they are still there."""
        self.speaking, self._stopped_at = True, None
        self._silences = self._without_pause = 0
        return SetTimer(SPEECH_TIMER, now + limits.SPEECH_MS)

    def stopped(self, now: int) -> None:
        """The caller has said what they wanted to say."""
        self.speaking, self._stopped_at = False, now

    def model_told(self, now: int) -> None:
        """The model learned something while the caller spoke: the answer to their turn will take it in."""
        self._told_at = now

    def told_too_late(self, now: int) -> bool:
        """Whether an answer that is begun `now`, at the end of the turn, may be without what the model was told."""
        return self._told_at is not None and now - self._told_at < limits.TOLD_IN_TIME_MS

    def goes_on(self) -> bool:
        """The caller has been speaking for `SPEECH_MS`, or for as long again; True when that is enough."""
        self._without_pause += 1
        return self._without_pause >= limits.SPEECH_PROMPTS

    def lost(self) -> None:
        """Who told when a turn ends is gone. A caller who is still speaking begins a turn anew."""
        self.speaking, self._stopped_at = False, None

    def answered(self, now: int) -> list[Command]:
        """The answer goes to the caller's line: the first time in a turn, how long it took is told."""
        stopped_at, self._stopped_at = self._stopped_at, None
        return [] if stopped_at is None else [Tell(Fact.FIRST_AUDIO, value_ms=now - stopped_at)]

    def gave_sign(self) -> None:
        """The caller is there, though they have said nothing."""
        self._silences = 0

    def stayed_silent(self) -> bool:
        """The model has asked into a silence once more; True when that is enough."""
        self._silences += 1
        return self._silences >= limits.IDLE_PROMPTS
