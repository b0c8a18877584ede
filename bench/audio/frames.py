"""WebSocket frames (RFC 6455) at the least cost: whole messages out, messages in whatever pieces they come."""

from typing import Final

from websockets.speedups import apply_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_FIN: Final = 0x80
_MASKED: Final = 0x80
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
_SHORTEST: Final = 2


class FrameError(ValueError):
    """Bytes that are no frame this side may receive."""


def frame(body: bytes, mask: bytes = b"", opcode: int = TEXT) -> bytes:
    """One unfragmented frame; with a `mask` of four bytes as a client must send it."""
    flag = _MASKED if mask else 0
    size = len(body)
    if size < _TWO_BYTES:
        head = bytes((_FIN | opcode, flag | size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, flag | _TWO_BYTES, size >> 8, size & 0xFF))
    else:
        head = bytes((_FIN | opcode, flag | _EIGHT_BYTES)) + size.to_bytes(8, "big")
    return head + mask + apply_mask(body, mask) if mask else head + body


class FrameReader:
    """Cuts what comes on one connection into messages; `masked` says whether the peer must mask."""

    def __init__(self, *, masked: bool) -> None:
        self._masked = masked
        self._held = b""
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages and control frames that are complete now, each with its opcode. Raises `FrameError`."""
        if self._held:
            data = self._held + data
        found: list[tuple[int, bytes]] = []
        at, end = 0, len(data)
        while end - at >= _SHORTEST:
            size, body_at = self._measure(data, at)
            if body_at + size > end or body_at > end:
                break
            body = data[body_at : body_at + size]
            if self._masked:
                body = apply_mask(body, data[body_at - 4 : body_at])
            self._take(data[at], body, found)
            at = body_at + size
        self._held = data[at:]
        return found

    def _measure(self, data: bytes, at: int) -> tuple[int, int]:
        """The size of the body and where it begins; beyond the end if the head is not complete."""
        second = data[at + 1]
        if (second >= _MASKED) is not self._masked:
            raise FrameError("a frame is masked that must not be, or the other way round")
        size = second & 0x7F
        body_at = at + 2
        if size == _TWO_BYTES:
            size = int.from_bytes(data[body_at : body_at + 2], "big")
            body_at += 2
        elif size == _EIGHT_BYTES:
            size = int.from_bytes(data[body_at : body_at + 8], "big")
            body_at += 8
        return size, body_at + 4 * self._masked

    def _take(self, first: int, body: bytes, found: list[tuple[int, bytes]]) -> None:
        opcode = first & 0x0F
        if first == _FIN | TEXT or opcode >= CLOSE:
            found.append((opcode, body))
        elif first & 0x70 or opcode not in {CONTINUATION, TEXT}:
            raise FrameError(f"a frame begins with {first:#04x}")
        else:
            self._parts.append(body)
            if first & _FIN:
                found.append((TEXT, b"".join(self._parts)))
                self._parts.clear()
