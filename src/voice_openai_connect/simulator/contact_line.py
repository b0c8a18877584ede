"""A caller on a line without a clock: 20 ms pass with each frame said, and a minute's flow is run in milliseconds."""

from collections.abc import Awaitable, Callable

from voice_openai_connect.limits import BYTES_PER_MS
from voice_openai_connect.simulator import sound
from voice_openai_connect.simulator.contact_flow import LineDownError, Result
from voice_openai_connect.simulator.dtmf import DtmfDetector
from voice_openai_connect.simulator.telephone import FRAME_MS, SILENCE


class ScriptedLine:
    """Sends that sound at the flow's pace, then is silent, or hangs up. Keys are heard in the sound."""

    def __init__(self, sent: bytes = b"", *, work_takes_ms: int = 40, hangs_up_after_ms: int | None = None) -> None:
        self._frames = iter(sound.frames(sent))
        self._detector = DtmfDetector()
        self._work_takes_ms = work_takes_ms
        self._hangs_up_after_ms = hangs_up_after_ms
        self.heard = bytearray()

    @property
    def ms(self) -> int:
        """How long the call has lasted."""
        return len(self.heard) // BYTES_PER_MS

    async def step(self, frame: bytes) -> str:
        """Hear 20 ms; return the keys pressed meanwhile. Raises `LineDownError`."""
        if self._hangs_up_after_ms is not None and self.ms >= self._hangs_up_after_ms:
            raise LineDownError
        self.heard += frame
        return self._detector.feed(next(self._frames, SILENCE))

    async def wait_for(self, work: Awaitable[Result], heard: Callable[[str], None]) -> Result:
        """On this line the work takes `work_takes_ms`, however long it really does."""
        for _ in range(self._work_takes_ms // FRAME_MS):
            heard(await self.step(SILENCE))
        return await work
