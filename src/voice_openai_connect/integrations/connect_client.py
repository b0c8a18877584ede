"""What Amazon Connect knows of its queues: which there are, when they are open, and who serves them. Only read."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self, cast
from zoneinfo import ZoneInfo

from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

from voice_openai_connect import limits
from voice_openai_connect.findings import Finding, ok, warning, wrong
from voice_openai_connect.integrations.aws_keys import NO_CREDENTIALS, REMEDY
from voice_openai_connect.integrations.aws_session import aws_session
from voice_openai_connect.integrations.dynamo_client import AwsKey
from voice_openai_connect.wire.opening_hours import OpeningHours, opening_hours

RIGHTS: Final = (
    "connect:ListQueues",
    "connect:DescribeQueue",
    "connect:GetEffectiveHoursOfOperations",
    "connect:GetCurrentMetricData",
)
"""What the client asks for, as IAM names it."""
STAFFED: Final = "AGENTS_STAFFED"
"""Agents at work: online, and in no status of their own such as a break (Administrator Guide, "Staffed")."""

_REASONS: Final = {
    "ThrottlingException": "throttled",
    "TooManyRequestsException": "throttled",
    "AccessDeniedException": "denied",
    "UnrecognizedClientException": "denied",
    "InvalidSignatureException": "denied",
    "ExpiredTokenException": "denied",
    "ResourceNotFoundException": "not_found",
    "InvalidRequestException": "refused",
    "InvalidParameterException": "refused",
}
_REMEDIES: Final = {
    "denied": f"Allow {', '.join(RIGHTS)} on the instance to these credentials (`aws sts get-caller-identity`).",
    "no_credentials": REMEDY,
    "not_found": "Check CONNECT_INSTANCE_ID and AWS_REGION: the instance is not in that region.",
    "throttled": "Something else in this account asks Amazon Connect too often. Try again in a minute.",
}
_SUBJECT: Final = "Connect queues"
_BACK: Final = timedelta(days=limits.PRESENCE_DAYS_BACK)
_AHEAD: Final = timedelta(days=limits.PRESENCE_DAYS_AHEAD)


class ConnectError(Exception):
    """Amazon Connect could not say what was asked.

    `reason` is one of throttled, denied, no_credentials, not_found, refused, timeout, unreachable, unreadable, failed.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"Amazon Connect: {reason}")
        self.reason = reason


class ConnectClient:
    """One instance: `async with ConnectClient(...)`, for the life of the process. Every method raises `ConnectError`.

    `names` says what a queue is called there, by its name in the profiles: its name, id or ARN. A queue that is not
    among them has the same name in both places, in whatever case. Credentials are as for `DynamoClient`.
    """

    def __init__(
        self,
        instance_id: str,
        *,
        region: str,
        names: Mapping[str, str] | None = None,
        endpoint_url: str | None = None,
        key: AwsKey | None = None,
    ) -> None:
        self._instance_id = instance_id
        self._region = region
        self._names = names or {}
        self._endpoint_url = endpoint_url
        self._key = key or AwsKey()
        self._open = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        # Whoever asks has its own pauses after a failure, so nothing is asked twice in a hurry.
        config = AioConfig(
            connect_timeout=limits.CONNECT_API_CONNECT_S,
            read_timeout=limits.CONNECT_API_READ_S,
            retries={"mode": "standard", "total_max_attempts": 1},
        )
        opening = connect_api(self._region, self._key, config, endpoint_url=self._endpoint_url)
        self._client = await self._open.enter_async_context(opening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = None
        await self._open.aclose()

    async def find_queues(self, names: frozenset[str]) -> Mapping[str, str]:
        """The ids of these queues, by name; a name that Connect does not have is left out."""
        queues = await self._queues()
        return {name: each for name in names if (each := _match(self._names.get(name, name), queues))}

    async def opening_hours(self, queue_id: str, first: date, last: date) -> OpeningHours | None:
        """When the queue is open on these days, overrides applied; None if Connect says nothing about them."""
        async with _own_errors():
            queue = await self._client.describe_queue(InstanceId=self._instance_id, QueueId=queue_id)
            answer = await self._client.get_effective_hours_of_operations(
                InstanceId=self._instance_id,
                HoursOfOperationId=queue["Queue"]["HoursOfOperationId"],
                FromDate=first.isoformat(),
                ToDate=last.isoformat(),
            )
            return opening_hours(answer, ZoneInfo(answer["TimeZone"]), first, last)

    async def staffed(self, queue_ids: Sequence[str]) -> Mapping[str, int]:
        """How many agents are at work for each queue; one that Connect has no figures for is left out."""
        found: dict[str, int] = {}
        for begin in range(0, len(queue_ids), limits.CONNECT_API_QUEUES):
            async with _own_errors():
                found |= await self._staffed(queue_ids[begin : begin + limits.CONNECT_API_QUEUES])
        return found

    async def check(self, names: frozenset[str]) -> list[Finding]:
        """For the doctor: the instance, the rights, and what is known of each of these queues."""
        try:
            ids = await self.find_queues(names)
            missing = [_missing(name) for name in sorted(names - ids.keys())]
            staffed = await self.staffed(sorted(set(ids.values())))
            today = datetime.now(UTC)
            states = {name: await self._state(queue_id, staffed, today) for name, queue_id in sorted(ids.items())}
        except ConnectError as error:
            remedy = _REMEDIES.get(error.reason, "Check AWS_REGION and the network path to AWS.")
            return [wrong(_SUBJECT, f"cannot be asked about ({error.reason})", remedy)]
        known = "; ".join(f"{name}: {state}" for name, state in states.items())
        return [*([ok(_SUBJECT, known)] if known else []), *missing]

    async def _queues(self) -> list[dict[str, Any]]:
        async with _own_errors():
            return await every_page(
                self._client,
                "list_queues",
                "QueueSummaryList",
                InstanceId=self._instance_id,
                QueueTypes=["STANDARD"],
                MaxResults=limits.CONNECT_API_PAGE,
            )

    async def _staffed(self, queue_ids: Sequence[str]) -> dict[str, int]:
        answer = await self._client.get_current_metric_data(
            InstanceId=self._instance_id,
            Filters={"Queues": list(queue_ids), "Channels": ["VOICE"]},
            Groupings=["QUEUE"],
            CurrentMetrics=[{"Name": STAFFED, "Unit": "COUNT"}],
            MaxResults=limits.CONNECT_API_QUEUES,
        )
        return {
            result["Dimensions"]["Queue"]["Id"]: int(figure["Value"])
            for result in answer.get("MetricResults", ())
            for figure in result["Collections"]
            if figure["Metric"]["Name"] == STAFFED and figure.get("Value") is not None
        }

    async def _state(self, queue_id: str, staffed: Mapping[str, int], now: datetime) -> str:
        hours = await self.opening_hours(queue_id, now.date() - _BACK, now.date() + _AHEAD)
        is_open = hours.open_at(now) if hours else None
        state = "opening hours unknown" if is_open is None else "open" if is_open else "closed"
        return f"{state}, {staffed.get(queue_id, 'an unknown number of')} agents"


def _match(wanted: str, queues: Sequence[Mapping[str, Any]]) -> str:
    """The id of the queue with this id, ARN or name; empty if there is none."""
    found = (str(each["Id"]) for each in queues if wanted in {each["Id"], each["Arn"], each["Name"]})
    folded = (str(each["Id"]) for each in queues if each["Name"].casefold() == wanted.casefold())
    return next(found, "") or next(folded, "")


def _missing(name: str) -> Finding:
    remedy = f"Set CONNECT_QUEUES to {name}= and the queue's name in Connect, or name it the same there."
    return warning(_SUBJECT, f"{name} is not a queue of the instance: callers are moved there open or not", remedy)


@asynccontextmanager
async def _own_errors() -> AsyncGenerator[None]:
    """Bounds one request, and turns everything that can go wrong with it into `ConnectError`."""
    try:
        async with asyncio.timeout(limits.CONNECT_API_S):
            yield
    except ClientError as error:
        code = str(cast("Any", error.response).get("Error", {}).get("Code", ""))
        raise ConnectError(_REASONS.get(code, "failed")) from None
    except (ConnectTimeoutError, ReadTimeoutError, TimeoutError):
        raise ConnectError("timeout") from None
    except NO_CREDENTIALS:
        raise ConnectError("no_credentials") from None
    except BotoCoreError:
        raise ConnectError("unreachable") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ConnectError("unreadable") from None


def connect_api(region: str, key: AwsKey, config: AioConfig, *, endpoint_url: str | None = None) -> Any:
    """A client of Amazon Connect's API, to be entered with `async with`."""
    return aws_session().create_client(
        "connect",
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        aws_session_token=key.session_token,
        config=config,
    )


async def every_page(connect: Any, operation: str, member: str, **request: object) -> list[dict[str, Any]]:
    """All pages of a list."""
    pages = connect.get_paginator(operation).paginate(**request)
    return [entry async for page in pages for entry in cast("list[dict[str, Any]]", page.get(member, []))]
