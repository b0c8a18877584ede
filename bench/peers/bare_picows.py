"""A bare bridge near the floor of Python: picows on both sides, JSON parsed both ways, and nothing else.

It joins continuation frames, waits for nothing, and clears when the caller speaks. No signatures, no marks, no timers.
"""

import asyncio

import msgspec
import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_connect,
    ws_create_server,
)

from bench.peers.edge import API_KEY, PATH, PORT, SESSION, URL


class Joining(WSListener):
    """Puts fragmented messages together; answers a close with a close."""

    def __init__(self) -> None:
        self.transport: WSTransport | None = None
        self._parts: list[bytes] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            if frame.fin and not self._parts:
                self.on_text(frame.get_payload_as_memoryview())
                return
            self._parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                whole = b"".join(self._parts)
                self._parts.clear()
                self.on_text(memoryview(whole))

    def on_text(self, text: memoryview) -> None:
        """A whole message; the memory is valid until this returns."""


class Caller(Joining):
    """Twilio's side."""

    def __init__(self) -> None:
        super().__init__()
        self.stream_sid = ""
        self.model: Model | None = None
        self._opening: asyncio.Task[None] | None = None

    def on_text(self, text: memoryview) -> None:
        message = msgspec.json.decode(text)
        kind = message["event"]
        if kind == "media":
            self.on_payload(message["media"]["payload"])
        elif kind == "start":
            self.stream_sid = message["streamSid"]
            self._opening = asyncio.get_running_loop().create_task(self._open_model())

    def on_payload(self, payload: str) -> None:
        """20 ms of the caller; what comes before the model is there is not kept."""
        if self.model is not None:
            self.model.append(payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.model is not None and self.model.transport is not None:
            self.model.transport.send_close(1000)
            self.model.transport.disconnect()

    def play(self, payload: str) -> None:
        message = {"event": "media", "streamSid": self.stream_sid, "media": {"payload": payload}}
        self.transport.send(WSMsgType.TEXT, msgspec.json.encode(message))

    def clear(self) -> None:
        self.transport.send(WSMsgType.TEXT, msgspec.json.encode({"event": "clear", "streamSid": self.stream_sid}))

    async def _open_model(self) -> None:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        _, self.model = await ws_connect(lambda: Model(self), URL, extra_headers=headers)


class Model(Joining):
    """OpenAI's side."""

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self._caller = caller

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        transport.send(WSMsgType.TEXT, msgspec.json.encode({"type": "session.update", "session": SESSION}))

    def append(self, payload: str) -> None:
        self.transport.send(
            WSMsgType.TEXT, msgspec.json.encode({"type": "input_audio_buffer.append", "audio": payload})
        )

    def on_text(self, text: memoryview) -> None:
        event = msgspec.json.decode(text)
        kind = event["type"]
        if kind == "response.output_audio.delta":
            self._caller.play(event["delta"])
        elif kind == "input_audio_buffer.speech_started":
            self._caller.clear()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._caller.transport is not None:
            self._caller.transport.disconnect()


def admit(request: WSUpgradeRequest) -> WSListener | None:
    """One path, for everybody."""
    return Caller() if request.path.decode() == PATH else None


async def main() -> None:
    """Until it is stopped."""
    server = await ws_create_server(admit, "127.0.0.1", PORT)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
