"""The HTTP client that the integrations share: no redirects, bounded bodies, one deadline for each request.

Its library writes every URL to the log, and the URLs hold telephone numbers; here it is told to keep quiet.
"""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import anyio.lowlevel
import httpx2

for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class TooLargeError(Exception):
    """The body is longer than agreed; the rest of it was not read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: httpx2.Headers
    content: bytes


def open_client(base_url: str, *, connect_s: float, read_s: float) -> httpx2.AsyncClient:
    """A client for one service. Proxies and certificates come from the environment, except for this very machine."""
    address = urlsplit(base_url)
    here = address.hostname in LOOPBACK
    return httpx2.AsyncClient(
        base_url=base_url,
        follow_redirects=False,
        timeout=httpx2.Timeout(read_s, connect=connect_s),
        trust_env=not here,
        # Reading the world's certificates takes 50 ms. Where no TLS is spoken, none is trusted.
        verify=not here or address.scheme != "http" or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )


async def load_all() -> None:
    """Load now what the library would load at its first request: 25 ms in which every call on the line would wait."""
    await anyio.lowlevel.checkpoint()


async def ask(client: httpx2.AsyncClient, request: httpx2.Request, *, deadline_s: float, max_bytes: int) -> Answer:
    """Send a request and read the whole answer. Raises `TimeoutError`, `TooLargeError`, or `httpx2.HTTPError`."""
    try:
        # The client's own timeout is for each read; a body that drips would never meet it.
        async with asyncio.timeout(deadline_s):
            response = await client.send(request, stream=True)
            try:
                content = await _bounded(response, max_bytes)
            finally:
                await response.aclose()
    except httpx2.TimeoutException:
        raise TimeoutError from None
    return Answer(response.status_code, response.headers, content)


async def _bounded(response: httpx2.Response, max_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > max_bytes:
            raise TooLargeError
    return bytes(content)
