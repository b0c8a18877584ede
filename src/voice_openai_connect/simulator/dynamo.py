"""DynamoDB in the town: ministack, a real server in a child process, reached through the ordinary AWS clients."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.error import URLError
from urllib.request import urlopen

from voice_openai_connect.simulator.ports import free_port

START_S: Final = 60.0
"""It starts in half a second; a busy machine may need much longer, and no one is helped by giving up early."""
STOP_S: Final = 5.0


class SimulatedDynamo:
    """A DynamoDB of one's own, empty at first, gone at the end. Works with `with` and with `async with`.

    Sets nothing in this process: point a client at `endpoint_url` with `region`, `access_key_id` and
    `secret_access_key`. `services` may name more of AWS, such as ``"lambda"``. Raises `RuntimeError` with the
    server's own last words if it does not start.
    """

    region: Final = "ap-southeast-2"
    access_key_id: Final = "simulated"
    secret_access_key: Final = "simulated"  # noqa: S105 - nothing checks it

    def __init__(self, *, services: tuple[str, ...] = ("dynamodb",)) -> None:
        self.endpoint_url = ""
        self._services = services
        self._room: tempfile.TemporaryDirectory[str] | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and return when it answers."""
        self._room = tempfile.TemporaryDirectory(prefix="simulated-dynamo-")
        room = Path(self._room.name)
        port = free_port()
        self.endpoint_url = f"http://127.0.0.1:{port}"
        with (room / "log").open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=self._environment(room, port),
                cwd=room,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready(room / "log")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and forget everything in it. May be called twice."""
        child, self._child = self._child, None
        if child is not None:
            child.terminate()
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._room is not None:
            self._room.cleanup()
            self._room = None

    def _environment(self, room: Path, port: int) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(room),
            "TMPDIR": str(room),
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_REGION": self.region,
            "SERVICES": ",".join(self._services),
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "DOCKER_HOST": f"unix://{room}/no-docker",  # it would look for a daemon on this machine
            "LOG_LEVEL": "WARNING",
        }

    def _wait_until_ready(self, log: Path) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._child is None or self._child.poll() is not None:
                break
            try:
                with urlopen(f"{self.endpoint_url}/_ministack/health", timeout=1):  # noqa: S310 - our own loopback
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        last_words = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
        raise RuntimeError(f"the simulated DynamoDB did not start; its last words: {last_words or '(none)'}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)
