"""One phone call: events in, commands out.

Everything that decides about a conversation is here and in the files beside this one; whoever runs a `Call`
carries out its commands in order and posts what happens. `LEGAL` says which events mean something in which
phase. Anything else is counted and ignored: a phone call survives a stray message.

    starting ──► talking ◄──► saying_goodbye ──► ended
        │           │               │              ▲
        └───────────┴───────────────┴► handing_over ──► dialing
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.commands import (
    AddCallerText,
    AnswerTool,
    CancelResponse,
    CancelTimer,
    CloseStream,
    Command,
    ConfigureModel,
    ConnectModel,
    DisconnectModel,
    PlayAudio,
    RequestResponse,
    RequestSummary,
    RunTool,
    SendCallerAudio,
    SetTimer,
    Tell,
)
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.escalation import Reason
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.floor import Floor
from voice_openai_connect.call.handing_over import CRM_TIMER, SAVE_TIMER, SUMMARY_TIMER, HandingOver
from voice_openai_connect.call.instructions import summary_note, word_for_word
from voice_openai_connect.call.phases import LEGAL, RECORD_ANSWERS, Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.call.speech import Speech
from voice_openai_connect.call.tools import END_CALL, TRANSFER, TransferWish, arguments_of, transfer_wish
from voice_openai_connect.call.transfer import DialPerson, HangUp
from voice_openai_connect.call.waiting_audio import WaitingAudio

_READY: Final = "model_ready"
_CALL_LIMIT: Final = "call_limit"
_KEYS: Final = "keys"
_RETRY: Final = "retry"
_SENTENCE: Final = "sentence"
_CANCELLED: Final = "cancelled"
_GOODBYE: Final = "goodbye"
_LATE: Final = "late"
_TOOL: Final = "tool:"

_HARMLESS: Final = frozenset({"response_cancel_not_active"})
"""Errors that only say that the model was quicker than we."""


_Method = TypeVar("_Method", bound=Callable[..., list[Command]])
_HANDLERS: Final[dict[type[ev.Event], Callable[[Any, Any, int], list[Command]]]] = {}
_TIMERS: Final[dict[str, Callable[[Any, int], list[Command]]]] = {}


def _on(*kinds: type[ev.Event]) -> Callable[[_Method], _Method]:
    """The method below handles these events."""

    def register(method: _Method) -> _Method:
        _HANDLERS.update(dict.fromkeys(kinds, method))
        return method

    return register


def _when(timer: str) -> Callable[[_Method], _Method]:
    """The method below is for this timer."""

    def register(method: _Method) -> _Method:
        _TIMERS[timer] = method
        return method

    return register


class Call:
    """One phone call. `handle` is the only way in; times are milliseconds on any clock that only goes forward."""

    def __init__(self, identity: CallIdentity, settings: CallSettings) -> None:
        self.identity = identity
        self.settings = settings
        self.phase = Phase.STARTING
        self.ignored = 0
        self.conversation = Conversation()
        self._speech = Speech(self.conversation)
        self._floor = Floor()
        self._waiting_audio = WaitingAudio()
        self._model_ready = False
        self._connects = 0
        self._last_request: RequestResponse | None = None
        self._failures = 0
        self._idle_prompts = 0
        self._speech_stopped_at: int | None = None
        self._keys = ""
        self._tools_called: set[str] = set()
        self._tools_running: set[str] = set()
        self._handing_over: HandingOver | None = None
        self._decided_at = 0
        self._sentence_tries = 0
        self._sentence_made = False
        self._sentence_over = False
        self._sentence_spoken = False

    def handle(self, event: ev.Event, now: int) -> tuple[Command, ...]:
        """Take in what happened at `now` (ms); return what is to be done, in order. Never raises for an event."""
        kind = type(event)
        if kind not in LEGAL[self.phase]:
            if self.phase is Phase.ENDED:
                return ()
            self.ignored += 1
            return (Tell(Fact.IGNORED, kind.__name__),)
        return tuple(_HANDLERS[kind](self, event, now))

    # --- the line

    @_on(ev.StreamStarted)
    def _stream_started(self, _: ev.StreamStarted, now: int) -> list[Command]:
        if self._connects:
            return []
        return [
            Tell(Fact.CALL_STARTED),
            SetTimer(_READY, now + limits.MODEL_READY_MS),
            SetTimer(_CALL_LIMIT, now + self.settings.call_ms),
            *self._connect(),
        ]

    @_on(ev.CallerAudio)
    def _caller_audio(self, event: ev.CallerAudio, _: int) -> list[Command]:
        if self.phase is Phase.STARTING:
            self._waiting_audio.add(event.payload)
            return []
        if self.phase is Phase.HANDING_OVER:
            return []  # the assistant has stopped listening; the person will hear the caller
        return [SendCallerAudio(event.payload)]

    @_on(ev.PlaybackReached)
    def _playback_reached(self, event: ev.PlaybackReached, now: int) -> list[Command]:
        self._speech.reached(event.name, now)
        return self._last_words_heard(now)

    @_on(ev.StreamStopped)
    def _stream_stopped(self, _: ev.Event, __: int) -> list[Command]:
        return self._end("caller_left")

    @_on(ev.StreamLost)
    def _stream_lost(self, _: ev.StreamLost, __: int) -> list[Command]:
        return self._end("line_lost")

    def _end(self, how: str) -> list[Command]:
        self.phase = Phase.ENDED
        return [Tell(Fact.CALL_ENDED, how), DisconnectModel()]

    @_on(ev.KeyPressed)
    def _key_pressed(self, event: ev.KeyPressed, now: int) -> list[Command]:
        if self.settings.person_key and event.digit == self.settings.person_key and not self._keys:
            return self._escalate(Reason.KEY, now)
        if self.phase is not Phase.TALKING:
            return []
        self._keys = (self._keys + event.digit)[: limits.KEYS_MAX]
        return [SetTimer(_KEYS, now + limits.KEYS_PAUSE_MS)]

    @_when(_KEYS)
    def _keys_over(self, _: int) -> list[Command]:
        keys, self._keys = self._keys, ""
        if not keys or self.phase is not Phase.TALKING:
            return []
        return [AddCallerText(f"(The caller pressed these keys: {keys})"), *self._ask(RequestResponse("reply"))]

    # --- the model comes and goes

    def _connect(self) -> list[Command]:
        self._connects += 1
        return [ConnectModel()]

    @_on(ev.ModelConnected)
    def _model_connected(self, _: ev.ModelConnected, __: int) -> list[Command]:
        return [ConfigureModel()]

    @_on(ev.ModelConfigured)
    def _model_configured(self, event: ev.ModelConfigured, now: int) -> list[Command]:
        wanted = self.settings.audio_format
        if event.input_format != wanted or event.output_format != wanted:
            return [Tell(Fact.MODEL_FORMAT_REFUSED), *self._escalate(Reason.MODEL_LOST, now)]
        self._model_ready = True
        self.phase = Phase.TALKING
        payloads, dropped_ms = self._waiting_audio.take()
        commands: list[Command] = [CancelTimer(_READY), Tell(Fact.MODEL_READY)]
        if dropped_ms:
            commands.append(Tell(Fact.FRAMES_DROPPED, "model_not_ready", dropped_ms))
        commands += self._ask(RequestResponse("greeting", word_for_word(self.settings.greeting)))
        commands += [SendCallerAudio(payload) for payload in payloads]
        return commands

    @_on(ev.ModelLost)
    def _model_lost(self, event: ev.ModelLost, now: int) -> list[Command]:
        told = Tell(Fact.MODEL_LOST, event.reason)
        self._model_ready = False
        self._floor.clear()
        match self.phase:
            case Phase.STARTING if not event.permanent and self._connects < limits.MODEL_CONNECTS:
                return [told, *self._connect()]
            case Phase.SAYING_GOODBYE:
                return [told, *self._hang_up(farewell=not self._speech.all_heard)]
            case Phase.HANDING_OVER:
                return [told, *self._go_on_without_model(now)]
            case _:
                return [told, *self._escalate(Reason.MODEL_LOST, now)]

    @_on(ev.ModelErred)
    def _model_erred(self, event: ev.ModelErred, _: int) -> list[Command]:
        if event.code in _HARMLESS:
            return []
        if event.code == "conversation_already_has_active_response":
            self._floor.refused()
        return [Tell(Fact.MODEL_ERROR, event.code)]

    # --- the caller speaks

    @_on(ev.CallerSpeechStarted)
    def _caller_speech_started(self, event: ev.CallerSpeechStarted, now: int) -> list[Command]:
        if self.phase is Phase.HANDING_OVER:
            return []
        self.conversation.caller_began(event.item_id)
        self._speech_stopped_at = None
        self._idle_prompts = 0
        commands: list[Command] = []
        if self.phase is Phase.SAYING_GOODBYE:
            self.phase = Phase.TALKING
            commands.append(CancelTimer(_GOODBYE))
        interrupted = self._interrupt(now, cancel=not self.settings.server_interrupts)
        return [*commands, *interrupted, Tell(Fact.BARGE_IN)] if interrupted else commands

    def _interrupt(self, now: int, *, cancel: bool) -> list[Command]:
        """Stop speaking at once. `cancel` says whether the model must be told, or does it by itself."""
        commands = self._speech.stop(now)
        if self._floor.active:
            self._speech.mute(self._floor.active)
            if cancel:
                commands.append(CancelResponse(self._floor.active))
        return commands

    @_on(ev.CallerSpeechStopped)
    def _caller_speech_stopped(self, _: ev.CallerSpeechStopped, now: int) -> list[Command]:
        self._speech_stopped_at = now
        return []

    @_on(ev.CallerStayedSilent)
    def _caller_stayed_silent(self, _: ev.CallerStayedSilent, now: int) -> list[Command]:
        self._idle_prompts += 1
        if self._idle_prompts < limits.IDLE_PROMPTS or self.phase is not Phase.TALKING:
            return []
        return self._say_goodbye(now, ask=True)

    @_on(ev.CallerTranscribed)
    def _caller_transcribed(self, event: ev.CallerTranscribed, now: int) -> list[Command]:
        self.conversation.caller_said(event.item_id, event.text)
        if self.phase is Phase.HANDING_OVER or not self.settings.phrases.wants_person(event.text):
            return []
        return self._escalate(Reason.CALLER_ASKED, now)

    @_on(ev.CallerTranscriptionFailed)
    def _caller_transcription_failed(self, event: ev.CallerTranscriptionFailed, _: int) -> list[Command]:
        return [Tell(Fact.TRANSCRIPTION_FAILED, event.code)]

    # --- the model speaks

    def _ask(self, request: RequestResponse) -> list[Command]:
        self._last_request = request
        return self._floor.request(request)

    @_on(ev.ModelResponseStarted)
    def _response_started(self, event: ev.ModelResponseStarted, _: int) -> list[Command]:
        if event.purpose == "summary":
            return []
        self._floor.started(event.response_id, event.purpose)
        if self.phase is Phase.HANDING_OVER and event.purpose != "transfer":
            self._speech.mute(event.response_id)
            return [CancelResponse(event.response_id)]
        return []

    @_on(ev.ModelAudio)
    def _model_audio(self, event: ev.ModelAudio, now: int) -> list[Command]:
        if not self._model_ready:
            return []
        commands = self._speech.audio(event, now)
        if self._speech_stopped_at is not None and any(type(c) is PlayAudio for c in commands):
            commands.append(Tell(Fact.FIRST_AUDIO, value_ms=now - self._speech_stopped_at))
            self._speech_stopped_at = None
        return commands

    @_on(ev.ModelAudioFinished)
    def _model_audio_finished(self, event: ev.ModelAudioFinished, now: int) -> list[Command]:
        return self._speech.item_finished(event.item_id, now)

    @_on(ev.ModelSaid)
    def _model_said(self, event: ev.ModelSaid, _: int) -> list[Command]:
        if not self._speech.is_muted(event.response_id):
            self.conversation.assistant_said(event.item_id, event.text, final=event.final)
        return []

    @_on(ev.ModelResponseFinished)
    def _response_finished(self, event: ev.ModelResponseFinished, now: int) -> list[Command]:
        if event.purpose == "summary":
            return self._summary_finished(event, now)
        commands = self._speech.response_finished(event.response_id, now)
        commands += self._floor.finished(event.response_id)
        silent = not self._speech.has_voiced(event.response_id)
        if event.purpose == "transfer":
            return commands + self._transfer_finished(event, now)
        if event.purpose == "goodbye" and silent and self.phase is Phase.SAYING_GOODBYE:
            return commands + self._hang_up(farewell=True)
        if event.status == "failed" or (event.status == "incomplete" and silent):
            return commands + self._response_failed(event, now)
        if event.status == "completed":
            self._failures = 0
        return commands + self._last_words_heard(now)

    def _response_failed(self, event: ev.ModelResponseFinished, now: int) -> list[Command]:
        """A failed response is silent, so the caller must not be left with it."""
        told = Tell(Fact.RESPONSE_FAILED, event.code)
        if self.phase is not Phase.TALKING:
            return [told, *self._last_words_heard(now)]
        self._failures += 1
        wait = event.retry_after_ms or limits.RESPONSE_RETRY_WAIT_MS
        if self._failures > limits.RESPONSE_RETRIES or wait > limits.RESPONSE_RETRY_WAIT_MAX_MS:
            return [told, *self._escalate(Reason.REPEATED_FAILURE, now)]
        greeting = event.purpose == "greeting" and self._last_request
        self._last_request = self._last_request if greeting else RequestResponse("reply")
        return [told, SetTimer(_RETRY, now + max(wait, limits.RESPONSE_RETRY_WAIT_MS))]

    @_when(_RETRY)
    def _retry(self, _: int) -> list[Command]:
        if self.phase is not Phase.TALKING or not self._floor.free or self._last_request is None:
            return []
        return self._floor.request(self._last_request)

    # --- tools

    @_on(ev.ModelToolCalled)
    def _tool_called(self, event: ev.ModelToolCalled, now: int) -> list[Command]:
        if event.call_id in self._tools_called or len(self._tools_called) >= limits.TOOL_CALLS:
            return [Tell(Fact.TOOL_REFUSED, "repeated")]
        if event.name == TRANSFER and self.phase is Phase.HANDING_OVER:
            return []  # the same wish, by another way
        if self._speech.is_muted(event.response_id) or self.phase is Phase.HANDING_OVER:
            return [Tell(Fact.TOOL_REFUSED, "interrupted")]
        self._tools_called.add(event.call_id)
        if event.name == TRANSFER:
            return [
                AnswerTool(event.call_id, "The caller is being connected to a person."),
                *self._escalate(Reason.TOOL, now, transfer_wish(event.arguments)),
            ]
        if event.name == END_CALL:
            ask = not self._speech.has_voiced(event.response_id)
            return [AnswerTool(event.call_id, "The call ends after your goodbye."), *self._say_goodbye(now, ask=ask)]
        if event.name not in self.settings.tools:
            return [Tell(Fact.TOOL_REFUSED, "unknown"), *self._answer(event.call_id, "There is no such tool.")]
        if arguments_of(event.arguments) is None:
            problem = "The arguments were not a JSON object of reasonable size."
            return [Tell(Fact.TOOL_REFUSED, "arguments"), *self._answer(event.call_id, problem)]
        self._tools_running.add(event.call_id)
        return [
            Tell(Fact.TOOL_CALLED, event.name),
            RunTool(event.call_id, event.name, event.arguments),
            SetTimer(_TOOL + event.call_id, now + limits.TOOL_MS),
        ]

    @_on(ev.ToolFinished)
    def _tool_finished(self, event: ev.ToolFinished, _: int) -> list[Command]:
        return self._tool_over(event.call_id, event.output)

    @_on(ev.ToolFailed)
    def _tool_failed(self, event: ev.ToolFailed, _: int) -> list[Command]:
        return self._tool_over(event.call_id, f"The tool failed: {event.reason}")

    def _tool_over(self, call_id: str, output: str) -> list[Command]:
        """A tool's result, the first time; what comes after its deadline has been answered for already."""
        if call_id not in self._tools_running:
            return []
        self._tools_running.discard(call_id)
        if self.phase is Phase.HANDING_OVER:
            return [CancelTimer(_TOOL + call_id)]
        return [CancelTimer(_TOOL + call_id), *self._answer(call_id, output)]

    def _answer(self, call_id: str, output: str) -> list[Command]:
        return [AnswerTool(call_id, output), *self._ask(RequestResponse("reply"))]

    # --- goodbye

    def _say_goodbye(self, now: int, *, ask: bool) -> list[Command]:
        self.phase = Phase.SAYING_GOODBYE
        timer = SetTimer(_GOODBYE, now + limits.GOODBYE_MS)
        if not ask:
            return [timer]
        return [timer, *self._ask(RequestResponse("goodbye", word_for_word(self.settings.goodbye_sentence)))]

    def _hang_up(self, *, farewell: bool = False) -> list[Command]:
        self.phase = Phase.ENDED
        return [Tell(Fact.CALL_ENDED, "goodbye"), CloseStream(HangUp(farewell=farewell)), DisconnectModel()]

    def _last_words_heard(self, now: int) -> list[Command]:
        """Whether the words we waited for have been heard to their end; then the line moves on."""
        if not self._speech.all_heard:
            return []
        if self.phase is Phase.SAYING_GOODBYE and self._floor.free:
            return self._hang_up()
        if self.phase is Phase.HANDING_OVER and self._sentence_made:
            return self._sentence_ends(now, spoken=True)
        return []

    # --- handover

    @_on(ev.HandoverOrdered)
    def _handover_ordered(self, _: ev.HandoverOrdered, now: int) -> list[Command]:
        return self._escalate(Reason.OPERATOR, now)

    def _escalate(self, reason: Reason, now: int, wish: TransferWish | None = None) -> list[Command]:
        """A person is needed. The first reason counts; after it there is no way back to talking."""
        if self._handing_over is not None:
            return []
        self.phase = Phase.HANDING_OVER
        self._decided_at = now
        handing_over = self._handing_over = HandingOver(
            reason, wish or TransferWish(), self.identity, self.settings, self.conversation
        )
        commands: list[Command] = [Tell(Fact.ESCALATED, reason.value)]
        commands += [CancelTimer(name) for name in (_READY, _CALL_LIMIT, _KEYS, _RETRY, _GOODBYE)]
        commands += handing_over.begin(now)
        if not self._model_ready:
            return commands + self._go_on_without_model(now)
        if reason is not Reason.TOOL:
            commands += self._interrupt(now, cancel=True)
        commands += self._speak_transfer_sentence(now)
        if not handing_over.has_summary:
            commands.append(RequestSummary(summary_note(self.settings)))
        return commands + handing_over.advance(now)

    def _speak_transfer_sentence(self, now: int) -> list[Command]:
        self._sentence_tries += 1
        request = RequestResponse("transfer", word_for_word(self.settings.transfer_sentence))
        commands: list[Command] = [SetTimer(_SENTENCE, self._decided_at + limits.TRANSFER_SENTENCE_MS)]
        if not self._floor.free:
            commands.append(SetTimer(_CANCELLED, now + limits.RESPONSE_CANCEL_MS))
        return commands + self._floor.request(request)

    def _transfer_finished(self, event: ev.ModelResponseFinished, now: int) -> list[Command]:
        if event.status == "completed" and self._speech.has_voiced(event.response_id):
            self._sentence_made = True
            return self._last_words_heard(now)
        if self._sentence_tries < limits.TRANSFER_SENTENCE_TRIES:
            return self._speak_transfer_sentence(now)
        return self._sentence_ends(now, spoken=self._speech.has_voiced(event.response_id))

    def _summary_finished(self, event: ev.ModelResponseFinished, now: int) -> list[Command]:
        if self._handing_over is None:
            return []
        if event.status == "completed":
            commands = self._handing_over.summarised(event.text, now)
        else:
            commands = self._handing_over.fall_back(event.status, now)
        return commands + self._move_on(now)

    def _go_on_without_model(self, now: int) -> list[Command]:
        """The model cannot speak or write any more: Twilio will say the sentence, the turns make the summary."""
        assert self._handing_over is not None  # noqa: S101 - called in that phase only
        commands = self._handing_over.fall_back("model_lost", now)
        if not self._sentence_made:
            commands += self._sentence_ends(now, spoken=False)
        return commands

    def _sentence_ends(self, now: int, *, spoken: bool) -> list[Command]:
        if self._sentence_over:
            return []
        self._sentence_over, self._sentence_spoken = True, spoken
        return [CancelTimer(_SENTENCE), *self._move_on(now)]

    @_on(*RECORD_ANSWERS)
    def _handover_answered(self, event: ev.Event, now: int) -> list[Command]:
        if self._handing_over is None:
            return []
        commands = self._handing_over.on(event, now)
        if self.phase is Phase.DIALING:
            return commands + self._after_dialing()
        return commands + self._move_on(now)

    def _move_on(self, now: int) -> list[Command]:
        """Dial, once the caller has heard the sentence and the record is settled."""
        handing_over = self._handing_over
        if handing_over is None or self.phase is not Phase.HANDING_OVER:
            return []
        if not (self._sentence_over and handing_over.saved):
            return []
        self.phase = Phase.DIALING
        step = DialPerson(token=handing_over.token, announce=not self._sentence_spoken)
        label = "with_token" if step.token else "without_token"
        return [
            Tell(Fact.DIALING, label, now - self._decided_at),
            Tell(Fact.CALL_ENDED, "handed_over"),
            CloseStream(step),
            DisconnectModel(),
            SetTimer(_LATE, now + limits.CRM_LATE_MS),
            *self._after_dialing(),
        ]

    def _after_dialing(self) -> list[Command]:
        if self._handing_over is not None and self._handing_over.complete:
            self.phase = Phase.ENDED
        return []

    # --- time

    @_on(ev.TimerFired)
    def _timer_fired(self, event: ev.TimerFired, now: int) -> list[Command]:
        if event.name.startswith(_TOOL):
            return self._tool_over(event.name.removeprefix(_TOOL), "The tool took too long.")
        handler = _TIMERS.get(event.name)
        return handler(self, now) if handler else []

    @_when(_READY)
    def _not_ready(self, now: int) -> list[Command]:
        if self.phase is not Phase.STARTING:
            return []
        return [Tell(Fact.MODEL_LOST, "not_ready"), *self._escalate(Reason.MODEL_LOST, now)]

    @_when(_CALL_LIMIT)
    def _call_limit(self, now: int) -> list[Command]:
        return self._escalate(Reason.TIME_LIMIT, now)

    @_when(_GOODBYE)
    def _goodbye_late(self, _: int) -> list[Command]:
        return self._hang_up() if self.phase is Phase.SAYING_GOODBYE else []

    @_when(_CANCELLED)
    def _cancel_late(self, _: int) -> list[Command]:
        return self._floor.take() if self.phase is Phase.HANDING_OVER else []

    @_when(_SENTENCE)
    def _sentence_late(self, now: int) -> list[Command]:
        if self._sentence_over:
            return []
        return [Tell(Fact.TRANSFER_SENTENCE_CUT), *self._sentence_ends(now, spoken=self._sentence_made)]

    @_when(SUMMARY_TIMER)
    def _summary_late(self, now: int) -> list[Command]:
        return self._in_handover(lambda h: h.fall_back("late", now), now)

    @_when(CRM_TIMER)
    def _crm_late(self, now: int) -> list[Command]:
        return self._in_handover(lambda h: h.crm_late(now), now)

    @_when(SAVE_TIMER)
    def _save_late(self, now: int) -> list[Command]:
        return self._in_handover(lambda h: h.save_late(), now)

    def _in_handover(self, step: Callable[[HandingOver], list[Command]], now: int) -> list[Command]:
        if self._handing_over is None or self.phase is not Phase.HANDING_OVER:
            return []
        return step(self._handing_over) + self._move_on(now)

    @_when(_LATE)
    def _late_over(self, _: int) -> list[Command]:
        self.phase = Phase.ENDED
        return []
