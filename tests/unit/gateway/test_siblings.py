import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from voice_openai_connect import limits
from voice_openai_connect.gateway.siblings import Crew, LiveCall, Seat, State, open_door

MINE, THEIRS = LiveCall("CA1", "conv-1", "talking"), LiveCall("CA2", "conv-2", "dialing")


@dataclass
class Worker:
    """What one worker knows of its own calls."""

    state: State = "ready"
    live: Sequence[LiveCall] = ()
    ordered: list[str] = field(default_factory=list[str])

    def calls(self) -> Sequence[LiveCall]:
        return self.live

    def order_handover(self, call_sid: str) -> bool:
        here = any(call.call_sid == call_sid for call in self.live)
        if here:
            self.ordered.append(call_sid)
        return here


@dataclass
class Instance:
    crew: Crew
    failures: list[str]


@asynccontextmanager
async def instance(room: Path, *workers: Worker) -> AsyncGenerator[Instance]:
    """Workers that are asked at their doors; the crew is the first one's view."""
    failures: list[str] = []
    async with AsyncExitStack() as stack:
        seats = [Seat(room, number, len(workers)) for number in range(len(workers))]
        for seat, worker in zip(seats, workers, strict=True):
            await stack.enter_async_context(open_door(seat, worker))
        yield Instance(Crew(workers[0], seats[0], lambda what, error: failures.append(what)), failures)


# --- one for all


async def test_a_process_by_itself_speaks_for_itself() -> None:
    alone = Worker("busy", [MINE])
    crew = Crew(alone, None, lambda what, error: None)

    assert await crew.state() == "busy"
    assert await crew.calls() == [MINE]
    assert await crew.order_handover("CA1")
    assert not await crew.order_handover("CA2")


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        (("ready", "ready"), "ready"),
        (("full", "ready"), "ready"),
        (("busy", "full", "ready"), "ready"),
        (("full", "busy"), "full"),
        (("ready", "draining"), "draining"),
        (("draining", "ready"), "draining"),
    ],
)
async def test_an_instance_is_ready_when_any_worker_is_and_none_drains(
    tmp_path: Path, states: Sequence[State], whole: State
) -> None:
    async with instance(tmp_path, *map(Worker, states)) as found:
        assert await found.crew.state() == whole


async def test_an_instance_is_starting_until_every_worker_has_come(tmp_path: Path) -> None:
    early, late = Worker(), Worker()
    crew = Crew(early, Seat(tmp_path, 0, 2), lambda what, error: None)

    assert await crew.state() == "starting"
    async with open_door(Seat(tmp_path, 1, 2), late):
        assert await crew.state() == "ready"


async def test_the_calls_of_all_workers_are_listed(tmp_path: Path) -> None:
    async with instance(tmp_path, Worker(live=[MINE]), Worker(live=[THEIRS])) as found:
        assert await found.crew.calls() == [MINE, THEIRS]


async def test_a_handover_is_ordered_where_the_call_is(tmp_path: Path) -> None:
    asked, other = Worker(live=[MINE]), Worker(live=[THEIRS])
    async with instance(tmp_path, asked, other) as found:
        assert await found.crew.order_handover("CA2")
        assert not await found.crew.order_handover("CA3")

    assert (asked.ordered, other.ordered) == ([], ["CA2"])


# --- siblings that do not answer


async def test_a_worker_that_was_killed_is_done_without(tmp_path: Path) -> None:
    seat = Seat(tmp_path, 0, 2)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(seat.door(1)))
    failures: list[str] = []
    crew = Crew(Worker("full", [MINE]), seat, lambda what, error: failures.append(what))

    assert await crew.state() == "full"
    assert await crew.calls() == [MINE]
    assert failures == []


async def test_a_worker_that_does_not_answer_is_told_of_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SIBLING_S", 0.05)
    seat, never = Seat(tmp_path, 0, 2), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    failures: list[str] = []
    async with await asyncio.start_unix_server(hang, seat.door(1)):
        assert await Crew(Worker(), seat, lambda what, error: failures.append(what)).state() == "ready"
        never.set()

    assert failures == ["ask sibling"]


async def test_what_is_no_question_gets_no_answer_and_breaks_nothing(tmp_path: Path) -> None:
    async with instance(tmp_path, Worker(), Worker("full")) as found:
        for words in (b"hello\n", b'{"ask": "everything"}\n', b""):
            reader, writer = await asyncio.open_unix_connection(Seat(tmp_path, 0, 2).door(1))
            writer.write(words)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()

        assert await found.crew.state() == "ready"


async def test_a_door_that_a_killed_worker_left_behind_is_opened_again(tmp_path: Path) -> None:
    Seat(tmp_path, 1, 2).door(1).touch()
    async with instance(tmp_path, Worker("full"), Worker()) as found:
        assert await found.crew.state() == "ready"


# --- tickets


def test_a_ticket_is_used_once_among_all_workers(tmp_path: Path) -> None:
    one, other = Seat(tmp_path, 0, 2), Seat(tmp_path, 1, 2)

    assert one.is_first_use(b"\x00\xff")
    assert not other.is_first_use(b"\x00\xff")
    assert other.is_first_use(b"\x00\xfe")


def test_a_ticket_that_is_forgotten_leaves_nothing_behind(tmp_path: Path) -> None:
    seat = Seat(tmp_path, 0, 2)
    seat.is_first_use(b"one")
    seat.forget(b"one")
    seat.forget(b"never seen")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_more_files_turns_nobody_away(tmp_path: Path) -> None:
    assert Seat(tmp_path / "gone", 0, 2).is_first_use(b"one")
