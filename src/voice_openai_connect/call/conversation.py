"""The turns so far, as the people on the line experienced them: what the caller said, what the caller heard."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from voice_openai_connect import limits
from voice_openai_connect.call import checkpoint
from voice_openai_connect.call.handover import plain_text


@dataclass(slots=True)
class Turn:
    """One turn. For the assistant, `text` is what was heard, as near as can be told."""

    who: Literal["caller", "assistant"]
    item_id: str
    text: str = ""
    settled: bool = False
    """Cut short by the caller: later text for it was never heard."""
    sounded: bool = True
    """Whether anything of it was on the caller's line. An item's text comes before its sound, which may never come."""


_WORTH_TELLING: Final = 2
"""Fewer words than this tell an agent nothing ("yes", "hm") unless there is nothing else."""


class Conversation:
    """Turns in the order they were begun, keyed by the model's item ids; bounded."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}

    def caller_began(self, item_id: str) -> None:
        """The caller starts to speak; the words come later."""
        self._turn("caller", item_id)

    def caller_said(self, item_id: str, text: str) -> None:
        """The words of a caller's turn."""
        self._turn("caller", item_id).text = text.strip()[: limits.TURN_CHARS]

    def assistant_said(self, item_id: str, text: str, *, final: bool) -> None:
        """A piece of an item's text, or with `final` the whole of it."""
        turn = self._turn("assistant", item_id)
        if not turn.settled:
            turn.text = (text if final else turn.text + text)[: limits.TURN_CHARS]

    def assistant_sounds(self, item_id: str) -> None:
        """The first sound of an item goes to the caller's line."""
        self._turn("assistant", item_id).sounded = True

    def assistant_was_cut(self, item_id: str, heard_ms: int, received_ms: int) -> None:
        """Only part of an item was heard: keep that share of its words (speech has no better clock for text)."""
        turn = self._turns.get(item_id)
        if turn is None or turn.settled:
            return
        turn.settled = True
        share = heard_ms / received_ms if received_ms else 0.0
        words = turn.text.split()
        turn.text = " ".join(words[: int(len(words) * share)])

    def _turn(self, who: Literal["caller", "assistant"], item_id: str) -> Turn:
        turn = self._turns.get(item_id)
        if turn is None:
            turn = self._turns[item_id] = Turn(who, item_id, sounded=who == "caller")
            if len(self._turns) > limits.TURNS_KEPT:
                del self._turns[next(iter(self._turns))]
        return turn

    @property
    def turns(self) -> list[Turn]:
        """The turns that have words, and of which something was heard."""
        return [turn for turn in self._turns.values() if turn.text and turn.sounded]

    def history(self, unheard: Collection[str] = ()) -> tuple[checkpoint.Turn, ...]:
        """The last turns, for a model that takes over in the middle of a call; items still `unheard` are left out."""
        heard = [checkpoint.Turn(t.who, t.text) for t in self.turns if t.item_id not in unheard]
        return checkpoint.bounded(heard)

    def resume(self, turns: Iterable[checkpoint.Turn]) -> None:
        """Begin with what was said before the stream broke."""
        for number, turn in enumerate(turns):
            item_id = f"before-{number}"
            self._turns[item_id] = Turn(turn.who, item_id, turn.text, settled=True)

    def summary(self, why: str) -> str:
        """A summary from the words alone, for when the model cannot write one. Plain text, bounded."""
        said = [turn.text for turn in self.turns if turn.who == "caller"]
        telling = [text for text in said if len(text.split()) >= _WORTH_TELLING] or said
        answers = [turn.text for turn in self.turns if turn.who == "assistant"]
        parts = [why]
        if telling:
            parts.append("The caller said: " + " / ".join(telling[-6:]))
        if answers:
            parts.append("The assistant's last words: " + answers[-1])
        return plain_text(" ".join(parts), limits.SUMMARY_CHARS)
