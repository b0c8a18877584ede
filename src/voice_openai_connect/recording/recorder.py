"""Writes a call to a file while it goes on. Whatever becomes of the file, the call goes on, and waits for no disk."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.errands import Errands
from voice_openai_connect.recording.lines import head_line, step_line

_MAY_WAIT: Final = (ev.CallerAudio, ev.ModelAudio, ev.PlaybackReached)
"""Most of the lines and the least of the story; all others go to the disk at once, should the process be killed."""
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

OnTrouble = Callable[[str, Exception | None], None]
"""Told once why a recording stopped or never began: a short reason, and the error if there was one. From any thread."""

MakeCall = Callable[[CallIdentity, CallSettings, Checkpoint | None], Call]


class Recorder:
    """One call's file, written by the thread `disk`. Nothing here raises or waits: trouble ends the recording."""

    def __init__(
        self,
        disk: Errands,
        folder: Path,
        identity: CallIdentity,
        settings: CallSettings,
        on_trouble: OnTrouble,
        resumed: Checkpoint | None = None,
    ) -> None:
        self._settings = settings
        self._on_trouble = on_trouble
        self._written = 0
        self._lines = bytearray()
        """Those that may wait."""
        self._file: _File | None = None
        try:
            resumes = f"-{resumed.resumes}" if resumed else ""
            head = head_line(identity, settings, resumed)
            self._file = _File(disk, folder, f"{identity.call_sid}{resumes}", head, on_trouble)
            self._written = len(head)
        except Exception as error:  # noqa: BLE001 - no recording is worth a call
            on_trouble("not_begun", error)

    def step(self, event: ev.Event, now: int, commands: Sequence[do.Command], raised: str = "") -> None:
        """Write what happened at `now` (ms), and what the call asked for or which error it raised."""
        if self._file is None or self._file.broken:
            return None
        try:
            line = step_line(now, event, commands, self._settings, raised)
        except Exception as error:  # noqa: BLE001 - a mistake of ours: the call goes on
            return self._stop("broken_off", error)
        if self._written + len(line) > limits.RECORDING_BYTES:
            return self._stop("too_large", None)
        if self._file.waiting > limits.RECORDING_BYTES_WAITING:
            return self._stop("disk_too_slow", None)
        self._written += len(line)
        self._lines += line
        if not isinstance(event, _MAY_WAIT) or len(self._lines) >= limits.RECORDING_PIECE_BYTES:
            self._hand_over(self._file)
        return None

    def _hand_over(self, file: "_File") -> None:
        file.append(bytes(self._lines))
        self._lines.clear()

    def _stop(self, reason: str, error: Exception | None) -> None:
        self.close()
        self._on_trouble(reason, error)

    def close(self) -> None:
        """No more lines. May be called twice."""
        file, self._file = self._file, None
        if file is not None:
            self._hand_over(file)
            file.close()


class _File:
    """A new file, and what is on its way into it. Methods are for the call's thread, those with `_` for the disk's."""

    def __init__(self, disk: Errands, folder: Path, name: str, head: bytes, on_trouble: OnTrouble) -> None:
        self._disk = disk
        self._on_trouble = on_trouble
        self._given = 0
        self._done = 0
        self._file: FileIO | None = None
        self.broken = False
        """Whether it could not be made or written; that has been told, and nothing more is done."""
        self._put("not_begun", len(head), partial(self._begin, folder, name, head))

    @property
    def waiting(self) -> int:
        """Bytes that are not yet written."""
        return self._given - self._done

    def append(self, lines: bytes) -> None:
        """Write these after all before them."""
        self._put("broken_off", len(lines), partial(self._write, lines))

    def close(self) -> None:
        """No more lines."""
        self._disk.put(self._close)

    def _put(self, failure: str, size: int, work: Callable[[], None]) -> None:
        self._given += size
        self._disk.put(partial(self._try, failure, size, work))

    def _try(self, failure: str, size: int, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a full disk, or a mistake of ours: the call goes on
            self.broken = True
            self._close()
            self._on_trouble(failure, error)
        finally:
            self._done += size

    def _begin(self, folder: Path, name: str, head: bytes) -> None:
        self._file = _new_file(folder, name)
        self._write(head)

    def _write(self, lines: bytes) -> None:
        while lines and self._file is not None:
            lines = lines[self._file.write(lines) :]

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # a disk that finds out only now; what is there can be read
                file.close()


def _new_file(folder: Path, name: str) -> FileIO:
    """A file that was not there before and that nobody else can read."""
    if not _FILE_NAME.fullmatch(name):
        raise ValueError("the CallSid is no name for a file")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sum(1 for _ in os.scandir(folder)) >= limits.RECORDINGS_MAX:
        raise ValueError(f"the folder holds {limits.RECORDINGS_MAX} files already; move some of them elsewhere")
    return FileIO(os.open(folder / f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


class RecordedCall(Call):
    """A call that is written down, and is otherwise the same."""

    def __init__(
        self, identity: CallIdentity, settings: CallSettings, recorder: Recorder, resumed: Checkpoint | None = None
    ) -> None:
        super().__init__(identity, settings, resumed)
        self._recorder = recorder

    def handle(self, event: ev.Event, now: int) -> tuple[do.Command, ...]:
        """As `Call.handle`; the step that breaks a call is written down too."""
        try:
            commands = super().handle(event, now)
        except Exception as error:
            self._recorder.step(event, now, (), type(error).__name__)
            raise
        self.passes_audio = False  # every frame is a step, and is written down
        self._recorder.step(event, now, commands)
        if self.phase is Phase.ENDED:
            self._recorder.close()
        return commands


@asynccontextmanager
async def recorded_calls(
    folder: Path, on_stopped: Callable[[str, str, Exception | None], None]
) -> AsyncGenerator[MakeCall, None]:
    """Inside, makes calls that are written down. When the block is left, all they did is on the disk, if it is well.

    `on_stopped` is told the CallSid and, as `OnTrouble`, why a recording stopped.
    """
    disk = Errands("recordings")

    def make(identity: CallIdentity, settings: CallSettings, resumed: Checkpoint | None) -> Call:
        recorder = Recorder(disk, folder, identity, settings, partial(on_stopped, identity.call_sid), resumed)
        return RecordedCall(identity, settings, recorder, resumed)

    try:
        yield make
    finally:
        await asyncio.to_thread(disk.close, limits.RECORDING_LAST_S)
