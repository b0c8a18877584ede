"""What is heard on one media socket: fifty frames a second, and now and then something else."""

from collections.abc import Callable

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.twilio_media import MediaReader


class StreamListener:
    """Reads the messages of one stream from its `start` on, and passes each to whom it concerns.

    `happened` takes an event of the call and says whether the stream is worth reading further. `failed` is told when a
    frame could not be passed on.
    """

    __slots__ = (
        "_bad_messages",
        "_failed",
        "_frames_before",
        "_happened",
        "_heard_else",
        "_quiet_looks",
        "_reader",
        "pass_on",
    )

    def __init__(
        self,
        reader: MediaReader,
        happened: Callable[[ev.Event], bool],
        failed: Callable[[Exception], None],
    ) -> None:
        self.pass_on: Callable[[bytes], None] | None = None
        """Where the call has said beforehand that it would only pass frames on: to there, and it is not asked."""
        self._reader = reader
        self._happened = happened
        self._failed = failed
        self._bad_messages = 0
        self._heard_else = False
        self._frames_before: int = 0
        self._quiet_looks = -1  # it is asked first as the stream begins

    def hear(self, text: str) -> bool:
        """Take in a message; whether more of them are wanted."""
        try:
            event = self._reader.read(text)
        except WireError:
            return self._bear_with_garbage()
        if type(event) is not bytes:
            self._heard_else = True
            return self._happened(event) if isinstance(event, ev.Event) else True
        if self.pass_on is None:
            return self._happened(ev.CallerAudio(event))
        try:
            self.pass_on(event)
        except Exception as error:  # noqa: BLE001 - as for any other command
            self._failed(error)
        return True

    def _bear_with_garbage(self) -> bool:
        self._bad_messages += 1
        return self._bad_messages <= limits.BAD_MESSAGES_MAX or self._happened(ev.StreamLost("garbage"))

    def quiet_looks(self) -> int:
        """How often in a row this has been asked now without anything readable having come meanwhile."""
        frames = self._reader.frames
        if self._heard_else or frames != self._frames_before:
            self._heard_else, self._frames_before, self._quiet_looks = False, frames, 0
        else:
            self._quiet_looks += 1
        return self._quiet_looks
