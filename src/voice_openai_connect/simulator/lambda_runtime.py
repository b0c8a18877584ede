"""AWS Lambda in the town: a real handler file in processes of its own, kept warm, one event at a time in each.

The processes are plain ones, quick to start (`lambda_environment.py`), unless `open_environment` says otherwise: then
it is AWS's own emulator of the runtime, with AWS's own client in it (`lambda_emulator.py`).
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from voice_openai_connect.simulator import lambda_environment
from voice_openai_connect.simulator.contact_flow import LambdaError
from voice_openai_connect.simulator.contact_flow_rules import CHECKOUT
from voice_openai_connect.simulator.dynamo import SimulatedDynamo

TOKEN_HANDLER: Final = CHECKOUT / "aws" / "connect_lambda" / "handler.py"
"""Of a checkout; an installed package does not carry it."""
PAYLOAD_BYTES: Final = 6 * 1024 * 1024
"""Lambda's own limit for a synchronous event or answer."""
LOAD_S: Final = 60.0
LOG_LINES: Final = 1_000
READ_BYTES: Final = 65_536
CONCURRENCY: Final = 1_000
"""Events at a time that an account of AWS's may have answered, until it asks for more."""


class Environment(Protocol):
    """Something that has loaded a handler and answers one event at a time."""

    waiting: bool
    """Whether it has answered everything it was asked."""

    async def hear(self) -> dict[str, Any]:
        """Return when it is ready, with what went wrong if something did. Raises `EnvironmentLostError`."""
        ...

    async def ask(self, event: dict[str, Any]) -> dict[str, Any]:
        """Pass on one event: `result`, or `errorType` and `errorMessage`. Raises `EnvironmentLostError`."""
        ...

    def end(self) -> None:
        """Kill it, if it is still there."""
        ...

    async def until_gone(self) -> None:
        """Return when nothing of it is left."""
        ...


Open = Callable[[Path, Mapping[str, str], list[str], float], Awaitable[Environment]]
"""Starts an environment: `(handler, variables, log, timeout_s)`."""


class EnvironmentLostError(Exception):
    """The process is gone, or says things that are no answer."""


async def plain_environment(
    handler: Path, variables: Mapping[str, str], log: list[str], timeout_s: float
) -> Environment:
    """A process of ours that does what Lambda's runtime does. Starts in a tenth of a second."""
    return _PlainEnvironment.start(handler, variables, log, timeout_s)


@dataclass
class LambdaRuntime:
    """Invokes a handler as Lambda does. Works with `async with`, which also warms up one environment.

    An exception in the handler, a crash, an answer that is not JSON and a late answer all raise `LambdaError`; after
    the last three the environment is thrown away. Events at the same time run in environments of their own. With plain
    environments it may be used by one event loop after the other, as long as it is closed in the end.
    """

    handler: Path
    environment: Mapping[str, str]
    """The function's variables. Nothing else of this process's environment is passed on, but `PATH`."""
    timeout_s: float = 7.0
    """The function's own limit: under the 8 s a contact flow waits."""
    concurrency: int = CONCURRENCY
    """Events that may be answered at the same time; one more is throttled."""
    open_environment: Open = plain_environment
    log: list[str] = field(default_factory=list[str])
    """What the handler has printed, the latest lines."""
    _idle: list[Environment] = field(default_factory=list[Environment])
    _started: list[Environment] = field(default_factory=list[Environment])
    _busy: int = 0

    @classmethod
    def redeeming_tokens(
        cls,
        dynamo: SimulatedDynamo,
        table: str,
        *,
        endpoint_url: str = "",
        match_by_phone: bool = False,
        open_environment: Open = plain_environment,
    ) -> Self:
        """The token Lambda of this repository, looking into that table; by way of `endpoint_url` if there is one."""
        variables = {
            "AWS_REGION": dynamo.region,
            "AWS_DEFAULT_REGION": dynamo.region,
            "AWS_ACCESS_KEY_ID": dynamo.access_key_id,
            "AWS_SECRET_ACCESS_KEY": dynamo.secret_access_key,
            "AWS_ENDPOINT_URL_DYNAMODB": endpoint_url or dynamo.endpoint_url,
            "DYNAMODB_TABLE_NAME": table,
            **({"MATCH_BY_PHONE": "true"} if match_by_phone else {}),
        }
        return cls(TOKEN_HANDLER, variables, open_environment=open_environment)

    async def invoke(self, event: dict[str, Any]) -> object:
        """Answer one event. Raises `LambdaError`."""
        if self._busy >= self.concurrency:
            raise LambdaError("TooManyRequestsException: Rate Exceeded.")
        self._busy += 1
        try:
            return await self._answer(event)
        finally:
            self._busy -= 1

    async def _answer(self, event: dict[str, Any]) -> object:
        environment = self._idle.pop() if self._idle else await self._start()
        try:
            answer = await environment.ask(event)
        except EnvironmentLostError:
            raise LambdaError("Runtime.ExitError: the process ended without an answer") from None
        finally:
            # Also when nobody waits any longer: a late answer must not be taken for the next event's.
            self._keep_or_end(environment)
        return _result(answer)

    async def _start(self) -> Environment:
        if not self.handler.is_file():
            raise LambdaError(f"there is no handler at {self.handler}: run from a checkout of the repository")
        environment = await self.open_environment(self.handler, self.environment, self.log, self.timeout_s)
        try:
            _result(await asyncio.wait_for(environment.hear(), LOAD_S))
        except BaseException as error:
            environment.end()
            await environment.until_gone()
            if isinstance(error, EnvironmentLostError | TimeoutError):
                raise LambdaError("Runtime.ImportModuleError: the handler could not be loaded") from None
            raise
        self._started.append(environment)
        return environment

    def _keep_or_end(self, environment: Environment) -> None:
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


def timed_out(after_s: float) -> dict[str, Any]:
    """The answer of an environment that did not make one in time."""
    return {"errorType": "Sandbox.Timedout", "errorMessage": f"no answer after {after_s:.2f} seconds"}


def _result(answer: dict[str, Any]) -> object:
    if "errorType" in answer:
        raise LambdaError(f"{answer['errorType']}: {answer['errorMessage']}")
    return answer.get("result")


class _PlainEnvironment:
    """One process, which gets its events by a socket. An event that takes too long is the end of it.

    Nothing of it belongs to an event loop: one loop after the other may ask it.
    """

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket, log: list[str], timeout_s: float) -> None:
        self._process = process
        self._line = line
        self._timeout_s = timeout_s
        self._log_reader = threading.Thread(target=self._read_log, args=[log], daemon=True)
        self._log_reader.start()
        self.waiting = False

    @classmethod
    def start(cls, handler: Path, variables: Mapping[str, str], log: list[str], timeout_s: float) -> Self:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - the interpreter that runs us
                [sys.executable, "-P", lambda_environment.__file__, str(handler)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONIOENCODING": "utf-8", **variables},
            )
        return cls(process, ours, log, timeout_s)

    async def ask(self, event: dict[str, Any]) -> dict[str, Any]:
        """Pass on one event and return what comes back."""
        self.waiting = False
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.get_running_loop().sock_sendall(self._line, json.dumps(event).encode() + b"\n")
                return await self.hear()
        except TimeoutError:
            return timed_out(self._timeout_s)
        except OSError:
            raise EnvironmentLostError from None

    async def hear(self) -> dict[str, Any]:
        """The next answer."""
        try:
            answer = json.loads(await self._read_line())
        except (ValueError, OSError):
            raise EnvironmentLostError from None
        self.waiting = True
        return answer

    async def _read_line(self) -> bytes:
        """One line; nothing comes after it until the next event."""
        line = bytearray()
        while not line.endswith(b"\n"):
            piece = await asyncio.get_running_loop().sock_recv(self._line, READ_BYTES)
            if not piece or len(line) > PAYLOAD_BYTES:
                raise EnvironmentLostError
            line += piece
        return bytes(line)

    def _read_log(self, log: list[str]) -> None:
        for line in self._process.stderr or ():
            log.append(line.decode(errors="replace").rstrip("\n"))
            del log[:-LOG_LINES]

    def end(self) -> None:
        """Kill it, if it is still there."""
        if self._process.poll() is None:
            self._process.kill()

    async def until_gone(self) -> None:
        """Return when the process has ended and what it had open is closed."""
        self._line.close()
        await asyncio.to_thread(self._process.wait)
        await asyncio.to_thread(self._log_reader.join)
        if self._process.stderr is not None:
            self._process.stderr.close()
