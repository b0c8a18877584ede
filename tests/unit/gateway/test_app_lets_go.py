"""What the gateway keeps of a call that is over: nothing, and Python's collector is not needed for that."""

from collections.abc import Callable
from unittest.mock import Mock

from voice_openai_connect.gateway.app import Front, Gateway
from voice_openai_connect.gateway.media_socket import nobody_told
from voice_openai_connect.wire.stream_ticket import Ticket

FRONT = Front("https://voice.example.com", "wss://voice.example.com", "AC" + "1" * 32, ("secret",), "+61255501234")


class GoneLine:
    """A media socket whose peer has left."""

    def __init__(self) -> None:
        self.on_trouble: Callable[[str], None] = print
        self.closed = 0

    def send(self, message: bytes) -> None:
        raise AssertionError(message)

    async def receive(self) -> str | None:
        return None

    async def deliver(self, heard: Callable[[str], bool]) -> None:
        raise AssertionError(heard)

    async def close(self, code: int = 1000) -> None:
        self.closed = code


async def test_a_socket_that_is_over_holds_on_to_no_call() -> None:
    gateway = Gateway(FRONT, Mock(), Mock(), Mock(), aftercare=Mock(), model_is_up=lambda: True)
    line = GoneLine()
    await gateway.serve_socket(line, Ticket("CA1", expires_at_s=0, nonce=b""))

    assert line.closed
    assert line.on_trouble is nobody_told
