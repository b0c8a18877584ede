import os
from collections.abc import Callable
from pathlib import Path

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.recording.recorder import RecordedCall, Recorder
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


def test_the_file_is_nobody_elses_to_read(recorded_call: RecordedCall, tmp_path: Path) -> None:
    assert (tmp_path / "CA1.jsonl").stat().st_mode & 0o777 == 0o600


def test_what_decides_something_is_on_the_disk_at_once(recorded_call: RecordedCall, tmp_path: Path) -> None:
    recorded_call.handle(ev.StreamStarted("MZ1"), 0)

    assert (tmp_path / "CA1.jsonl").read_text().count("\n") == 2


def test_a_recording_is_never_overwritten(
    recorded_call: RecordedCall, tmp_path: Path, identity: CallIdentity, call_settings: CallSettings
) -> None:
    before, told = (tmp_path / "CA1.jsonl").read_bytes(), list[object]()

    again = Recorder(tmp_path, identity, call_settings, lambda reason, error: told.extend((reason, error)))
    again.step(ev.StreamStarted("MZ2"), 0, ())

    assert told[0] == "not_begun"
    assert (tmp_path / "CA1.jsonl").read_bytes() == before


@pytest.mark.parametrize("call_sid", ["../CA1", "", "CA1/x", "CA" * 40])
def test_a_call_sid_leads_to_no_other_place(tmp_path: Path, call_settings: CallSettings, call_sid: str) -> None:
    told = list[object]()
    folder = tmp_path / "recordings"
    folder.mkdir()

    Recorder(
        folder,
        CallIdentity(call_sid, "", "", "", ""),
        call_settings,
        lambda reason, error: told.extend((reason, error)),
    )

    assert told[0] == "not_begun"
    assert [path.name for path in tmp_path.rglob("*")] == ["recordings"]


def test_a_full_disk_stops_the_recording_and_not_the_call(
    identity: CallIdentity, call_settings: CallSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open, told = os.open, list[str]()

    def open_full_disk(*_: object) -> int:
        return real_open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(os, "open", open_full_disk)
    recorder = Recorder(tmp_path, identity, call_settings, lambda reason, _: told.append(reason))
    call = RecordedCall(identity, call_settings, recorder)

    assert call.handle(ev.StreamStarted("MZ1"), 0)
    assert call.handle(ev.ModelConnected(), 1)
    assert told == ["not_begun"]


def test_a_call_that_writes_too_much_is_recorded_no_further(
    recorded_call: RecordedCall, tmp_path: Path, troubles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECORDING_BYTES", 2_000)
    for now in range(50):
        recorded_call.handle(ev.KeyPressed("1"), now)

    assert troubles == ["too_large"]
    assert (tmp_path / "CA1.jsonl").stat().st_size <= 2_000
    assert not replay(tmp_path / "CA1.jsonl").differences


def test_a_folder_that_is_full_is_left_alone(
    tmp_path: Path, identity: CallIdentity, call_settings: CallSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECORDINGS_MAX", 1)
    (tmp_path / "CA0.jsonl").touch()
    told = list[object]()

    Recorder(tmp_path, identity, call_settings, lambda reason, error: told.extend((reason, error)))

    assert "move some of them" in str(told[1])


def test_the_step_that_breaks_a_call_is_written_down(
    recorded_call: RecordedCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded_call.handle(ev.StreamStarted("MZ1"), 0)
    monkeypatch.setattr(recorded_call, "_model", None)
    with pytest.raises(AttributeError):
        recorded_call.handle(ev.CallerAudio(b"AAAA"), 1)
    recorded_call.handle(ev.StreamStopped(), 2)

    (difference,) = replay(tmp_path / "CA1.jsonl").differences
    assert (difference.line, difference.recorded) == (3, [{"raised": "AttributeError"}])
