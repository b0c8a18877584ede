"""`heard` against an independent model of the caller's line: any order of deltas, stalls, late marks and clears."""

from collections import deque
from itertools import cycle

from hypothesis import given, settings
from hypothesis import strategies as st

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Command, MarkPlayback, PlayAudio
from voice_openai_connect.call.playback import Playback

FRAME_MS = 20


class Line:
    """The caller's side: audio arrives after a delay, plays in 20 ms frames, marks take their own time to return."""

    def __init__(self) -> None:
        self.in_flight: deque[tuple[int, Command]] = deque()
        self.queue: deque[int | str] = deque()  # frames (their ms of the item) and mark names
        self.returning: deque[tuple[int, str]] = deque()
        self.played_ms = 0
        self.next_frame_at = 0
        self.sent = 0

    def send(self, commands: list[Command], now: int, delays: list[int]) -> None:
        """Each on its own way, which takes its own time; none overtakes another."""
        for command in commands:
            delay = delays[self.sent % len(delays)]
            self.sent += 1
            at = max([now + delay, *(when for when, _ in self.in_flight)])
            self.in_flight.append((at, command))

    def run_to(self, now: int, back: int) -> list[str]:
        """Advance one millisecond step; the marks that reach us now."""
        while self.in_flight and self.in_flight[0][0] <= now:
            _, command = self.in_flight.popleft()
            if isinstance(command, PlayAudio):
                self.queue.extend([FRAME_MS] * (len(command.audio) // limits.FRAME_BYTES))
            elif isinstance(command, MarkPlayback):
                self.queue.append(command.name)
        while self.queue and self.next_frame_at <= now:
            head = self.queue.popleft()
            if isinstance(head, str):
                at = max([now + back, *(when for when, _ in self.returning)])
                self.returning.append((at, head))
            else:
                self.next_frame_at = max(self.next_frame_at, now) + head
                self.played_ms += head
        home: list[str] = []
        while self.returning and self.returning[0][0] <= now:
            home.append(self.returning.popleft()[1])
        return home

    def cleared(self, now: int) -> "Line":
        """The line after a `clear`: nothing queued, every mark that was out on its way back."""
        after = Line()
        after.next_frame_at = now
        out = [c.name for _, c in self.in_flight if isinstance(c, MarkPlayback)]
        out += [head for head in self.queue if isinstance(head, str)]
        after.returning.extend((now + 1 + i, name) for i, name in enumerate([*(n for _, n in self.returning), *out]))
        return after

    def truly_heard_ms(self, now: int) -> int:
        """Played so far; the frame being played counts as far as it has come."""
        return self.played_ms - max(0, self.next_frame_at - now)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("audio"), st.sampled_from([1, 160, 333, 800, 3_072, 6_000])),
        st.tuples(st.just("wait"), st.sampled_from([1, 15, 60, 190, 450, 900])),
        st.tuples(st.sampled_from(["end", "clear"]), st.just(0)),
    ),
    min_size=4,
    max_size=30,
)


@settings(max_examples=300)
@given(
    steps=steps,
    uplink=st.lists(st.integers(0, limits.PLAYOUT_MARGIN_MS - 2 * FRAME_MS), min_size=1, max_size=10),
    back=st.lists(st.integers(0, 900), min_size=1, max_size=10),
    lost=st.lists(st.sampled_from([0, 1, 12]), min_size=1, max_size=6),
)
def test_the_model_is_never_told_that_more_was_heard_than_was(
    steps: list[tuple[str, int]], uplink: list[int], back: list[int], lost: list[int]
) -> None:
    """`lost` tells how many marks in a row do not come back, after each of those that do; one 12 is none at all."""
    playback, line, now, item, sends = Playback(), Line(), 0, 0, 0
    comes_back = cycle([came for run in lost for came in [*[False] * run, True]] if lost != [12] else [False])
    for what, amount in steps:
        if what == "audio":
            line.send(playback.add("r", f"i{item}", bytes(amount), now), now, uplink)
            sends += 1
        elif what == "end":
            line.send(playback.finish(f"i{item}", now), now, uplink)
            item += 1
        elif what == "clear":
            truth = line.truly_heard_ms(now)
            cuts = playback.cut(now)
            believed = sum(cut.heard_ms for cut in cuts)
            assert believed <= truth
            assert all(0 <= cut.heard_ms <= cut.received_ms for cut in cuts)
            if cuts:
                line, item = line.cleared(now), item + 1
        for _ in range(amount if what == "wait" else 1):
            now += 1
            for name in line.run_to(now, back[sends % len(back)]):
                if next(comes_back):
                    playback.reached(name, now)
            assert playback.heard_ms(now) <= line.truly_heard_ms(now)
