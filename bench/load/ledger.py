"""What was really said in each call, against which everything that arrives is held. Pure.

The carrier and the model of the load generator are one process and write into the same ledger. What is wrong goes to
`violations`; a run with a single one has failed.
"""

from dataclasses import dataclass, field
from typing import Final

from bench.load import blocks
from bench.load.blocks import Block
from bench.load.person import Goal, Plan
from bench.load.spread import Spread
from voice_openai_connect.call.tools import END_CALL, TRANSFER
from voice_openai_connect.limits import HISTORY_TURNS

VIOLATIONS_KEPT: Final = 200
ASKS_FOR_PERSON: Final = "Let me speak to a person, please."
_TOOLS: Final[dict[Goal, str]] = {"model_transfers": TRANSFER, "model_says_goodbye": END_CALL}


@dataclass
class Turn:
    """A caller's turn, as the model told it to the gateway at `told_at` (seconds of the generator's clock)."""

    text: str
    told_at: float


@dataclass
class Item:
    """Something the model said: `blocks` of it were sent so far."""

    text: str
    blocks: int = 0


@dataclass
class CallBook:
    """One call. Its `number` is in every block and every sentence of it."""

    number: int
    plan: Plan
    turns: list[Turn] = field(default_factory=list[Turn])
    items: dict[int, Item] = field(default_factory=dict[int, Item])
    last_turn: int = 0
    """The last of the caller's turns that was written down."""
    sessions: int = 0
    """Sessions of the model that it has had."""
    forgotten: int = 0
    """Turns that a session taking over was not told, because they had been said only just before."""

    def words(self, turn: int) -> str:
        """What the caller says in a turn."""
        if turn == self.plan.turns and self.plan.goal == "ask_for_person":
            return ASKS_FOR_PERSON
        return f"This is caller {self.number} with sentence {turn}, and I have a question about my order."

    def said(self, turn: int, text: str, now: float) -> None:
        """The model has written a turn down and told the gateway."""
        self.last_turn = max(self.last_turn, turn)
        self.turns.append(Turn(text, now))

    @property
    def tool_due(self) -> str:
        """The tool that the model calls instead of an answer, if the call's plan has come to it."""
        if self.last_turn != self.plan.turns:
            return ""
        return _TOOLS.get(self.plan.goal, "")

    def answer(self) -> int:
        """Begin a new item; its number."""
        item = len(self.items) + 1
        self.items[item] = Item(f"Caller {self.number}, this is answer {item}, and your order is on its way to you.")
        return item


class Ledger:
    """All calls of a run, and what was found wrong with them."""

    def __init__(self) -> None:
        self.calls: dict[int, CallBook] = {}
        self.violations: list[str] = []
        self.up = Spread()
        """A frame of the caller's, from the carrier's socket to the model's."""
        self.down = Spread()
        """A frame of the model's, the other way; measured when it arrives, not when it is played."""

    def open(self, number: int, plan: Plan) -> CallBook:
        """A new call."""
        book = self.calls[number] = CallBook(number, plan)
        return book

    def complain(self, call: int, what: str) -> None:
        """Something is wrong. Only the first ones are kept; none is forgiven."""
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(f"call {call}: {what}")

    def check_history(self, book: CallBook, told: list[tuple[str, str]], *, known_since: float) -> None:
        """A session that takes over was told `told`, as ``(role, text)``.

        It must be this call's turns in order, none left out but those that came after `known_since`.
        """
        said = [turn.text for turn in book.turns]
        heard = [text for role, text in told if role == "user"]
        start = said.index(heard[0]) if heard and heard[0] in said else 0
        missing = book.turns[start + len(heard) :]
        if said[start : start + len(heard)] != heard:
            self.complain(book.number, f"a session was told other turns than were spoken: {heard}, not {said}")
        elif any(turn.told_at < known_since for turn in missing):
            self.complain(book.number, f"a session was not told {len(missing)} of {len(said)} turns")
        elif start and sum(role != "system" for role, _ in told) < HISTORY_TURNS:
            self.complain(book.number, f"a session was not told the first {start} turns, though there was room")
        book.forgotten += len(missing)
        answers = [item.text for item in book.items.values()]
        for text in (text for role, text in told if role == "assistant"):
            if not any(answer.startswith(text) for answer in answers):
                self.complain(book.number, f"a session was told an answer that nobody gave: {text}")


class CallerTrack:
    """The caller's blocks as one session of the model receives them: from any first one on, each the next."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._next: Block | None = None

    def take(self, audio: bytes, now: float) -> Block | None:
        """One frame. None, and a complaint, if it is not the caller's next."""
        block = blocks.read(audio)
        last, self._next = self._next, block
        if block is None:
            self._ledger.complain(last.call if last else 0, "a frame of the caller's reached the model changed")
            return None
        if last is not None and (block.call, block.number) != (last.call, last.number + 1):
            self._ledger.complain(last.call, f"after {last} the model received {block}")
        self._ledger.up.add(blocks.age_ms(block, now))
        return block


class ModelTrack:
    """The model's blocks as one stream of the carrier receives them: items in order, each from its beginning."""

    def __init__(self, ledger: Ledger, book: CallBook, other_sounds: frozenset[bytes]) -> None:
        self._ledger = ledger
        self._book = book
        self._other_sounds = other_sounds
        self._last: Block | None = None
        self._cut = True

    def take(self, audio: bytes, now: float) -> bool:
        """One frame from the gateway. Whether it is the model's voice; false for the gateway's holding sound."""
        if audio in self._other_sounds:
            return False
        block, last = blocks.read(audio), self._last
        if block is None:
            self._complain("a frame of the model's reached the caller changed")
            return False
        self._last = block
        self._ledger.down.add(blocks.age_ms(block, now))
        if block.call != self._book.number:
            self._complain(f"it heard the answer of call {block.call}")
        elif last is not None and block.turn == last.turn:
            if block.number != last.number + 1 or self._cut:
                self._complain(f"after {last} came {block}{', which had been cleared' if self._cut else ''}")
        elif block.number or (last is not None and block.turn < last.turn):
            self._complain(f"after {last} an item began with {block}")
        elif last is not None and not self._cut:
            self.check_complete(last)
        self._cut = False
        return True

    def clear(self) -> None:
        """What was sent is thrown away: nothing more of the item may come, and nothing has to."""
        self._cut = True

    def check_complete(self, last: Block) -> None:
        """An item that was followed by another was sent to its end."""
        sent = self._book.items[last.turn].blocks
        if last.number + 1 != sent:
            self._complain(f"of item {last.turn} came {last.number + 1} blocks, {sent} were sent")

    def _complain(self, what: str) -> None:
        self._ledger.complain(self._book.number, what)
