"""When the model is asked for a response: now, after the one being made, after the caller's turn, or once more."""

from voice_openai_connect.call.callers_turn import CallersTurn
from voice_openai_connect.call.commands import AddText, Command, RequestResponse, SetTimer
from voice_openai_connect.call.events import ModelResponseFinished
from voice_openai_connect.call.floor import Floor
from voice_openai_connect.call.instructions import greeting_owed, word_for_word
from voice_openai_connect.call.patience import Patience
from voice_openai_connect.call.retries import RETRY_TIMER, Retries


class Asking:
    """What we ask of the model for this caller, who is never spoken over with it."""

    def __init__(self, greeting: str, floor: Floor, turn: CallersTurn, patience: Patience) -> None:
        self._greeting = greeting
        self._floor = floor
        self._turn = turn
        self._patience = patience
        self._retries = Retries()
        self.greeting_due = False
        """Whether the caller is still to hear the greeting, in which is what they must be told of the assistant."""

    def ask(self, request: RequestResponse, now: int) -> list[Command]:
        """Ask for this, now or as soon as the floor is free; the caller waits for it."""
        self._retries.asked(request)
        return [*self._floor.request(request), *self._patience.owe_answer(now)]

    def greet(self, now: int) -> list[Command]:
        """Ask for the greeting, in the words that the profile has for it."""
        self.greeting_due = True
        return self.ask(RequestResponse("greeting", word_for_word(self._greeting)), now)

    def for_reply(self, now: int) -> list[Command]:
        """Ask for an answer to what the model was told; a caller who speaks is not spoken over.

        The end of their turn brings an answer without our asking, and that takes it in.
        """
        if self._turn.speaking:
            self._turn.model_told(now)
            return []
        return self.ask(RequestResponse("reply"), now)

    # --- what was asked for comes, or does not

    def answered(self) -> None:
        """A response was made as it should be: what failed before it is made good."""
        self._retries.succeeded()

    def failed(self, event: ModelResponseFinished, now: int) -> list[Command] | None:
        """Have it tried again; None if the caller must not be kept waiting for another try."""
        wait = self._retries.failed(event)
        return None if wait is None else [SetTimer(RETRY_TIMER, now + wait)]

    def again(self, now: int) -> list[Command]:
        """The next try, when `RETRY_TIMER` fires; the answer to a caller who speaks makes it needless."""
        if not self._floor.free or self._retries.request is None:
            return []
        return self.owed_greeting(now) if self._turn.speaking else self.ask(self._retries.request, now)

    # --- the greeting

    def greeting_over(self, event: ModelResponseFinished, now: int, *, voiced: bool) -> list[Command]:
        """A response is over: if it was the greeting, or instead of it, and no sound of that was heard, it is owed.

        A caller who speaks first has it cancelled by turn detection, and may be answered before it is tried again.
        """
        if event.purpose == "greeting" and voiced:
            self.greeting_due = False
        to_be_tried_again = event.purpose == "greeting" and event.status == "failed"
        return [] if to_be_tried_again else self.owed_greeting(now)

    def owed_greeting(self, now: int) -> list[Command]:
        """Have the next answer begin with the greeting, if it is still due."""
        if not self.greeting_due:
            return []
        self.greeting_due = False
        self._turn.model_told(now)
        return [AddText("system", greeting_owed(self._greeting))]
