"""How a call ends for the assistant: what is told, what is kept, and what the caller's line does then."""

from voice_openai_connect.call.commands import (
    CloseStream,
    Command,
    DisconnectModel,
    KeepNote,
    NoteOutcome,
    RevokeToken,
    Tell,
)
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.handing_over import HandingOver
from voice_openai_connect.call.next_step import FAIL_OPEN, HangUp, NextStep, PromiseCallBack
from voice_openai_connect.call.outcome import Outcome
from voice_openai_connect.call.ticket_note import Notes
from voice_openai_connect.call.tool_calls import ToolCalls


class Ending:
    """The ends of one call."""

    def __init__(self, notes: Notes, tools: ToolCalls) -> None:
        self._notes = notes
        self._tools = tools

    @property
    def way_out(self) -> NextStep:
        """What is left for the caller when the call can do nothing more for them."""
        return PromiseCallBack() if self._notes.nobody_came else FAIL_OPEN

    def goodbye(self, *, farewell: bool) -> list[Command]:
        """Everything is said. `farewell`: all but the goodbye itself, which is left to Twilio."""
        outcome = Outcome.CALLER_LEFT if self._notes.nobody_came else Outcome.CONTAINED
        return [*self._over("goodbye", outcome), CloseStream(HangUp(farewell=farewell)), DisconnectModel()]

    def call_back_promised(self) -> list[Command]:
        """Nobody came, and the assistant cannot go on either: Twilio promises that somebody will call back."""
        note = [] if self._tools.message_taken else [KeepNote(self._notes.promised())]
        over = self._over("call_back_promised", Outcome.CALLED_BACK)
        return [*over, *note, CloseStream(PromiseCallBack()), DisconnectModel()]

    def line_lost(self, handing_over: HandingOver | None) -> list[Command]:
        """The line broke: it may be taken up again, so nothing is forgotten. A ticket that was begun is still owed."""
        owed = handing_over.owed() if handing_over else []
        return [Tell(Fact.CALL_ENDED, "line_lost"), *owed, DisconnectModel()]

    def caller_left(self) -> list[Command]:
        """The caller hung up."""
        return [*self._over("caller_left", Outcome.CALLER_LEFT), DisconnectModel()]

    def caller_left_during(self, handing_over: HandingOver) -> list[Command]:
        """The caller hung up on the way to a person: there is a ticket, which says so, and the token is worthless."""
        revoked = [RevokeToken(handing_over.token)] if handing_over.token else []
        return [*self.caller_left(), *handing_over.owed(), KeepNote(self._notes.caller_left()), *revoked]

    def _over(self, how: str, outcome: Outcome) -> list[Command]:
        """A caller who has left a message is called back, however the call ended otherwise."""
        if self._tools.message_taken:
            outcome = Outcome.CALLED_BACK
        return [Tell(Fact.CALL_ENDED, how), Tell(Fact.OUTCOME, outcome.value), NoteOutcome(outcome)]
