"""The supervisor with small children in the workers' place: they say what happens to them, and do as they are told."""

import asyncio
import errno
import fcntl
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from voice_openai_connect import limits, supervisor
from voice_openai_connect.metrics import FILES
from voice_openai_connect.supervisor import CannotSuperviseError, Supervisor, shared_room

DEADLINE_S = 30
CHILD = """
import os, signal, socket, sys
number, said, how = sys.argv[1:]
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
line.connect(said)
told = 0

def tell(what):
    line.send(f"{number} {what}".encode())

def stop(*_):
    global told
    told += 1
    tell(f"told {told}")
    if how != "stubborn" or told == 3:
        os._exit(5 if how == "stubborn" else 0)

signal.signal(signal.SIGTERM, stop)
if how == "fails":
    tell("fails")
    sys.exit(7)
os.write(0, b".")
tell("serves")
if how == "dies":
    sys.exit(3)
while True:
    signal.pause()
"""


@dataclass
class Crowd:
    supervisor: Supervisor
    running: asyncio.Task[int]
    said: socket.socket
    heard: list[str] = field(default_factory=list[str])
    deaths: asyncio.Queue[int] = field(default_factory=asyncio.Queue[int])
    """The numbers of those who have died, in order."""

    async def until(self, words: str, times: int = 1) -> None:
        """Return when a child has said this, so often in all."""
        async with asyncio.timeout(DEADLINE_S):
            while self.heard.count(words) < times:
                self.heard.append((await asyncio.get_running_loop().sock_recv(self.said, 100)).decode())

    async def status(self) -> int:
        """The exit status, when all have ended and everything they said has been heard."""
        status = await asyncio.wait_for(asyncio.shield(self.running), DEADLINE_S)
        with suppress(BlockingIOError):
            while True:
                self.heard.append(self.said.recv(100).decode())
        return status


@asynccontextmanager
async def crowd(room: Path, how: Callable[[int, int], str], workers: int = 2) -> AsyncGenerator[Crowd]:
    """Children who live as `how(number, life)` says, lives counted from 1."""
    lives: dict[int, int] = {}

    def command(number: int) -> list[str]:
        lives[number] = lives.get(number, 0) + 1
        return [sys.executable, "-c", CHILD, str(number), str(room / "said"), how(number, lives[number])]

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as said:
        said.bind(str(room / "said"))
        said.setblocking(False)
        deaths = asyncio.Queue[int]()
        supervisor = Supervisor(command, workers, on_death=deaths.put_nowait)
        opened = Crowd(supervisor, asyncio.create_task(supervisor.run()), said, deaths=deaths)
        try:
            yield opened
        finally:
            while not opened.running.done():
                supervisor.stop()
                await asyncio.wait({opened.running}, timeout=0.5)


def serves(number: int, life: int) -> str:
    return "serves"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dies is replaced at once."""
    monkeypatch.setattr(limits, "WORKER_PAUSE_FIRST_S", 0.01)
    monkeypatch.setattr(limits, "WORKER_PAUSE_MAX_S", 0.04)


# --- the start


async def test_the_others_start_when_the_first_serves(tmp_path: Path) -> None:
    async with crowd(tmp_path, serves, workers=3) as found:
        await found.until("1 serves")
        await found.until("2 serves")

        assert found.heard[0] == "0 serves"


async def test_what_the_first_cannot_do_is_said_once_and_ends_all_with_its_status(tmp_path: Path) -> None:
    async with crowd(tmp_path, lambda number, life: "fails", workers=3) as found:
        assert await found.status() == 7
        assert found.heard == ["0 fails"]


async def test_a_first_worker_that_ends_in_peace_before_it_serves_is_a_failure(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda number: [sys.executable, "-c", ""], 2)

    assert await asyncio.wait_for(supervisor.run(), DEADLINE_S) == 1


async def test_a_program_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda number: [str(tmp_path / "nothing")], 2)

    assert await asyncio.wait_for(supervisor.run(), DEADLINE_S) == 1


# --- one that dies


@pytest.mark.usefixtures("impatient")
async def test_a_worker_that_dies_is_replaced_and_the_others_are_left_alone(tmp_path: Path) -> None:
    def second_dies_once(number: int, life: int) -> str:
        return "dies" if (number, life) == (1, 1) else "serves"

    async with crowd(tmp_path, second_dies_once) as found:
        await found.until("1 serves", times=2)

        assert (found.deaths.get_nowait(), found.deaths.empty()) == (1, True)
        assert found.heard.count("0 serves") == 1


@pytest.mark.usefixtures("impatient")
async def test_the_first_is_replaced_as_well_once_it_has_served(tmp_path: Path) -> None:
    async with crowd(tmp_path, lambda number, life: "dies" if life == 1 else "serves", workers=1) as found:
        await found.until("0 serves", times=2)

        assert not found.running.done()


@pytest.mark.usefixtures("impatient")
async def test_a_worker_that_cannot_live_is_tried_more_and_more_seldom(tmp_path: Path) -> None:
    def second_never_lives(number: int, life: int) -> str:
        return "fails" if number else "serves"

    with capture_logs() as log:
        async with crowd(tmp_path, second_never_lives) as found:
            await found.until("1 fails", times=5)

    ends = [line for line in log if line["event"] == "worker_ended"]
    assert [line["pause_s"] for line in ends][:4] == [0.01, 0.02, 0.04, 0.04]
    assert {(line["worker"], line["status"], line["served"]) for line in ends} == {(1, 7, False)}


@pytest.mark.usefixtures("impatient")
async def test_a_worker_that_dies_old_is_replaced_as_soon_as_the_first_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WORKER_OLD_S", 0.0)
    with capture_logs() as log:
        async with crowd(tmp_path, lambda number, life: "dies" if number else "serves") as found:
            await found.until("1 serves", times=4)

    assert {line["pause_s"] for line in log if line["event"] == "worker_ended"} == {0.01}


async def test_a_worker_of_which_nothing_comes_any_more_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WORKER_SILENT_S", 0.2)
    monkeypatch.setattr(limits, "WORKER_PAUSE_FIRST_S", 0.01)
    with capture_logs() as log:
        async with crowd(tmp_path, serves, workers=1) as found:  # these children beat once, and never again
            await found.until("0 serves", times=2)

    ended = next(line for line in log if line["event"] == "worker_ended")
    assert (ended["status"], ended["served"]) == (128 + signal.SIGKILL, True)
    assert next(line["worker"] for line in log if line["event"] == "worker_silent") == 0


# --- the end


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_stop_is_passed_on_to_all_and_all_are_waited_for(tmp_path: Path, how: signal.Signals) -> None:
    async with crowd(tmp_path, serves) as found:
        await found.until("1 serves")
        os.kill(os.getpid(), how)

        assert await found.status() == 0
        assert sorted(line for line in found.heard if "told" in line) == ["0 told 1", "1 told 1"]


async def test_every_further_signal_is_passed_on_and_a_bad_end_shows_in_the_status(tmp_path: Path) -> None:
    async with crowd(tmp_path, lambda number, life: "stubborn") as found:
        await found.until("1 serves")
        for times in (1, 2, 3):
            found.supervisor.stop()
            await found.until(f"0 told {times}")
            await found.until(f"1 told {times}")

        assert await found.status() == 5


async def test_nobody_is_replaced_any_more_when_all_are_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WORKER_PAUSE_FIRST_S", DEADLINE_S)
    async with crowd(tmp_path, lambda number, life: "dies" if number else "serves") as found:
        assert await asyncio.wait_for(found.deaths.get(), DEADLINE_S) == 1
        found.supervisor.stop()

        assert await found.status() == 0
        assert found.heard.count("1 serves") == 1


# --- what they share


def test_the_room_of_the_workers_is_theirs_alone_and_is_locked_against_those_who_tidy_up() -> None:
    with shared_room(2) as room:
        assert room.room.stat().st_mode & 0o777 == 0o700
        assert len(list(room.metrics.iterdir())) == 2 * len(FILES)
        tidy = os.open(room.room, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(tidy, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(tidy)
    assert not room.room.exists()


def test_workers_without_a_room_are_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(CannotSuperviseError, match="no such file or directory"), shared_room(2):
        pass


def test_a_room_in_which_nothing_fits_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(supervisor, "make_room", full)
    with pytest.raises(CannotSuperviseError, match="no space left on device"), shared_room(2):
        pass
    assert list(tmp_path.iterdir()) == []
