"""Other bridges between Twilio Media Streams and OpenAI Realtime, to be measured beside the gateway.

Each file is a program of its own: `python -m bench.peers.bare_picows`. `PORT` is where callers come, on the path
``/media-stream``; `OPENAI_BASE_URL` and `OPENAI_API_KEY` are where the model is. None of it is part of the product.
"""
