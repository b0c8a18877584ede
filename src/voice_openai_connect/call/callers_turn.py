"""The caller's side of the conversation: whether they speak, when they stopped, and how long they have said nothing."""

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Command, Tell
from voice_openai_connect.call.facts import Fact


class CallersTurn:
    """What turn detection has told of the caller."""

    def __init__(self) -> None:
        self.speaking = False
        self._stopped_at: int | None = None
        """When the turn ended that has not been answered yet."""
        self._silences = 0

    def began(self) -> None:
        """The caller speaks: nothing is to be answered yet, and they are still there."""
        self.speaking, self._stopped_at, self._silences = True, None, 0

    def stopped(self, now: int) -> None:
        """The caller has said what they wanted to say."""
        self.speaking, self._stopped_at = False, now

    def answered(self, now: int) -> list[Command]:
        """The answer goes to the caller's line: the first time in a turn, how long it took is told."""
        stopped_at, self._stopped_at = self._stopped_at, None
        return [] if stopped_at is None else [Tell(Fact.FIRST_AUDIO, value_ms=now - stopped_at)]

    def stayed_silent(self) -> bool:
        """The model has asked into a silence once more; True when that is enough."""
        self._silences += 1
        return self._silences >= limits.IDLE_PROMPTS
