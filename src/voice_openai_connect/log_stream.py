"""Standard output for lines, written by a thread of its own: whoever reads them may stop, and no call waits for it.

A pipe takes 64 KB that nobody reads; the next line waits. A stuck collector of logs would silence every call at once.
"""

import atexit
import io
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Final, Protocol, TextIO

from voice_openai_connect import limits
from voice_openai_connect.errands import Errands

_NOT_NOW_S: Final = 0.05
"""Somebody else has made the stream non-blocking, as a shell's other programs may: how soon it is tried again."""


class Lines(Protocol):
    """What a stream of lines is used for."""

    def write(self, data: bytes, /) -> object:
        """Write one line, or whatever there is."""
        ...

    def flush(self) -> object:
        """Let it go out."""
        ...


class RawStream(Protocol):
    """An unbuffered stream: it says how much it took, and None for a stream that does not block and has no room."""

    def write(self, data: bytes, /) -> int | None:
        """Write some of it."""
        ...


class LineWriter:
    """Takes lines at once, and raises nothing: what cannot be written costs lines, and never a call."""

    def __init__(self, stream: RawStream) -> None:
        self._stream = stream
        self._errands = Errands("log lines")
        self._lost = 0
        self.notice: Callable[[int], bytes] = lambda lost: b'{"message":"log_lines_lost","lines":%d}\n' % lost
        """The line that says how many are missing before it."""

    def write(self, data: bytes) -> None:
        """Have a line written. No more than `LOG_LINES_WAITING` are kept; how many are missing, the next will say."""
        if self._errands.waiting >= limits.LOG_LINES_WAITING:
            self._lost += 1
            return
        if lost := self._lost:
            self._lost = 0
            self._errands.put(partial(self._try_to_write, self.notice(lost)))
        self._errands.put(partial(self._try_to_write, data))

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Wait until all is written, `LOG_LAST_S` at the longest. What comes after it is not written."""
        self._errands.close(limits.LOG_LAST_S)

    def _try_to_write(self, data: bytes) -> None:
        with suppress(OSError, ValueError):  # a full disk, or nobody at the other end
            self._write(data)

    def _write(self, data: bytes) -> None:
        while data:
            taken = self._stream.write(data)
            if taken is None:
                time.sleep(_NOT_NOW_S)
            data = data[taken or 0 :]


@cache
def standard_output() -> LineWriter:
    """The one writer of this process's standard output. What waits at the end of the process is still written.

    Unbuffered: a line that could not be written is not in the way of the next. A process may have been started without
    any; its lines go nowhere.
    """
    there: TextIO | None = sys.stdout
    stream = io.FileIO(os.devnull, "wb") if there is None else io.FileIO(there.fileno(), "wb", closefd=False)
    writer = LineWriter(stream)
    atexit.register(writer.close)
    return writer
