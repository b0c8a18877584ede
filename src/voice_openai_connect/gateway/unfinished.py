"""Connections on which a request does not come to its end: opened and left, or fed by the byte.

uvicorn waits for ever for the rest of a head or a body. Each such connection costs a file descriptor, and whoever opens
enough of them keeps the callers out, so there may be `UNFINISHED_CONNECTIONS`. Those that are idle after an answer
uvicorn closes by itself after `KEEP_ALIVE_S`, for a balancer sends its next request on them; there may be
`IDLE_CONNECTIONS` of them.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol, TypeGuard

from voice_openai_connect import limits


class Exchange(Protocol):
    """One request and its answer, as uvicorn keeps them."""

    more_body: bool
    response_complete: bool


class HttpConnection(Protocol):
    """What uvicorn's connections have while they speak HTTP. One that has become a WebSocket is another object."""

    cycle: Exchange | None
    timeout_keep_alive_task: asyncio.TimerHandle | None
    """Set from the end of an answer until the first byte of another request."""
    transport: asyncio.Transport


_Wait = tuple[Exchange | None, bool]
"""After which exchange a connection waits for its peer, and whether it is idle."""


class Unfinished:
    """Ends connections that have been waiting for the rest of the same request for longer than `longest_s`, and idle
    ones too while there are too many of them. Of too many requests that are on their way, the oldest are ended."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._waits: dict[HttpConnection, tuple[_Wait, float]] = {}
        """What each connection waits for, and since when."""

    def look(self, connections: Iterable[object], now_s: float) -> None:
        """To be called about once a second, with all connections. Time that we need for an answer does not count."""
        waits: dict[HttpConnection, tuple[_Wait, float]] = {}
        for connection in connections:
            if not _speaks_http(connection) or not _waits_for_peer(connection.cycle):
                continue
            wait = (connection.cycle, connection.timeout_keep_alive_task is not None)
            last, since = self._waits.get(connection, (None, now_s))
            waits[connection] = (wait, since if last == wait else now_s)
        self._waits = waits
        crowded = sum(idle for (_, idle), _ in waits.values()) > limits.IDLE_CONNECTIONS
        for connection, ((_, idle), since) in waits.items():
            if now_s - since > self._longest_s and (crowded or not idle):
                connection.transport.abort()
        begun = [connection for connection, ((_, idle), _) in waits.items() if not idle]
        begun.sort(key=lambda connection: waits[connection][1])
        for connection in begun[: -limits.UNFINISHED_CONNECTIONS]:
            connection.transport.abort()


def _speaks_http(connection: object) -> TypeGuard[HttpConnection]:
    return hasattr(connection, "cycle")  # `isinstance` costs some 10 µs here, and each call has a connection


def _waits_for_peer(exchange: Exchange | None) -> bool:
    return exchange is None or exchange.more_body or exchange.response_complete
