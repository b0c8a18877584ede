"""Writes a call to a file while it goes on. Whatever becomes of the file, the call goes on."""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.recording.lines import head_line, step_line

_MAY_WAIT: Final = (ev.CallerAudio, ev.ModelAudio, ev.PlaybackReached)
"""Most of the lines and the least of the story; all others are on the disk at once, should the process be killed."""
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

OnTrouble = Callable[[str, Exception | None], None]
"""Told once why a recording stopped or never began: a short reason, and the error if there was one."""


class Recorder:
    """One call's file. Nothing here raises: what goes wrong ends the recording and is told once."""

    def __init__(
        self,
        folder: Path,
        identity: CallIdentity,
        settings: CallSettings,
        on_trouble: OnTrouble,
        resumed: Checkpoint | None = None,
    ) -> None:
        self._settings = settings
        self._on_trouble = on_trouble
        self._written = 0
        self._file: BinaryIO | None = None
        try:
            resumes = f"-{resumed.resumes}" if resumed else ""
            self._file = _new_file(folder, f"{identity.call_sid}{resumes}")
            self._write(head_line(identity, settings, resumed), flush=True)
        except Exception as error:  # noqa: BLE001 - no recording is worth a call
            self._stop("not_begun", error)

    def step(self, event: ev.Event, now: int, commands: Sequence[do.Command], raised: str = "") -> None:
        """Write what happened at `now` (ms), and what the call asked for or which error it raised."""
        if self._file is None:
            return
        try:
            line = step_line(now, event, commands, self._settings, raised)
            if self._written + len(line) > limits.RECORDING_BYTES:
                self._stop("too_large", None)
            else:
                self._write(line, flush=not isinstance(event, _MAY_WAIT))
        except Exception as error:  # noqa: BLE001 - a full disk, or a mistake of ours: the call goes on
            self._stop("broken_off", error)

    def _write(self, line: bytes, *, flush: bool) -> None:
        if self._file is not None:
            self._file.write(line)
            self._written += len(line)
            if flush:
                self._file.flush()

    def _stop(self, reason: str, error: Exception | None) -> None:
        self.close()
        self._on_trouble(reason, error)

    def close(self) -> None:
        """No more lines. May be called twice."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # the last lines found no room; those before them can be read
                file.close()


def _new_file(folder: Path, name: str) -> BinaryIO:
    """A file that was not there before and that nobody else can read."""
    if not _FILE_NAME.fullmatch(name):
        raise ValueError("the CallSid is no name for a file")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sum(1 for _ in os.scandir(folder)) >= limits.RECORDINGS_MAX:
        raise ValueError(f"the folder holds {limits.RECORDINGS_MAX} files already; move some of them elsewhere")
    return os.fdopen(os.open(folder / f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


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
