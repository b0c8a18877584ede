"""Is this task about to go? Asked of the load balancer, for ECS itself says so only when it is too late for calls.

ECS takes a task out of its target group first, and waits until the balancer has closed or cut its connections; only
then comes SIGTERM (docs/decisions/0015-target-watch.md).
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, cast

import httpx2
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError

from voice_openai_connect import limits
from voice_openai_connect.integrations.aws_session import aws_session
from voice_openai_connect.integrations.dynamo_client import AwsKey
from voice_openai_connect.integrations.http_client import ask

RIGHT: Final = "elasticloadbalancing:DescribeTargetHealth"
"""What the watch asks for, as IAM names it. It cannot be confined to one target group (Service Authorization
Reference, Elastic Load Balancing)."""
DRAINING: Final = "draining"
"""The balancer leads nobody new here, and keeps what is open until the deregistration delay is over."""
_FAR_AWAY: Final = ("192.0.2.1", 9)
"""An address for documents (RFC 5737). Nothing is sent there; the system only says by which way it would be."""


@dataclass(frozen=True, slots=True)
class OwnTarget:
    """This process as the load balancer knows it.

    `metadata_url` is what ECS gives its containers as `ECS_CONTAINER_METADATA_URI_V4`; without it, the address is the
    one from which this machine reaches others.
    """

    group_arn: str
    port: int
    metadata_url: str = ""

    async def address(self) -> str:
        """Raises whatever keeps it from being known."""
        if self.metadata_url:
            return await _address_of_task(self.metadata_url)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_FAR_AWAY)
            return str(probe.getsockname()[0])


class TargetWatch:
    """Asks what the balancer does with this process, as long as the block lasts: `async with TargetWatch(...)`.

    `on_draining` is called once, when the balancer has begun to take this process out. No other state means that: a
    target is `unused` before it is registered, and whenever a listener leads elsewhere for a while. `on_trouble` is
    told why the balancer cannot be asked: once, until it has answered again. Credentials are as for `DynamoClient`.
    """

    def __init__(
        self,
        target: OwnTarget,
        *,
        region: str,
        on_draining: Callable[[], None],
        on_trouble: Callable[[str], None] = lambda _: None,
        endpoint_url: str | None = None,
        key: AwsKey | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._target = target
        self._region = region
        self._on_draining = on_draining
        self._on_trouble = on_trouble
        self._endpoint_url = endpoint_url
        self._key = key or AwsKey()
        self._pause = pause
        self._address = ""
        self._in_trouble = False
        self._wait_s = limits.TARGET_ASK_S
        self._open = AsyncExitStack()
        self._client: Any = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        opening = _balancer_api(self._region, self._key, self._endpoint_url)
        self._client = await self._open.enter_async_context(opening)
        self._task = asyncio.create_task(self._watch(), name="target watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._open.aclose()

    async def _watch(self) -> None:
        while await self._ask() != DRAINING:
            await self._pause(self._wait_s)
        self._on_draining()

    async def _ask(self) -> str:
        """The target's state; nothing when it cannot be had."""
        try:
            async with asyncio.timeout(limits.TARGET_REQUEST_S):
                state = await self._state()
        except Exception as error:  # noqa: BLE001 - whatever it is, calls go on, and the next time will tell
            if not self._in_trouble:
                self._on_trouble(_reason(error))
            self._in_trouble = True
            self._wait_s = min(2 * self._wait_s, limits.TARGET_RETRY_MAX_S)
            return ""
        self._in_trouble, self._wait_s = False, limits.TARGET_ASK_S
        return state

    async def _state(self) -> str:
        self._address = self._address or await self._target.address()
        answer = await self._client.describe_target_health(
            TargetGroupArn=self._target.group_arn, Targets=[{"Id": self._address, "Port": self._target.port}]
        )
        (health,) = answer["TargetHealthDescriptions"]
        return str(health["TargetHealth"]["State"])


async def _address_of_task(metadata_url: str) -> str:
    """The private address by which the balancer knows the task; its containers share it (network mode awsvpc)."""
    async with httpx2.AsyncClient(trust_env=False) as client:  # no proxy knows the way to it
        request = client.build_request("GET", f"{metadata_url.rstrip('/')}/task")
        answer = await ask(client, request, deadline_s=limits.TARGET_REQUEST_S, max_bytes=limits.TASK_METADATA_BYTES)
    task: Any = json.loads(answer.content)
    networks = (network for container in task["Containers"] for network in container["Networks"])
    return str(next(address for network in networks for address in network["IPv4Addresses"]))


def _reason(error: Exception) -> str:
    """AWS's own code, or the kind of error: enough to know where to look, and nothing that was sent."""
    if isinstance(error, ClientError):
        return str(cast("Any", error.response).get("Error", {}).get("Code", "failed"))
    return type(error).__name__


def _balancer_api(region: str, key: AwsKey, endpoint_url: str | None) -> Any:
    # A request that fails is asked again after a pause, so nothing is asked twice in a hurry.
    config = AioConfig(
        connect_timeout=limits.TARGET_REQUEST_S,
        read_timeout=limits.TARGET_REQUEST_S,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return aws_session().create_client(
        "elbv2",
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        aws_session_token=key.session_token,
        config=config,
    )
