"""A minimal `pipecat-ai` bot as its documentation shows it: Twilio's serializer, FastAPI's socket, OpenAI Realtime.

It speaks 24 kHz PCM with the model, and resamples both ways.
"""
# pyright: basic, reportMissingImports=false
# Its packages are in an environment of their own.

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.services.openai.realtime.events import SessionProperties
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport

from bench.peers.edge import API_KEY, MODEL, PATH, PORT, URL

app = FastAPI()


@app.websocket(PATH)
async def media_stream(websocket: WebSocket) -> None:
    """One call: one pipeline."""
    await websocket.accept()
    _, call = await parse_telephony_websocket(websocket)
    serializer = TwilioFrameSerializer(
        stream_sid=call["stream_id"],
        call_sid=call["call_id"],
        params=TwilioFrameSerializer.InputParams(auto_hang_up=False),
    )
    transport = FastAPIWebsocketTransport(
        websocket=websocket,
        params=FastAPIWebsocketParams(
            audio_in_enabled=True, audio_out_enabled=True, add_wav_header=False, serializer=serializer
        ),
    )
    model = OpenAIRealtimeLLMService(
        api_key=API_KEY,
        base_url=URL.partition("?")[0],
        settings=OpenAIRealtimeLLMService.Settings(model=MODEL, session_properties=SessionProperties()),
    )
    pipeline = Pipeline([transport.input(), model, transport.output()])
    params = PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000)
    task = PipelineTask(pipeline, params=params)

    @transport.event_handler("on_client_disconnected")
    async def left(*_: object) -> None:
        await task.cancel()

    await PipelineRunner(handle_sigint=False).run(task)


if __name__ == "__main__":
    logger.remove()
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
