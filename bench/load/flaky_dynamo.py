"""A road to DynamoDB on which some requests are answered with a throttle, as a table at its limits answers."""

import asyncio
import json
from typing import Final, Self
from urllib.parse import urlsplit

from bench.load import webhook
from bench.load.trouble import Trouble

_THROTTLE: Final = json.dumps(
    {
        "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        "message": "The level of configured provisioned throughput for the table was exceeded.",
    }
).encode()
_TYPE: Final = "application/x-amz-json-1.0"
_NOT_PASSED_ON: Final = frozenset({"connection", "content-length", "transfer-encoding"})
FORWARD_S: Final = 10.0


class FlakyDynamo:
    """Stands before the server at `target`; `async with`, then use `endpoint_url`."""

    def __init__(self, target: str, trouble: Trouble) -> None:
        parts = urlsplit(target)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._trouble = trouble
        self._clients: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for client in self._clients:
            client.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        self._clients.add(writer)
        try:
            while True:
                await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client has closed it, or the server behind is gone: both are told by the end of the connection
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, fields = webhook.head(await reader.readuntil(b"\r\n\r\n"))
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        if self._trouble.strikes("dynamo_throttled"):
            answer = webhook.Answer(400, _TYPE, _THROTTLE)
        else:
            method, path, _ = first.split()
            headers = {name: value for name, value in fields.items() if name not in _NOT_PASSED_ON}
            answer = await webhook.request(
                method, self._host, self._port, path, headers=headers, body=body, seconds=FORWARD_S
            )
        head = f"HTTP/1.1 {answer.status} -\r\nContent-Type: {answer.content_type}\r\n"
        writer.write(f"{head}Content-Length: {len(answer.body)}\r\n\r\n".encode() + answer.body)
        await writer.drain()
