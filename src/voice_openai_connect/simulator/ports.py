"""Ports of 127.0.0.1: for servers that must be told their number before they start, or that go away and come back."""

import socket
import sys
from collections import deque
from typing import Final

PORTS_KEPT: Final = 32
"""By this process, the latest. A town needs half a dozen, and hundreds of towns may be opened one after the other."""

_kept: Final = deque[socket.socket]()


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to nobody else from now on.

    Whoever is told its number can listen there all the same, if it sets SO_REUSEADDR as nearly every server does; until
    then connections are refused. Outside Linux the port is only one that was free a moment ago.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", 0))
    number = int(bound.getsockname()[1])
    if sys.platform == "linux":  # elsewhere a second socket may not be bound beside it
        _keep(bound)
    else:
        bound.close()
    return number


def listener(port: int = 0) -> socket.socket:
    """A socket that listens on this port, or on any. What is written to its connections is sent at once.

    asyncio sees to that only for sockets that it makes itself; with others each answer in two pieces would wait 40 ms.
    """
    listening = socket.create_server(("127.0.0.1", port))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _keep(bound: socket.socket) -> None:
    _kept.append(bound)
    while len(_kept) > PORTS_KEPT:
        _kept.popleft().close()
