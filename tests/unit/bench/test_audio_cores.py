"""Idle cores stay awake while a row is measured, and what the host takes is read."""

import os
import sys
from pathlib import Path

import pytest

from bench.audio import cores


@pytest.fixture
def halt_poll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    setting = tmp_path / "guest_halt_poll_ns"
    setting.write_text("200000\n")
    monkeypatch.setattr(cores, "HALT_POLL", setting)
    return setting


def test_cores_are_kept_awake_only_while_they_are_measured(halt_poll: Path):
    with cores.kept_awake() as awake:
        assert awake
        assert int(halt_poll.read_text()) == cores.AWAKE_NS

    assert halt_poll.read_text() == "200000\n"


def test_a_row_that_fails_leaves_the_machine_as_it_was(halt_poll: Path):
    with pytest.raises(RuntimeError), cores.kept_awake():
        raise RuntimeError

    assert halt_poll.read_text() == "200000\n"


def test_a_machine_that_cannot_do_it_is_measured_as_it_is(halt_poll: Path):
    halt_poll.unlink()
    halt_poll.parent.rmdir()

    with cores.kept_awake() as awake:
        assert not awake


def test_what_the_host_took_is_read_for_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stat = tmp_path / "stat"
    stat.write_text("cpu  9 9 9 9 9 9 9 900 0 0\ncpu0 1 2 3 4 5 6 7 250 0 0\ncpu10 1 2 3 4 5 6 7 800 0 0\n")
    monkeypatch.setattr(cores, "STAT", stat)
    ticks = os.sysconf("SC_CLK_TCK")

    assert [cores.taken_s(core) for core in (0, 10, 1)] == [250 / ticks, 800 / ticks, 0.0]


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_this_machine_says_what_its_host_took():
    assert cores.taken_s(0) >= 0
