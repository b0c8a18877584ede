"""Whether anyone is there for a caller who needs a person, and what is said and noted when it is known that nobody is.

Nothing known means that somebody is there: then the caller is moved, and the contact centre knows best.
"""

from voice_openai_connect.call.commands import AddText, Command, KeepNote, Tell
from voice_openai_connect.call.continuity import Continuity
from voice_openai_connect.call.escalation import WISHES, Reason
from voice_openai_connect.call.events import QueuesUnattended
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.instructions import NOBODY_IS_FREE, TRANSFERRING, nobody_there
from voice_openai_connect.call.outcome import Absence
from voice_openai_connect.call.settings import CallSettings
from voice_openai_connect.call.ticket_note import Notes, TicketNote
from voice_openai_connect.call.tools import TransferWish


class Attendance:
    """Who is there, for one call. What it finds out is shared with the notes and the checkpoints."""

    def __init__(self, settings: CallSettings, notes: Notes, continuity: Continuity) -> None:
        self._settings = settings
        self._notes = notes
        self._continuity = continuity
        self._known = QueuesUnattended()
        self._queue = ""
        self._absence: Absence | None = None
        self._kept: TicketNote | None = None
        self.is_news = False
        """Whether the model has not heard yet that nobody is there."""

    def learn(self, event: QueuesUnattended) -> None:
        """From now on other queues have nobody."""
        self._known = event

    def nobody_for(self, reason: Reason, wish: TransferWish | None) -> bool:
        """Whether the caller can be moved to nobody: the dials have failed, or the queue is known to have nobody.

        Looked at anew each time, for somebody may have come. What an operator orders is done, whoever is there.
        """
        if self._continuity.came_back:
            return True
        self._queue = self._settings.intents.get(wish.intent if wish else "", self._settings.default_intent).queue
        absence = None if reason is Reason.OPERATOR else self._absence_at(self._queue)
        self.is_news = absence is not None and absence != self._absence
        self._absence = absence
        self._continuity.nobody_came = self._notes.nobody_came = absence or ""
        return absence is not None

    def told(self, reason: Reason, *, model_ready: bool) -> list[Command]:
        """What the world hears of it, people on the ticket, and the model unless it is answered as a tool."""
        told: list[Command] = []
        wished = reason in WISHES
        if self._absence is not None:
            told += [Tell(Fact.NOBODY_THERE, self._absence.value), *(self._note(self._absence) if wished else [])]
        elif wished and model_ready:
            told.append(Tell(Fact.NOBODY_FREE, reason.value))
        if wished and model_ready and reason is not Reason.TOOL:
            told.append(AddText("system", self.answer))
        return told

    def reminder(self) -> list[Command]:
        """For a model that was not ready when the caller asked for a person."""
        return [AddText("system", self.answer)] if self._absence is not None else []

    @property
    def answer(self) -> str:
        """What a model that wants to transfer the call is told."""
        if self._absence is not None:
            there = [name for name, intent in self._settings.intents.items() if not self._absence_at(intent.queue)]
            return nobody_there(self._absence, there)
        return NOBODY_IS_FREE if self._continuity.came_back else TRANSFERRING

    def _absence_at(self, queue: str) -> Absence | None:
        if self._settings.transfer_when_closed:
            return None
        if queue in self._known.closed:
            return Absence.CLOSED
        return Absence.UNSTAFFED if queue in self._known.unstaffed else None

    def _note(self, absence: Absence) -> list[Command]:
        """Once for each time that it is something else."""
        note = self._notes.nobody_there(self._queue, absence)
        if note == self._kept:
            return []
        self._kept = note
        return [KeepNote(note)]
