"""The process: it is stopped, killed, stands still, is told nonsense, or has a mistake in it; its clock, its disk."""

import asyncio
import fcntl
import logging
import os
import resource
import signal
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2
import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.commands import Command
from voice_openai_connect.call.machine import Call
from voice_openai_connect.logs import configure_logging
from voice_openai_connect.recording.replay import replay
from voice_openai_connect.simulator import gateway_process
from voice_openai_connect.simulator.caller import Listen, Press, Wait
from voice_openai_connect.simulator.carrier_call import CarriedCall
from voice_openai_connect.simulator.ecs import METADATA_PATH, TARGET_GROUP, SimulatedEcs
from voice_openai_connect.simulator.gateway_process import ORDINARY, PATIENT, GatewayProcess
from voice_openai_connect.simulator.ports import free_port
from voice_openai_connect.simulator.town import CONNECT_NUMBER, FALLBACK_URL, Town
from voice_openai_connect.simulator.witness import (
    END_S,
    TO_A_PERSON,
    answers,
    goes_on,
    greeted,
    hears_carrier_say,
    in_conversation,
    over,
    person_knows,
    reason_of_transfer,
    ring,
)

OpenTown = Callable[..., AbstractAsyncContextManager[Town]]
STILL_MS = 2_000
FEW_DESCRIPTORS = 160
UNREAD_CALLS = 2
COMMAND_S = 60
OTHER_CALLER = "+61491570007"
PUBLIC_HOST = "voice.example.com"
PUBLIC_URL = f"https://{PUBLIC_HOST}"
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


async def jumped(gateway: GatewayProcess, seconds: int) -> bool:
    """Whether the gateway's own clock has really jumped: its answers are dated by it."""
    async with httpx2.AsyncClient() as client:
        date = (await client.get(f"{gateway.base_url}/healthz")).headers["Date"]
    return abs(parsedate_to_datetime(date) - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(minutes=5)


async def test_S4_a_process_that_stands_still(quick_town: OpenTown) -> None:
    """Fault: the process stands still for two seconds in the middle of a call.

    Hears: a gap; then the conversation goes on, and key 0 still leads to a person who knows why.
    """
    async with quick_town(own_process=True) as town:
        assert town.gateway is not None
        call = await ring(town, Listen(ms=300), Wait(STILL_MS + 4_000), Press("0"), *TO_A_PERSON)
        session = await greeted(town, call)
        began_ms = call.now_ms
        town.gateway.signal(signal.SIGSTOP)
        try:
            await call.until(lambda c: c.now_ms >= began_ms + STILL_MS)
        finally:
            town.gateway.signal(signal.SIGCONT)

        assert await answers(session)
        await over(call)
        assert len(call.streams) == len(town.model.sessions) == 1
        assert person_knows(town)


async def test_S4_a_call_that_comes_while_the_process_catches_up(quick_town: OpenTown) -> None:
    """Fault: the process stands still for two seconds, and a new call comes in then.

    Hears: an announcement, then a person; the caller who is on the line goes on.
    """
    async with quick_town(own_process=True, module=ORDINARY) as town:
        assert town.gateway is not None
        call = await ring(town)
        session = await greeted(town, call)
        began_ms = call.now_ms
        town.gateway.signal(signal.SIGSTOP)
        try:
            await call.until(lambda c: c.now_ms >= began_ms + STILL_MS)
            late = await ring(town, *TO_A_PERSON, from_=OTHER_CALLER)
        finally:
            town.gateway.signal(signal.SIGCONT)
        await over(late)

        assert late.streams == []
        assert hears_carrier_say(town)
        assert "connected" in town.center.contacts[0].states
        assert 'voice_connect_refused_total{reason="busy",what="call"} 1.0' in await town.gateway.metrics()
        assert await answers(session)
        assert len(call.streams) == 1


# --- it is stopped


@dataclass
class Pair:
    """A town with two instances of the gateway behind one public name."""

    town: Town
    first: GatewayProcess
    second: GatewayProcess
    routes: dict[str, str]

    def send_to_second(self) -> None:
        """What a balancer does when the first instance is not ready any more."""
        self.routes[PUBLIC_URL] = self.second.base_url


@asynccontextmanager
async def pair_of(quick_town: OpenTown, **settings: str) -> AsyncGenerator[Pair]:
    routes: dict[str, str] = {}
    plan = {"settings": {"PUBLIC_HOST": PUBLIC_HOST, **settings}, "routes": routes}
    async with quick_town(["Tell me more."], own_process=True, **plan) as town:
        assert town.gateway is not None
        routes[PUBLIC_URL] = town.gateway.base_url
        port = free_port()
        async with GatewayProcess({**town.settings, "PORT": str(port)}, port, module=PATIENT) as second:
            yield Pair(town, town.gateway, second, routes)


def told(gateway: GatewayProcess, name: str) -> list[str]:
    """The labels of this fact in its log, in order."""
    return [str(line.get("label")) for line in gateway.log if line["message"] == name]


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    """Another process tells it in no other way than by being asked again."""
    async with asyncio.timeout(END_S):
        while not await what():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def has_refused(gateway: GatewayProcess) -> bool:
    """Whether it has told Twilio that it takes no stream any more."""
    return bool(told(gateway, "refused"))


async def is_draining(gateway: GatewayProcess) -> bool:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{gateway.base_url}/readyz")
    return (answer.status_code, answer.json()["status"]) == (503, "draining")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain takes longer than a stop that nobody waits for."""
    monkeypatch.setattr(gateway_process, "STOP_S", END_S)


@pytest.mark.usefixtures("patient")
async def test_S1_a_stop_with_another_instance_there(quick_town: OpenTown) -> None:
    """Fault: SIGTERM, as in every deploy, while another instance is ready and the balancer is late to notice.

    Hears: hardly anything: between two turns the conversation moves to the other instance; the process exits with 0.
    """
    async with pair_of(quick_town) as pair:
        town = pair.town
        call = await ring(town)
        await in_conversation(town, call)
        stopped = asyncio.create_task(pair.first.stop(signal.SIGTERM))
        await until(lambda: has_refused(pair.first))
        pair.send_to_second()

        again = await goes_on(town, call)
        assert await asyncio.wait_for(stopped, END_S) == 0
        assert told(pair.first, "call_ended") == ["moved"]
        assert told(pair.second, "resumed") == ["0"]
        assert [line for line in pair.first.log if line["level"] == "error"] == []

        again.caller_said("Let me speak to a person, please.")
        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert call.dials[0].digits


@pytest.mark.usefixtures("patient")
async def test_S1_a_task_that_its_target_group_lets_go(quick_town: OpenTown) -> None:
    """Fault: ECS takes the only task out of its target group, and sends SIGTERM long after that.

    Hears: what a stop lets hear, and at once: here a person, with no other task there; the process exits with 0.
    """
    ecs = SimulatedEcs(0)
    async with ecs.serving() as address:
        settings = {
            "TARGET_GROUP_ARN": TARGET_GROUP,
            "ECS_CONTAINER_METADATA_URI_V4": f"{address}{METADATA_PATH}",
            "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2": address,
        }
        async with quick_town(own_process=True, settings=settings) as town:
            gateway = town.gateway
            assert gateway is not None
            ecs.port = gateway.port
            call = await ring(town)
            await greeted(town, call)
            ecs.state = "draining"

            await call.until(lambda c: bool(c.dials), within_s=END_S)
            assert told(gateway, "call_ended") == ["moved"]
            assert await is_draining(gateway)
            assert await gateway.stop(signal.SIGTERM) == 0
            assert [line for line in gateway.log if line["level"] == "error"] == []


@pytest.mark.usefixtures("patient")
async def test_S1_S2_a_second_stop_while_nobody_else_is_there(quick_town: OpenTown) -> None:
    """Fault: SIGTERM, then SIGTERM again while a caller is in mid-sentence, and no other instance.

    Hears: new callers, an announcement and a person; the one on the line the same, at once; the process exits with 0.
    """
    async with quick_town(own_process=True) as town:
        gateway = town.gateway
        assert gateway is not None
        call = await ring(town)
        session = await greeted(town, call)
        session.caller_starts_speaking()  # whoever is in mid-sentence is not moved by the first signal
        gateway.signal(signal.SIGTERM)
        await until(lambda: is_draining(gateway))
        late = await ring(town)
        await late.until(lambda c: bool(c.dials), within_s=END_S)
        assert (late.streams, late.dials[0].number) == ([], CONNECT_NUMBER)
        assert told(gateway, "call_ended") == []

        stopped = asyncio.create_task(gateway.stop(signal.SIGTERM))
        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert await asyncio.wait_for(stopped, END_S) == 0
        assert told(gateway, "call_ended") == ["moved"]
        assert gateway.other_output == []


# --- it is killed


async def test_S3_a_kill_with_another_instance_there(quick_town: OpenTown, tmp_path: Path) -> None:
    """Fault: SIGKILL in mid-call, while another instance is ready.

    Hears: a short interruption; then the conversation goes on there. A recording can be read to its last line.
    """
    async with pair_of(quick_town, RECORD_CALLS=str(tmp_path)) as pair:
        town = pair.town
        call = await ring(town)
        await in_conversation(town, call)
        pair.send_to_second()
        await pair.first.stop(signal.SIGKILL)

        await goes_on(town, call)
        assert told(pair.second, "resumed") == ["1"]
    recorded = tmp_path / f"{call.sid}.jsonl"
    assert replay(recorded).differences == []
    assert b"CallerTranscribed" in recorded.read_bytes()


async def test_S3_a_kill_of_one_worker_of_two(quick_town: OpenTown) -> None:
    """Fault: SIGKILL of the one worker that has the call, of two that share the port.

    Hears: a short interruption; then the conversation goes on. The worker is replaced, and what it had counted stays.
    """
    async with quick_town(["Tell me more."], own_process=True, settings={"WORKERS": "2"}) as town:
        gateway = town.gateway
        assert gateway is not None
        call = await ring(town)
        await in_conversation(town, call)
        worker = next(line["worker"] for line in gateway.log if line["message"] == "call_started")
        os.kill(pids(gateway, worker)[0], signal.SIGKILL)

        assert await answers(await goes_on(town, call))
        assert told(gateway, "resumed") == ["1"]
        await until(lambda: has_lived_twice(gateway, worker))
        counted = await gateway.metrics()
        assert "voice_connect_calls_started_total 2.0" in counted
        assert "voice_connect_active_calls 1.0" in counted


def pids(gateway: GatewayProcess, worker: int) -> list[int]:
    """The processes that have served as this worker, in order."""
    return [line["pid"] for line in gateway.log if line["message"] == "worker_serves" and line["worker"] == worker]


async def has_lived_twice(gateway: GatewayProcess, worker: int) -> bool:
    return len(pids(gateway, worker)) == 2


async def test_S3_a_kill_of_the_only_instance(quick_town: OpenTown) -> None:
    """Fault: SIGKILL in mid-call, and no other instance: nobody answers Twilio any more.

    Hears: the announcement of the number's fallback, then a person, who has to ask.
    """
    async with quick_town(own_process=True) as town:
        assert town.gateway is not None
        call = await ring(town, *TO_A_PERSON)
        await in_conversation(town, call)
        await town.gateway.stop(signal.SIGKILL)
        await over(call)

        assert call.asked("/twilio/next")[-1].status == 0
        assert FALLBACK_URL in [asked.url for asked in call.requests]
        assert not person_knows(town)


async def a_person_is_known_to_be_needed(town: Town, call: CarriedCall) -> bool:
    """Whether the table says so: whoever dies before has told nobody."""
    async with town.table() as table:
        checkpoint = (await table.recall_call(call.sid)).checkpoint
    return checkpoint is not None and checkpoint.person_needed


async def test_S3_a_kill_during_the_transfer(quick_town: OpenTown) -> None:
    """Fault: SIGKILL after the decision for a person, before the caller has been dialled.

    Hears: an announcement, then a person; there is no way back to the assistant.
    """
    async with pair_of(quick_town) as pair:
        town = pair.town
        town.crm.hang(50)
        call = await ring(town)
        session = await in_conversation(town, call)
        session.caller_said("Let me speak to a person, please.")
        await session.until(lambda s: any("transfer" in str(e) for e in s.received("response.create")), seconds=END_S)
        await until(lambda: a_person_is_known_to_be_needed(town, call))
        pair.send_to_second()
        await pair.first.stop(signal.SIGKILL)

        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert len(call.streams) == 1


# --- the machine below it


@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed (apt-get install libfaketime)")
@pytest.mark.parametrize("jump", ["+3600", "-3600"])
async def test_S6_a_clock_that_jumps(quick_town: OpenTown, tmp_path: Path, jump: str) -> None:
    """Fault: the machine's clock jumps by an hour, forwards or back, in mid-call.

    Hears: nothing of it; the conversation goes on, and key 0 leads to a person.
    """
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    faked = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        # The file is opened once a second, not at each look at the clock: that alone takes fifteen times as long.
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    async with quick_town(["Tell me more."], own_process=True, settings=faked) as town:
        gateway = town.gateway
        assert gateway is not None
        call = await ring(town)
        session = await in_conversation(town, call)
        clock.write_text(f"{jump}\n")
        await until(lambda: jumped(gateway, int(jump)))

        assert await answers(session)
        session.caller_said("Let me speak to a person, please.")
        await call.until(lambda c: bool(c.dials), within_s=END_S)
        assert len(call.streams) == 1


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can bound the files of another process")
async def test_S7_a_disk_that_is_full_for_recordings(quick_town: OpenTown, tmp_path: Path) -> None:
    """Fault: not another byte can be written to the recording of a call.

    Hears: nothing of it; the recording ends there, can be read so far, and the call goes on.
    """
    settings = {"RECORD_CALLS": str(tmp_path)}
    async with quick_town(["Tell me more."], own_process=True, settings=settings) as town:
        gateway = town.gateway
        assert gateway is not None
        call = await ring(town, *TO_A_PERSON)
        session = await in_conversation(town, call)
        recorded = tmp_path / f"{call.sid}.jsonl"
        size = recorded.stat().st_size
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (size, size))

        assert await answers(session)
        session.caller_said("Let me speak to a person, please.")
        await over(call)
        assert person_knows(town)
        assert [line["reason"] for line in gateway.log if line["message"] == "recording_stopped"] == ["broken_off"]
        assert replay(recorded).differences == []


@pytest.fixture
def full_disk() -> Iterator[None]:
    """The log of this process goes where there is no room."""
    root = logging.getLogger()
    handlers, level, uvicorns = root.handlers[:], root.level, logging.getLogger("uvicorn.error").level
    with suppress(OSError), Path("/dev/full").open("wb") as full:
        configure_logging(stream=full)
        yield
    logging.captureWarnings(capture=False)
    logging.basicConfig(handlers=handlers, level=level, force=True)
    logging.getLogger("uvicorn.error").setLevel(uvicorns)


@pytest.mark.usefixtures("full_disk")
async def test_S7_a_disk_that_is_full_for_the_log(quick_town: OpenTown) -> None:
    """Fault: not a line of the log can be written.

    Hears: nothing of it; the conversation goes on, and key 0 leads to a person who knows why.
    """
    async with quick_town() as town:
        call = await ring(town, Listen(ms=300), Press("0"), *TO_A_PERSON)
        await over(call)

        assert person_knows(town)
        assert reason_of_transfer(town) == "key"


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="a pipe of a chosen size is Linux's")
async def test_S10_a_log_that_nobody_reads_any_more(quick_town: OpenTown) -> None:
    """Fault: whoever reads the log has stopped, and the pipe to them is full.

    Hears: nothing of it; the conversation goes on, and key 0 leads to a person who knows why.
    """
    async with quick_town(own_process=True) as town:
        assert town.gateway is not None
        waiting = await ring(town)
        session = await greeted(town, waiting)
        town.gateway.leave_log_unread()
        known = len(town.gateway.log)
        for _ in range(UNREAD_CALLS):
            await over(await ring(town, Listen(ms=300), Press("0"), *TO_A_PERSON, from_=OTHER_CALLER))

        assert await answers(session)
        assert len(waiting.streams) == 1
        assert [contact.attributes["handover"] for contact in town.center.contacts] == ["ok"] * UNREAD_CALLS
        waiting.complete()
        await over(waiting)
        assert len(town.gateway.log) == known
        town.gateway.read_log_again()
        assert await town.gateway.stop(signal.SIGTERM) == 0
        unread = [line["message"] for line in town.gateway.log[known:]]
        assert unread.count("call_ended") == UNREAD_CALLS + 1


@dataclass
class HangingDisk:
    """A file system of its own that can be made to hang: whatever writes to it waits."""

    folder: Path

    def hang(self) -> None:
        subprocess.run(["fsfreeze", "--freeze", self.folder], check=True, timeout=COMMAND_S)

    def go_on(self) -> None:
        subprocess.run(["fsfreeze", "--unfreeze", self.folder], check=False, capture_output=True, timeout=COMMAND_S)


@pytest.fixture
def hanging_disk(tmp_path: Path) -> Iterator[HangingDisk]:
    image, folder = tmp_path / "disk.img", tmp_path / "recordings"
    folder.mkdir()
    image.write_bytes(bytes(8 * 1_048_576))
    try:
        subprocess.run(["mkfs.ext4", "-q", image], check=True, capture_output=True, timeout=COMMAND_S)
        subprocess.run(["mount", "-o", "loop", image, folder], check=True, capture_output=True, timeout=COMMAND_S)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("a disk that hangs needs mkfs.ext4, and the right to mount a file as one")
    disk = HangingDisk(folder)
    try:
        yield disk
    finally:
        disk.go_on()
        subprocess.run(["umount", folder], check=True, timeout=COMMAND_S)


async def test_S11_a_disk_that_hangs_under_recordings(quick_town: OpenTown, hanging_disk: HangingDisk) -> None:
    """Fault: the disk of the recordings hangs for the greater part of a call.

    Hears: nothing of it; the conversation goes on, and key 0 leads to a person who knows why. The recording is whole.
    """
    settings = {"RECORD_CALLS": str(hanging_disk.folder)}
    async with quick_town(own_process=True, settings=settings) as town:
        call = await ring(town)
        session = await in_conversation(town, call)
        hanging_disk.hang()
        try:
            assert await answers(session)
            await over(await ring(town, Listen(ms=300), Press("0"), *TO_A_PERSON, from_=OTHER_CALLER))
            assert person_knows(town)
        finally:
            hanging_disk.go_on()
        assert len(call.streams) == 1
        call.complete()
        await over(call)
    recordings = list(hanging_disk.folder.glob("CA*.jsonl"))
    assert len(recordings) == 2
    for recorded in recordings:
        result = replay(recorded)
        assert (result.differences, result.unfinished) == ([], False)


# --- it is told nonsense, or has a mistake in it


async def test_S5_descriptors_that_run_out(quick_town: OpenTown) -> None:
    """Fault: nearly all descriptors that the process may have (`ulimit -n`) are taken.

    Hears: a new caller, an announcement and a person; those on the line nothing of it.
    """
    async with quick_town(own_process=True, descriptors=FEW_DESCRIPTORS) as town, AsyncExitStack() as crowd:
        assert town.gateway is not None
        call = await ring(town)
        session = await greeted(town, call)
        room = FEW_DESCRIPTORS - town.gateway.open_descriptors()
        for _ in range(room - limits.DESCRIPTORS_RESERVED):
            _, stranger = await asyncio.open_connection("127.0.0.1", town.gateway.port)
            crowd.callback(stranger.close)
        late = await ring(town, *TO_A_PERSON, from_=OTHER_CALLER)
        await over(late)

        assert late.streams == []
        assert hears_carrier_say(town)
        assert "connected" in town.center.contacts[0].states
        assert 'voice_connect_refused_total{reason="descriptors",what="call"} 1.0' in await town.gateway.metrics()
        assert any("MAX_CALLS: 100 calls need" in str(line.get("detail")) for line in town.gateway.log)
        assert await answers(session)
        assert len(call.streams) == 1


async def test_S8_settings_that_are_wrong(quick_town: OpenTown) -> None:
    """Fault: settings are missing or wrong.

    Hears: nothing: the gateway does not start, names every mistake at once, and prints no secret.
    """
    wrong = {"PORT": "high", "OPENAI_API_KEY": "sk-never-to-be-seen", "TWILIO_AUTH_TOKEN": "a secret of ours"}
    with pytest.raises(RuntimeError) as refused:
        async with GatewayProcess(wrong, free_port()):
            pytest.fail("it started")

    for name in ("PUBLIC_HOST", "PORT", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "CONNECT_PHONE_NUMBER"):
        assert name in str(refused.value)
    assert "never-to-be-seen" not in str(refused.value)
    assert "secret of ours" not in str(refused.value)


async def test_S9_a_mistake_of_ours_in_one_call(quick_town: OpenTown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: a mistake in the gateway's own code raises in the middle of one call.

    Hears: an announcement, then a person; other callers hear nothing of it.
    """
    handle = Call.handle

    def mistaken(self: Call, event: ev.Event, now: int) -> tuple[Command, ...]:
        if isinstance(event, ev.KeyPressed):
            raise ZeroDivisionError
        return handle(self, event, now)

    monkeypatch.setattr(Call, "handle", mistaken)
    async with quick_town() as town:
        assert town.parts is not None
        other = await ring(town)
        session = await greeted(town, other)
        call = await ring(town, Listen(ms=300), Press("5"), *TO_A_PERSON)
        await over(call)

        assert hears_carrier_say(town)
        assert "connected" in town.center.contacts[0].states
        assert await answers(session)
        assert list(town.parts.sessions.live) == [other.sid]
        assert b'voice_connect_errors_total{what="call"} 1.0' in town.parts.metrics.render()
        first, second = town.model.sessions
        await second.until(lambda s: s.closed.is_set(), seconds=END_S)
        assert not first.closed.is_set()
