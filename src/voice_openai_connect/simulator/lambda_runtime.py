"""AWS Lambda in the town: a real handler file in processes of its own, kept warm, one event at a time in each."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from voice_openai_connect.simulator import lambda_environment
from voice_openai_connect.simulator.contact_flow import LambdaError
from voice_openai_connect.simulator.dynamo import SimulatedDynamo

TOKEN_HANDLER: Final = Path(__file__).parents[3] / "aws" / "connect_lambda" / "handler.py"
"""Of a checkout; an installed package does not carry it."""
PAYLOAD_BYTES: Final = 6 * 1024 * 1024
"""Lambda's own limit for a synchronous event or answer."""
LOAD_S: Final = 60.0
LOG_LINES: Final = 1_000


@dataclass
class LambdaRuntime:
    """Invokes a handler as Lambda does. Works with `async with`, which also warms up one environment.

    An exception in the handler, a crash, an answer that is not JSON and a late answer all raise `LambdaError`; after
    the last three the environment is thrown away. Events at the same time run in environments of their own.
    """

    handler: Path
    environment: Mapping[str, str]
    """The function's variables. Nothing else of this process's environment is passed on, but `PATH`."""
    timeout_s: float = 7.0
    """The function's own limit: under the 8 s a contact flow waits."""
    log: list[str] = field(default_factory=list[str])
    """What the handler has printed, the latest lines."""
    _idle: list["_Environment"] = field(default_factory=list["_Environment"])
    _started: list["_Environment"] = field(default_factory=list["_Environment"])

    @classmethod
    def redeeming_tokens(cls, dynamo: SimulatedDynamo, table: str, *, endpoint_url: str = "") -> Self:
        """The token Lambda of this repository, looking into that table; by way of `endpoint_url` if there is one."""
        variables = {
            "AWS_REGION": dynamo.region,
            "AWS_DEFAULT_REGION": dynamo.region,
            "AWS_ACCESS_KEY_ID": dynamo.access_key_id,
            "AWS_SECRET_ACCESS_KEY": dynamo.secret_access_key,
            "AWS_ENDPOINT_URL_DYNAMODB": endpoint_url or dynamo.endpoint_url,
            "DYNAMODB_TABLE_NAME": table,
        }
        return cls(TOKEN_HANDLER, variables)

    async def invoke(self, event: dict[str, Any]) -> object:
        """Answer one event. Raises `LambdaError`."""
        environment = self._idle.pop() if self._idle else await self._start()
        try:
            answer = await asyncio.wait_for(environment.ask(event), self.timeout_s)
        except TimeoutError:
            raise LambdaError(f"Sandbox.Timedout: no answer after {self.timeout_s:.2f} seconds") from None
        except _EnvironmentLostError:
            raise LambdaError("Runtime.ExitError: the process ended without an answer") from None
        finally:
            # Also when nobody waits any longer: a late answer must not be taken for the next event's.
            self._keep_or_end(environment)
        return _result(answer)

    async def _start(self) -> "_Environment":
        if not self.handler.is_file():
            raise LambdaError(f"there is no handler at {self.handler}: run from a checkout of the repository")
        environment = await _Environment.start(self.handler, self.environment, self.log)
        try:
            _result(await asyncio.wait_for(environment.hear(), LOAD_S))
        except BaseException as error:
            environment.end()
            await environment.until_gone()
            if isinstance(error, _EnvironmentLostError | TimeoutError):
                raise LambdaError("Runtime.ImportModuleError: the handler could not be loaded") from None
            raise
        self._started.append(environment)
        return environment

    def _keep_or_end(self, environment: "_Environment") -> None:
        if environment.waiting:
            self._idle.append(environment)
        else:
            environment.end()

    async def close(self) -> None:
        """End every environment."""
        self._idle.clear()
        while self._started:
            environment = self._started.pop()
            environment.end()
            await environment.until_gone()

    async def warm_up(self) -> None:
        """Start an environment now, so that the first event does not wait for one."""
        self._idle.append(await self._start())

    async def __aenter__(self) -> Self:
        await self.warm_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _result(answer: dict[str, Any]) -> object:
    if "errorType" in answer:
        raise LambdaError(f"{answer['errorType']}: {answer['errorMessage']}")
    return answer.get("result")


class _EnvironmentLostError(Exception):
    """The process is gone, or says things that are no answer."""


class _Environment:
    """One process. `waiting` is true while it has answered everything it was asked."""

    def __init__(self, process: asyncio.subprocess.Process, log: list[str]) -> None:
        self._process = process
        self._log_reader = asyncio.create_task(self._read_log(log))
        self.waiting = False

    @classmethod
    async def start(cls, handler: Path, variables: Mapping[str, str], log: list[str]) -> "_Environment":
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", lambda_environment.__file__, str(handler)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=PAYLOAD_BYTES,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONIOENCODING": "utf-8", **variables},
        )
        return cls(process, log)

    async def ask(self, event: dict[str, Any]) -> dict[str, Any]:
        """Pass on one event and return what comes back."""
        self.waiting = False
        if self._process.stdin is None:
            raise _EnvironmentLostError
        self._process.stdin.write(json.dumps(event).encode() + b"\n")
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        """The next answer."""
        try:
            line = await self._process.stdout.readline() if self._process.stdout else b""
            answer = json.loads(line)
        except (ValueError, OSError):
            raise _EnvironmentLostError from None
        self.waiting = True
        return answer

    async def _read_log(self, log: list[str]) -> None:
        while self._process.stderr is not None and (line := await self._process.stderr.readline()):
            log.append(line.decode(errors="replace").rstrip("\n"))
            del log[:-LOG_LINES]

    def end(self) -> None:
        """Kill it, if it is still there."""
        if self._process.returncode is None:
            self._process.kill()

    async def until_gone(self) -> None:
        """Return when the process has ended and its pipes are closed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
        await self._log_reader
        if self._process.stdout is not None:
            await self._process.stdout.read()
