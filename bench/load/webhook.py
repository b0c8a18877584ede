"""One HTTP request over a connection of its own, as small as it can be: a few hundred a second must cost little."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HEAD_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    content_type: str
    body: bytes


async def request(
    method: str, host: str, port: int, path: str, *, headers: Mapping[str, str], body: bytes = b"", seconds: float
) -> Answer:
    """Ask and read the answer. Raises `OSError` (also for half an answer) or `TimeoutError`."""
    lines = [f"{method} {path} HTTP/1.1", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(host, port, limit=HEAD_BYTES)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            return await _read(reader)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(f"half an answer from {path}") from error
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Answer:
    first, fields = head(await reader.readuntil(b"\r\n\r\n"))
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    return Answer(int(first.split()[1]), fields.get("content-type", ""), body)


def head(raw: bytes) -> tuple[str, dict[str, str]]:
    """The first line of a message and its fields, their names in lower case."""
    first, *lines = raw.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}
