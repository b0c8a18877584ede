"""How a simulated model hears and speaks: with the real speech models, or with what a test prescribes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal, Protocol

from voice_openai_connect.limits import BYTES_PER_MS, FRAME_BYTES
from voice_openai_connect.simulator.model_protocol import Json
from voice_openai_connect.simulator.sound import level_dbfs, tone, ulaw_decode, ulaw_encode
from voice_openai_connect.simulator.speech import Ears, SpeechDetector, Voice, sentences

Change = Literal["started", "stopped"]


class TurnDetector(Protocol):
    """Hears when the caller starts and stops speaking. `speech.SpeechDetector` is one."""

    started_ms: int
    stopped_ms: int

    def feed(self, frame: bytes) -> Change | None:
        """Hear 20 ms of µ-law."""
        ...


class Senses(Protocol):
    """A model's ears and voice."""

    def detector(self, turn_detection: Json) -> TurnDetector | None:
        """A detector for the session's `turn_detection`; None when turns are announced by hand."""
        ...

    async def listen(self, ulaw: bytes) -> str:
        """The words in what the caller said."""
        ...

    def speak(self, text: str) -> AsyncIterator[tuple[str, bytes]]:
        """The text spoken, as pieces of text and their µ-law audio, each as soon as it is ready."""
        ...


# --- Turn detection -------------------------------------------------------------------------------------------

SEMANTIC_SILENCE_MS: Final = {"low": 900, "medium": 600, "auto": 600, "high": 350}
"""What stands in for the service's sense of a finished sentence: a fixed silence for each eagerness."""


def silence_ms(turn_detection: Json) -> int:
    """How long the caller must be silent for the turn to be over."""
    if turn_detection["type"] == "semantic_vad":
        return SEMANTIC_SILENCE_MS[turn_detection.get("eagerness") or "auto"]
    return turn_detection["silence_duration_ms"]


class EnergyDetector:
    """Takes everything loud for speech. Needs no model, and hears test tones."""

    FRAME_MS: Final = FRAME_BYTES // BYTES_PER_MS

    def __init__(self, *, silence_ms: int, prefix_padding_ms: int, over_dbfs: float = -40.0) -> None:
        self._silence_frames = max(1, silence_ms // self.FRAME_MS)
        self._padding_ms = prefix_padding_ms
        self._over_dbfs = over_dbfs
        self._speaking = False
        self._quiet_frames = 0
        self._position_ms = 0
        self.started_ms = 0
        self.stopped_ms = 0

    def feed(self, frame: bytes) -> Change | None:
        """Hear 20 ms of µ-law."""
        loud = level_dbfs(ulaw_decode(frame)) > self._over_dbfs
        self._position_ms += self.FRAME_MS
        self._quiet_frames = 0 if loud else self._quiet_frames + 1
        if loud and not self._speaking:
            self._speaking = True
            self.started_ms = max(0, self._position_ms - self.FRAME_MS - self._padding_ms)
            return "started"
        if self._speaking and self._quiet_frames >= self._silence_frames:
            self._speaking = False
            self.stopped_ms = self._position_ms
            return "stopped"
        return None


# --- Two kinds of senses --------------------------------------------------------------------------------------


class ScriptedSenses:
    """For tests: turns announced by hand or heard by their energy, words prescribed, speech that is a tone."""

    TONE_HZ: Final = 440.0

    def __init__(self, heard: Sequence[str] = (), *, hear_energy: bool = False, ms_per_letter: int = 60) -> None:
        self.heard = deque(heard)
        self.hear_energy = hear_energy
        self.ms_per_letter = ms_per_letter

    def detector(self, turn_detection: Json) -> TurnDetector | None:
        """An energy detector if wanted."""
        if not self.hear_energy:
            return None
        padding = turn_detection.get("prefix_padding_ms") or 0
        return EnergyDetector(silence_ms=silence_ms(turn_detection), prefix_padding_ms=padding)

    async def listen(self, ulaw: bytes) -> str:
        """The next prescribed words."""
        del ulaw
        return self.heard.popleft() if self.heard else ""

    async def speak(self, text: str) -> AsyncIterator[tuple[str, bytes]]:
        """A tone, longer for longer texts."""
        yield text, ulaw_encode(tone(self.TONE_HZ, max(100, len(text) * self.ms_per_letter)))


class LiveSenses:
    """The real thing, on the CPU. One voice and one pair of ears serve all sessions."""

    def __init__(self, voice: Voice | None = None, ears: Ears | None = None) -> None:
        self.voice = voice or Voice()
        self.ears = ears or Ears()

    async def load(self) -> None:
        """Read all models, so that the first caller does not wait for them (some 7 s)."""
        loads = (self.voice.load, self.ears.load, SpeechDetector.load)
        await asyncio.gather(*(asyncio.to_thread(load) for load in loads))

    def detector(self, turn_detection: Json) -> TurnDetector | None:
        """Silero, set as the session wants it. The next one is made ready meanwhile."""
        detector = SpeechDetector(
            threshold=turn_detection.get("threshold") or 0.5,
            prefix_padding_ms=turn_detection.get("prefix_padding_ms") or 0,
            silence_ms=silence_ms(turn_detection),
        )
        asyncio.get_running_loop().run_in_executor(None, SpeechDetector.load)
        return detector

    async def listen(self, ulaw: bytes) -> str:
        """The words, as Moonshine hears them."""
        return await asyncio.to_thread(self.ears.write_down, ulaw)

    async def speak(self, text: str) -> AsyncIterator[tuple[str, bytes]]:
        """Sentence by sentence, the next one made while the last one is sent."""
        for sentence in sentences(text):
            yield sentence, await asyncio.to_thread(self.voice.say, sentence)
