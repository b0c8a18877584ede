"""Lookups of host names: none waits for another name's, and one is enough for all who ask at once."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from voice_openai_connect import limits
from voice_openai_connect.event_loop import THREADS, first_answer, run

NAMESPACES = ("unshare", "--map-root-user", "--mount", "--net")
DEADLINE_S = 20
SILENT_NAMES = Path(__file__).with_name("silent_names.py")


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS, "")
    monkeypatch.delenv(THREADS)


def has_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACES, "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="a name server of one's own needs unshare and user namespaces")
def test_a_name_for_which_nobody_answers_keeps_no_other_from_being_found() -> None:
    asked = [*NAMESPACES, sys.executable, str(SILENT_NAMES)]
    done = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, times_asked, sooner = done.stdout.split()

    assert first == "model"
    assert int(times_asked) <= 2 * limits.LOOKUPS_A_NAME  # for both kinds of address, by one of twenty who ask
    assert sooner == "ours"  # where the system's own lookup waits for an answer that was lost


def test_who_asks_at_once_for_the_same_is_told_the_same_and_others_something_else() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
        wanted = [
            (("127.0.0.1", 80), stream),
            (("127.0.0.1", 80), stream),
            (("127.0.0.1", 443), stream),
            (("127.0.0.2", 80), stream),
            (("127.0.0.1", 80), datagram),
        ]
        found = await asyncio.gather(*(loop.getaddrinfo(*place, type=kind) for place, kind in wanted))
        assert [(each[0][4], each[0][1]) for each in found] == wanted

    run(main())


def test_a_name_that_is_not_found_is_not_found_for_all_who_ask_and_asked_for_again_by_the_next() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        before: object = None
        for _ in range(2):
            asking = [loop.getaddrinfo("a name", 80, flags=socket.AI_NUMERICHOST) for _ in range(2)]
            told = await asyncio.gather(*asking, return_exceptions=True)
            assert [type(each) for each in told] == [socket.gaierror] * 2
            assert told[0] is told[1]
            assert told[0] is not before
            before = told[0]

    run(main())


def test_one_who_no_longer_asks_leaves_the_answer_to_the_others() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        impatient, patient = (asyncio.create_task(loop.getaddrinfo("127.0.0.1", 80)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient)[0][4] == ("127.0.0.1", 80)
        assert impatient.cancelled()

    run(main())


@dataclass
class Lookups:
    """Each answers as `said` tells; what is not said never comes."""

    said: dict[int, str | OSError]
    begun: int = 0
    given_up: int = 0

    async def ask(self) -> str:
        number = self.begun
        self.begun += 1
        try:
            if number not in self.said:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if isinstance(said := self.said[number], OSError):
            raise said
        return said


async def test_a_lookup_that_answers_is_the_only_one() -> None:
    lookups = Lookups({0: "first"})
    assert await first_answer(lookups.ask) == "first"
    assert lookups.begun == 1


@pytest.mark.parametrize("late", range(1, limits.LOOKUPS_A_NAME))
async def test_a_lookup_that_is_late_gets_another_beside_it_and_the_first_to_answer_is_believed(
    monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    monkeypatch.setattr(limits, "LOOKUP_AGAIN_S", 0.01)
    lookups = Lookups({late: "found"})
    assert await asyncio.wait_for(first_answer(lookups.ask), DEADLINE_S) == "found"
    await asyncio.sleep(0)
    assert (lookups.begun, lookups.given_up) == (late + 1, late)


async def test_a_name_is_not_asked_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOOKUP_AGAIN_S", 0.001)
    lookups = Lookups({})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(first_answer(lookups.ask), 0.2)
    await asyncio.sleep(0)
    assert lookups.begun == lookups.given_up <= limits.LOOKUPS_A_NAME


async def test_an_answer_that_there_is_no_such_name_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOOKUP_AGAIN_S", 0.01)
    lookups = Lookups({1: socket.gaierror("no such name")})
    with pytest.raises(socket.gaierror):
        await asyncio.wait_for(first_answer(lookups.ask), DEADLINE_S)
    assert lookups.begun == 2


def test_there_are_threads_for_many_names_unless_an_operator_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)

    run(main())
    assert os.environ[THREADS] == str(limits.LOOKUP_THREADS)
    monkeypatch.setenv(THREADS, "7")
    run(main())
    assert os.environ[THREADS] == "7"


def test_where_there_is_no_uvloop_the_ordinary_loop_carries_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())

    run(main())
    assert not isinstance(loops[0], uvloop.Loop)
