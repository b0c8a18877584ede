"""What another instance needs to go on with a call: the turns as they were heard, and little else."""

from dataclasses import dataclass
from typing import Final, Literal

from voice_openai_connect import limits


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn; for the assistant, what was heard of it."""

    who: Literal["caller", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A call between two turns."""

    turns: tuple[Turn, ...] = ()
    resumes: int = 1
    """How many times the call will have been taken up again, counting the stream that is made from this."""
    person_needed: bool = False
    """Somebody had decided that a person must take over: there is no way back to talking."""
    nobody_came: str = ""
    """A `DialOutcome` once the dials have failed and the caller is back with the assistant; else empty."""

    @property
    def resumable(self) -> bool:
        """Whether the conversation may go on from here; otherwise the caller goes to a person."""
        return not self.person_needed and self.resumes <= limits.RESUMES


LOST: Final = Checkpoint(person_needed=True)
"""Of a call that is to be taken up again although nothing is known of it: it must not begin anew with a greeting."""


def bounded(turns: list[Turn]) -> tuple[Turn, ...]:
    """The latest turns that fit into a checkpoint."""
    kept: list[Turn] = []
    room = limits.CHECKPOINT_CHARS
    for turn in reversed(turns[-limits.HISTORY_TURNS :]):
        room -= len(turn.text)
        if room < 0:
            break
        kept.append(turn)
    return tuple(reversed(kept))
