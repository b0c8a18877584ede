"""The sentence before a caller is moved: asked of the model, and heard to its end."""

from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.commands import CancelTimer, Command, RequestResponse, SetTimer, Tell
from voice_openai_connect.call.events import ModelResponseFinished
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.floor import Floor
from voice_openai_connect.call.instructions import word_for_word
from voice_openai_connect.call.speech import Speech

SENTENCE_TIMER: Final = "sentence"
CANCELLED_TIMER: Final = "cancelled"


class TransferSentence:
    """Where the sentence stands. `over` once nobody waits for it; `spoken` tells whether the caller has heard it."""

    def __init__(self, text: str, floor: Floor, speech: Speech) -> None:
        self._request = RequestResponse("transfer", word_for_word(text))
        self._floor = floor
        self._speech = speech
        self._tries = 0
        self._made = False
        self.over = False
        self.spoken = False

    def ask(self, now: int, *, until: int) -> list[Command]:
        """Have it spoken, after what is being cancelled if need be, and wait for its end `until` then at most."""
        self._tries += 1
        commands: list[Command] = [SetTimer(SENTENCE_TIMER, until)]
        if not self._floor.free:
            commands.append(SetTimer(CANCELLED_TIMER, now + limits.RESPONSE_CANCEL_MS))
        return commands + self._floor.request(self._request)

    def response_finished(self, event: ModelResponseFinished, now: int, *, until: int) -> list[Command]:
        """The model has made it, or has failed to: then it is asked once more, and after that left to Twilio."""
        voiced = self._speech.has_voiced(event.response_id)
        if event.status == "completed" and voiced:
            self._made = True
            return self.look()
        if self._tries < limits.TRANSFER_SENTENCE_TRIES:
            return self.ask(now, until=until)
        return self._end(spoken=voiced)

    def look(self) -> list[Command]:
        """Whether it has been heard to its end by now."""
        return self._end(spoken=True) if self._made and self._speech.all_heard else []

    def give_up(self, now: int) -> list[Command]:
        """Do not wait any longer, unless there are words on the line: those before it, or its own.

        What has been made has been on the caller's line then, so it need not be said again.
        """
        if (heard := self._speech.heard_by(now)) > now:
            return [SetTimer(SENTENCE_TIMER, heard)]
        return [Tell(Fact.TRANSFER_SENTENCE_CUT), *self._end(spoken=self._made)]

    def lose_model(self) -> list[Command]:
        """No model will speak it any more; if it was made, the caller still hears it."""
        return [] if self._made else self._end(spoken=False)

    def _end(self, *, spoken: bool) -> list[Command]:
        if self.over:
            return []
        self.over, self.spoken = True, spoken
        return [CancelTimer(SENTENCE_TIMER)]
