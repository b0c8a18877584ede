"""What is known of the queues, on clocks that are moved by hand: what is old, unknown or failing counts as attended."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from types import TracebackType
from typing import Self

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.events import QueuesUnattended
from voice_openai_connect.gateway.presence import QueuePresence
from voice_openai_connect.wire.opening_hours import OpeningHours

NAMES = frozenset({"support", "sales"})
NINE_TO_FIVE = (time(9), time(17))
MONDAY = date(2026, 11, 23)


@dataclass
class Center:
    """A contact centre that says what it is told to say."""

    ids: dict[str, str] = field(default_factory=lambda: {"support": "q1", "sales": "q2"})
    agents: dict[str, int] = field(default_factory=lambda: {"q1": 2, "q2": 2})
    spans: dict[str, tuple[time, time] | None] = field(default_factory=lambda: {"q1": NINE_TO_FIVE, "q2": NINE_TO_FIVE})
    broken: set[str] = field(default_factory=set[str])
    asked: list[str] = field(default_factory=list[str])
    opened: int = 0
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self.opened += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.opened -= 1

    async def find_queues(self, names: frozenset[str]) -> Mapping[str, str]:
        self._ask("queues")
        return {name: self.ids[name] for name in names if name in self.ids}

    async def opening_hours(self, queue_id: str, first: date, last: date) -> OpeningHours | None:
        self._ask(f"hours {queue_id}")
        span = self.spans[queue_id]
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        return OpeningHours(UTC, first, last, {day: [span] for day in days}) if span else None

    async def staffed(self, queue_ids: Sequence[str]) -> Mapping[str, int]:
        self._ask("staffed")
        return {queue: self.agents[queue] for queue in queue_ids if queue in self.agents}

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self.was_asked.set()
        if what.split(maxsplit=1)[0] in self.broken:
            raise ConnectionError(what)


@dataclass
class World:
    """The presence with its clocks, and everything it has told."""

    center: Center = field(default_factory=Center)
    passed_s: float = 0.0
    moment: datetime = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    told: list[object] = field(default_factory=list[object])
    changes: list[QueuesUnattended] = field(default_factory=list[QueuesUnattended])

    def __post_init__(self) -> None:
        self.presence = QueuePresence(
            self.center,
            NAMES,
            self,
            on_change=self.changes.append,
            today=lambda: self.moment,
            clock=lambda: self.passed_s,
        )

    async def look(self) -> QueuesUnattended:
        """Ask everything that is due."""
        while await self.presence.look():
            pass
        return self.presence.unattended()

    async def wait(self, seconds: float) -> QueuesUnattended:
        """Let time pass on both clocks, then ask what has become due."""
        self.passed_s += seconds
        self.moment += timedelta(seconds=seconds)
        return await self.look()

    # --- the observer

    def unattended(self, known: QueuesUnattended) -> None:
        self.told.append(known)

    def queues_unknown(self, names: frozenset[str]) -> None:
        self.told.append(names)

    def presence_unknown(self, what: str, error: Exception) -> None:
        self.told.append(f"{what}: {error}")

    def presence_known(self) -> None:
        self.told.append("known")


@pytest.fixture
def world() -> World:
    return World()


async def test_before_anything_is_known_everybody_is_there(world: World) -> None:
    assert world.presence.unattended() == QueuesUnattended()


async def test_one_look_asks_one_question(world: World) -> None:
    for _ in range(4):
        before = len(world.center.asked)
        assert await world.presence.look()
        assert len(world.center.asked) == before + 1
    assert not await world.presence.look()

    assert world.center.asked == ["queues", "staffed", "hours q1", "hours q2"]


async def test_a_queue_outside_its_hours_is_closed_and_one_without_agents_is_unstaffed(world: World) -> None:
    world.center.spans["q1"] = (time(14), time(17))
    world.center.agents["q2"] = 0

    assert await world.look() == QueuesUnattended(frozenset({"support"}), frozenset({"sales"}))


async def test_a_closed_queue_is_not_called_unstaffed_as_well(world: World) -> None:
    world.center.agents["q1"] = 0
    world.center.spans["q1"] = (time(14), time(17))

    assert await world.look() == QueuesUnattended(closed=frozenset({"support"}))


async def test_closing_time_is_noticed_without_another_question(world: World) -> None:
    world.moment = datetime(2026, 11, 23, 16, 59, 59, tzinfo=UTC)
    assert await world.look() == QueuesUnattended()
    asked = len(world.center.asked)
    world.moment += timedelta(seconds=1)
    await world.presence.look()

    assert world.changes == [QueuesUnattended(closed=NAMES)]
    assert len(world.center.asked) == asked


async def test_what_changes_is_told_once(world: World) -> None:
    world.center.agents["q1"] = 0
    await world.look()
    await world.wait(limits.PRESENCE_STAFFED_S)
    world.center.agents["q1"] = 1
    await world.wait(limits.PRESENCE_STAFFED_S)

    assert world.changes == world.told == [QueuesUnattended(unstaffed=frozenset({"support"})), QueuesUnattended()]


async def test_every_kind_of_question_has_its_own_pace(world: World) -> None:
    await world.look()
    for _ in range(int(limits.PRESENCE_QUEUES_S / limits.PRESENCE_STAFFED_S)):
        await world.wait(limits.PRESENCE_STAFFED_S)

    count = {what: world.center.asked.count(what) for what in set(world.center.asked)}
    assert count == {"queues": 2, "staffed": 181, "hours q1": 7, "hours q2": 7}


async def test_two_names_of_one_queue_are_one_question(world: World) -> None:
    world.center.ids = {"support": "q1", "sales": "q1"}
    world.center.agents = {"q1": 0}

    assert await world.look() == QueuesUnattended(unstaffed=NAMES)
    assert world.center.asked.count("hours q1") == 1


async def test_a_queue_without_figures_or_hours_is_attended(world: World) -> None:
    world.center.agents.clear()
    world.center.spans["q1"] = None

    assert await world.look() == QueuesUnattended()


async def test_a_day_that_was_not_asked_about_is_open(world: World) -> None:
    await world.look()
    world.moment += timedelta(days=30)

    assert world.presence.unattended() == QueuesUnattended()


async def test_a_queue_that_is_not_there_is_attended_and_named_once(world: World) -> None:
    del world.center.ids["sales"]
    world.center.agents["q2"] = 0
    await world.look()
    await world.wait(limits.PRESENCE_QUEUES_S)

    assert world.presence.unattended() == QueuesUnattended()
    assert world.told == [frozenset({"sales"})]


# --- trouble


async def test_an_answer_that_is_too_old_is_believed_no_more(world: World) -> None:
    world.center.agents["q1"] = 0
    await world.look()
    world.center.broken = {"staffed"}

    assert await world.wait(limits.PRESENCE_STAFFED_BELIEVED_S - 1) == QueuesUnattended(
        unstaffed=frozenset({"support"})
    )
    assert await world.wait(1) == QueuesUnattended()
    assert world.changes[-1] == QueuesUnattended()


async def test_trouble_is_told_once_and_so_is_its_end(world: World) -> None:
    world.center.broken = {"queues", "staffed", "hours"}
    await world.look()
    for _ in range(1_100):  # more than a week: a pause must not grow out of all numbers
        await world.wait(limits.PRESENCE_RETRY_MAX_S)
    assert world.told == ["queues: queues"]
    assert world.presence.unattended() == QueuesUnattended()
    world.center.broken = set()
    await world.wait(limits.PRESENCE_RETRY_MAX_S)

    assert world.told[:2] == ["queues: queues", "known"]


async def test_one_right_that_is_missing_spoils_no_other_question(world: World) -> None:
    world.center.broken = {"hours"}
    world.center.agents["q1"] = 0

    assert await world.look() == QueuesUnattended(unstaffed=frozenset({"support"}))
    assert len([told for told in world.told if isinstance(told, str)]) == 1


async def test_after_each_failure_the_pause_is_longer_up_to_a_bound(world: World) -> None:
    world.center.broken = {"queues"}
    await world.look()
    asked_at = [0.0]
    while len(asked_at) < 8:
        before = len(world.center.asked)
        await world.wait(limits.PRESENCE_RETRY_S)
        if len(world.center.asked) > before:
            asked_at.append(world.passed_s)

    pauses = [after - before for before, after in pairwise(asked_at)]
    assert pauses == [30, 60, 120, 240, 480, 600, 600]


async def test_it_keeps_asking_by_itself_until_it_is_closed(world: World) -> None:
    async with world.presence:
        assert world.center.opened == 1
        async with asyncio.timeout(10):
            await world.center.was_asked.wait()

    assert world.center.opened == 0
    assert world.center.asked == ["queues"]
