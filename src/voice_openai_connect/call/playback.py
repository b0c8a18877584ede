"""What the caller has really heard.

Audio is sent faster than it is played, so *sent* says nothing about *heard*. The only witness is the mark: it
comes back once everything sent before it has been played. Between two marks the caller's clock runs on like
ours, but only while there is audio to play. Hence three rules:

1. A returned mark is certain: its position has been heard. Of all marks of one unbroken stretch of audio, the one
   that came back with the least delay tells best where playback stands, and the time since is added to it.
2. Where the line may have run dry (a *break*), nothing beyond it counts as heard until a mark from beyond it
   returns. Whether it may have run dry is judged as if our audio arrived at once, less a margin for jitter.
3. Nothing counts as heard far past a mark that is overdue, and never more than was sent.
4. Marks that are overdue for `MARKS_GONE_MS` do not come back at all. From then on the clock alone counts: what would
   have been played if our audio arrived `PLAYOUT_MARGIN_MS` after it was sent. The next mark ends that.

So the estimate lags the truth by the quickest mark's way back, and does not run ahead of it unless the way to the
caller stalls for longer than the margin in the middle of a stretch.

`clear` throws away what has not been played. Marks that come back because of it prove nothing, so all marks that
are out at that moment are forgotten, and counting starts anew.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Command, MarkPlayback, PlayAudio, SetTimer, Tell
from voice_openai_connect.call.facts import Fact

MARKS_TIMER: Final = "marks"

_PER_MS = limits.BYTES_PER_MS
_FRAME = limits.FRAME_BYTES


@dataclass(slots=True)
class _Item:
    """The speech of one of the model's items on its way to the caller. Lengths in bytes."""

    item_id: str
    response_id: str
    received: int = 0
    held: bytes = b""
    """Less than a frame, waiting for more."""
    finished: bool = False
    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Where the item lies on the line; one span unless another item came in between."""

    def sent(self, start: int, end: int) -> None:
        if self.spans and self.spans[-1][1] == start:
            self.spans[-1] = (self.spans[-1][0], end)
        else:
            self.spans.append((start, end))

    def heard(self, position: int) -> int:
        before = sum(min(end, position) - start for start, end in self.spans if start < position)
        return min(before, self.received)


@dataclass(slots=True)
class _Mark:
    """A mark that is out."""

    name: str
    position: int
    due: int
    """When everything before it has been played, if everything arrives at once."""


@dataclass(slots=True)
class _Break:
    """A place where the line may have run dry."""

    position: int
    dry_since: int
    """From when on the caller may have heard nothing, if it did."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An item that the caller did not hear to its end."""

    item_id: str
    response_id: str
    heard_ms: int
    received_ms: int


class Playback:
    """The caller's line as a ruler: positions are bytes of µ-law since the last `clear`."""

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}
        self._marks: deque[_Mark] = deque(maxlen=limits.MARKS_OUT)
        self._names = 0
        self._dry_at = 0
        self._marks_missing_since: int | None = None
        """When the oldest of the marks sent since one came back was due, whether or not it has been cleared."""
        self._missing_told = False
        self._start_over()

    def _start_over(self) -> None:
        self._items.clear()
        self._marks.clear()
        self._sent = 0
        self._since_mark = 0
        self._confirmed = 0
        self._anchor: tuple[int, int] | None = None
        self._breaks: deque[_Break] = deque()

    # --- audio out

    def add(self, response_id: str, item_id: str, audio: bytes, now: int) -> list[Command]:
        """Send a piece of an item's speech, in whole frames; what does not fill a frame waits for the next piece."""
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = _Item(item_id, response_id)
        item.received += len(audio)
        item.held += audio
        whole = len(item.held) - len(item.held) % _FRAME
        out, item.held = item.held[:whole], item.held[whole:]
        return self._send(item, out, now)

    def finish(self, item_id: str, now: int) -> list[Command]:
        """Send an item's tail, padded with silence to a whole frame, and a mark at its end."""
        item = self._items.get(item_id)
        if item is None or item.finished:
            return []
        item.finished = True
        tail, item.held = item.held, b""
        commands: list[Command] = []
        if tail:
            commands += self._send(item, tail.ljust(_FRAME, bytes([limits.ULAW_SILENCE])), now)
        if self._since_mark:
            commands += self._mark()
        if not item.spans:
            del self._items[item_id]
        if self._marks_gone(now):
            commands.append(self._look_once_played())
        return commands

    def _send(self, item: _Item, audio: bytes, now: int) -> list[Command]:
        if audio and self._marks_gone(now):
            self._count_by_clock(now)
        commands: list[Command] = []
        offset = 0
        while offset < len(audio):
            to_mark = limits.MARK_INTERVAL_MS
            if self._may_be_dry(now):
                to_mark = limits.UNSURE_MARK_INTERVAL_MS
                self._breaks.append(_Break(self._sent, self._dry_at))
            room = max(to_mark * _PER_MS - self._since_mark, _FRAME)
            piece = audio[offset : offset + room]
            offset += len(piece)
            item.sent(self._sent, self._sent + len(piece))
            self._sent += len(piece)
            self._since_mark += len(piece)
            self._dry_at = max(self._dry_at, now) + len(piece) // _PER_MS
            commands.append(PlayAudio(piece))
            if self._since_mark >= to_mark * _PER_MS:
                commands += self._mark()
        return commands

    def _may_be_dry(self, now: int) -> bool:
        """Whether audio that is sent now, even together with other, may arrive after the line has run dry."""
        return self._dry_at - now < limits.PLAYOUT_MARGIN_MS

    def _mark(self) -> list[Command]:
        self._names += 1
        self._since_mark = 0
        mark = _Mark(f"m{self._names}", self._sent, self._dry_at)
        self._marks.append(mark)
        if self._marks_missing_since is not None:
            return [MarkPlayback(mark.name)]
        self._marks_missing_since = mark.due
        return [SetTimer(MARKS_TIMER, mark.due + limits.MARKS_GONE_MS), MarkPlayback(mark.name)]

    # --- what came back

    def reached(self, name: str, now: int) -> None:
        """A mark came back. One that is not out any more (cleared, repeated, invented) proves nothing as heard."""
        position = self._take_mark(name)
        self._marks_missing_since = max(now, self._marks[0].due) if self._marks else None
        if position is None:
            return
        if position == self._sent:
            self._dry_at = min(self._dry_at, now)
        broke = self._prove(position)
        if broke or self._anchor is None or self._running_on(self._anchor, now) < position:
            self._anchor = (position, now)

    def _take_mark(self, name: str) -> int | None:
        """Where a mark that is out stands; it and all before it are out no more."""
        if not self._marks or (self._marks[0].name != name and not any(mark.name == name for mark in self._marks)):
            return None
        while (mark := self._marks.popleft()).name != name:
            pass
        return mark.position

    def _prove(self, position: int) -> bool:
        """Everything up to here has been heard; whether it lies beyond a place where the line may have run dry."""
        self._confirmed = max(self._confirmed, position)
        broke = False
        while self._breaks and self._breaks[0].position < position:
            self._breaks.popleft()
            broke = True
        for item in [i for i in self._items.values() if i.finished and i.spans and i.spans[-1][1] <= position]:
            del self._items[item.item_id]
        return broke

    @staticmethod
    def _running_on(anchor: tuple[int, int], now: int) -> int:
        return anchor[0] + (now - anchor[1]) * _PER_MS

    def _heard(self, now: int) -> int:
        if self._marks_gone(now):
            return max(self._confirmed, self._sent - max(0, self._played_at - now) * _PER_MS)
        if self._anchor is None:
            return self._confirmed
        end = self._breaks[0].position if self._breaks else self._sent
        if self._marks:
            end = min(end, self._marks[0].position + limits.MARK_OVERDUE_MS * _PER_MS)
        return max(self._confirmed, min(self._running_on(self._anchor, now), end))

    # --- when nothing comes back

    def _marks_gone(self, now: int) -> bool:
        since = self._marks_missing_since
        return since is not None and now - since >= limits.MARKS_GONE_MS

    @property
    def _played_at(self) -> int:
        """When everything sent has been played even on a slow way, by the clock alone."""
        return self._dry_at + limits.PLAYOUT_MARGIN_MS

    def _look_once_played(self) -> Command:
        return SetTimer(MARKS_TIMER, self._played_at)

    def _count_by_clock(self, now: int) -> None:
        self._prove(self._heard(now))
        self._anchor = None  # it knows nothing of the silences since

    def look(self, now: int) -> list[Command]:
        """Whether marks still come back, when `MARKS_TIMER` fires. If not, the clock says what has been heard."""
        if self._marks_missing_since is None:
            return []
        if not self._marks_gone(now):
            return [SetTimer(MARKS_TIMER, self._marks_missing_since + limits.MARKS_GONE_MS)]
        self._count_by_clock(now)
        told: list[Command] = [] if self._missing_told else [Tell(Fact.MARKS_MISSING)]
        self._missing_told = True
        return [*told, self._look_once_played()] if self._confirmed < self._sent else told

    def heard_ms(self, now: int) -> int:
        """How much has been heard since the last `clear`, all items together."""
        return self._heard(now) // _PER_MS

    @property
    def quiet_from(self) -> int:
        """When the line runs dry, or ran dry, if everything arrives at once."""
        return self._dry_at

    @property
    def unheard(self) -> frozenset[str]:
        """The items that no mark has yet proven to be heard to their end."""
        return frozenset(self._items)

    def unheard_ms(self, now: int) -> int:
        """How much of what was sent the caller has not heard yet."""
        return (self._sent - self._heard(now)) // _PER_MS

    @property
    def all_heard(self) -> bool:
        """Whether everything has been played to its end, by the witness of marks alone."""
        return self._confirmed == self._sent and all(item.finished for item in self._items.values())

    # --- barge-in

    def cut(self, now: int) -> list[Cut]:
        """Throw away what has not been heard: the items that were cut short, in order. To be sent with a `clear`.

        An item heard to the end of what arrived, but whose end had not come yet, counts as cut too: the model may
        have said more that never came.
        """
        position = self._heard(now)
        cuts = [
            Cut(item.item_id, item.response_id, heard // _PER_MS, item.received // _PER_MS)
            for item in self._items.values()
            if (heard := item.heard(position)) < item.received or not item.finished
        ]
        if cuts:
            quiet_since = next((b.dry_since for b in self._breaks if b.position >= position), self._dry_at)
            self._start_over()
            self._dry_at = min(now, quiet_since)
        return cuts

    def forget_rest(self, item_id: str, now: int) -> tuple[list[Command], int]:
        """End an item here although more would come: the commands for its tail, and the ms of it sent in all."""
        item = self._items.get(item_id)
        if item is None:
            return [], 0
        item.held = b""
        length = sum(end - start for start, end in item.spans)
        item.received = min(item.received, length)
        return self.finish(item_id, now), item.received // _PER_MS
