"""Lines are written by a thread of their own: whoever gives one waits for nobody, and no line goes missing unsaid."""

import fcntl
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest

from voice_openai_connect import limits
from voice_openai_connect.log_stream import LineWriter, RawStream

PIPE_BYTES = 4_096
LINE = b"x" * 200 + b"\n"
PLENTY = 100
"""Lines, several times what the pipe holds."""


@dataclass
class Pipe:
    """One that holds as little as can be."""

    out: int
    into: io.FileIO
    writer: LineWriter

    def lines(self) -> list[bytes]:
        """All that was written, to the end."""
        self.writer.close()
        self.into.close()
        with os.fdopen(os.dup(self.out), "rb") as reading:
            return reading.read().splitlines(keepends=True)

    def drain(self) -> bytes:
        """What there is, at least something."""
        return os.read(self.out, PIPE_BYTES)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        pytest.skip("a pipe of a chosen size is Linux's")
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    stream = io.FileIO(into, "wb")
    yield Pipe(out, stream, LineWriter(stream))
    os.close(out)
    with suppress(OSError):
        stream.close()


@dataclass
class Disk:
    """One that can be changed for another."""

    stream: RawStream
    tried: int = 0
    tried_twice: Event = field(default_factory=Event)

    def write(self, data: bytes) -> int | None:
        self.tried += 1
        try:
            return self.stream.write(data)
        finally:
            if self.tried == 2:
                self.tried_twice.set()


def numbered(count: int) -> list[bytes]:
    return [b"%05d %s" % (number, LINE) for number in range(count)]


def test_lines_come_out_as_they_went_in(pipe: Pipe) -> None:
    for line in numbered(3):
        pipe.writer.write(line)
        pipe.writer.flush()

    assert pipe.lines() == numbered(3)


def test_whoever_gives_a_line_waits_for_no_reader_and_all_are_written_once_one_reads_again(pipe: Pipe) -> None:
    for line in numbered(PLENTY):
        pipe.writer.write(line)
    read = b""
    while len(read) < len(b"".join(numbered(PLENTY))):
        read += pipe.drain()

    assert read.splitlines(keepends=True) == numbered(PLENTY)
    assert pipe.lines() == []


def test_what_is_too_much_to_keep_is_counted_and_said_before_the_next_line(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOG_LINES_WAITING", 10)
    sent = numbered(PLENTY)
    for line in sent:
        pipe.writer.write(line)
    read = b""
    while pipe.writer._errands.waiting:  # pyright: ignore[reportPrivateUsage]
        read += pipe.drain()
    pipe.writer.write(b"again\n")
    pipe.writer.write(b"and again\n")
    while not read.endswith(b"and again\n"):
        read += pipe.drain()

    *kept, notice, again, and_again = read.splitlines(keepends=True)
    said = json.loads(notice)
    assert (again, and_again) == (b"again\n", b"and again\n")
    assert said["message"] == "log_lines_lost"
    assert kept == sent[: len(kept)]
    assert len(kept) + said["lines"] == PLENTY
    assert 10 <= len(kept) < PLENTY


def test_a_disk_that_is_full_for_a_while_costs_the_lines_of_that_while() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        room = io.BytesIO()
        disk = Disk(full)
        writer = LineWriter(disk)
        writer.write(b"lost\n")
        writer.write(b"lost too\n")
        disk.tried_twice.wait(20)
        disk.stream = room
        writer.write(LINE)
        writer.close()

    assert room.getvalue() == LINE


def test_a_closed_stream_costs_its_lines_and_nothing_else(pipe: Pipe) -> None:
    pipe.into.close()
    pipe.writer.write(LINE)
    pipe.writer.write(LINE)
    pipe.writer.close()


def test_a_stream_that_somebody_made_non_blocking_gets_every_line_to_its_end(pipe: Pipe) -> None:
    os.set_blocking(pipe.into.fileno(), False)
    long_lines = [b"%05d %s\n" % (number, b"y" * 3 * PIPE_BYTES) for number in range(3)]
    for line in long_lines:
        pipe.writer.write(line)
    read = b""
    while len(read) < len(b"".join(long_lines)):
        read += pipe.drain()

    assert read.splitlines(keepends=True) == long_lines


def test_a_process_ends_although_nobody_reads_its_last_lines() -> None:
    program = """if True:
        from voice_openai_connect import limits
        from voice_openai_connect.log_stream import standard_output
        limits.LOG_LAST_S = 0.1
        for _ in range(2_000):
            standard_output().write(b"x" * 200 + b"\\n")
    """
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.communicate()


def test_a_process_writes_its_last_lines_before_it_ends() -> None:
    program = """if True:
        from voice_openai_connect.log_stream import standard_output
        for number in range(2_000):
            standard_output().write(b"%d\\n" % number)
    """
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
    assert done.stdout.split() == [b"%d" % number for number in range(2_000)]


def test_a_process_without_standard_output_writes_to_nobody() -> None:
    program = """if True:
        from voice_openai_connect.log_stream import standard_output
        standard_output().write(b"x" * 200)
    """
    asked = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", program]
    done = subprocess.run(asked, check=False, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
