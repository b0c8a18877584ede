"""Who may speak next: the model makes one response of the conversation at a time."""

from typing import Final

from voice_openai_connect.call.commands import Command, RequestResponse
from voice_openai_connect.call.events import Purpose
from voice_openai_connect.call.instructions import NO_PAUSE

_NEEDLESS: Final[frozenset[Purpose]] = frozenset({"reply", "goodbye"})
"""What the caller's own words make needless. The greeting is owed all the same, for the disclosure is in it."""


class Floor:
    """Keeps our requests from colliding with the response being made, which may be one the model began by itself."""

    def __init__(self) -> None:
        self.active: str | None = None
        """The response being made now."""
        self._asked: RequestResponse | None = None
        self._answered: RequestResponse | None = None
        """What the active response is taken for the answer to."""
        self._waiting: RequestResponse | None = None
        self._taken_back = False
        """Whether the active response has been cancelled because the caller speaks."""

    def request(self, request: RequestResponse) -> list[Command]:
        """Ask for a response, now or as soon as the floor is free. A later request replaces one that still waits."""
        self._taken_back = False
        if self.active or self._asked:
            self._waiting = request
            return []
        self._asked = request
        return [request]

    def started(self, response_id: str, purpose: Purpose, *, caller_speaks: bool = False) -> bool:
        """A response began. If it is one of the model's own, what we asked for will be refused or comes after it.

        True if it is to be cancelled: one that was asked for or begun just before the caller began to speak would be
        said over their words. What we ask while they speak, because they make no pause, is meant so.
        """
        self.active = response_id
        if self._asked is not None and self._asked.purpose == purpose:
            self._answered, self._asked = self._asked, None
        meant_so = self._answered is not None and self._answered.instructions == NO_PAUSE
        self._taken_back = caller_speaks and purpose in _NEEDLESS and not meant_so
        return self._taken_back

    def refused(self) -> None:
        """Our request met a response that was already being made: it waits until that one is over. A response of the
        model's own may have looked like the one that we had asked for."""
        self._waiting = self._waiting or self._asked or self._answered
        self._asked = None

    def finished(self, response_id: str, *, caller_speaks: bool = False) -> list[Command]:
        """A response is over; what waited may be asked for now, but not over the words of a caller who speaks.

        The end of their turn brings an answer, which takes in what a reply was to be about; and a goodbye has lost its
        time. Only a turn that ended before a response was taken back has brought none, for the model was making that.
        """
        if self.active != response_id:
            return []
        self.active = self._answered = None
        taken_back, self._taken_back = self._taken_back, False
        if caller_speaks and self._waiting is not None and self._waiting.purpose in _NEEDLESS:
            self._waiting = None
        if taken_back and not caller_speaks:
            self._waiting = self._waiting or RequestResponse("reply")
        return self.take()

    def take(self) -> list[Command]:
        """Ask at once for what waits, whatever is being made."""
        request, self._waiting = self._waiting, None
        if request is None:
            return []
        self._asked = request
        return [request]

    @property
    def free(self) -> bool:
        """Whether nothing is being made, asked for, or waiting."""
        return not (self.active or self._asked or self._waiting)

    def clear(self) -> None:
        """The model is gone, and everything asked of it."""
        self.active = self._asked = self._answered = self._waiting = None
