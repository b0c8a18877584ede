"""What every peer is told, and the session that it asks for."""

import os
from typing import Any, Final

PATH: Final = "/media-stream"
PORT: Final = int(os.environ.get("PORT", "0"))
API_KEY: Final = os.environ.get("OPENAI_API_KEY", "")
MODEL: Final = "gpt-realtime-2.1"
_BASE: Final = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
URL: Final = f"ws{_BASE.removeprefix('http')}/realtime?model={MODEL}"
SESSION: Final[dict[str, Any]] = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "You are a friendly voice assistant on the telephone. Be brief.",
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "turn_detection": {"type": "server_vad", "create_response": True, "interrupt_response": True},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
    },
}
