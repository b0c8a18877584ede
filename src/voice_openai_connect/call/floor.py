"""Who may speak next: the model makes one response of the conversation at a time."""

from voice_openai_connect.call.commands import Command, RequestResponse
from voice_openai_connect.call.events import Purpose


class Floor:
    """Keeps our requests from colliding with the response being made, which may be one the model began by itself."""

    def __init__(self) -> None:
        self.active: str | None = None
        """The response being made now."""
        self._asked: RequestResponse | None = None
        self._answered: RequestResponse | None = None
        """What the active response is taken for the answer to."""
        self._waiting: RequestResponse | None = None

    def request(self, request: RequestResponse) -> list[Command]:
        """Ask for a response, now or as soon as the floor is free. A later request replaces one that still waits."""
        if self.active or self._asked:
            self._waiting = request
            return []
        self._asked = request
        return [request]

    def started(self, response_id: str, purpose: Purpose) -> None:
        """A response began. If it is one of the model's own, what we asked for will be refused or comes after it."""
        self.active = response_id
        if self._asked is not None and self._asked.purpose == purpose:
            self._answered, self._asked = self._asked, None

    def refused(self) -> None:
        """Our request met a response that was already being made: it waits until that one is over. A response of the
        model's own may have looked like the one that we had asked for."""
        self._waiting = self._waiting or self._asked or self._answered
        self._asked = None

    def finished(self, response_id: str, *, caller_speaks: bool = False) -> list[Command]:
        """A response is over; what waited may be asked for now, but not over the words of a caller who speaks.

        The end of their turn brings an answer, which takes in what a reply was to be about; and a goodbye has lost its
        time. The greeting is owed all the same, for the disclosure is in it.
        """
        if self.active != response_id:
            return []
        self.active = self._answered = None
        if caller_speaks and self._waiting is not None and self._waiting.purpose in {"reply", "goodbye"}:
            self._waiting = None
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
