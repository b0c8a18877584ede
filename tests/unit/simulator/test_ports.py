import socket
import sys

import pytest

from voice_openai_connect.simulator.ports import PORTS_KEPT, free_port, listener

kept_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a port for somebody else")


def taken_by(port: int) -> None:
    """Somebody who wants it for themselves alone."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", port))


def test_a_free_port_can_be_listened_on_again_and_again() -> None:
    port = free_port()
    for _ in range(2):
        with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()


def test_until_somebody_listens_there_connections_are_refused() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port()))


@kept_on_linux
def test_nobody_else_is_given_the_port() -> None:
    port = free_port()

    with pytest.raises(OSError, match="in use"):
        taken_by(port)


def test_two_are_never_the_same() -> None:
    assert len({free_port() for _ in range(PORTS_KEPT)}) == PORTS_KEPT


@kept_on_linux
def test_only_the_latest_are_kept() -> None:
    first = free_port()
    for _ in range(PORTS_KEPT):
        free_port()

    taken_by(first)


def test_what_is_written_to_a_connection_is_sent_at_once() -> None:
    with listener() as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
