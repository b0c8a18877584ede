"""What a caller can be connected to, 20 ms at a time, and the tape that records both sides of it."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from voice_openai_connect.limits import BYTES_PER_MS
from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.dtmf import tones
from voice_openai_connect.simulator.telephone import RINGBACK, SILENCE, LineEnd


class Party(Protocol):
    """Whatever is at the other end of the caller's line just now."""

    def exchange(self, said: bytes, keys: list[str]) -> bytes:
        """Take 20 ms of the caller's sound and the keys pressed; return the 20 ms the caller hears."""
        ...


class Nobody:
    """Silence."""

    def exchange(self, said: bytes, keys: list[str]) -> bytes:  # noqa: ARG002 - nobody listens
        """Silence."""
        return SILENCE


class Ringing:
    """The ringing tone, from its beginning."""

    def __init__(self) -> None:
        self._at = 0

    def exchange(self, said: bytes, keys: list[str]) -> bytes:  # noqa: ARG002 - nobody listens yet
        """The next piece of the tone."""
        self._at += 1
        return RINGBACK[(self._at - 1) % len(RINGBACK)]


class Announcement:
    """A recording, played once. `finished` is set when the last of it has been heard."""

    def __init__(self, audio: bytes) -> None:
        self._frames = deque(sound.frames(audio))
        self.finished = asyncio.Event()

    def exchange(self, said: bytes, keys: list[str]) -> bytes:  # noqa: ARG002 - recordings do not listen
        """The next piece, then silence."""
        if self._frames:
            return self._frames.popleft()
        self.finished.set()
        return SILENCE


class Ear:
    """Takes one frame per step from a line whose sender keeps another clock.

    It waits one step after the first frame, so that a sender a little late does not tear a hole into speech.
    """

    def __init__(self, end: LineEnd) -> None:
        self._end = end
        self._flowing = False

    def take(self) -> bytes:
        """The next frame, or silence."""
        if not self._flowing:
            self._flowing = self._end.waiting > 0
            return SILENCE
        frame = self._end.receive_now()
        if frame is None:
            self._flowing = False
            return SILENCE
        return frame


class Bridge:
    """Two legs joined. First the called one hears the digits; until then neither leg hears the other."""

    def __init__(self, called: LineEnd, caller: LineEnd, digits: bytes) -> None:
        self._called = called
        self._caller = caller
        self._ear = Ear(called)
        self._tones = deque(sound.frames(digits))
        self._joined = not self._tones
        self.tape = Tape()

    @property
    def joined(self) -> bool:
        """Whether the digits are over and the two hear each other."""
        return self._joined

    def exchange(self, said: bytes, keys: list[str]) -> bytes:
        """Pass sound and introductions on. Keys become tones, as on any telephone line."""
        if keys and self._joined:
            self._tones.extend(frame for key in keys for frame in sound.frames(tones(key)))
        heard = self._ear.take()
        to_called = self._tones.popleft() if self._tones else said
        self._called.send(to_called)
        self.tape.add(to_called, heard)
        if self._called.person_there:
            self._caller.introduce_person()
        if not self._joined:
            self._joined = not self._tones
            return SILENCE
        return heard


@dataclass
class Tape:
    """Both directions of one line on one time base, as µ-law."""

    sent: bytearray = field(default_factory=bytearray)
    """What went towards the far end."""
    heard: bytearray = field(default_factory=bytearray)
    """What came back."""

    @property
    def length_ms(self) -> int:
        """How long the tape is."""
        return len(self.sent) // BYTES_PER_MS

    def add(self, sent: bytes, heard: bytes) -> None:
        """Record 20 ms of both."""
        self.sent += sent
        self.heard += heard

    def save(self, path: Path) -> None:
        """Write a stereo WAV: left what was sent, right what was heard."""
        sound.write_stereo_wav(path, bytes(self.sent), bytes(self.heard))
