"""One table through one DynamoDB client: requests within a budget, and everything that can go wrong as one error.

`token` is the table's key and a reserved word in DynamoDB's expressions, so it is always written `#t`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast
from uuid import uuid4

from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

from voice_openai_connect import __version__, limits
from voice_openai_connect.integrations.aws_keys import NO_CREDENTIALS
from voice_openai_connect.integrations.aws_session import aws_session
from voice_openai_connect.integrations.dynamo_requests import THROTTLED, DynamoRequests, dynamo_requests
from voice_openai_connect.integrations.dynamo_setup import EXPIRY, KEY
from voice_openai_connect.wire.aws_signature import SigningKeys

if TYPE_CHECKING:
    from aiobotocore.session import ClientCreatorContext
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_dynamodb.type_defs import (
        AttributeValueTypeDef,
        TransactWriteItemTypeDef,
        WriteRequestUnionTypeDef,
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
_CONDITION: Final = frozenset({"ConditionalCheckFailedException", "ConditionalCheckFailed"})
"""The second is how a transaction names it."""
_CLOSED: Final = "DynamoRepository is used outside its `async with` block"
_REASONS: Final = {
    "ResourceNotFoundException": "missing_table",
    "ValidationException": "refused",
    "TransactionConflictException": "conflict",
    "TransactionConflict": "conflict",
}


@dataclass(frozen=True, slots=True)
class AwsKey:
    """Credentials given by hand. What is None comes from the ordinary AWS chain."""

    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    @property
    def for_signing(self) -> SigningKeys | None:
        """The same, if any were given. One half alone botocore refuses when its client is made."""
        if not self.access_key_id or not self.secret_access_key:
            return None
        return SigningKeys(self.access_key_id, self.secret_access_key, self.session_token)


class StoreError(Exception):
    """The table could not do what was asked.

    `reason` is one of throttled, timeout, unreachable, denied, no_credentials, missing_table, refused, collision,
    conflict, full, failed. Neither it nor the message ever carries a token.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"DynamoDB: {reason}")
        self.reason = reason


class ConditionNotMetError(StoreError):
    """The item is not as the condition wants it. `item` is how it was, as far as that was asked for."""

    def __init__(self, item: "Item") -> None:
        super().__init__("refused")
        self.item = item


class Item:
    """An item as it was read: attributes as text or numbers, empty where they are missing or of another kind."""

    def __init__(self, attributes: Mapping[str, Any] | None) -> None:
        self._attributes = attributes or {}

    def __bool__(self) -> bool:
        return bool(self._attributes)

    def text(self, name: str) -> str:
        """A string, or empty."""
        return str(self._attributes.get(name, {}).get("S", ""))

    def number(self, name: str) -> int | None:
        """A whole number, or None."""
        written = str(self._attributes.get(name, {}).get("N", ""))
        return int(written) if written.lstrip("-").isdecimal() else None

    def texts(self, name: str) -> frozenset[str]:
        """A set of strings, or the empty one."""
        return frozenset(self._attributes.get(name, {}).get("SS", ()))

    def expired(self, now: int) -> bool:
        """Whether its time is over: DynamoDB may keep it for days after that."""
        return (self.number(EXPIRY) or 0) <= now


Value = str | int | frozenset[str]
Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Change:
    """One of several changes that are made together or not at all. Without a `change` the item is removed."""

    key: str
    change: str
    values: Values
    only_if: str = ""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole item, whatever is there now. Without `values` it is removed."""

    key: str
    values: Values | None = None


class DynamoClient:
    """A table and the client that reaches it: `async with DynamoClient(...)`, one for the life of the process.

    Credentials come from the ordinary AWS chain unless a `key` is given. `endpoint_url` points elsewhere than AWS.
    `clock` gives seconds since the epoch. `on_throttle` is called for every answer in which DynamoDB asked us to
    slow down, the ones that a retry made good included.
    """

    def __init__(
        self,
        table: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        key: AwsKey | None = None,
        clock: Callable[[], float] = time.time,
        on_throttle: Callable[[], None] = lambda: None,
    ) -> None:
        self.table: Final = table
        self._region = region
        self._endpoint_url = endpoint_url
        self._key = key or AwsKey()
        self._clock = clock
        self._on_throttle = on_throttle
        self._open = AsyncExitStack()
        self._client: DynamoDBClient | None = None
        self._requests: DynamoRequests | None = None

    async def __aenter__(self) -> Self:
        session = aws_session()
        client: ClientCreatorContext[DynamoDBClient] = session.create_client(
            "dynamodb",
            region_name=self._region,
            endpoint_url=self._endpoint_url,
            aws_access_key_id=self._key.access_key_id,
            aws_secret_access_key=self._key.secret_access_key,
            aws_session_token=self._key.session_token,
            config=AioConfig(
                user_agent=f"voice-openai-connect/{__version__}",
                connect_timeout=limits.DYNAMODB_CONNECT_S,
                read_timeout=limits.DYNAMODB_READ_S,
                retries={"mode": "standard", "total_max_attempts": limits.DYNAMODB_ATTEMPTS},
                max_pool_connections=limits.DYNAMODB_CONNECTIONS,
            ),
        )
        self._client = await self._open.enter_async_context(client)
        beside = dynamo_requests(session, self._client, self._key.for_signing, self._on_throttle)
        self._requests = await self._open.enter_async_context(beside)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = self._requests = None
        await self._open.aclose()

    @property
    def raw(self) -> "DynamoDBClient":
        """The client of botocore, for what is not asked during calls. To be used within `own_errors`."""
        if self._client is None:
            raise RuntimeError(_CLOSED)
        return self._client

    async def _ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """For what is asked during calls. To be used within `within_budget`."""
        if self._requests is None:
            raise RuntimeError(_CLOSED)
        return await self._requests.ask(operation, **parameters)

    def now(self, later_s: int = 0) -> int:
        """Whole seconds since the epoch, now or later."""
        return int(self._clock()) + later_s

    async def get(self, key: str) -> Item:
        """The item as it is at this moment; an empty one if there is none. Raises `StoreError`."""
        async with within_budget():
            found = await self._ask("GetItem", TableName=self.table, Key=_key(key), ConsistentRead=True)
        return Item(found.get("Item"))

    async def get_all(self, keys: Sequence[str]) -> dict[str, Item]:
        """Those of these items that there are, as they are at this moment; 100 keys at most. What the table leaves out
        because it has too much to do is asked for again. Raises `StoreError`."""
        wanted: Any = {self.table: {"Keys": [_key(key) for key in keys], "ConsistentRead": True}}
        found: dict[str, Item] = {}
        async with within_budget():
            for done in range(limits.DYNAMODB_ATTEMPTS):
                if done:
                    await asyncio.sleep(limits.DYNAMODB_LEFT_OUT_WAIT_S)
                answer = await self._ask("BatchGetItem", RequestItems=wanted)
                items = [Item(each) for each in answer.get("Responses", {}).get(self.table, [])]
                found |= {item.text(KEY): item for item in items}
                if not (wanted := answer.get("UnprocessedKeys")):
                    return found
        raise StoreError("throttled")

    async def write_all(self, items: Sequence[Whole]) -> frozenset[str]:
        """Put or remove items, each for itself, in one request: `CHECKPOINTS_TOGETHER` at most, and no key twice.

        Returns the keys that the table left out because it has too much to do. Raises `StoreError`: nothing is known of
        any of them then.
        """
        async with within_budget():
            answer = await self._ask("BatchWriteItem", RequestItems={self.table: [_request(item) for item in items]})
        return frozenset(_key_of(request) for request in answer.get("UnprocessedItems", {}).get(self.table, []))

    async def put(self, key: str, values: Values, *, only_if: str, given: Values) -> None:
        """Write a whole item. Raises `StoreError`, and `ConditionNotMetError` with the item that was there."""
        async with within_budget():
            await self._ask(
                "PutItem",
                TableName=self.table,
                Item={**_key(key), **_written(values)},
                ExpressionAttributeValues=_written(given),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **_conditional(only_if),
            )

    async def update(self, key: str, change: str, values: Values, *, only_if: str = "") -> None:
        """Change attributes of an item, made if there is none. `#t` stands for the key.

        Raises `StoreError`, and `ConditionNotMetError` with the item as it was.
        """
        await self._update(key, change, values, only_if, "NONE")

    async def updated(self, key: str, change: str, values: Values, *, only_if: str = "") -> Item:
        """As `update`; the item as it is then, which costs the reading of all that is in it."""
        answer = await self._update(key, change, values, only_if, "ALL_NEW")
        return Item(answer.get("Attributes"))

    async def _update(
        self, key: str, change: str, values: Values, only_if: str, wanted: Literal["NONE", "ALL_NEW"]
    ) -> Mapping[str, Any]:
        async with within_budget():
            return await self._ask(
                "UpdateItem",
                TableName=self.table,
                Key=_key(key),
                UpdateExpression=change,
                ExpressionAttributeValues=_written(values),
                ReturnValues=wanted,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **_conditional(only_if),
            )

    async def delete(self, key: str, *, only_if: str, given: Values) -> None:
        """Remove an item. Raises `StoreError`, and `ConditionNotMetError`."""
        async with within_budget():
            await self._ask(
                "DeleteItem",
                TableName=self.table,
                Key=_key(key),
                ExpressionAttributeValues=_written(given),
                **_conditional(only_if),
            )

    async def together(self, *changes: Change) -> None:
        """Make all of these changes, or none. A clash with somebody else's is over in milliseconds: it is tried again.

        Raises `ConditionNotMetError` when a condition does not hold, and `StoreError`.
        """
        for done in range(1, limits.DYNAMODB_CLASH_TRIES):
            try:
                return await self._transact(changes)
            except StoreError as error:
                if error.reason != "conflict":
                    raise
            await asyncio.sleep(limits.DYNAMODB_CLASH_WAIT_S * done)
        return await self._transact(changes)

    async def _transact(self, changes: Sequence[Change]) -> None:
        async with within_budget():
            await self._ask(
                "TransactWriteItems",
                TransactItems=[_action(self.table, change) for change in changes],
                ClientRequestToken=str(uuid4()),  # so that a second try of ours is the same transaction
            )


def _key(key: str) -> dict[str, "AttributeValueTypeDef"]:
    return {KEY: {"S": key}}


def _written(values: Values) -> dict[str, "AttributeValueTypeDef"]:
    return {name: _value(value) for name, value in values.items()}


def _value(value: Value) -> "AttributeValueTypeDef":
    if isinstance(value, frozenset):
        return {"SS": sorted(value)}
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def _request(item: Whole) -> "WriteRequestUnionTypeDef":
    if item.values is None:
        return {"DeleteRequest": {"Key": _key(item.key)}}
    return {"PutRequest": {"Item": {**_key(item.key), **_written(item.values)}}}


def _key_of(request: Mapping[str, Any]) -> str:
    """Of an item that was to be put or removed."""
    about = request.get("PutRequest", {}).get("Item") or request["DeleteRequest"]["Key"]
    return str(about[KEY]["S"])


def _conditional(only_if: str) -> dict[str, Any]:
    """A condition as requests have it. DynamoDB refuses names that are not used."""
    names = {"ExpressionAttributeNames": {"#t": KEY}} if "#t" in only_if else {}
    return {"ConditionExpression": only_if, **names} if only_if else {}


def _action(table: str, change: Change) -> "TransactWriteItemTypeDef":
    item: Any = {
        "TableName": table,
        "Key": _key(change.key),
        "ExpressionAttributeValues": _written(change.values),
        **_conditional(change.only_if),
    }
    if change.change:
        item["UpdateExpression"] = change.change
        return {"Update": item}
    return {"Delete": item}


@asynccontextmanager
async def within_budget() -> AsyncGenerator[None]:
    """Bounds one operation, retries included, and turns everything that can go wrong into `StoreError`."""
    with own_errors():
        async with asyncio.timeout(limits.SAVE_MS / 1000):
            yield


@contextmanager
def own_errors() -> Generator[None]:
    """The services' errors as ours. Their messages can hold whole items, so they are cut off here."""
    try:
        yield
    except ClientError as error:
        raise _own(error) from None
    except (ConnectTimeoutError, ReadTimeoutError, TimeoutError):
        raise StoreError("timeout") from None
    except NO_CREDENTIALS:
        raise StoreError("no_credentials") from None
    except BotoCoreError:
        raise StoreError("unreachable") from None


def _own(error: ClientError) -> StoreError:
    response: dict[str, Any] = cast("Any", error.response)
    code = str(response.get("Error", {}).get("Code", ""))
    if code == "TransactionCanceledException":
        # The first that says why: the others only say that they were not the reason.
        reasons = [str(reason.get("Code", "")) for reason in response.get("CancellationReasons", ())]
        code = next((reason for reason in reasons if reason not in {"", "None"}), code)
    if code in _CONDITION:
        return ConditionNotMetError(Item(response.get("Item")))
    return StoreError(_reason(code))


def _reason(code: str) -> str:
    if code in THROTTLED:
        return "throttled"
    if code in _DENIED:
        return "denied"
    return _REASONS.get(code, "failed")
