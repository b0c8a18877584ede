"""One execution environment of a Lambda function, made of AWS's own parts: runtime emulator and runtime client.

The emulator is a program inside the package `aws-sam-cli`, for Linux on x86 and ARM; the client is `awslambdaric`. Both
are development tools: the demo does without them (`lambda_runtime.plain_environment`). The emulator takes one event at
a time and dies of a second one, so whoever asks must wait for the answer.
"""

import asyncio
import importlib.util
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self, cast

import httpx2

from voice_openai_connect.simulator.lambda_runtime import (
    LOG_LINES,
    Environment,
    EnvironmentLostError,
    timed_out,
)
from voice_openai_connect.simulator.ports import free_port

PATH: Final = "/2015-03-31/functions/function/invocations"
"""Where the emulator takes events, as Lambda's own API does."""
_ARCHITECTURES: Final = {"x86_64": "x86_64", "aarch64": "arm64"}
_POLL_S: Final = 0.02
STOP_S: Final = 10.0


def emulator() -> Path | None:
    """The emulator's program, if it is installed and made for this machine."""
    package = importlib.util.find_spec("samcli")
    architecture = _ARCHITECTURES.get(platform.machine(), "")
    if sys.platform != "linux" or not architecture or package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / "local" / "rapid" / f"aws-lambda-rie-{architecture}"
    return program if program.is_file() else None


async def emulated_environment(
    handler: Path, variables: Mapping[str, str], log: list[str], timeout_s: float
) -> Environment:
    """Start an emulator with that handler in it, for `LambdaRuntime.open_environment`.

    Raises `RuntimeError` where the emulator is not installed or cannot run. `timeout_s` is rounded up to whole seconds.
    """
    program = emulator()
    if program is None:
        raise RuntimeError("AWS's Lambda emulator is not here: run `make setup` on Linux (x86_64 or ARM)")
    return await _EmulatedEnvironment.start(program, handler, variables, log, timeout_s)


class _EmulatedEnvironment:
    """One emulator, with the process it keeps for the handler."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: list[str], timeout_s: int) -> None:
        self._process = process
        self._port = port
        self._timeout_s = timeout_s
        self._log_reader = asyncio.create_task(self._read_log(log))
        # Nothing of ours ends an event early: the emulator has the function's own time limit.
        self._http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None, trust_env=False)
        self.waiting = False

    @classmethod
    async def start(
        cls, program: Path, handler: Path, variables: Mapping[str, str], log: list[str], timeout_s: float
    ) -> Self:
        port, limit_s = free_port(), -int(-timeout_s // 1)
        process = await asyncio.create_subprocess_exec(
            program,
            *("--log-level", "error"),
            *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
            *("--runtime-api-address", f"127.0.0.1:{free_port()}"),
            *(sys.executable, "-m", "awslambdaric", f"{handler.stem}.lambda_handler"),
            cwd=handler.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={
                "PATH": os.environ.get("PATH", ""),
                "PYTHONDONTWRITEBYTECODE": "1",
                "AWS_LAMBDA_FUNCTION_TIMEOUT": str(limit_s),
                **variables,
            },
        )
        return cls(process, port, log, limit_s)

    async def hear(self) -> dict[str, Any]:
        """Return when it takes events. The handler is loaded by the first of them, as Lambda's clock has it."""
        while self._process.returncode is None:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.close()
                self.waiting = True
                return {"result": None}
            await asyncio.sleep(_POLL_S)
        raise EnvironmentLostError

    async def ask(self, event: dict[str, Any]) -> dict[str, Any]:
        """Pass on one event. Whatever becomes of it, the emulator says so with status 200."""
        self.waiting = False
        try:
            response = await self._http.post(PATH, json=event)
        except httpx2.TransportError:
            raise EnvironmentLostError from None
        self.waiting = True
        if response.text.startswith("Task timed out"):
            return timed_out(self._timeout_s)
        return _answer(response)

    async def _read_log(self, log: list[str]) -> None:
        while self._process.stdout is not None and (line := await self._process.stdout.readline()):
            log.append(line.decode(errors="replace").rstrip("\n"))
            del log[:-LOG_LINES]

    def end(self) -> None:
        """Ask the emulator to stop: it takes the handler's process with it, which a kill would leave behind."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def until_gone(self) -> None:
        """Return when the process has ended and its pipe is closed."""
        await self._http.aclose()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._log_reader


def _answer(response: httpx2.Response) -> dict[str, Any]:
    """An answer of the function, or its error: both come with status 200, and an error is known by its shape."""
    try:
        body: object = response.json()
    except ValueError:
        return {"errorType": "Runtime.Unknown", "errorMessage": response.text[:200]}
    fields = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    if {"errorType", "errorMessage"} <= fields.keys():
        return {"errorType": str(fields["errorType"]), "errorMessage": str(fields["errorMessage"])}
    return {"result": body}
