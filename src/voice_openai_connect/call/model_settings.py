"""How the model is set up for a profile. Pure data: `wire` writes it down, `integrations` sends it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it. `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """When the model believes that somebody speaks. Every value is stated to the service, used or not by its kind.

    `server_vad` uses threshold (0 to 1), `prefix_padding_ms`, `silence_ms` and `idle_timeout_ms` (5,000 to 30,000,
    or None for never); `semantic_vad` uses `eagerness`.
    """

    kind: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_ms: int = 500
    idle_timeout_ms: int | None = 15_000
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    interrupt_response: bool = True


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One session of the model, whole. Nothing is left to the service's defaults."""

    model: str
    voice: str
    instructions: str
    tools: tuple[ToolSpec, ...]
    audio_format: Literal["audio/pcmu", "audio/pcm"] = "audio/pcmu"
    """`audio/pcm` is 16 bit, 24 kHz: for models that do not speak G.711."""
    speed: float = 1.0
    noise_reduction: Literal["near_field", "far_field"] | None = "near_field"
    transcription_model: str = "gpt-transcribe"
    languages: tuple[str, ...] = ("en",)
    """ISO 639-1, for the transcription."""
    keywords: tuple[str, ...] = ()
    """Words the transcription should expect; one line each, no angle brackets."""
    turn_detection: TurnDetection = TurnDetection()
    reasoning_effort: Literal["minimal", "low", "medium", "high"] | None = "low"
    """Only for models that reason (gpt-realtime-2 and later); others reject the whole update if it is sent."""
    max_output_tokens: int = 1_024
    retention_ratio: float = 0.8
    """When the conversation outgrows the context, keep this share of it."""
    post_instruction_tokens: int = 8_000
