"""Several processes on one port: started, kept alive, and told to stop together. The supervisor carries no call itself.

Each worker listens with a socket of its own (SO_REUSEPORT), and the kernel spreads the connections over them; one
socket that all of them share would give nearly every call to the same worker. docs/scaling.md has the figures.
"""

import asyncio
import fcntl
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.config import Settings
from voice_openai_connect.gateway.server import reserved_port
from voice_openai_connect.gateway.siblings import Seat
from voice_openai_connect.logs import configure_logging, get_logger
from voice_openai_connect.metrics import forget_what_was_live, make_room

log = get_logger(__name__)

_START_WAITS: Final = int(limits.WORKER_START_S / limits.WORKER_SILENT_S)
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)


class CannotSuperviseError(Exception):
    """Workers cannot be kept on this machine; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Life:
    """How one process of a worker ended."""

    status: int
    """As a shell gives it: of a process that a signal ended, 128 and the signal's number."""
    served: bool
    """Whether it ever took calls."""
    seconds: float


class Supervisor:
    """Keeps `workers` processes alive, each started by what `command` gives for its number.

    The first one goes ahead: what it cannot do, none of them can, and it is said once. `on_death` is told the number of
    every worker whose process has ended.
    """

    def __init__(
        self, command: Callable[[int], Sequence[str]], workers: int, *, on_death: Callable[[int], None] = lambda _: None
    ) -> None:
        self._command = command
        self._workers = workers
        self._on_death = on_death
        self._living: dict[int, asyncio.subprocess.Process] = {}
        self._opened = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Return the exit status when all are gone: 0, or that of the first that did not end well.

        That is after signals to stop, which are passed on: the first begins the drain, a second hastens it, a third
        ends it. Or after a first worker that did not come to serve.
        """
        loop = asyncio.get_running_loop()
        for each in _STOPS:
            loop.add_signal_handler(each, self.stop)
        try:
            statuses = await asyncio.gather(*(self._keep(number) for number in range(self._workers)))
        finally:
            for each in _STOPS:
                loop.remove_signal_handler(each)
        return next((status for status in statuses if status), 0)

    def stop(self) -> None:
        """Let every worker know, once more, that it is to stop. None is replaced any more."""
        self._stopping.set()
        self._opened.set()
        for process in self._living.values():
            _send(process, signal.SIGTERM)

    async def _keep(self, number: int) -> int:
        """One worker after the other, until the end. Returns the exit status of the last."""
        if number > 0:
            await self._opened.wait()
        pause_s = limits.WORKER_PAUSE_FIRST_S
        while not self._stopping.is_set():
            life = await self._live(number)
            self._on_death(number)
            if self._stopping.is_set():
                return life.status if life.served else 0
            if not self._opened.is_set():
                self.stop()
                return life.status or 1
            if life.seconds > limits.WORKER_OLD_S:
                pause_s = limits.WORKER_PAUSE_FIRST_S
            log.error("worker_ended", worker=number, status=life.status, served=life.served, pause_s=pause_s)
            await _wait(self._stopping, pause_s)
            pause_s = min(pause_s * 2, limits.WORKER_PAUSE_MAX_S)
        return 0

    async def _live(self, number: int) -> Life:
        """One process, from its birth to its end."""
        began_at = asyncio.get_running_loop().time()
        ours, theirs = socket.socketpair()
        try:
            # A group of its own, so that Ctrl-C reaches a worker once: from here.
            process = await asyncio.create_subprocess_exec(
                *self._command(number), stdin=theirs.fileno(), process_group=0
            )
        except OSError:  # no memory, no processes left: as if it had died at once
            ours.close()
            log.exception("worker_not_started", worker=number)
            return Life(1, served=False, seconds=0)
        finally:
            theirs.close()
        self._living[number] = process
        if self._stopping.is_set():
            _send(process, signal.SIGTERM)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        served = await self._watch(number, process, reader)
        status = await process.wait()
        del self._living[number]
        writer.close()
        seconds = asyncio.get_running_loop().time() - began_at
        return Life(status if status >= 0 else 128 - status, served, seconds)

    async def _watch(self, number: int, process: asyncio.subprocess.Process, reader: asyncio.StreamReader) -> bool:
        """Until its line ends, or nothing has come of it for too long: then it is killed. Whether it ever served.

        The time is taken in several waits, so that a machine which stood still itself does not kill for that.
        """
        served, missed = False, 0
        while missed < (limits.WORKER_BEATS_MISSED if served else _START_WAITS):
            try:
                async with asyncio.timeout(limits.WORKER_SILENT_S):
                    beats = await reader.read(limits.SIBLING_BYTES)
            except TimeoutError:
                missed += 1
                continue
            except ConnectionError:
                return served
            if not beats:
                return served
            if not served:
                log.info("worker_serves", worker=number, pid=process.pid)
                self._opened.set()
            served, missed = True, 0
        log.error("worker_silent", worker=number, pid=process.pid, detail="killed: its event loop stands still")
        _send(process, signal.SIGKILL)
        return served


def run_workers(settings: Settings, workers: int, *, env_file: Path) -> int:
    """Serve with so many workers until told to stop; the exit status.

    Raises `CannotListenError` or `CannotSuperviseError` before anything has begun.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise CannotSuperviseError("WORKERS: this system cannot share a port. Set it to 1")
    configure_logging(settings.log_level, full_numbers=settings.log_full_numbers, secrets=settings.secrets())
    with reserved_port(settings.host, settings.port) as port, shared_room(workers) as room:
        supervisor = Supervisor(
            lambda number: _command(room.room, number, workers, port, env_file),
            workers,
            on_death=lambda number: forget_what_was_live(room.metrics, number),
        )
        log.info("supervising", workers=workers, host=settings.host, port=port)
        return asyncio.run(supervisor.run())


@contextmanager
def shared_room(workers: int) -> Generator[Seat]:
    """What the workers share while the block runs. Nobody else may enter it. Raises `CannotSuperviseError`.

    It is locked against those who tidy up: systemd removes what has lain in /tmp for ten days, and skips what somebody
    holds a lock on, with everything below it (tmpfiles.d(5), "Age").
    """
    with ExitStack() as inside:
        try:
            made = tempfile.TemporaryDirectory(prefix="voice-connect-", ignore_cleanup_errors=True)
            folder = inside.enter_context(made)
            lock = os.open(folder, os.O_RDONLY)
            inside.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_SH)
            room = Seat(Path(folder), 0, workers)
            room.metrics.mkdir()
            make_room(room.metrics, workers)
        except OSError as error:
            why = str(error.strerror or error).lower()
            remedy = "Set TMPDIR to a folder that the gateway may write to and that has room, or WORKERS to 1"
            said = f"WORKERS: there is no folder that workers could share: {why}. {remedy}"
            raise CannotSuperviseError(said) from None
        yield room


def _command(room: Path, number: int, workers: int, port: int, env_file: Path) -> list[str]:
    place = {"--room": room, "--number": number, "--workers": workers, "--port": port, "--env-file": env_file}
    words = [str(word) for pair in place.items() for word in pair]
    return [sys.executable, "-m", "voice_openai_connect", "worker", *words]


def _send(process: asyncio.subprocess.Process, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(how)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
