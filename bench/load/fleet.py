"""Gateway processes behind one public name, and the balancer that chooses among them."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from bench.load import webhook
from voice_openai_connect.simulator.gateway_process import GatewayProcess
from voice_openai_connect.simulator.ports import free_port

ROOT: Final = Path(__file__).parents[2]
CHECK_S: Final = 0.1
HEALTH_S: Final = 2.0
HTTP_OK: Final = 200
_T = TypeVar("_T")


@dataclass(eq=False)
class Instance:
    """One process, as the balancer sees it."""

    name: str
    process: GatewayProcess
    ready: bool = True
    streams: int = 0
    """Media streams that are open to it now."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.process.port


class NobodyReadyError(ConnectionError):
    """There is no instance that could be asked."""


class Fleet:
    """Instances, started with the same settings. New requests go to the ready one with the fewest streams.

    The balancer looks at `/readyz` every `check_s` seconds. Where a connection is refused it tries the next instance
    at once, as HAProxy, nginx and Envoy do. A request that breaks off later fails: to Twilio it is a 502. Where nobody
    is ready it asks whom there is, as AWS's load balancer does.
    """

    def __init__(self, settings: Mapping[str, str], names: Sequence[str], *, check_s: float = CHECK_S) -> None:
        self.instances = [_instance(name, settings) for name in names]
        self.preferred: Instance | None = None
        """If it is ready, it gets everything."""
        self._check_s = check_s

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        try:
            await asyncio.gather(*(self._stack.enter_async_context(each.process) for each in self.instances))
        except BaseException:
            await self._stack.aclose()
            raise
        self._checks = [asyncio.create_task(self._check(instance)) for instance in self.instances]
        return self

    async def __aexit__(self, *_: object) -> None:
        for check in self._checks:
            check.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)
        await self._stack.aclose()

    async def balanced(self, ask: Callable[[Instance], Awaitable[_T]]) -> _T:
        """Ask one instance after the other until a connection is made. Raises `OSError` as the last one did."""
        tried: set[Instance] = set()
        while True:
            instance = self._choose(tried)
            try:
                return await ask(instance)
            except ConnectionRefusedError:
                instance.ready = False
                tried.add(instance)
            except OSError:
                instance.ready = False  # until the next look; what was asked may have been done, so it is not repeated
                raise

    def _choose(self, tried: set[Instance]) -> Instance:
        left = [each for each in self.instances if each not in tried]
        if not left:
            raise NobodyReadyError("no instance can be reached")
        ready = [each for each in left if each.ready] or left
        if self.preferred in ready:
            return self.preferred
        return min(ready, key=lambda each: each.streams)

    async def _check(self, instance: Instance) -> None:
        while True:
            await asyncio.sleep(self._check_s)
            try:
                answer = await webhook.request(
                    "GET", "127.0.0.1", instance.port, "/readyz", headers={"Host": "balancer"}, seconds=HEALTH_S
                )
            except (OSError, TimeoutError):
                instance.ready = False
            else:
                instance.ready = answer.status == HTTP_OK


def _instance(name: str, settings: Mapping[str, str]) -> Instance:
    port = free_port()
    path = os.pathsep.join((str(ROOT), str(ROOT / "src")))
    environment = {**settings, "PORT": str(port), "PYTHONPATH": path}
    return Instance(name, GatewayProcess(environment, port, module="bench.load.instance"))
