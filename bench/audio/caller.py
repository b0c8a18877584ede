"""One simulated Twilio media stream: what the engine does not do by itself, and the call that the model belongs to."""

import asyncio
from typing import Final

from bench.audio.engine import Ending, Engine, EngineLine
from bench.audio.tally import Tally
from bench.load import media
from voice_openai_connect.call.holding_sound import holding_sound
from voice_openai_connect.limits import FRAME_BYTES, ULAW_SILENCE

ACCOUNT_SID: Final = "AC" + "5" * 32
_SILENCE: Final = bytes([ULAW_SILENCE]) * FRAME_BYTES
_HOLDING: Final = holding_sound() * 2
"""The gateway's own sound, whole rounds of it: the only audio a caller may hear that the model has not made."""


class Caller:
    """The caller's end of an open line, from `begin` until `ended` says how it was over."""

    def __init__(self, engine: Engine, line: EngineLine, *, call_sid: str, stream_sid: str, tally: Tally) -> None:
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._engine = engine
        self._line = line
        self._call_sid = call_sid
        self._stream_sid = stream_sid
        self._tally = tally
        self._items = 0
        line.on_text = self._receive
        line.on_voice = self._unknown_sound
        line.on_end = self._over

    def begin(self, number: int, parameters: dict[str, str], slot: int) -> None:
        """`connected` and `start`; then a frame every 20 ms."""
        writer = media.Writer(self._stream_sid, self._call_sid, ACCOUNT_SID)
        self._line.send(writer.connected())
        self._line.send(writer.start(parameters))
        self._engine.call("call_begin", self._line.index, number, self._stream_sid.encode(), 1, slot)
        self._line.begin()

    # --- what the caller does

    def press(self, key: str) -> None:
        """One key of the telephone."""
        self._say(f'"event":"dtmf","dtmf":{{"track":"inbound_track","digit":"{key}"}}')

    def leave(self) -> None:
        """Hang up."""
        if self._line.open:
            self._say(f'"event":"stop","stop":{{"accountSid":"{ACCOUNT_SID}","callSid":"{self._call_sid}"}}')
            self._line.close()

    # --- what the model's session wants to know or to have done

    def attach(self, model: EngineLine) -> None:
        """From now on the engine checks by itself what this line of the model carries."""
        self._engine.call("call_attach", self._line.index, model.index)

    def heard_by_model(self, payload: bytes, now: float) -> None:
        """An append has come by another way than the engine."""
        self._engine.call("call_voice", self._line.index, payload, len(payload), now)

    def counted_by_model(self, frames: int, now: float) -> None:
        """So many frames more have come to the model, in another format than they were sent in."""
        self._engine.call("call_counted", self._line.index, frames, now)

    def model_ready(self, now: float) -> None:
        """Whatever the caller says from now on must arrive."""
        self._engine.call("call_configured", self._line.index, now)

    def new_item(self, frames: int) -> bytes:
        """Sound for the model to say."""
        self._items += 1
        return self._engine.new_item(self._line.index, self._items, frames)

    def piece_sent(self, upto: int) -> None:
        """The newest item is on its way up to this byte."""
        self._engine.call("call_piece_sent", self._line.index, upto)

    def give_up(self) -> None:
        """The gateway has broken off, cut short or removed what the model said: the rest may come, or not."""
        self._engine.call("call_give_up", self._line.index)

    def interrupts(self) -> None:
        """The caller speaks; if something is playing, the time until it is cleared is measured."""
        self._engine.call("call_is_playing", self._line.index, 1)

    def missing(self, before: float) -> int:
        """Frames sent before this moment that should have arrived and have not."""
        return self._engine.call("call_missing", self._line.index, before) if self._line.open else 0

    # --- from the gateway

    def _say(self, body: str) -> None:
        self._engine.call("call_say", self._line.index, body.encode())

    def _receive(self, text: bytes, now: float) -> None:
        """What the engine has not understood at first sight: other spellings, mistakes."""
        try:
            message = media.read(text, self._stream_sid)
        except ValueError as error:
            self._tally.complain("31951", f"{error}: {text[:120]!r}")
            return
        if isinstance(message, media.Media):
            audio = message.media.payload
            self._engine.call("call_heard", self._line.index, audio, len(audio), now)
        elif isinstance(message, media.Mark):
            self._engine.call("call_mark", self._line.index, message.mark.name.encode(), now)
        else:
            self._engine.call("call_clear", self._line.index, now)

    def _unknown_sound(self, audio: bytes) -> None:
        if audio in _HOLDING or audio == _SILENCE[: len(audio)]:
            self._tally.counts["frames of the holding sound"] += len(audio) // FRAME_BYTES
        else:
            self._engine.call("call_unknown_sound", self._line.index, audio, len(audio))

    def _over(self, ending: Ending) -> None:
        if not self.ended.done():
            self.ended.set_result(ending)
