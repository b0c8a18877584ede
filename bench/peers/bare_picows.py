"""A bare bridge near the floor of Python: picows on both sides, JSON parsed both ways, and nothing else.

It joins continuation frames, waits for nothing, and clears when the caller speaks. No signatures, no marks, no timers.
"""
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# picows leaves some of its arguments untyped.

import asyncio
from typing import Any

import msgspec
import uvloop
from picows import (
    WSCloseCode,
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
        self._transport: WSTransport | None = None
        self._parts: list[bytes] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Called by picows."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Called by picows, with frames that are not always whole messages."""
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

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, if there is somebody to send it to."""
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, msgspec.json.encode(message))

    def hang_up(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()


class Caller(Joining):
    """Twilio's side."""

    def __init__(self) -> None:
        super().__init__()
        self._stream_sid = ""
        self._model: Model | None = None
        self._opening: asyncio.Task[None] | None = None
        self._gone = False

    def on_text(self, text: memoryview) -> None:
        """A message from Twilio."""
        message = msgspec.json.decode(text)
        kind = message["event"]
        if kind == "media":
            self.on_payload(message["media"]["payload"])
        elif kind == "start":
            self._stream_sid = message["streamSid"]
            self._opening = asyncio.get_running_loop().create_task(self._open_model())

    def on_payload(self, payload: str) -> None:
        """20 ms of the caller; what comes before the model is there is not kept."""
        if self._model is not None:
            self._model.send({"type": "input_audio_buffer.append", "audio": payload})

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        """Called by picows."""
        self._gone = True
        if self._model is not None:
            self._model.hang_up()

    def play(self, payload: str) -> None:
        """A piece of the model's speech."""
        self.send({"event": "media", "streamSid": self._stream_sid, "media": {"payload": payload}})

    def clear(self) -> None:
        """Silence."""
        self.send({"event": "clear", "streamSid": self._stream_sid})

    async def _open_model(self) -> None:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        model = Model(self)
        await ws_connect(lambda: model, URL, extra_headers=headers)
        self._model = model
        if self._gone:
            model.hang_up()


class Model(Joining):
    """OpenAI's side."""

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self._caller = caller

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Called by picows."""
        super().on_ws_connected(transport)
        self.send({"type": "session.update", "session": SESSION})

    def on_text(self, text: memoryview) -> None:
        """A message from OpenAI."""
        event = msgspec.json.decode(text)
        kind = event["type"]
        if kind == "response.output_audio.delta":
            self._caller.play(event["delta"])
        elif kind == "input_audio_buffer.speech_started":
            self._caller.clear()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        """Called by picows."""
        self._caller.hang_up()


def admit(request: WSUpgradeRequest) -> WSListener | None:
    """One path, for everybody."""
    return Caller() if request.path.decode() == PATH else None


async def main() -> None:
    """Until it is stopped."""
    server = await ws_create_server(admit, "127.0.0.1", PORT)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
