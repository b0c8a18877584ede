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
    """A `DialOutcome` once the dials have failed and the caller is back with the assistant; an `Absence` once they were
    told that nobody is there; else empty."""

    @property
    def resumable(self) -> bool:
        """Whether the conversation may go on from here; otherwise the caller goes to a person."""
        return not self.person_needed and self.resumes <= limits.RESUMES

    def brought_back(self, nobody_came: str) -> "Checkpoint":
        """The same conversation for a caller who comes back from a transfer that reached nobody.

        A stream that was closed for the transfer has not broken, so it does not count as taken up again.
        """
        if self.nobody_came:
            return self
        return Checkpoint(self.turns, self.resumes - self.person_needed, nobody_came=nobody_came)


LOST: Final = Checkpoint(person_needed=True)
"""Of a call that is to be taken up again although nothing is known of it: it must not begin anew with a greeting."""


def taken_up(known: Checkpoint | None, nobody_came: str = "") -> Checkpoint:
    """What a stream goes on from that is to take a call up again.

    `nobody_came` is what the answer to Twilio said of a transfer; the store may not have heard of it.
    """
    if nobody_came:
        return (known or Checkpoint()).brought_back(nobody_came)
    return known or LOST


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
