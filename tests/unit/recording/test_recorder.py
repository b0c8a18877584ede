import errno
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import FileIO
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.errands import Errands
from voice_openai_connect.recording.recorder import RecordedCall, Recorder, recorded_calls
from voice_openai_connect.recording.replay import replay


def test_nothing_private_is_written(run_call: Callable[[], None], recorded_call: RecordedCall, tmp_path: Path) -> None:
    run_call()

    text = (tmp_path / "CA1.jsonl").read_text()
    assert recorded_call.phase is Phase.ENDED
    assert "secret" not in text.lower().replace("secretvoice", "secret")
    for private in ("U0VD", "15550", "4444444444", '"7"', "wish", "parcel", "agent"):
        assert private not in text


def test_a_recorded_call_replays_without_a_difference(
    run_call: Callable[[], None], recorded_call: RecordedCall, tmp_path: Path, troubles: list[str]
) -> None:
    run_call()

    result = replay(tmp_path / "CA1.jsonl")
    assert result.differences == []
    assert result.steps > 25
    assert not result.unfinished
    assert troubles == []


def test_the_file_is_nobody_elses_to_read(recorded_call: RecordedCall, disk: Errands, tmp_path: Path) -> None:
    recorded_call.handle(ev.StreamStarted("MZ1"), 0)

    assert disk.settled(20)
    assert (tmp_path / "CA1.jsonl").stat().st_mode & 0o777 == 0o600


def test_what_decides_something_goes_to_the_disk_at_once(
    recorded_call: RecordedCall, disk: Errands, tmp_path: Path
) -> None:
    recorded_call.handle(ev.StreamStarted("MZ1"), 0)

    assert disk.settled(20)
    assert (tmp_path / "CA1.jsonl").read_text().count("\n") == 2


def test_sound_goes_to_the_disk_in_pieces_and_in_order(
    recorded_call: RecordedCall, disk: Errands, tmp_path: Path
) -> None:
    file = tmp_path / "CA1.jsonl"
    recorded_call.handle(ev.StreamStarted("MZ1"), 0)
    assert disk.settled(20)
    before = file.stat().st_size
    sizes = set[int]()
    for now in range(400):
        recorded_call.handle(ev.CallerAudio(b"A" * 160), now)
        assert disk.settled(20)
        sizes.add(file.stat().st_size - before)
    recorded_call.handle(ev.StreamStopped(), 400)

    assert disk.settled(20)
    assert 2 <= len(sizes - {0}) < 20
    assert [json.loads(line)["now"] for line in file.read_text().splitlines()[2:]] == list(range(401))
    assert not replay(file).differences


def test_a_recording_is_never_overwritten(
    recorded_call: RecordedCall, disk: Errands, tmp_path: Path, identity: CallIdentity, call_settings: CallSettings
) -> None:
    recorded_call.handle(ev.StreamStarted("MZ1"), 0)
    assert disk.settled(20)
    before, told = (tmp_path / "CA1.jsonl").read_bytes(), list[object]()

    again = Recorder(disk, tmp_path, identity, call_settings, lambda reason, error: told.extend((reason, error)))
    again.step(ev.StreamStarted("MZ2"), 0, ())

    assert disk.settled(20)
    assert told[0] == "not_begun"
    assert (tmp_path / "CA1.jsonl").read_bytes() == before


@pytest.mark.parametrize("call_sid", ["../CA1", "", "CA1/x", "CA" * 40])
def test_a_call_sid_leads_to_no_other_place(
    disk: Errands, tmp_path: Path, call_settings: CallSettings, call_sid: str
) -> None:
    told = list[object]()
    folder = tmp_path / "recordings"
    folder.mkdir()

    identity = CallIdentity(call_sid, "", "", "", "")
    Recorder(disk, folder, identity, call_settings, lambda reason, error: told.extend((reason, error)))

    assert disk.settled(20)
    assert told[0] == "not_begun"
    assert [path.name for path in tmp_path.rglob("*")] == ["recordings"]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def open_full_disk(*_: object) -> int:
        return real_open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(os, "open", open_full_disk)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_stops_the_recording_and_not_the_call(
    recorded_call: RecordedCall, disk: Errands, troubles: list[str]
) -> None:
    assert recorded_call.handle(ev.StreamStarted("MZ1"), 0)
    assert disk.settled(20)
    assert recorded_call.handle(ev.ModelConnected(), 1)
    assert disk.settled(20)
    assert troubles == ["not_begun"]


@pytest.mark.usefixtures("full_disk")
def test_what_has_broken_off_is_told_once_and_is_no_more_work(
    disk: Errands, tmp_path: Path, identity: CallIdentity, call_settings: CallSettings, troubles: list[str]
) -> None:
    it_moves_again = Event()
    disk.put(partial(it_moves_again.wait, 20))
    recorder = Recorder(disk, tmp_path, identity, call_settings, lambda reason, _: troubles.append(reason))
    for now in range(5):
        recorder.step(ev.KeyPressed("1"), now, ())
    it_moves_again.set()
    assert disk.settled(20)
    assert troubles == ["not_begun"]

    disk.put(partial(Event().wait, 0.01))
    recorder.step(ev.KeyPressed("1"), 5, ())
    assert disk.waiting <= 1
    assert not recorder._lines  # pyright: ignore[reportPrivateUsage]


class MiserlyFile(FileIO):
    """It takes ten bytes at a time, and will not be closed without a complaint."""

    made: ClassVar[list["MiserlyFile"]] = []

    def __init__(self, *told: Any) -> None:
        super().__init__(*told)
        self.made.append(self)

    def write(self, data: Any, /) -> int:
        return super().write(data[:10])

    def close(self) -> None:
        super().close()
        raise OSError(errno.EIO, "input/output error")


def test_a_disk_that_takes_little_at_a_time_gets_all_of_it_and_may_complain_at_the_end(
    disk: Errands,
    tmp_path: Path,
    identity: CallIdentity,
    call_settings: CallSettings,
    troubles: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MiserlyFile, "made", [])
    monkeypatch.setattr("voice_openai_connect.recording.recorder.FileIO", MiserlyFile)
    recorder = Recorder(disk, tmp_path, identity, call_settings, lambda reason, _: troubles.append(reason))
    recorder.step(ev.KeyPressed("1"), 0, ())
    recorder.step(ev.CallerAudio(b"A" * 160), 1, ())
    recorder.close()

    assert disk.settled(20)
    assert [file.closed for file in MiserlyFile.made] == [True]
    assert [json.loads(line).get("now") for line in (tmp_path / "CA1.jsonl").read_text().splitlines()] == [None, 0, 1]
    assert troubles == []


def test_a_disk_that_hangs_costs_the_recording_and_no_more_memory_than_is_meant_for_it(
    recorded_call: RecordedCall,
    disk: Errands,
    tmp_path: Path,
    troubles: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "RECORDING_BYTES_WAITING", 4_000)
    it_moves_again = Event()
    disk.put(partial(it_moves_again.wait, 20))
    for now in range(200):
        recorded_call.handle(ev.KeyPressed("1"), now)
    told_meanwhile = troubles.copy()
    waiting = disk.waiting
    it_moves_again.set()

    assert disk.settled(20)
    assert told_meanwhile == troubles == ["disk_too_slow"]
    assert waiting < 50
    file = tmp_path / "CA1.jsonl"
    assert 4_000 < file.stat().st_size < 5_000
    assert not replay(file).differences


def test_a_disk_that_hangs_for_a_moment_costs_nothing(
    recorded_call: RecordedCall, disk: Errands, tmp_path: Path, troubles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECORDING_BYTES_WAITING", 4_000)
    recorded_call.handle(ev.StreamStarted("MZ1"), 0)
    for begin in range(0, 200, 10):
        it_moves_again = Event()
        disk.put(partial(it_moves_again.wait, 20))
        for now in range(begin, begin + 10):
            recorded_call.handle(ev.KeyPressed("1"), now)
        it_moves_again.set()
        assert disk.settled(20)

    assert troubles == []
    assert (tmp_path / "CA1.jsonl").read_text().count("\n") == 202


def test_a_call_that_writes_too_much_is_recorded_no_further(
    recorded_call: RecordedCall, disk: Errands, tmp_path: Path, troubles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECORDING_BYTES", 2_000)
    for now in range(50):
        recorded_call.handle(ev.KeyPressed("1"), now)

    assert disk.settled(20)
    assert troubles == ["too_large"]
    assert (tmp_path / "CA1.jsonl").stat().st_size <= 2_000
    assert not replay(tmp_path / "CA1.jsonl").differences


def test_a_folder_that_is_full_is_left_alone(
    disk: Errands,
    tmp_path: Path,
    identity: CallIdentity,
    call_settings: CallSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "RECORDINGS_MAX", 1)
    (tmp_path / "CA0.jsonl").touch()
    told = list[object]()

    Recorder(disk, tmp_path, identity, call_settings, lambda reason, error: told.extend((reason, error)))

    assert disk.settled(20)
    assert "move some of them" in str(told[1])


def test_the_step_that_breaks_a_call_is_written_down(
    recorded_call: RecordedCall, disk: Errands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded_call.handle(ev.StreamStarted("MZ1"), 0)
    monkeypatch.setattr(recorded_call, "_model", None)
    with pytest.raises(AttributeError):
        recorded_call.handle(ev.CallerAudio(b"AAAA"), 1)
    recorded_call.handle(ev.StreamStopped(), 2)

    assert disk.settled(20)
    (difference,) = replay(tmp_path / "CA1.jsonl").differences
    assert (difference.line, difference.recorded) == (3, [{"raised": "AttributeError"}])


async def test_all_that_calls_did_is_on_the_disk_when_their_process_ends(
    tmp_path: Path, identity: CallIdentity, call_settings: CallSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowFile(FileIO):
        def write(self, data: Any, /) -> int:
            time.sleep(0.05)
            return super().write(data)

    monkeypatch.setattr("voice_openai_connect.recording.recorder.FileIO", SlowFile)
    stopped = list[tuple[str, str]]()
    async with recorded_calls(tmp_path, lambda call_sid, reason, _: stopped.append((call_sid, reason))) as make:
        call = make(identity, call_settings, None)
        for now in range(5):
            call.handle(ev.KeyPressed("1"), now)
        make(replace(identity, call_sid="../CA1"), call_settings, None)

    assert (tmp_path / "CA1.jsonl").read_text().count("\n") == 6
    assert stopped == [("../CA1", "not_begun")]
