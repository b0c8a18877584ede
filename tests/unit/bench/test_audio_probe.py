"""What can be read of a process while it lives."""

import os
import subprocess
import sys
from collections.abc import Generator

import pytest

from bench.audio import probe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


@pytest.fixture
def child() -> Generator[subprocess.Popen[bytes]]:
    program = "print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_that_was_started_is_a_child_until_it_is_gone(child: subprocess.Popen[bytes]):
    assert child.pid in probe.children(os.getpid())

    child.kill()
    child.wait()

    assert child.pid not in probe.children(os.getpid())


def test_processor_time_only_grows(child: subprocess.Popen[bytes]):
    before = probe.cpu_ms(child.pid)

    assert 0 < before <= probe.cpu_ms(child.pid)


def test_memory_is_in_kilobytes(child: subprocess.Popen[bytes]):
    assert 1_000 < probe.resident_kb(child.pid) < 1_000_000


def test_a_pinned_process_runs_on_one_core(child: subprocess.Popen[bytes]):
    core = min(os.sched_getaffinity(0))

    probe.pin(child.pid, core)

    assert os.sched_getaffinity(child.pid) == {core}
