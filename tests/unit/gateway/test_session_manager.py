"""Who is on the line. Time is the limits, made short; whatever a test waits for is an event."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.handover import HandoverRecord, Redemption
from voice_openai_connect.call.next_step import DialPerson, NextStep
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.gateway.admission import Admission
from voice_openai_connect.gateway.session_manager import Claim, SessionManager
from voice_openai_connect.gateway.siblings import Seat
from voice_openai_connect.gateway.stream_handler import StreamHandler

DEADLINE_S = 10
STEP = DialPerson(token="0123456789")


async def answers() -> None:
    await asyncio.sleep(0)


async def fails() -> None:
    raise ConnectionError


async def hangs() -> None:
    await asyncio.Event().wait()


class Store:
    """The part of a table that several instances share."""

    def __init__(self, does: Callable[[], Awaitable[None]] = answers) -> None:
        self.does = does
        self.steps: dict[str, NextStep] = {}
        self.checkpoints: dict[str, Checkpoint] = {}

    async def save(self, record: HandoverRecord) -> str:
        raise AssertionError

    async def attach_ticket(self, token: str, contact_id: str, ticket_id: str, ticket_url: str) -> bool:
        raise AssertionError

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        await self.does()
        self.steps[call_sid] = step

    def save_checkpoint(self, call_sid: str, checkpoint: Checkpoint, *, at_once: bool = False) -> asyncio.Future[None]:
        self.checkpoints[call_sid] = checkpoint
        return asyncio.ensure_future(asyncio.sleep(0))

    async def bring_back(self, call_sid: str, checkpoint: Checkpoint) -> None:
        raise AssertionError

    def hasten(self) -> None:
        return

    async def close_call(self, call_sid: str, outcome: Outcome, *, words_kept: bool = True) -> None:
        self.checkpoints.pop(call_sid, None)

    async def note_asked(self, call_sid: str) -> None:
        raise AssertionError

    async def note_stopped(self, call_sid: str, stream_sid: str) -> None:
        raise AssertionError

    async def note_dial(self, call_sid: str, attempt: int, outcome: DialOutcome) -> bool:
        raise AssertionError

    async def redemption(self, token: str) -> Redemption | None:
        raise AssertionError

    async def revoke(self, token: str) -> bool:
        raise AssertionError

    async def take_over(self, call_sid: str) -> CallItem:
        return await self.recall_call(call_sid)

    async def recall_call(self, call_sid: str) -> CallItem:
        await self.does()
        return CallItem(self.steps.get(call_sid), self.checkpoints.get(call_sid))


class OnTheLine:
    """What is asked of a live call here."""

    def __init__(self) -> None:
        self.caller_left = False
        self.broken_stream = ""
        self.posted: list[ev.Event] = []
        self.ordered = asyncio.Event()
        self.gave_way = False

    def give_way(self) -> None:
        self.gave_way = True

    def post(self, event: ev.Event) -> None:
        self.posted.append(event)
        if isinstance(event, ev.HandoverOrdered):
            self.ordered.set()


def live(manager: SessionManager, call_sid: str) -> OnTheLine:
    """A call on its line."""
    claim = manager.claim(call_sid)
    assert claim
    call = OnTheLine()
    assert manager.started(claim, cast("StreamHandler", call))
    return call


class Office(SessionManager):
    """A manager that keeps what was reported to it."""

    def __init__(
        self,
        store: Store | None = None,
        max_calls: int = 2,
        admission: Admission | None = None,
        seat: Seat | None = None,
    ) -> None:
        self.claims: dict[str, Claim] = {}
        self.failures: list[str] = []
        super().__init__(
            store or Store(),
            max_calls=max_calls,
            on_failure=lambda what, error: self.failures.append(what),
            admission=admission,
            seat=seat,
        )

    def claim(self, call_sid: str, *, takes_over: bool = False) -> Claim | None:
        claim = super().claim(call_sid, takes_over=takes_over)
        if claim is not None:
            self.claims[call_sid] = claim
        return claim

    def hang_up(self, call_sid: str) -> None:
        """The stream that came last for this call has ended."""
        self.release(self.claims[call_sid])


# --- admission


async def test_calls_are_admitted_up_to_the_count_and_again_when_one_has_ended() -> None:
    office = Office(max_calls=2)
    assert office.claim("CA1")
    assert (office.state, office.refusal("CA2")) == ("ready", "")
    assert office.claim("CA2")
    assert (office.state, office.refusal("CA3"), office.refusal("CA3", resumed=True)) == ("full", "full", "full")
    assert not office.claim("CA3")

    office.hang_up("CA1")
    assert (office.state, office.refusal("CA4")) == ("ready", "")
    assert office.claim("CA3")


async def test_a_call_that_is_on_the_line_already_needs_no_more_room() -> None:
    office = Office(max_calls=1)
    assert office.claim("CA1")

    assert (office.refusal("CA1", resumed=True), office.refusal("CA1")) == ("", "")
    assert office.refusal("CA2", resumed=True) == "full"


async def test_a_call_that_is_taken_up_again_comes_before_new_ones() -> None:
    office = Office(admission=Admission(calls_per_second=0.1, free=lambda: math.inf))

    assert (office.refusal("CA1"), office.refusal("CA2")) == ("", "rate")
    assert [office.refusal(f"CA{n}", resumed=True) for n in range(100)] == [""] * 100
    assert office.state == "ready"


async def test_a_process_in_trouble_is_not_ready_and_says_why_it_takes_no_call() -> None:
    office = Office(admission=Admission(free=lambda: 0))

    assert (office.state, office.refusal("CA1")) == ("busy", "descriptors")


async def test_who_drains_is_neither_full_nor_busy() -> None:
    office = Office(max_calls=0, admission=Admission(free=lambda: 0))
    await asyncio.wait_for(office.drain(), DEADLINE_S)

    assert [office.state, office.refusal("CA1"), office.refusal("CA1", resumed=True)] == ["draining"] * 3


async def test_a_call_has_one_line_at_a_time() -> None:
    office = Office()
    assert office.claim("CA1")
    assert not office.claim("CA1")
    office.hang_up("CA1")
    assert office.claim("CA1")


async def test_a_stream_that_twilio_was_told_to_open_takes_the_line_over() -> None:
    office = Office(max_calls=1)
    old = live(office, "CA1")
    before = office.claims["CA1"]
    assert not office.claim("CA1")
    after = office.claim("CA1", takes_over=True)
    assert after
    assert old.gave_way

    office.release(before)
    assert not office.claim("CA1")
    new = OnTheLine()
    assert office.started(after, cast("StreamHandler", new))
    assert office.order_handover("CA1")
    assert (new.posted, old.posted) == ([ev.HandoverOrdered()], [])
    office.release(after)
    assert office.refusal("CA2") == ""


async def test_a_stream_that_was_overtaken_before_its_first_word_does_not_begin() -> None:
    office = Office()
    slow = office.claim("CA1")
    assert slow
    assert office.claim("CA1", takes_over=True)

    assert not office.started(slow, cast("StreamHandler", OnTheLine()))
    assert office.live == {}


async def test_a_line_that_nobody_holds_is_not_taken_over_without_room() -> None:
    office = Office(max_calls=1)
    assert office.claim("CA1")

    assert not office.claim("CA2", takes_over=True)


async def test_only_calls_on_the_line_are_listed() -> None:
    office = Office()
    live(office, "CA1")
    assert list(office.live) == ["CA1"]
    office.hang_up("CA1")
    assert office.live == {}
    office.hang_up("CA1")


def test_a_ticket_is_good_once_among_workers_and_leaves_nothing_behind_when_it_has_expired(
    tmp_path: Path,
) -> None:
    one, other = Office(seat=Seat(tmp_path, 0, 2)), Office(seat=Seat(tmp_path, 1, 2))
    assert one.use_ticket(b"one", 100, now_s=50)
    assert not other.use_ticket(b"one", 100, now_s=51)
    assert one.use_ticket(b"two", 200, now_s=101)
    assert [path.name for path in tmp_path.iterdir()] == [f"{b'two'.hex()}.used"]


async def test_a_ticket_is_good_once_and_forgotten_when_it_has_expired() -> None:
    office = Office()
    assert office.use_ticket(b"one", 100, now_s=50)
    assert not office.use_ticket(b"one", 100, now_s=99)
    assert office.use_ticket(b"two", 200, now_s=101)
    assert len(office._used_tickets) == 1  # pyright: ignore[reportPrivateUsage]


# --- what is next


async def test_every_live_call_hears_who_is_there() -> None:
    office = Office()
    first, second = live(office, "CA1"), live(office, "CA2")
    known = ev.QueuesUnattended(closed=frozenset({"support"}))
    office.tell_who_is_there(known)

    assert first.posted == second.posted == [known]


# --- who must still be asked about


async def test_a_stream_that_ends_is_asked_about_unless_its_caller_has_left() -> None:
    office = Office()
    broken, left = live(office, "CA1"), live(office, "CA2")
    left.caller_left = True
    office.hang_up("CA1")
    office.hang_up("CA2")
    assert not broken.caller_left
    assert [office.memory.has_left(call) for call in ("CA1", "CA2", "CA3")] == [False, True, False]

    assert not office.questions.none_awaited.is_set()
    office.questions.asked("CA1")
    assert office.questions.none_awaited.is_set()


async def test_of_a_stream_that_broke_off_it_is_said_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    office, expected = Office(), list[tuple[str, str]]()

    def expect(call_sid: str, *, broken: str = "") -> None:
        expected.append((call_sid, broken))

    monkeypatch.setattr(office.questions, "expect", expect)
    live(office, "CA1").broken_stream = "MZ1"
    live(office, "CA2")
    office.hang_up("CA1")
    office.hang_up("CA2")

    assert expected == [("CA1", "MZ1"), ("CA2", "")]


async def test_a_call_whose_next_stream_comes_has_been_asked_about() -> None:
    office = Office()
    live(office, "CA1")
    office.hang_up("CA1")
    assert office.claim("CA1")

    assert office.questions.none_awaited.is_set()


# --- orders


async def test_a_call_that_is_not_on_the_line_cannot_be_handed_over() -> None:
    office = Office()
    call = live(office, "CA1")

    assert office.order_handover("CA1")
    assert call.posted == [ev.HandoverOrdered()]
    assert not office.order_handover("CA2")
    office.hang_up("CA1")
    assert not office.order_handover("CA1")


# --- the end of the shift


async def test_with_nobody_on_the_line_a_drain_is_over_at_once() -> None:
    office = Office()
    await asyncio.wait_for(office.drain(), DEADLINE_S)

    assert office.draining
    assert office.state == "draining"


async def test_a_drain_moves_the_calls_on_the_line_and_lets_the_others_finish() -> None:
    office = Office()
    call = live(office, "CA1")
    drain = asyncio.create_task(office.drain())
    await asyncio.sleep(0)
    assert office.claim("CA2")  # rung before the drain began, and its socket comes now
    office.hang_up("CA1")
    await asyncio.sleep(0)
    assert not drain.done()

    office.hang_up("CA2")
    await asyncio.wait_for(drain, DEADLINE_S)
    assert call.posted == [ev.MoveOrdered()]


async def test_a_drain_sends_the_calls_that_do_not_end_to_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office()
    monkeypatch.setattr(limits, "SHUTDOWN_S", 0.02)
    first, second = live(office, "CA1"), live(office, "CA2")
    drain = asyncio.create_task(office.drain())
    await asyncio.wait_for(second.ordered.wait(), DEADLINE_S)
    monkeypatch.undo()

    assert first.posted == second.posted == [ev.MoveOrdered(), ev.HandoverOrdered(stopping=True)]
    await asyncio.wait_for(drain, DEADLINE_S)


async def test_a_drain_in_a_hurry_waits_for_no_turn_of_anybody_s() -> None:
    office = Office()
    call = live(office, "CA1")
    drain = asyncio.create_task(office.drain())
    await settled()
    office.hasten()
    assert call.posted == [ev.MoveOrdered(), ev.MoveOrdered(at_once=True)]
    assert not drain.done()

    office.hang_up("CA1")
    office.questions.asked("CA1")
    await asyncio.wait_for(drain, DEADLINE_S)


async def test_a_drain_ends_even_if_a_call_never_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SHUTDOWN_S", 0.01)
    office = Office()
    live(office, "CA1")

    await asyncio.wait_for(office.drain(), DEADLINE_S)


async def test_a_drain_waits_until_twilio_has_asked_what_is_next_for_the_last_call() -> None:
    office = Office()
    live(office, "CA1")
    drain = asyncio.create_task(office.drain())
    await office.remember_step("CA1", STEP)
    office.hang_up("CA1")
    await settled()
    assert not drain.done()

    office.questions.asked("CA1")
    await asyncio.wait_for(drain, DEADLINE_S)


async def test_a_drain_does_not_wait_for_ever_for_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NEXT_ASKED_S", 0.01)
    office = Office()
    await office.remember_step("CA1", STEP)

    await asyncio.wait_for(office.drain(), DEADLINE_S)


async def settled() -> None:
    """Whatever can go on without anybody's help has gone on."""
    for _turn in range(20):
        await asyncio.sleep(0)
