"""One phone call: events in, commands out.

Everything that decides about a conversation is here and in the files beside this one; whoever runs a `Call`
carries out its commands in order and posts what happens. `LEGAL` says which events mean something in which
phase. Anything else is counted and ignored: a phone call survives a stray message.
"""

from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.asking import Asking
from voice_openai_connect.call.attendance import Attendance
from voice_openai_connect.call.callers_turn import SPEECH_TIMER, CallersTurn
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.commands import (
    AnswerTool,
    CancelResponse,
    CancelTimer,
    Command,
    ConfigureModel,
    DisconnectModel,
    ModelCommand,
    PlayAudio,
    RequestResponse,
    RevokeToken,
    SendCallerAudio,
    SetTimer,
    Tell,
)
from voice_openai_connect.call.continuity import Continuity
from voice_openai_connect.call.conversation import Conversation
from voice_openai_connect.call.dispatch import Dispatch
from voice_openai_connect.call.ending import Ending
from voice_openai_connect.call.escalation import WISHES, Reason
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.floor import Floor
from voice_openai_connect.call.handing_over import TIMERS as HANDOVER_TIMERS
from voice_openai_connect.call.handing_over import HandingOver
from voice_openai_connect.call.instructions import NO_PAUSE, word_for_word
from voice_openai_connect.call.keys import KEYS_TIMER, Keys
from voice_openai_connect.call.model_sessions import READY_TIMER, ModelSessions
from voice_openai_connect.call.patience import QUIET_TIMER, STALLED_TIMER, Patience
from voice_openai_connect.call.phases import CONVERSATION, LEGAL, RECORD_ANSWERS, WAITING_FOR_US, Phase
from voice_openai_connect.call.playback import MARKS_TIMER
from voice_openai_connect.call.retries import RETRY_TIMER
from voice_openai_connect.call.sentence import CANCELLED_TIMER, TransferSentence
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.call.speech import Speech
from voice_openai_connect.call.ticket_note import Notes
from voice_openai_connect.call.tool_calls import TIMER as TOOL_TIMER
from voice_openai_connect.call.tool_calls import ToolCalls
from voice_openai_connect.call.tools import END_CALL, TRANSFER, TransferWish, transfer_wish

_CALL_LIMIT: Final = "call_limit"
_GOODBYE: Final = "goodbye"
_LATE: Final = "late"
_MOVE: Final = "move"
_NOT_ON_THE_WAY: Final = (
    READY_TIMER,
    _CALL_LIMIT,
    KEYS_TIMER,
    RETRY_TIMER,
    SPEECH_TIMER,
    _GOODBYE,
    _MOVE,
    STALLED_TIMER,
)
"""Timers that mean nothing once a person is on the way."""
_MADE: Final = frozenset({"completed", "incomplete"})
"""How a response ends of which there is no more to come; an incomplete one was cut off at its longest."""
_KEYS_COUNT: Final = frozenset({Phase.STARTING, Phase.TALKING, Phase.RECOVERING})

_dispatch: Final = Dispatch()


class Call:
    """One phone call. `handle` is the only way in; times are milliseconds on any clock that only goes forward."""

    def __init__(self, identity: CallIdentity, settings: CallSettings, resumed: Checkpoint | None = None) -> None:
        self.identity = identity
        self.settings = settings
        self.phase = Phase.STARTING
        self.passes_audio = False
        """Whether `handle` would do nothing with the caller's audio but pass it on. It need not be asked then."""
        self.ignored = 0
        self.conversation = Conversation()
        self._speech = Speech(self.conversation)
        self._continuity = Continuity(self.conversation, self._speech, resumed, enabled=settings.checkpoints)
        self._moving = False
        self._farewell_owed = False
        """Whether nothing has been said yet since the goodbye was decided."""
        self._turn = CallersTurn()
        self._floor = Floor()
        self._patience = Patience(self._speech, settings.holding_sound)
        self._asking = Asking(settings.greeting, self._floor, self._turn, self._patience)
        self._keys = Keys()
        self._tools = ToolCalls(settings.tools)
        self._model = ModelSessions(
            settings,
            continuity=self._continuity,
            speech=self._speech,
            turn=self._turn,
            floor=self._floor,
            patience=self._patience,
            tools=self._tools,
        )
        self.notes = Notes(identity.conversation_id, identity.caller_phone, self._continuity.nobody_came)
        self.ending = Ending(self.notes, self._tools)
        self._attendance = Attendance(settings, self.notes, self._continuity)
        self._handing_over: HandingOver | None = None
        self._sentence = TransferSentence(settings.transfer_sentence, self._floor, self._speech)

    @property
    def resumed(self) -> bool:
        """Whether it goes on from a checkpoint."""
        return self._continuity.resumed

    def handle(self, event: ev.Event, now: int) -> tuple[Command, ...]:
        """Take in what happened at `now` (ms); return what is to be done, in order. Never raises for an event."""
        kind = type(event)
        if kind not in LEGAL[self.phase]:
            if self.phase is Phase.ENDED:
                return ()
            self.ignored += 1
            return (Tell(Fact.IGNORED, kind.__name__),)
        commands = tuple(_dispatch.by_event[kind](self, event, now))
        self.passes_audio = self.phase in CONVERSATION
        return commands

    # --- the line

    @_dispatch.on(ev.StreamStarted)
    def _stream_started(self, _: ev.StreamStarted, now: int) -> list[Command]:
        if self._model.begun:
            return []
        if self._continuity.beyond_resuming:
            return [Tell(Fact.CALL_STARTED), *self._escalate(Reason.CONTEXT_LOST, now)]
        return [
            Tell(Fact.CALL_STARTED),
            SetTimer(READY_TIMER, now + limits.MODEL_READY_MS),
            SetTimer(_CALL_LIMIT, now + self.settings.call_ms),
            self._patience.take_up(now) if self._continuity.resumed else self._patience.listen(now),
            *self._model.connect(),
        ]

    @_dispatch.on(ev.CallerAudio)
    def _caller_audio(self, event: ev.CallerAudio, _: int) -> list[Command]:
        if self.phase is Phase.STARTING or self.phase is Phase.RECOVERING:
            self._model.keep(event.audio)
            return []
        if self.phase is Phase.HANDING_OVER:
            return []  # the assistant has stopped listening; the person will hear the caller
        return [SendCallerAudio(event.audio)]

    @_dispatch.on(ev.PlaybackReached)
    def _playback_reached(self, event: ev.PlaybackReached, now: int) -> list[Command]:
        self._speech.reached(event.name, now)
        return self._if_all_heard(now)

    @_dispatch.when(MARKS_TIMER)
    def _marks_late(self, now: int) -> list[Command]:
        """No mark has come back for a while: what should have, may have been heard all the same."""
        return self._speech.look(now) + self._if_all_heard(now)

    def _if_all_heard(self, now: int) -> list[Command]:
        return self._last_words_heard(now) + self._between_turns() if self._speech.all_heard else []

    @_dispatch.on(ev.StreamStopped, ev.StreamLost)
    def _line_ended(self, event: ev.Event, now: int) -> list[Command]:
        was, self.phase = self.phase, Phase.ENDED
        if isinstance(event, ev.StreamLost):
            return self.ending.line_lost(self._handing_over)
        if was is not Phase.HANDING_OVER or self._handing_over is None:
            return self.ending.caller_left()
        if self._handing_over.token_awaited:
            self.phase = Phase.CLEARING_UP
        late = SetTimer(_LATE, now + limits.CRM_LATE_MS)
        return [*self.ending.caller_left_during(self._handing_over), late]

    @_dispatch.on(ev.KeyPressed)
    def _key_pressed(self, event: ev.KeyPressed, now: int) -> list[Command]:
        if self.settings.person_key and event.digit == self.settings.person_key and self._keys.none_yet:
            return self._escalate(Reason.KEY, now)
        self._turn.gave_sign()
        return self._keys.press(event.digit, now) if self.phase in _KEYS_COUNT else []

    @_dispatch.when(KEYS_TIMER)
    def _keys_over(self, now: int) -> list[Command]:
        if self.phase in {Phase.STARTING, Phase.RECOVERING}:
            return self._keys.wait(now)  # there is no model yet that could be told
        told = self._keys.take()
        return [*told, *self._asking.for_reply(now)] if told and self.phase is Phase.TALKING else []

    # --- the model comes and goes

    @_dispatch.on(ev.ModelConnected)
    def _model_connected(self, _: ev.ModelConnected, __: int) -> list[Command]:
        return [ConfigureModel()]

    @_dispatch.on(ev.ModelConfigured)
    def _model_configured(self, event: ev.ModelConfigured, now: int) -> list[Command]:
        if not self._model.accepts(event):
            return self._format_refused(now)
        commands, waiting = self._model.take_kept()
        if self.phase is Phase.RECOVERING or self._continuity.resumed:
            commands += self._model.take_up_thread(now) + self._asking.owed_greeting(now)
            commands += self._asking.ask(RequestResponse("reply"), now)
        else:
            commands += self._attendance.reminder()
            commands += self._asking.greet(now)
        self.phase = Phase.TALKING
        return commands + waiting

    def _format_refused(self, now: int) -> list[Command]:
        """Another format than ours would be noise; no second try will change the service's mind."""
        self._model.ready = False
        return [Tell(Fact.MODEL_FORMAT_REFUSED), *self._escalate(Reason.MODEL_LOST, now)]

    def _recover(self, now: int) -> list[Command]:
        self.phase = Phase.RECOVERING
        return self._model.recover(now)

    @_dispatch.on(ev.ModelLost)
    def _model_lost(self, event: ev.ModelLost, now: int) -> list[Command]:
        told = self._model.lose(event.reason)
        match self.phase:
            case Phase.STARTING if not event.permanent and self._model.may_connect_again:
                return told + self._model.connect()
            case Phase.TALKING if not event.permanent and self._model.may_recover:
                return told + self._recover(now)
            case Phase.SAYING_GOODBYE:
                return told + self._hang_up(cut_off=not self._speech.all_heard)
            case Phase.HANDING_OVER if self._handing_over:
                return told + self._handing_over.go_on_without_model(now) + self._move_on(now)
            case _:
                return told + self._escalate(Reason.MODEL_LOST, now)

    @_dispatch.on(ev.ModelErred)
    def _model_erred(self, event: ev.ModelErred, _: int) -> list[Command]:
        return self._model.erred(event)

    # --- the caller speaks

    @_dispatch.on(ev.CallerSpeechStarted)
    def _caller_speech_started(self, event: ev.CallerSpeechStarted, now: int) -> list[Command]:
        if self.phase is Phase.HANDING_OVER:
            return []
        self.conversation.caller_began(event.item_id)
        self._patience.caller_speaks()
        commands = self._model.interrupt(now, cancel=not self.settings.server_interrupts)
        if commands:
            commands.append(Tell(Fact.BARGE_IN))
        if self.phase is Phase.SAYING_GOODBYE:
            self.phase = Phase.TALKING
            commands.append(CancelTimer(_GOODBYE))
        return [*commands, self._turn.began(now)]

    @_dispatch.on(ev.CallerSpeechStopped)
    def _caller_speech_stopped(self, _: ev.CallerSpeechStopped, now: int) -> list[Command]:
        self._turn.stopped(now)
        if self.phase is Phase.TALKING and self._turn.told_too_late(now):
            return self._asking.ask(RequestResponse("reply"), now)
        return self._patience.owe_answer(now)

    @_dispatch.when(SPEECH_TIMER)
    def _speech_goes_on(self, now: int) -> list[Command]:
        """The caller's turn does not end. A model that hears them has something to say all the same."""
        if self.phase is not Phase.TALKING or not self._turn.speaking:
            return []
        told = Tell(Fact.SPEECH_WITHOUT_END)
        if self._turn.goes_on():
            return [told, *self._escalate(Reason.REPEATED_FAILURE, now)]
        asked = self._asking.ask(RequestResponse("reply", NO_PAUSE), now)
        return [told, SetTimer(SPEECH_TIMER, now + limits.SPEECH_MS), *asked]

    @_dispatch.on(ev.CallerStayedSilent)
    def _caller_stayed_silent(self, _: ev.CallerStayedSilent, now: int) -> list[Command]:
        if self._patience.answer_owed or self._tools.running:
            return []  # it is we who are silent
        enough = self._turn.stayed_silent()
        return self._say_goodbye(now, ask=True) if enough and self.phase is Phase.TALKING else []

    @_dispatch.on(ev.CallerTranscribed)
    def _caller_transcribed(self, event: ev.CallerTranscribed, now: int) -> list[Command]:
        self.conversation.caller_said(event.item_id, event.text)
        if self.phase is Phase.HANDING_OVER:
            return self._continuity.save(person_needed=True)  # should the caller come back, they need not say it again
        if self.settings.phrases.wants_person(event.text):
            return self._escalate(Reason.CALLER_ASKED, now)
        return self._continuity.save() if self.phase is Phase.TALKING else []

    @_dispatch.on(ev.CallerTranscriptionFailed)
    def _caller_transcription_failed(self, event: ev.CallerTranscriptionFailed, _: int) -> list[Command]:
        return [Tell(Fact.TRANSCRIPTION_FAILED, event.code)]

    # --- the model speaks

    @_dispatch.on(ev.ModelResponseStarted)
    def _response_started(self, event: ev.ModelResponseStarted, _: int) -> list[Command]:
        if event.purpose == "summary":
            return []
        unwanted = self._floor.started(event.response_id, event.purpose, caller_speaks=self._turn.speaking)
        if unwanted or (self.phase is Phase.HANDING_OVER and event.purpose != "transfer"):
            self._speech.mute(event.response_id)
            return [CancelResponse(event.response_id)]
        return []

    @_dispatch.on(ev.ModelAudio)
    def _model_audio(self, event: ev.ModelAudio, now: int) -> list[Command]:
        if not self._model.ready:
            return []
        if self._model.sounds_wrong(event.audio):
            return self._format_refused(now)
        commands = self._speech.audio(event, now)
        if not any(type(c) is PlayAudio for c in commands):
            return commands
        self._patience.model_gave_sign(now)
        self._farewell_owed = False
        return commands + self._turn.answered(now)

    @_dispatch.on(ev.ModelAudioFinished)
    def _model_audio_finished(self, event: ev.ModelAudioFinished, now: int) -> list[Command]:
        return self._speech.item_finished(event.item_id, now)

    @_dispatch.on(ev.ModelSaid)
    def _model_said(self, event: ev.ModelSaid, _: int) -> list[Command]:
        if not self._speech.is_muted(event.response_id):
            self.conversation.assistant_said(event.item_id, event.text, final=event.final)
        return []

    @_dispatch.on(ev.ModelResponseFinished)
    def _response_finished(self, event: ev.ModelResponseFinished, now: int) -> list[Command]:
        handing_over = self._handing_over
        if event.purpose == "summary":
            return handing_over.summary_finished(event, now) + self._move_on(now) if handing_over else []
        commands = self._speech.response_finished(event.response_id, now)
        commands += self._floor.finished(event.response_id, caller_speaks=self._turn.speaking)
        silent = not self._speech.has_voiced(event.response_id)
        if event.purpose == "transfer" and handing_over:
            return commands + handing_over.sentence_finished(event, now) + self._move_on(now)
        if event.purpose == "goodbye" and silent and self.phase is Phase.SAYING_GOODBYE:
            return commands + self._hang_up(cut_off=True)
        commands += self._asking.greeting_over(event, now, voiced=not silent)
        if event.status == "failed" or (silent and self._is_missed(event)):
            return commands + self._response_failed(event, now)
        if event.status in _MADE or self._speech.was_too_long(event.response_id):
            self._asking.answered()
            if not self._tools.running and self._floor.free:
                self._patience.answer_given()
        return commands + self._last_words_heard(now)

    def _is_missed(self, event: ev.ModelResponseFinished) -> bool:
        """Whether the caller still waits for this response, which is over without a sound though nobody stopped it."""
        stopped = self._speech.is_muted(event.response_id) or self._tools.called_by(event.response_id)
        return event.status in _MADE and not stopped

    def _response_failed(self, event: ev.ModelResponseFinished, now: int) -> list[Command]:
        """A failed response is silent, so the caller must not be left with it."""
        told = Tell(Fact.RESPONSE_FAILED, event.code or "silent")
        if self.phase is not Phase.TALKING:
            return [told, *self._last_words_heard(now)]
        if event.permanent:
            return [told, *self._model.lose(event.code), *self._escalate(Reason.MODEL_LOST, now)]
        again = self._asking.failed(event, now)
        return [told, *(self._escalate(Reason.REPEATED_FAILURE, now) if again is None else again)]

    @_dispatch.when(RETRY_TIMER)
    def _retry(self, now: int) -> list[Command]:
        return self._asking.again(now) if self.phase is Phase.TALKING else []

    # --- tools

    @_dispatch.on(ev.ModelToolCalled)
    def _tool_called(self, event: ev.ModelToolCalled, now: int) -> list[Command]:
        if self._tools.is_repeat(event.call_id):
            return [Tell(Fact.TOOL_REFUSED, "repeated")]
        if event.name == TRANSFER and self.phase is Phase.HANDING_OVER:
            return []  # the same wish, by another way
        if self.phase is Phase.HANDING_OVER:
            return [Tell(Fact.TOOL_REFUSED, "interrupted")]
        if self._speech.is_muted(event.response_id):
            return [Tell(Fact.TOOL_REFUSED, "interrupted"), *self._tools.not_done(event)]
        self._tools.accept(event)
        if event.name == TRANSFER:
            escalated = self._escalate(Reason.TOOL, now, transfer_wish(event.arguments))
            return [AnswerTool(event.call_id, self._attendance.answer), *escalated]
        if event.name == END_CALL:
            ask = not self._speech.has_voiced(event.response_id)
            return [AnswerTool(event.call_id, "The call ends after your goodbye."), *self._say_goodbye(now, ask=ask)]
        started = self._tools.start(event, now)
        if self._tools.is_running(event.call_id):
            return [*started, *self._patience.owe_answer(now)]
        return [*started, *self._asking.for_reply(now)]

    @_dispatch.on(ev.ToolFinished, ev.ToolFailed)
    def _tool_answered(self, event: ev.ToolFinished | ev.ToolFailed, now: int) -> list[Command]:
        return self._tool_over(self._tools.answered(event), now)

    def _tool_over(self, answered: list[Command], now: int) -> list[Command]:
        """What the model is answered, if it is still there to be answered."""
        if self.phase not in CONVERSATION:
            return [command for command in answered if not isinstance(command, ModelCommand)]
        return [*answered, *self._asking.for_reply(now)] if answered else []

    # --- goodbye

    def _say_goodbye(self, now: int, *, ask: bool) -> list[Command]:
        self.phase = Phase.SAYING_GOODBYE
        self._farewell_owed = ask
        timer = SetTimer(_GOODBYE, now + limits.GOODBYE_MS)
        if not ask:
            return [timer, self._patience.listen(now)]
        return [
            timer,
            *self._asking.ask(RequestResponse("goodbye", word_for_word(self.settings.goodbye_sentence)), now),
        ]

    def _hang_up(self, *, cut_off: bool = False) -> list[Command]:
        """The end, with Twilio's goodbye where the caller has heard none of ours, or not all of it."""
        self.phase = Phase.ENDED
        return self.ending.goodbye(farewell=self._farewell_owed or cut_off)

    def _last_words_heard(self, now: int) -> list[Command]:
        """Whether the words we waited for have been heard to their end; then the line moves on."""
        if self.phase is Phase.TALKING or not self._speech.all_heard:
            return []
        if self.phase is Phase.SAYING_GOODBYE and self._floor.free and not self._tools.running:
            return self._hang_up()
        if self.phase is Phase.HANDING_OVER:
            return self._sentence.look() + self._move_on(now)
        return []

    # --- handover

    @_dispatch.on(ev.HandoverOrdered)
    def _handover_ordered(self, event: ev.HandoverOrdered, now: int) -> list[Command]:
        return self._escalate(Reason.STOPPING if event.stopping else Reason.OPERATOR, now)

    def _escalate(self, reason: Reason, now: int, wish: TransferWish | None = None) -> list[Command]:
        """A person is needed. The first reason counts; after it there is no way back to talking."""
        if self._handing_over is not None:
            return []
        if self._attendance.nobody_for(reason, wish):
            return self._keep_with_us(reason, now)
        self.phase = Phase.HANDING_OVER
        self._handing_over = HandingOver(
            reason, wish or TransferWish(), self.identity, self.settings, self.conversation, self._sentence
        )
        commands: list[Command] = [Tell(Fact.ESCALATED, reason.value), *self._continuity.save(person_needed=True)]
        commands += [CancelTimer(name) for name in _NOT_ON_THE_WAY]
        if self._model.ready and reason is not Reason.TOOL:
            commands += self._model.interrupt(now, cancel=True)
        commands.append(self._patience.listen(now))  # after the interruption: the line may be quiet from now on
        return commands + self._handing_over.begin(now, model_ready=self._model.ready) + self._move_on(now)

    @_dispatch.on(*RECORD_ANSWERS)
    def _handover_answered(self, event: ev.Event, now: int) -> list[Command]:
        if self._handing_over is None:
            return []
        if self.phase is Phase.CLEARING_UP:
            return self._clear_up(event)
        commands = self._handing_over.on(event, now) + self._move_on(now)
        self._end_if_complete()
        return commands

    def _move_on(self, now: int) -> list[Command]:
        """Dial, once the caller has heard the sentence and the record is settled."""
        handing_over = self._handing_over
        if handing_over is None or self.phase is not Phase.HANDING_OVER or not handing_over.ready:
            return []
        self.phase = Phase.DIALING
        self._end_if_complete()
        return [*handing_over.dial(now), SetTimer(_LATE, now + limits.TICKET_LATE_MS)]

    def _end_if_complete(self) -> None:
        """Once the caller is being dialled, only a late ticket keeps the call alive."""
        if self.phase is Phase.DIALING and self._handing_over is not None and self._handing_over.complete:
            self.phase = Phase.ENDED

    def _clear_up(self, event: ev.Event) -> list[Command]:
        """The caller has left: a token that comes now is taken back, and a ticket stays as it is."""
        if isinstance(event, ev.HandoverSaved | ev.HandoverNotSaved):
            self.phase = Phase.ENDED
        return [RevokeToken(event.token)] if isinstance(event, ev.HandoverSaved) else []

    # --- nobody is there, or nobody came

    @_dispatch.on(ev.QueuesUnattended)
    def _queues_unattended(self, event: ev.QueuesUnattended, _: int) -> list[Command]:
        self._attendance.learn(event)
        return []

    def _keep_with_us(self, reason: Reason, now: int) -> list[Command]:
        """There is no person to move the caller to: they can only be called back."""
        told, news = self._attendance.told(reason, model_ready=self._model.ready), self._attendance.is_news
        if reason not in WISHES:
            self.phase = Phase.ENDED
            return [*told, *self.ending.call_back_promised()]
        answers_by_itself = reason is Reason.CALLER_ASKED and self.phase is Phase.TALKING and not news
        if answers_by_itself or not self._model.ready:
            return told
        self.phase = Phase.TALKING
        hushed = self._model.interrupt(now, cancel=True) if news and reason is not Reason.TOOL else []
        return [*hushed, *told, CancelTimer(_GOODBYE), *self._asking.for_reply(now)]

    # --- going on elsewhere

    @_dispatch.on(ev.MoveOrdered)
    def _move_ordered(self, event: ev.MoveOrdered, now: int) -> list[Command]:
        begins = self.phase is Phase.STARTING
        if not self.settings.checkpoints or (begins and not self._continuity.resumed):
            return self._escalate(Reason.STOPPING, now)
        self._moving = True
        if event.at_once or begins:
            return self._move_late(now)
        return [SetTimer(_MOVE, now + limits.MOVE_MS), *self._between_turns()]

    def _between_turns(self) -> list[Command]:
        """Everything said has been heard and nobody is speaking: the moment to write it down, or to move."""
        quiet = self._floor.free and self._speech.all_heard and not self._turn.speaking and self._keys.none_yet
        if self.phase is not Phase.TALKING or not quiet or self._patience.answer_owed:
            return []
        return self._move() if self._moving else self._continuity.save()

    def _move(self) -> list[Command]:
        self.phase = Phase.ENDED
        return self._continuity.move()

    @_dispatch.when(_MOVE)
    def _move_late(self, now: int) -> list[Command]:
        if self.phase not in {Phase.STARTING, Phase.TALKING, Phase.RECOVERING}:
            return []
        return [*self._speech.hush(now), *self._move()]

    # --- time

    @_dispatch.on(ev.TimerFired)
    def _timer_fired(self, event: ev.TimerFired, now: int) -> list[Command]:
        if event.name.startswith(TOOL_TIMER):
            return self._tool_over(self._tools.late(event.name), now)
        if event.name in HANDOVER_TIMERS:
            late = self.phase is Phase.HANDING_OVER and self._handing_over
            return late.late(event.name, now) + self._move_on(now) if late else []
        return _dispatch.by_timer[event.name](self, now) if event.name in _dispatch.by_timer else []

    @_dispatch.when(QUIET_TIMER)
    def _quiet(self, now: int) -> list[Command]:
        """The line has been quiet for a while; if that is our silence, it is filled."""
        if self.phase is Phase.SAYING_GOODBYE and self._floor.free and not self._patience.answer_owed:
            return self._patience.not_yet(now) or self._hang_up()  # all was said; its last mark does not come
        ours = self.phase in WAITING_FOR_US or (self._patience.answer_owed and self.phase in CONVERSATION)
        return self._patience.fill(now) if ours else []

    @_dispatch.when(STALLED_TIMER)
    def _stalled(self, now: int) -> list[Command]:
        """The model owes an answer and gives no sign. Tools may take longer; their own deadline ends them."""
        if not self._patience.answer_owed or self.phase is not Phase.TALKING or self._tools.running:
            return []
        if (due := self._patience.sign_due) > now:
            return [SetTimer(STALLED_TIMER, due)]
        told = self._model.lose("stalled")
        if self._model.may_recover:
            return [*told, DisconnectModel(), *self._recover(now)]
        return told + self._escalate(Reason.MODEL_LOST, now)

    @_dispatch.when(READY_TIMER)
    def _not_ready(self, now: int) -> list[Command]:
        if self.phase not in {Phase.STARTING, Phase.RECOVERING}:
            return []
        return [Tell(Fact.MODEL_LOST, "not_ready"), *self._escalate(Reason.MODEL_LOST, now)]

    @_dispatch.when(_CALL_LIMIT)
    def _call_limit(self, now: int) -> list[Command]:
        return self._escalate(Reason.TIME_LIMIT, now)

    @_dispatch.when(_GOODBYE)
    def _goodbye_late(self, now: int) -> list[Command]:
        if self.phase is not Phase.SAYING_GOODBYE:
            return []
        if (heard := self._speech.heard_by(now)) > now:
            return [SetTimer(_GOODBYE, heard)]
        return self._hang_up(cut_off=self._patience.answer_owed or not self._speech.all_heard)

    @_dispatch.when(CANCELLED_TIMER)
    def _cancel_late(self, _: int) -> list[Command]:
        return self._floor.take() if self.phase is Phase.HANDING_OVER else []

    @_dispatch.when(_LATE)
    def _late_over(self, _: int) -> list[Command]:
        self.phase = Phase.ENDED
        return self._handing_over.owed() if self._handing_over else []
