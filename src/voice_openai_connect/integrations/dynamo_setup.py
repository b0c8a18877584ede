"""Making the handover table, and looking whether it is as it should be. For the setup and doctor commands."""

import asyncio
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from voice_openai_connect.findings import Finding, ok, warning, wrong
from voice_openai_connect.integrations.aws_keys import REMEDY

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_dynamodb.type_defs import (
        AttributeDefinitionTypeDef,
        CreateGlobalSecondaryIndexActionTypeDef,
        GlobalSecondaryIndexDescriptionTypeDef,
        KeySchemaElementTypeDef,
        ProjectionTypeDef,
        TableDescriptionTypeDef,
    )

KEY: Final = "token"
EXPIRY: Final = "expires_at"
PHONE_INDEX: Final = "by_phone"
"""Where the Lambda looks, if it may, for a handover whose digits were lost on the way."""
PHONE_KEY: Final = "phone_key"
"""The caller's number once more, on handovers alone. It is missing where the number was withheld."""
_ATTRIBUTES: Final["list[AttributeDefinitionTypeDef]"] = [
    {"AttributeName": KEY, "AttributeType": "S"},
    {"AttributeName": PHONE_KEY, "AttributeType": "S"},
    {"AttributeName": "created_at", "AttributeType": "N"},
]
_INDEX_KEY: Final["list[KeySchemaElementTypeDef]"] = [
    {"AttributeName": PHONE_KEY, "KeyType": "HASH"},
    {"AttributeName": "created_at", "KeyType": "RANGE"},
]
_PROJECTED: Final["ProjectionTypeDef"] = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["consumed_by"]}
CANARY: Final = "canary#doctor"
"""Not ten digits, so it can never be taken for a handover."""
WAIT_STEPS: Final = 40
WAIT_STEP_S: Final = 1
SETUP_COMMAND: Final = "voice-connect setup table"


async def setup_table(client: "DynamoDBClient", table: str) -> list[str]:
    """Make the table, or add the index that it lacks, wait for it, and switch its expiry on. May be run repeatedly.

    Needs `dynamodb:CreateTable`, `DescribeTable`, `UpdateTable`, `UpdateTimeToLive` and `DescribeTimeToLive`.
    """
    done = [await _create(client, table)]
    waiter = client.get_waiter("table_exists")
    await waiter.wait(TableName=table, WaiterConfig={"Delay": WAIT_STEP_S, "MaxAttempts": WAIT_STEPS})
    if not await _key_is_right(client, table):
        return [*done, f"The key of table {table} is not the string `{KEY}`: choose another table name."]
    return [*done, *await _add_index(client, table), await _switch_expiry_on(client, table)]


async def check_table(client: "DynamoDBClient", table: str, *, now: int) -> list[Finding]:
    """Table, key, expiry, and the right to write, proved by writing and removing one item. Raises botocore's errors."""
    try:
        right = await _key_is_right(client, table)
    except ClientError as error:
        if _code(error) == "ResourceNotFoundException":
            return [wrong("DynamoDB table", f"there is no table {table} in this region", f"Run `{SETUP_COMMAND}`.")]
        if _code(error) != "AccessDeniedException":
            raise
        # A gateway's role need not be allowed to describe the table; writing is what counts.
        return [await _check_write(client, table, now=now)]
    if not right:
        found = f"the key of {table} is not the string `{KEY}`"
        return [wrong("DynamoDB table", found, "Set DYNAMODB_TABLE_NAME to another name, then run the setup again.")]
    return [
        ok("DynamoDB table", f"{table} exists, key `{KEY}`"),
        await _check_expiry(client, table),
        await _check_write(client, table, now=now),
    ]


def out_of_reach(table: str, reason: str) -> Finding:
    """The finding for a table about which nothing could be learned. `reason` is a `StoreError`'s."""
    remedies = {
        "denied": "Give this process AWS credentials that may use the table (see `aws sts get-caller-identity`).",
        "no_credentials": REMEDY,
        "timeout": "Check AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB and the network path to DynamoDB.",
        "unreachable": "Check AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB and the network path to DynamoDB.",
    }
    remedy = remedies.get(reason, "Look at the AWS Health Dashboard and try again.")
    return wrong("DynamoDB table", f"{table} could not be looked at: {reason}", remedy)


async def _create(client: "DynamoDBClient", table: str) -> str:
    try:
        await client.create_table(
            TableName=table,
            AttributeDefinitions=_ATTRIBUTES,
            KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
            GlobalSecondaryIndexes=[{"IndexName": PHONE_INDEX, "KeySchema": _INDEX_KEY, "Projection": _PROJECTED}],
            BillingMode="PAY_PER_REQUEST",
        )
    except ClientError as error:
        if _code(error) != "ResourceInUseException":
            raise
        return f"Table {table} was there already."
    return f"Table {table} was created."


async def _add_index(client: "DynamoDBClient", table: str) -> list[str]:
    """For a table that is older than the index, or was made by hand. It can be used while DynamoDB builds the index."""
    described = (await client.describe_table(TableName=table))["Table"]
    index = _index_of(described)
    if index is not None and index.get("KeySchema") != _INDEX_KEY:
        return [f"Index {PHONE_INDEX} of {table} has another key than ours: delete the index, then run this again."]
    if index is not None and index.get("IndexStatus") in {None, "ACTIVE"}:
        return []
    if index is None:
        await client.update_table(
            TableName=table,
            AttributeDefinitions=_ATTRIBUTES,
            GlobalSecondaryIndexUpdates=[{"Create": _new_index(described)}],
        )
    for _ in range(WAIT_STEPS):
        index = _index_of((await client.describe_table(TableName=table))["Table"])
        if index is not None and index.get("IndexStatus") == "ACTIVE":
            return [f"Index {PHONE_INDEX} was added to {table}."]
        await asyncio.sleep(WAIT_STEP_S)
    return [f"Index {PHONE_INDEX} is still being added to {table}; run this again later to see that it is done."]


def _index_of(described: "TableDescriptionTypeDef") -> "GlobalSecondaryIndexDescriptionTypeDef | None":
    indexes = described.get("GlobalSecondaryIndexes", [])
    return next((index for index in indexes if index.get("IndexName") == PHONE_INDEX), None)


def _new_index(described: "TableDescriptionTypeDef") -> "CreateGlobalSecondaryIndexActionTypeDef":
    """As fast as the table where its capacity is paid for by the hour; on demand, nothing need be said."""
    index: CreateGlobalSecondaryIndexActionTypeDef = {
        "IndexName": PHONE_INDEX,
        "KeySchema": _INDEX_KEY,
        "Projection": _PROJECTED,
    }
    paid = described.get("ProvisionedThroughput", {})
    reads, writes = paid.get("ReadCapacityUnits", 0), paid.get("WriteCapacityUnits", 0)
    if reads and writes:
        index["ProvisionedThroughput"] = {"ReadCapacityUnits": reads, "WriteCapacityUnits": writes}
    return index


async def _key_is_right(client: "DynamoDBClient", table: str) -> bool:
    described = (await client.describe_table(TableName=table))["Table"]
    keys = [(key.get("AttributeName"), key.get("KeyType")) for key in described.get("KeySchema", [])]
    kinds = {a.get("AttributeName"): a.get("AttributeType") for a in described.get("AttributeDefinitions", [])}
    return keys == [(KEY, "HASH")] and kinds.get(KEY) == "S"


async def _expiry(client: "DynamoDBClient", table: str) -> tuple[str, str]:
    described = (await client.describe_time_to_live(TableName=table))["TimeToLiveDescription"]
    return described.get("TimeToLiveStatus", "DISABLED"), described.get("AttributeName", "")


async def _switch_expiry_on(client: "DynamoDBClient", table: str) -> str:
    status, attribute = await _expiry(client, table)
    if status in {"ENABLED", "ENABLING"} and attribute == EXPIRY:
        return f"Items already expire by `{EXPIRY}`."
    try:
        # CreateTable cannot do this: DynamoDB has a call of its own for it, and takes it once an hour.
        await client.update_time_to_live(
            TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRY}
        )
    except ClientError as error:
        if _code(error) != "ValidationException":
            raise
        return f"DynamoDB did not change the expiry of {table} now; it takes one change an hour. Run this again later."
    return f"Items now expire by `{EXPIRY}`."


async def _check_expiry(client: "DynamoDBClient", table: str) -> Finding:
    subject = "DynamoDB expiry"
    status, attribute = await _expiry(client, table)
    if attribute == EXPIRY and status in {"ENABLED", "ENABLING"}:
        return ok(subject, f"items expire by `{EXPIRY}`")
    found = f"expired items stay in {table} for ever (expiry {status.lower()} on `{attribute}`)"
    return warning(subject, found, f"Run `{SETUP_COMMAND}`.")


async def _check_write(client: "DynamoDBClient", table: str, *, now: int) -> Finding:
    """Writes an item as a token is written, reads it as a checkpoint is read, and removes it as one is removed."""
    subject, key = "DynamoDB write", {KEY: {"S": CANARY}}
    try:
        await client.put_item(
            TableName=table,
            Item={**key, EXPIRY: {"N": str(now + 60)}},
            ConditionExpression="attribute_not_exists(#t) OR expires_at > :zero",
            ExpressionAttributeNames={"#t": KEY},
            ExpressionAttributeValues={":zero": {"N": "0"}},
        )
        await client.batch_get_item(RequestItems={table: {"Keys": [key]}})
        await client.batch_write_item(RequestItems={table: [{"DeleteRequest": {"Key": key}}]})
    except ClientError as error:
        action = error.operation_name
        found, remedy = f"{action} failed on {table}: {_code(error)}", f"Allow dynamodb:{action} on the table."
        return wrong(subject, found, remedy)
    return ok(subject, "an item was written, read and removed")


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
