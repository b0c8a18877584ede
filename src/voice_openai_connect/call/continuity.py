"""Keeping a call ready to be taken up elsewhere: when a checkpoint is due, and when the call can move."""

from typing import Final

from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.commands import AddText, Command, DisconnectModel, MoveStream, SaveCheckpoint, Tell
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.instructions import INTERRUPTED, nobody_came
from voice_openai_connect.call.outcome import DialOutcome
from voice_openai_connect.call.speech import Speech

_DIALS_END: Final = frozenset(outcome.value for outcome in DialOutcome)


class Continuity:
    """What is known elsewhere about this call. Says nothing where checkpoints are switched off."""

    def __init__(
        self, conversation: Conversation, speech: Speech, resumed: Checkpoint | None, *, enabled: bool
    ) -> None:
        self._conversation = conversation
        self._speech = speech
        self._enabled = enabled
        self.resumes = resumed.resumes if resumed else 0
        """How many times this call has been taken up again already."""
        self.resumed = resumed is not None
        self.nobody_came = resumed.nobody_came if resumed else ""
        """How the transfer ended from which the caller has come back, or why there was none; else empty."""
        self.beyond_resuming = resumed is not None and not resumed.resumable
        """The line is taken up again, and the conversation cannot be: the caller must go to a person."""
        self._last: Checkpoint | None = None
        if resumed:
            conversation.resume(resumed.turns)

    @property
    def came_back(self) -> bool:
        """Whether the caller has been dialled to a person already, and reached nobody."""
        return self.nobody_came in _DIALS_END

    def now(self, *, lost: bool = True, person_needed: bool = False) -> Checkpoint:
        """The call as it stands. `lost` says that being taken up from here would be because something broke."""
        turns = self._conversation.history(self._speech.unheard)
        return Checkpoint(turns, self.resumes + lost, person_needed, self.nobody_came)

    def move(self) -> list[Command]:
        """Let another instance go on from here; nothing broke."""
        return [Tell(Fact.CALL_ENDED, "moved"), MoveStream(self.now(lost=False)), DisconnectModel()]

    def thread(self, *, interrupted: bool) -> list[Command]:
        """What a new session must be told before it can go on: the turns as they were heard, and what happened since.

        `interrupted` says that a session before it was lost. A caller who comes back from a transfer knows where they
        were; one whose line broke does not.
        """
        told: list[Command] = [AddText(turn.who, turn.text) for turn in self._conversation.history()]
        if self.nobody_came:
            told.append(AddText("system", nobody_came(self.nobody_came)))
        if interrupted or not self.came_back:
            told.append(AddText("system", INTERRUPTED))
        return told

    def save(self, *, person_needed: bool = False) -> list[Command]:
        """A checkpoint, if anything has changed since the last."""
        checkpoint = self.now(person_needed=person_needed)
        if not self._enabled or checkpoint == self._last:
            return []
        self._last = checkpoint
        return [SaveCheckpoint(checkpoint)]
