"""The sessions of one call with its model, one after the other: tried, ready, lost, and tried once more."""

from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.callers_turn import CallersTurn
from voice_openai_connect.call.commands import (
    CancelResponse,
    CancelTimer,
    Command,
    ConnectModel,
    SendCallerAudio,
    SetTimer,
    Tell,
)
from voice_openai_connect.call.continuity import Continuity
from voice_openai_connect.call.events import ModelConfigured, ModelErred
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.floor import Floor
from voice_openai_connect.call.format_check import FormatCheck
from voice_openai_connect.call.patience import STALLED_TIMER, Patience
from voice_openai_connect.call.retries import RETRY_TIMER
from voice_openai_connect.call.settings import CallSettings
from voice_openai_connect.call.speech import Speech
from voice_openai_connect.call.tool_calls import ToolCalls
from voice_openai_connect.call.waiting_audio import WaitingAudio

READY_TIMER: Final = "model_ready"

_HARMLESS: Final = frozenset({"response_cancel_not_active"})
"""Errors that only say that the model was quicker than we."""


class ModelSessions:
    """Knows whether there is a model to talk to and whether another try is left; keeps the caller's words meanwhile.

    What a lost session leaves behind with `speech`, `turn`, `floor` and `tools` is cleared here.
    """

    def __init__(
        self,
        settings: CallSettings,
        *,
        continuity: Continuity,
        speech: Speech,
        turn: CallersTurn,
        floor: Floor,
        patience: Patience,
        tools: ToolCalls,
    ) -> None:
        self._wanted = settings.audio_format
        self._continuity = continuity
        self._speech = speech
        self._turn = turn
        self._floor = floor
        self._patience = patience
        self._tools = tools
        self._format = FormatCheck(settings.sounds_wrong)
        self._waiting_audio = WaitingAudio()
        self._connects = 0
        self._recoveries = 0
        self._lost_at: int | None = None
        """When the session was lost that is being replaced."""
        self.ready = False
        """Whether the model listens and may speak."""

    # --- the first session

    @property
    def begun(self) -> bool:
        """Whether the model has been tried at all."""
        return self._connects > 0

    @property
    def may_connect_again(self) -> bool:
        """Whether another try is left before the call has begun."""
        return self._connects < limits.MODEL_CONNECTS

    def connect(self) -> list[Command]:
        """Try the model; it must be ready before `READY_TIMER`."""
        self._connects += 1
        return [ConnectModel()]

    def keep(self, audio: bytes) -> None:
        """A frame of the caller's, for the time when there is a model."""
        self._waiting_audio.add(audio)

    # --- ready

    def accepts(self, event: ModelConfigured) -> bool:
        """Whether the session that comes about speaks our format; if so, it is ready from now on."""
        self.ready = event.input_format == self._wanted and event.output_format == self._wanted
        if self.ready:
            self._format.begin()
        return self.ready

    def take_kept(self) -> tuple[list[Command], list[Command]]:
        """What the world hears of a model that is ready, and the caller's words for it, to be sent after all else."""
        frames, dropped_ms = self._waiting_audio.take()
        told: list[Command] = [CancelTimer(READY_TIMER), Tell(Fact.MODEL_READY)]
        if dropped_ms:
            told.append(Tell(Fact.FRAMES_DROPPED, "model_not_ready", dropped_ms))
        return told, [SendCallerAudio(audio) for audio in frames]

    def take_up_thread(self, now: int) -> list[Command]:
        """A new session has no memory: give it the turns as they were heard, and what has happened since."""
        told = Tell(Fact.RESUMED, str(self._continuity.resumes))
        if self._lost_at is not None:
            told = Tell(Fact.MODEL_RECOVERED, value_ms=now - self._lost_at)
        return [told, *self._continuity.thread(interrupted=self._lost_at is not None)]

    def sounds_wrong(self, audio: bytes) -> bool:
        """Whether this piece of the model's audio, with all before it, shows another format than it confirmed."""
        return self._format.refuses(audio)

    def interrupt(self, now: int, *, cancel: bool) -> list[Command]:
        """Stop speaking at once. `cancel` says whether the model must be told, or does it by itself."""
        commands = self._speech.stop(now)
        if self._floor.active:
            self._speech.mute(self._floor.active)
            if cancel:
                commands.append(CancelResponse(self._floor.active))
        return commands

    def erred(self, event: ModelErred) -> list[Command]:
        """The model complains; the session goes on."""
        if event.code in _HARMLESS:
            return []
        if event.code == "conversation_already_has_active_response":
            self._floor.refused()
        return [Tell(Fact.MODEL_ERROR, event.code)]

    # --- lost

    def lose(self, why: str) -> list[Command]:
        """The session is gone, and everything asked of it."""
        self.ready = False
        self._turn.lost()
        self._floor.clear()
        return [Tell(Fact.MODEL_LOST, why)]

    @property
    def may_recover(self) -> bool:
        """Whether another session may take over in the middle of the call."""
        return self._recoveries < limits.RECOVERIES

    def recover(self, now: int) -> list[Command]:
        """Try the model once more. What it was saying is cut off: its session, and the rest of its words, are gone."""
        self._recoveries += 1
        self._lost_at = now
        self._tools.forget()
        return [
            *self._speech.hush(now),
            SetTimer(READY_TIMER, now + limits.MODEL_READY_MS),
            CancelTimer(RETRY_TIMER),
            CancelTimer(STALLED_TIMER),
            self._patience.listen(now),
            *self.connect(),
        ]
