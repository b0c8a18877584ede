"""Twilio's own `twilio-agent-connect`: its OpenAI Realtime provider over Media Streams, behind its FastAPI adapter.

Its address of OpenAI is written into its source; here the call that opens the socket is led to `OPENAI_BASE_URL`.
Its signature check, one for each call, is left out; every message goes the way that it goes in a company.
"""
# pyright: basic, reportMissingImports=false
# Its packages are in an environment of their own.

import os

import uvicorn
from fastapi import FastAPI, WebSocket
from tac.channels.voice import VoiceChannel
from tac.channels.voice.media_streams.openai_realtime import OpenAIRealtimeProviderConfig, provider
from tac.core.config import TACConfig
from tac.core.tac import TAC
from tac.server.fastapi_server import FastAPIWebSocketAdapter

from bench.peers.edge import API_KEY, MODEL, PATH, PORT, SESSION

_THERE = "wss://api.openai.com/v1"
_HERE = "ws" + os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1").removeprefix("http")
_connect = provider.websockets.connect


def connect_here(url: str, **options: object) -> object:
    """The library's own call, to another address."""
    return _connect(url.replace(_THERE, _HERE), **options)


provider.websockets.connect = connect_here

app = FastAPI()
tac = TAC(
    TACConfig(
        account_sid="AC" + "5" * 32,
        auth_token="bench",  # noqa: S106 - of no account
        api_key="SK" + "5" * 32,
        api_secret="bench",  # noqa: S106
        phone_number="+61255501234",
        voice_public_domain="voice.example.com",
        log_level="WARNING",
    )
)
channel = VoiceChannel(
    tac, OpenAIRealtimeProviderConfig(openai_api_key=API_KEY, default_session_config={**SESSION, "model": MODEL})
)


@app.websocket(PATH)
async def media_stream(websocket: WebSocket) -> None:
    """One call."""
    await channel.handle_websocket(FastAPIWebSocketAdapter(websocket))


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
