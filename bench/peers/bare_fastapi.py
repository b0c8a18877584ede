"""A bare bridge, well made: FastAPI on uvicorn with uvloop, the `websockets` client, msgspec, no compression."""

import asyncio

import msgspec
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.peers.edge import API_KEY, PATH, PORT, SESSION, URL

app = FastAPI()


@app.websocket(PATH)
async def media_stream(caller: WebSocket) -> None:
    """One call: two tasks, each carrying one way; when one ends, so does the other."""
    await caller.accept()
    stream_sid = await started(caller)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with connect(URL, additional_headers=headers, compression=None, proxy=None) as model:
        await model.send(msgspec.json.encode({"type": "session.update", "session": SESSION}).decode())
        ways = {asyncio.create_task(go_up(caller, model)), asyncio.create_task(go_down(caller, model, stream_sid))}
        _, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in rest:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def started(caller: WebSocket) -> str:
    """The stream's id, from its `start`."""
    while (message := msgspec.json.decode(await caller.receive_text()))["event"] != "start":
        pass
    return message["streamSid"]


async def go_up(caller: WebSocket, model: ClientConnection) -> None:
    """The caller's voice to the model."""
    try:
        while True:
            message = msgspec.json.decode(await caller.receive_text())
            if message["event"] == "media":
                append = {"type": "input_audio_buffer.append", "audio": message["media"]["payload"]}
                await model.send(msgspec.json.encode(append).decode())
    except (WebSocketDisconnect, ConnectionClosed):
        return


async def go_down(caller: WebSocket, model: ClientConnection, stream_sid: str) -> None:
    """The model's voice to the caller."""
    try:
        async for text in model:
            event = msgspec.json.decode(text)
            if event["type"] == "response.output_audio.delta":
                media = {"event": "media", "streamSid": stream_sid, "media": {"payload": event["delta"]}}
                await caller.send_text(msgspec.json.encode(media).decode())
            elif event["type"] == "input_audio_buffer.speech_started":
                await caller.send_text(msgspec.json.encode({"event": "clear", "streamSid": stream_sid}).decode())
    except (WebSocketDisconnect, ConnectionClosed):
        return


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=PORT,
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
    )
