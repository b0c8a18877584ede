"""Which of OpenAI's voice models and voices are alive, as of November 2026.

From OpenAI's deprecations and model pages. Names that are in no table are let through: compatible services and later
models have names of their own.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

DEAD_MODELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "gpt-4o-realtime-preview": "gpt-realtime-2.1",
        "gpt-4o-realtime-preview-2024-10-01": "gpt-realtime-2.1",
        "gpt-4o-realtime-preview-2024-12-17": "gpt-realtime-2.1",
        "gpt-4o-realtime-preview-2025-06-03": "gpt-realtime-2.1",
        "gpt-4o-mini-realtime-preview": "gpt-realtime-2.1-mini",
        "gpt-4o-mini-realtime-preview-2024-12-17": "gpt-realtime-2.1-mini",
    }
)
"""Model → what replaces it. All were shut down by 2026-05-07; a session with one cannot be opened."""

SHUTDOWN_DATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "gpt-realtime": "2027-01-20",
        "gpt-realtime-2025-08-28": "2027-01-20",
        "gpt-realtime-mini": "2027-01-20",
        "gpt-realtime-mini-2025-12-15": "2027-01-20",
        "whisper-1": "2027-02-26",
        "gpt-4o-transcribe": "2027-02-26",
        "gpt-4o-transcribe-diarize": "2027-02-26",
        "gpt-4o-mini-transcribe": "2027-02-26",
        "gpt-4o-mini-transcribe-2025-12-15": "2027-02-26",
    }
)
"""Model → the announced day (ISO) of its end. Alive until then; transcription models are here too."""

VOICES: Final = frozenset(
    {"alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse"},
)
"""The voices a session takes. Any other name makes the service refuse the whole configuration."""

DEAD_VOICES: Final[Mapping[str, str]] = MappingProxyType({"fable": "ballad", "nova": "marin", "onyx": "cedar"})
"""Voices of the older speech API that a session refuses → the nearest that it takes."""

_REASONING: Final = re.compile(r"gpt-realtime-(?:[2-9]|[1-9][0-9])(?:\.[0-9]+)?(?:-|$)")


def speaks_reasoning(model: str) -> bool:
    """Whether the model takes `reasoning` and `parallel_tool_calls`: gpt-realtime-2 and later do.

    An older one refuses the whole configuration because of either. A dated name (gpt-realtime-2025-08-28) is not a 2.
    """
    return _REASONING.match(model) is not None
