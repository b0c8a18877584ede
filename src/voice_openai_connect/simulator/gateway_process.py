"""The gateway as a company runs it: `voice-connect serve` in a process of its own, configured by its environment."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast

import httpx2

ORDINARY: Final = "voice_openai_connect"
PATIENT: Final = "voice_openai_connect.simulator.patient_gateway"
"""The module of a gateway that refuses no call because the machine is slow."""
START_S: Final = 60.0
"""It starts in two seconds; a busy machine may need much longer, and no one is helped by giving up early."""
STOP_S: Final = 10.0
POLL_S: Final = 0.05
LogLine = dict[str, Any]


@dataclass
class GatewayProcess:
    """Works with `async with`: inside, the gateway is ready. `on_line` gets each line of its log as it is written.

    Nothing of this process's environment is passed on but `PATH`, and the gateway finds no `.env`: what it knows is
    in `environment`. Raises `RuntimeError`, with what the gateway said last, if it does not become ready.
    """

    environment: Mapping[str, str]
    port: int
    on_line: Callable[[LogLine], None] = lambda _: None
    module: str = ORDINARY
    """What is run with `python -m`: the gateway, or something that runs it."""
    descriptors: int | None = None
    """How many files and sockets it may open (`ulimit -n`); as many as this process, unless it is set."""
    log: list[LogLine] = field(default_factory=list[LogLine])
    other_output: list[str] = field(default_factory=list[str])
    """What it printed that is no line of its log, such as a refusal to start."""

    async def __aenter__(self) -> Self:
        self._room = tempfile.TemporaryDirectory(prefix="gateway-")
        limited = ["/bin/sh", "-c", f'ulimit -n {self.descriptors}; exec "$@"', "sh"] if self.descriptors else []
        self._process = await asyncio.create_subprocess_exec(
            *limited,
            sys.executable,
            "-m",
            self.module,
            "serve",
            env={"PATH": os.environ.get("PATH", ""), **self.environment},
            cwd=Path(self._room.name),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1_048_576,
        )
        self._reader = asyncio.create_task(self._read(), name="gateway log")
        try:
            await self._until_ready()
        except BaseException:
            await self.stop(signal.SIGKILL)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(signal.SIGTERM)

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def stop(self, how: signal.Signals, *, within_s: float | None = None) -> int:
        """Send a signal and wait for the end, killing it if that takes too long. Returns the exit status."""
        if self._process.returncode is None:
            self._process.send_signal(how)
            try:
                await asyncio.wait_for(self._process.wait(), within_s or STOP_S)
            except TimeoutError:
                self._process.kill()
        status = await self._process.wait()
        await self._reader
        self._room.cleanup()
        return status

    def signal(self, how: signal.Signals) -> None:
        """Send a signal, and wait for nothing: SIGSTOP and SIGCONT make it stand still for a while."""
        self._process.send_signal(how)

    def leave_log_unread(self) -> None:
        """Read no more of its log: after 4 KB, the least that a pipe holds, it can write none. On Linux."""
        import fcntl

        transport: Any = cast("Any", self._process)._transport  # noqa: SLF001 - asyncio gives no other way to the pipe
        pipe = transport.get_pipe_transport(1)
        fcntl.fcntl(pipe.get_extra_info("pipe"), fcntl.F_SETPIPE_SZ, 4_096)
        pipe.pause_reading()
        self._unread = pipe

    def read_log_again(self) -> None:
        """Go on reading where it was left."""
        self._unread.resume_reading()

    def open_descriptors(self) -> int:
        """How many files and sockets it has open. Known on Linux."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    async def metrics(self) -> str:
        """Its metrics, as text."""
        async with httpx2.AsyncClient() as client:
            return (await client.get(f"{self.base_url}/metrics")).text

    async def _until_ready(self) -> None:
        async with asyncio.timeout(START_S), httpx2.AsyncClient() as client:
            while self._process.returncode is None:
                with suppress(httpx2.TransportError):
                    if (await client.get(f"{self.base_url}/readyz")).is_success:
                        return
                await asyncio.sleep(POLL_S)
        await self._reader
        raise RuntimeError("the gateway did not start:\n" + "\n".join(self.other_output[-20:]))

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        async for raw in self._process.stdout:
            text = raw.decode(errors="replace").rstrip()
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if isinstance(line, dict):
                self.log.append(cast("LogLine", line))
                self.on_line(cast("LogLine", line))
            elif text:
                self.other_output.append(text)
