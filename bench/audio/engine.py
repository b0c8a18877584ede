"""The hot half of the generator, in C (`native/`): built with `cc` when it is first wanted, driven by the event loop.

Python could not carry as many calls as the systems under test: it took four times the processor time for a frame.
"""

import asyncio
import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, cast

Ending = Literal["closed", "dropped", "left"]
"""The other side sent a close; the connection broke; we closed it."""
SLOTS: Final = 40
"""Twenty milliseconds have so many; callers are spread over them. As in `native/engine.h`."""
SAMPLES: Final = ("up", "down", "clear", "late")
_SOURCE: Final = Path(__file__).with_name("native")
_BUILT: Final = Path(__file__).parents[2] / "out"
_NONE, _TEXT, _VOICE, _ENDED = range(4)
_C, _P, _D = ctypes.c_int, ctypes.c_void_p, ctypes.c_double
_BYTES: Final = ctypes.c_char_p
_SHAPES: Final[dict[str, tuple[object, tuple[object, ...]]]] = {
    "engine_new": (_P, ()),
    "engine_fd": (_C, (_P,)),
    "engine_turn": (None, (_P,)),
    "engine_end": (None, (_P,)),
    "engine_cold": (_C, (_P, _P, _P, _P, _P)),
    "engine_samples": (_C, (_P, _C, _P)),
    "engine_forget_samples": (None, (_P,)),
    "conn_open": (_C, (_P, _C, _C, _BYTES, _C)),
    "conn_begin": (None, (_P, _C)),
    "conn_send": (None, (_P, _C, _BYTES, _C)),
    "conn_close": (None, (_P, _C, _C)),
    "call_begin": (None, (_P, _C, ctypes.c_uint32, _BYTES, ctypes.c_uint32, _C)),
    "call_attach": (None, (_P, _C, _C)),
    "call_configured": (None, (_P, _C, _D)),
    "call_voice": (None, (_P, _C, _BYTES, _C, _D)),
    "call_counted": (None, (_P, _C, _C, _D)),
    "call_heard": (None, (_P, _C, _BYTES, _C, _D)),
    "call_unknown_sound": (None, (_P, _C, _BYTES, _C)),
    "call_mark": (None, (_P, _C, _BYTES, _D)),
    "call_clear": (None, (_P, _C, _D)),
    "call_say": (None, (_P, _C, _BYTES)),
    "call_new_item": (None, (_P, _C, ctypes.c_uint32, _C, _P)),
    "call_give_up": (None, (_P, _C)),
    "call_piece_sent": (None, (_P, _C, _C)),
    "call_is_playing": (_C, (_P, _C, _C)),
    "call_missing": (_C, (_P, _C, _D)),
    "write_block": (None, (_P, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32)),
    "voice_owner": (_C, (_BYTES, _C)),
}


def _built() -> Path:
    """The library, made anew when its source has changed."""
    sources = sorted(_SOURCE.glob("*.[ch]"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    library = _BUILT / f"engine-{digest}.so"
    if library.exists():
        return library
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("the bench needs a C compiler: install one, so that `cc` is on the PATH")
    files = [str(source) for source in sources if source.suffix == ".c"]
    _BUILT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_BUILT) as folder:
        unfinished = Path(folder) / library.name
        # Without -Bsymbolic our `tell` would be the C library's.
        options = ["-O2", "-shared", "-fPIC", "-Wl,-Bsymbolic", "-o", str(unfinished)]
        subprocess.run([compiler, *options, *files], check=True)  # noqa: S603 - our own files
        unfinished.rename(library)
    return library


def _library() -> ctypes.PyDLL:
    library = ctypes.PyDLL(str(_built()))
    for name, (result, arguments) in _SHAPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class EngineLine:
    """One WebSocket that the engine serves. `on_text` gets what is not hot, `on_end` is told once how it ended."""

    def __init__(self, engine: "Engine", index: int) -> None:
        self.on_text: Callable[[bytes, float], None] = lambda _text, _at: None
        self.on_voice: Callable[[bytes], None] = lambda _: None
        """Gets sound that the model has not made."""
        self.on_end: Callable[[Ending], None] = lambda _: None
        self.open = True
        self.index = index
        self._engine = engine

    def begin(self) -> None:
        """Hand on what comes from now on."""
        self._engine.call("conn_begin", self.index)

    def send(self, text: bytes) -> None:
        """Send a text message."""
        self._engine.call("conn_send", self.index, text, len(text))

    def close(self) -> None:
        """Send a close, and end the connection."""
        self._engine.call("conn_close", self.index, 1)

    def drop(self) -> None:
        """End the connection without a word."""
        self._engine.call("conn_close", self.index, 0)


class Engine:
    """Serves connections on the running event loop, until `stop`."""

    def __init__(self, complain: Callable[[str, str], None]) -> None:
        self._library = _library()
        self._engine = self._library.engine_new()
        self._complain = complain
        self._lines: dict[int, EngineLine] = {}
        self._index, self._text, self._size, self._at = _C(), _P(), _C(), _D()
        self._told = [ctypes.byref(each) for each in (self._index, self._text, self._size, self._at)]
        asyncio.get_running_loop().add_reader(self._library.engine_fd(self._engine), self._turn)

    def line(self, descriptor: int, *, client: bool, held: bytes) -> EngineLine:
        """Take an open WebSocket over; `held` is what has been read from it after the handshake."""
        index = self.call("conn_open", descriptor, int(client), held, len(held))
        if index < 0:
            raise RuntimeError("the engine has had as many connections as it can")
        line = self._lines[index] = EngineLine(self, index)
        return line

    def call(self, function: str, *arguments: object) -> int:
        """One of the engine's functions."""
        return cast("int", getattr(self._library, function)(self._engine, *arguments))

    def owner(self, payload: bytes) -> int:
        """The number of the call whose voice this is, base64; 0 if it is nobody's."""
        return cast("int", self._library.voice_owner(payload, len(payload)))

    def new_item(self, line: int, number: int, frames: int) -> bytes:
        """The sound of a new item of the model's."""
        audio = ctypes.create_string_buffer(frames * 160)
        self.call("call_new_item", line, number, frames, audio)
        return audio.raw

    def block(self, call: int, item: int, place: int) -> bytes:
        """20 ms of sound that say whose they are; item 0 is the caller's own voice."""
        audio = ctypes.create_string_buffer(160)
        self._library.write_block(audio, call, item, place)
        return audio.raw

    def samples(self, which: str) -> "array[float]":
        """What was measured: milliseconds."""
        start = _P()
        count = self.call("engine_samples", SAMPLES.index(which), ctypes.byref(start))
        found = array("d")
        if count:
            found.frombytes(ctypes.string_at(cast("int", start.value), count * 8))
        return found

    def stop(self) -> None:
        """End every connection."""
        asyncio.get_running_loop().remove_reader(self._library.engine_fd(self._engine))
        self.call("engine_end")

    def _turn(self) -> None:
        self._library.engine_turn(self._engine)
        while (kind := self._library.engine_cold(self._engine, *self._told)) != _NONE:
            text = ctypes.string_at(cast("int", self._text.value), self._size.value)
            self._hand_on(kind, self._index.value, text)

    def _hand_on(self, kind: int, index: int, text: bytes) -> None:
        line = self._lines.get(index)
        if line is None:
            return
        if kind == _TEXT:
            line.on_text(text, self._at.value)
        elif kind == _VOICE:
            line.on_voice(text)
        elif kind == _ENDED:
            line.open = False
            del self._lines[index]
            line.on_end(cast("Ending", text.decode()))
        else:
            self._complain(*text.decode().split(": ", 1))
