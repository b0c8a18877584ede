"""Requests to DynamoDB, as its JSON protocol has them: made, signed, sent, and tried again where that may help.

Who we are, where DynamoDB is, and the connections are botocore's business. The rest of what it does for each request
takes 5 ms in which every call of the process waits; see docs/decisions/0019.
"""

import asyncio
import os
import random
import time
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec
from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.utils import get_environ_proxies

from voice_openai_connect import __version__, limits
from voice_openai_connect.integrations.aws_keys import NO_CREDENTIALS
from voice_openai_connect.wire.aws_signature import Signer, SigningKeys

THROTTLED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "ThrottlingException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "TooManyRequestsException",
    }
)
_BUSY: Final = frozenset({"InternalServerError", "TransactionInProgressException", "RequestTimeout"})
_SERVER_ERROR: Final = 500
_OK: Final = 200
_Request: Final = cast("Any", AWSPreparedRequest)
"""Its stubs know the headers of `requests` only; what sends it takes any mapping."""
_VERSION: Final = "DynamoDB_20120810"


class DynamoRequests:
    """One DynamoDB. `on_throttle` is called for every answer in which it asked us to slow down, also where another try
    made it good."""

    def __init__(
        self,
        http: Any,
        url: str,
        region: str,
        keys: Callable[[], Awaitable[SigningKeys]],
        on_throttle: Callable[[], None],
    ) -> None:
        address = urlsplit(url)
        path = address.path or "/"
        self._http = http
        self._url = address._replace(path=path).geturl()
        self._keys = keys
        self._on_throttle = on_throttle
        self._signer = Signer(_host(address.scheme, address.netloc), region, "dynamodb", path)

    async def ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """What DynamoDB answers, as in its API reference.

        Raises botocore's `ClientError` with all that a refusal says, and its `BotoCoreError` where nobody answers. It
        is tried again, `DYNAMODB_ATTEMPTS` times in all, where DynamoDB is busy or the way to it is broken.
        """
        body = msgspec.json.encode(parameters)
        for _ in range(limits.DYNAMODB_ATTEMPTS - 1):
            try:
                return await self._once(operation, body)
            except (ClientError, BotoCoreError) as error:
                if not _may_pass(error):
                    raise
            await asyncio.sleep(random.uniform(0, limits.DYNAMODB_AGAIN_S))  # noqa: S311 - so that not all come at once
        return await self._once(operation, body)

    async def _once(self, operation: str, body: bytes) -> dict[str, Any]:
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"{_VERSION}.{operation}"}
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        signed = self._signer.signed(headers, body, await self._keys(), stamp)
        signed["user-agent"] = f"voice-openai-connect/{__version__}"
        answer = await self._http.send(_Request("POST", self._url, signed, body, stream_output=False))
        content: bytes = await answer.content
        said = _read(content)
        if answer.status_code == _OK and said is not None and _whole(content, answer.headers):
            if said.get("UnprocessedItems") or said.get("UnprocessedKeys"):
                self._on_throttle()
            return said
        refusal = said or {}
        code = str(refusal.get("__type", "")).rpartition("#")[2]
        if code in THROTTLED:
            self._on_throttle()
        status = 500 if answer.status_code == _OK else answer.status_code  # an answer that is not whole is none
        about = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(cast("Any", {**refusal, **about}), operation)


@asynccontextmanager
async def dynamo_requests(
    session: Any, client: Any, given: SigningKeys | None, on_throttle: Callable[[], None]
) -> AsyncGenerator[DynamoRequests]:
    """Requests to where this client of botocore's session sends its own: by the same proxy, trusting the same
    certificates, and with the session's credentials unless others are `given`.

    Any, because aiobotocore describes neither.
    """
    url = str(client.meta.endpoint_url)
    trusted: Any = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True
    bounds: Any = (limits.DYNAMODB_CONNECT_S, limits.DYNAMODB_READ_S)
    http = AIOHTTPSession(
        verify=trusted,
        proxies=get_environ_proxies(url),
        timeout=bounds,
        max_pool_connections=limits.DYNAMODB_CONNECTIONS,
    )

    async def keys() -> SigningKeys:
        """As they are now: those of a role are renewed before they expire."""
        if given is not None:
            return given
        now = await (await session.get_credentials()).get_frozen_credentials()
        return SigningKeys(now.access_key, now.secret_key, now.token)

    async with http:
        yield DynamoRequests(http, url, str(client.meta.region_name), keys, on_throttle)


def _may_pass(error: Exception) -> bool:
    """Whether the next try may fare better."""
    if isinstance(error, ClientError):
        response: Any = error.response
        code, status = response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
        return status >= _SERVER_ERROR or code in THROTTLED or code in _BUSY
    return not isinstance(error, NO_CREDENTIALS)


def _read(content: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _whole(content: bytes, headers: Mapping[str, str]) -> bool:
    """DynamoDB sends a checksum of what it says."""
    sum_ = headers.get("x-amz-crc32")
    return sum_ is None or sum_ == str(zlib.crc32(content))


def _host(scheme: str, place: str) -> str:
    return place.removesuffix({"http": ":80", "https": ":443"}.get(scheme, " "))
