"""The table where handovers wait for the contact centre, and where any instance finds what a call does next.

One table, key `token`: a handover item per ten-digit token, and a call item (`call#{CallSid}`) per call.
`token` is a reserved word in DynamoDB's expressions, so it is always written `#t`.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.next_step import DialPerson, HangUp, NextStep, PromiseCallBack
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.findings import Finding
from voice_openai_connect.integrations import dynamo_setup
from voice_openai_connect.integrations.dynamo_setup import EXPIRY, KEY

if TYPE_CHECKING:
    from aiobotocore.session import ClientCreatorContext
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_dynamodb.type_defs import AttributeValueTypeDef

_TOKENS: Final = 10**limits.TOKEN_DIGITS
_STEPS: Final[dict[str, type[NextStep]]] = {"dial": DialPerson, "hang_up": HangUp, "promise_call_back": PromiseCallBack}
_STEP_NAMES: Final = {kind: name for name, kind in _STEPS.items()}

_UNREAD: Final = "attribute_exists(#t) AND attribute_not_exists(consumed_by) AND expires_at > :now"
_FREE_OR_OURS: Final = (
    "attribute_not_exists(#t) OR expires_at < :now OR (handover_id = :hid AND attribute_not_exists(consumed_by))"
)

_THROTTLED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "TooManyRequestsException",
    }
)
_DENIED: Final = frozenset(
    {
        "AccessDeniedException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "MissingAuthenticationToken",
        "IncompleteSignatureException",
        "ExpiredTokenException",
        "InvalidClientTokenId",
    }
)


@dataclass(frozen=True, slots=True)
class AwsKey:
    """Credentials given by hand. What is None comes from the ordinary AWS chain."""

    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


class StoreError(Exception):
    """The table could not do what was asked.

    `reason` is one of throttled, timeout, unreachable, denied, missing_table, refused, collision, failed. Neither
    it nor the message ever carries a token.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"DynamoDB: {reason}")
        self.reason = reason


class DynamoRepository:
    """The handover table, through one client for the life of the process: `async with DynamoRepository(...)`.

    Credentials come from the ordinary AWS chain unless a `key` is given. `endpoint_url` points elsewhere than AWS.
    `clock` gives seconds since the epoch; `draw` a number below 10**10, for a new token. `on_throttle` is called
    for every answer in which DynamoDB asked us to slow down, the ones that a retry made good included.
    """

    def __init__(
        self,
        table_name: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        key: AwsKey | None = None,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], int] = lambda: secrets.randbelow(_TOKENS),
        on_throttle: Callable[[], None] = lambda: None,
    ) -> None:
        self._table = table_name
        self._region = region
        self._endpoint_url = endpoint_url
        self._key = key or AwsKey()
        self._clock = clock
        self._draw = draw
        self._on_throttle = on_throttle
        self._tokens: OrderedDict[str, str] = OrderedDict()
        self._open = AsyncExitStack()
        self._client: DynamoDBClient | None = None

    async def __aenter__(self) -> Self:
        session = cast("Any", get_session())  # its stubs know the service by name, and 400 others as unknown
        client: ClientCreatorContext[DynamoDBClient] = session.create_client(
            "dynamodb",
            region_name=self._region,
            endpoint_url=self._endpoint_url,
            aws_access_key_id=self._key.access_key_id,
            aws_secret_access_key=self._key.secret_access_key,
            aws_session_token=self._key.session_token,
            config=AioConfig(
                connect_timeout=limits.DYNAMODB_CONNECT_S,
                read_timeout=limits.DYNAMODB_READ_S,
                retries={"mode": "standard", "total_max_attempts": limits.DYNAMODB_ATTEMPTS},
                max_pool_connections=limits.DYNAMODB_CONNECTIONS,
            ),
        )
        self._client = await self._open.enter_async_context(client)
        self._client.meta.events.register("needs-retry.dynamodb", self._count_throttles)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = None
        await self._open.aclose()

    # --- Handovers

    async def save(self, record: HandoverRecord) -> str:
        """Store the record under a fresh token and return the token: ten digits, to be used within `TOKEN_TTL_S`.

        A repeat of the same `handover_id` returns the same token, also when the first answer was lost. Raises
        `StoreError`, at the latest after `SAVE_MS`.
        """
        async with _within_budget():
            token = self._tokens.get(record.handover_id) or self._new_token(record)
            for _ in range(limits.TOKEN_DRAWS):
                if await self._put(token, record):
                    return token
                token = self._new_token(record)
        raise StoreError("collision")

    async def attach_ticket(self, token: str, contact_id: str, ticket_id: str, ticket_url: str) -> bool:
        """Add a late ticket to a record. False if it has been read, has expired or was never there.

        An empty `contact_id` leaves the record's own as it is. Raises `StoreError`.
        """
        late = {"hubspot_contact_id": contact_id, "hubspot_ticket_id": ticket_id, "hubspot_ticket_url": ticket_url}
        late = {name: value for name, value in late.items() if value}
        if not late:
            return False
        try:
            async with _within_budget():
                await self._dynamodb.update_item(
                    TableName=self._table,
                    Key={KEY: {"S": token}},
                    UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in late),
                    ConditionExpression=_UNREAD,
                    ExpressionAttributeNames={"#t": KEY},
                    ExpressionAttributeValues={
                        ":now": self._now(),
                        **{f":{name}": {"S": value} for name, value in late.items()},
                    },
                )
        except _ConditionNotMetError:
            return False
        return True

    # --- Calls

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        """Keep what Twilio is to be told next about this call, instead of an earlier step. Raises `StoreError`."""
        await self._keep(call_sid, "next_step", _write_step(step), limits.CALL_ITEM_TTL_S)

    async def save_checkpoint(self, call_sid: str, checkpoint: Checkpoint) -> None:
        """Keep where the conversation is, instead of an earlier checkpoint or step. Raises `StoreError`."""
        text = msgspec.json.encode(checkpoint).decode()
        await self._keep(call_sid, "checkpoint", text, limits.CHECKPOINT_TTL_S)

    async def close_call(self, call_sid: str, outcome: Outcome) -> None:
        """Remove what is kept about a call. Raises `StoreError`."""
        async with _within_budget():
            await self._dynamodb.delete_item(TableName=self._table, Key={KEY: {"S": _call_key(call_sid)}})

    async def recall_call(self, call_sid: str) -> CallItem:
        """What was kept last, by whichever instance: a step, or a checkpoint, or neither. Raises `StoreError`."""
        async with _within_budget():
            found = await self._dynamodb.get_item(
                TableName=self._table, Key={KEY: {"S": _call_key(call_sid)}}, ConsistentRead=True
            )
        item = found.get("Item", {})
        # DynamoDB may keep an expired item for days, so its time is looked at here.
        if int(item.get(EXPIRY, {}).get("N", "0")) <= self._clock():
            return CallItem()
        step = _read_step(item.get("next_step", {}).get("S", ""))
        return CallItem(step, _read_checkpoint(item.get("checkpoint", {}).get("S", "")))

    async def _keep(self, call_sid: str, name: str, text: str, ttl_s: int) -> None:
        async with _within_budget():
            await self._dynamodb.put_item(
                TableName=self._table,
                Item={KEY: {"S": _call_key(call_sid)}, name: {"S": text}, EXPIRY: self._now(ttl_s)},
            )

    # --- The table itself

    async def setup_table(self) -> list[str]:
        """Make the table and switch its expiry on; what is there already stays. Returns what was done, as sentences."""
        with _own_errors():
            return await dynamo_setup.setup_table(self._dynamodb, self._table)

    async def check(self) -> list[Finding]:
        """What is right and wrong with the table, for the doctor. Writes one item and removes it. Never raises."""
        try:
            with _own_errors():
                return await dynamo_setup.check_table(self._dynamodb, self._table, now=int(self._clock()))
        except StoreError as error:
            return [dynamo_setup.out_of_reach(self._table, error.reason)]

    # --- Inside

    @property
    def _dynamodb(self) -> "DynamoDBClient":
        if self._client is None:
            raise RuntimeError("DynamoRepository is used outside its `async with` block")
        return self._client

    def _now(self, later_s: int = 0) -> "AttributeValueTypeDef":
        return {"N": str(int(self._clock()) + later_s)}

    def _new_token(self, record: HandoverRecord) -> str:
        """Draw a token and remember it before it is written: after a lost answer, the repeat must use the same one."""
        token = f"{self._draw():0{limits.TOKEN_DIGITS}}"
        self._tokens[record.handover_id] = token
        if len(self._tokens) > limits.TOKENS_REMEMBERED:
            self._tokens.popitem(last=False)
        return token

    async def _put(self, token: str, record: HandoverRecord) -> bool:
        """Write the item unless the token is somebody else's. An item that has been read is never made unread again."""
        texts = {**asdict(record), KEY: token}
        try:
            await self._dynamodb.put_item(
                TableName=self._table,
                Item={
                    **{name: {"S": text} for name, text in texts.items()},
                    "created_at": self._now(),
                    EXPIRY: self._now(limits.TOKEN_TTL_S),
                },
                ConditionExpression=_FREE_OR_OURS,
                ExpressionAttributeNames={"#t": KEY},
                ExpressionAttributeValues={":now": self._now(), ":hid": {"S": record.handover_id}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if _code(error) != "ConditionalCheckFailedException":
                raise
            there: dict[str, Any] = error.response.get("Item", {})
            return there.get("handover_id") == {"S": record.handover_id}
        return True

    def _count_throttles(self, *, response: tuple[Any, dict[str, Any]] | None = None, **_: object) -> None:
        """Sees every answer before botocore decides whether to try again, and leaves that decision to it."""
        if response and response[1].get("Error", {}).get("Code") in _THROTTLED:
            self._on_throttle()


class _ConditionNotMetError(StoreError):
    """The item is not as the condition wants it."""


@asynccontextmanager
async def _within_budget() -> AsyncGenerator[None, None]:
    """Bounds one operation, retries included, and turns everything that can go wrong into `StoreError`."""
    with _own_errors():
        async with asyncio.timeout(limits.SAVE_MS / 1000):
            yield


@contextmanager
def _own_errors() -> Generator[None, None, None]:
    """The services' errors as ours. Their messages can hold whole items, so they are cut off here."""
    try:
        yield
    except ClientError as error:
        code = _code(error)
        kind = _ConditionNotMetError if code == "ConditionalCheckFailedException" else StoreError
        raise kind(_reason(code)) from None
    except (ConnectTimeoutError, ReadTimeoutError, TimeoutError):
        raise StoreError("timeout") from None
    except (NoCredentialsError, PartialCredentialsError):
        raise StoreError("denied") from None
    except BotoCoreError:
        raise StoreError("unreachable") from None


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _reason(code: str) -> str:
    if code in _THROTTLED:
        return "throttled"
    if code in _DENIED:
        return "denied"
    named = {"ResourceNotFoundException": "missing_table", "ValidationException": "refused"}
    return named.get(code, "failed")


def _call_key(call_sid: str) -> str:
    return f"call#{call_sid}"


def _write_step(step: NextStep) -> str:
    return msgspec.json.encode({"step": _STEP_NAMES[type(step)], **asdict(step)}).decode()


def _read_step(text: str) -> NextStep | None:
    """The step, or None if an older or newer version wrote something that is not understood here."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
        return msgspec.convert(fields, _STEPS[str(fields.pop("step", ""))])
    except (msgspec.MsgspecError, KeyError):
        return None


def _read_checkpoint(text: str) -> Checkpoint | None:
    try:
        return msgspec.json.decode(text, type=Checkpoint)
    except msgspec.MsgspecError:
        return None
