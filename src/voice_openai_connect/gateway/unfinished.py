"""Connections on which a request does not come to its end: opened and left, or fed by the byte.

uvicorn waits for ever for the rest of a head or a body; it only closes what is idle after an answer. Each such
connection costs a file descriptor, and whoever opens enough of them keeps the callers out.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol, TypeGuard


class Exchange(Protocol):
    """One request and its answer, as uvicorn keeps them."""

    more_body: bool
    response_complete: bool


class HttpConnection(Protocol):
    """What uvicorn's connections have while they speak HTTP. One that has become a WebSocket is another object."""

    cycle: Exchange | None
    transport: asyncio.Transport


class Unfinished:
    """Ends connections that have been waiting for the rest of the same request for longer than `longest_s`."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._waits: dict[HttpConnection, tuple[Exchange | None, float]] = {}
        """After which exchange each connection waits for its peer, and since when."""

    def look(self, connections: Iterable[object], now_s: float) -> None:
        """To be called about once a second, with all connections. Time that we need for an answer does not count."""
        waits: dict[HttpConnection, tuple[Exchange | None, float]] = {}
        for connection in connections:
            if not _speaks_http(connection) or not _waits_for_peer(connection.cycle):
                continue
            last, since = self._waits.get(connection, (None, now_s))
            waits[connection] = (connection.cycle, since if last is connection.cycle else now_s)
        self._waits = waits
        for connection, (_, since) in waits.items():
            if now_s - since > self._longest_s:
                connection.transport.abort()


def _speaks_http(connection: object) -> TypeGuard[HttpConnection]:
    return hasattr(connection, "cycle")  # `isinstance` costs some 10 µs here, and each call has a connection


def _waits_for_peer(exchange: Exchange | None) -> bool:
    return exchange is None or exchange.more_body or exchange.response_complete
