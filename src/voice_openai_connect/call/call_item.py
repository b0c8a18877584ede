"""What every instance must know about a call, because Twilio may put its next question to any of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from voice_openai_connect import limits
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.next_step import NextStep
from voice_openai_connect.call.outcome import DialOutcome, Outcome


@dataclass(frozen=True, slots=True)
class CallItem:
    """One call as it is kept in the store. Without any of its fields: a call that nobody knows."""

    step: NextStep | None = None
    """What was decided when the last stream was closed on purpose."""
    checkpoint: Checkpoint | None = None
    dials: Mapping[int, DialOutcome] = field(default_factory=dict[int, DialOutcome])
    """How each dial ended, by attempt: 1 and 2."""
    outcome: Outcome | None = None
    asked_at: int | None = None
    """When Twilio asked last what is next, on whichever instance: seconds since the epoch."""
    stopped_stream: str = ""
    """The latest stream that ended in good order, as Twilio told whichever instance; by its StreamSid."""

    @property
    def handover_lost(self) -> bool:
        """Whether a person was on the way, and the line or the process broke before the caller was dialled through.

        A ticket that was just being opened may be lost with it.
        """
        unfinished = self.step is None and self.outcome is None
        return unfinished and self.checkpoint is not None and self.checkpoint.person_needed

    @property
    def may_dial(self) -> bool:
        """Whether a person may still be dialled in this call."""
        came_back = self.checkpoint is not None and bool(self.checkpoint.nobody_came)
        return limits.DIAL_ATTEMPTS not in self.dials and not came_back
