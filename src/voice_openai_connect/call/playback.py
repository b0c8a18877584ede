"""What the caller has really heard.

Audio is sent faster than it is played, so *sent* says nothing about *heard*. The only witness is the mark: it
comes back once everything sent before it has been played. Between two marks the caller's clock runs on like
ours, but only while there is audio to play. Hence three rules:

1. A returned mark is certain: its position has been heard. Of all marks of one unbroken stretch of audio, the one
   that came back with the least delay tells best where playback stands, and the time since is added to it.
2. Where the line may have run dry (a *break*), nothing beyond it counts as heard until a mark from beyond it
   returns. Whether it may have run dry is judged as if our audio arrived at once, less a margin for jitter.
3. Nothing counts as heard far past a mark that is overdue, and never more than was sent.

So the estimate lags the truth by the quickest mark's way back, and does not run ahead of it unless the way to the
caller stalls for longer than the margin in the middle of a stretch.

`clear` throws away what has not been played. Marks that come back because of it prove nothing, so all marks that
are out at that moment are forgotten, and counting starts anew.
"""

from collections import deque
from dataclasses import dataclass, field

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Command, MarkPlayback, PlayAudio

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
        self._marks: deque[tuple[str, int]] = deque()
        self._names = 0
        self._dry_at = 0
        self._start_over()

    def _start_over(self) -> None:
        self._items.clear()
        self._marks.clear()
        self._sent = 0
        self._since_mark = 0
        self._confirmed = 0
        self._anchor: tuple[int, int] | None = None
        self._breaks: deque[int] = deque()

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
            commands.append(self._mark())
        if not item.spans:
            del self._items[item_id]
        return commands

    def _send(self, item: _Item, audio: bytes, now: int) -> list[Command]:
        commands: list[Command] = []
        offset = 0
        if audio and self._dry_at - now < limits.PLAYOUT_MARGIN_MS:
            self._breaks.append(self._sent)
        while offset < len(audio):
            to_mark = limits.FIRST_MARK_MS if self._fresh else limits.MARK_INTERVAL_MS
            room = max(to_mark * _PER_MS - self._since_mark, _FRAME)
            piece = audio[offset : offset + room]
            offset += len(piece)
            item.sent(self._sent, self._sent + len(piece))
            self._sent += len(piece)
            self._since_mark += len(piece)
            self._dry_at = max(self._dry_at, now) + len(piece) // _PER_MS
            commands.append(PlayAudio(piece))
            if self._since_mark >= to_mark * _PER_MS:
                commands.append(self._mark())
        return commands

    @property
    def _fresh(self) -> bool:
        """Whether the next frame is the first after a possible silence."""
        return bool(self._breaks) and self._breaks[-1] == self._sent

    def _mark(self) -> Command:
        self._names += 1
        self._since_mark = 0
        name = f"m{self._names}"
        self._marks.append((name, self._sent))
        return MarkPlayback(name)

    # --- what came back

    def reached(self, name: str, now: int) -> None:
        """A mark came back. One that is not out any more (cleared, repeated, invented) says nothing."""
        if not any(name == out for out, _ in self._marks):
            return
        position = self._confirmed
        while self._marks:
            out, position = self._marks.popleft()
            if out == name:
                break
        self._confirmed = position
        if position == self._sent:
            self._dry_at = min(self._dry_at, now)
        broke = False
        while self._breaks and self._breaks[0] < position:
            self._breaks.popleft()
            broke = True
        if broke or self._anchor is None or self._running_on(self._anchor, now) < position:
            self._anchor = (position, now)
        for item in [i for i in self._items.values() if i.finished and i.spans and i.spans[-1][1] <= position]:
            del self._items[item.item_id]

    @staticmethod
    def _running_on(anchor: tuple[int, int], now: int) -> int:
        return anchor[0] + (now - anchor[1]) * _PER_MS

    def _heard(self, now: int) -> int:
        if self._anchor is None:
            return 0
        end = self._breaks[0] if self._breaks else self._sent
        if self._marks:
            end = min(end, self._marks[0][1] + limits.MARK_OVERDUE_MS * _PER_MS)
        return max(self._confirmed, min(self._running_on(self._anchor, now), end))

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
            self._start_over()
            self._dry_at = now
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
