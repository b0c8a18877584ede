"""What a simulated call speaks to: a model, and the services behind. They work, fail, hang, and the model also lies."""

import json
from collections.abc import Callable
from random import Random
from typing import Final, Literal

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.tools import END_CALL, TAKE_MESSAGE, TRANSFER
from voice_openai_connect.simulator.simulation_world import Agenda, Weather

ITEM_BYTES: Final = 250
"""The model's items are made of 1 to this, so that each can be told on the line."""
OWN_TOOL: Final = "order_status"
WAY_MS: Final = (2, 120)
"""How long a message is on its way between gateway and model, least and most; drawn once for a stream."""


class Model:
    """A model that connects or not, hears turns, answers, calls tools, stalls, dies, and sometimes lies."""

    def __init__(
        self,
        agenda: Agenda,
        rng: Random,
        weather: Weather,
        post: Callable[[ev.Event], None],
        *,
        takes_messages: bool = False,
        interrupts: bool = True,
    ) -> None:
        self._agenda = agenda
        self._rng = rng
        self._weather = weather
        self._told = post
        self._takes_messages = takes_messages
        self._interrupts = interrupts
        self._way_ms = rng.randint(*WAY_MS)
        self._socket = 0
        """Counts the gateway's connections; what is on its way on an older one arrives nowhere."""
        self._session = 0
        self.running = False
        """Whether a session is open, or being opened."""
        self._names = 0
        self.listening = False
        self.hears_turn = False
        """The turn detection has heard the caller begin, and not stop."""
        self._in_noise = False
        """From now on it hears no pause any more, in this session."""
        self.knows_more = False
        """It was told what a tool found, and has not begun to speak since."""
        self._active: str | None = None
        self._purpose: ev.Purpose = "reply"
        self.made_of: dict[str, int] = {}
        """What the sound of each item is made of."""

    def _chance(self, chance: float) -> bool:
        return self._rng.random() < chance

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _later(self, ms: int, action: Callable[[], None]) -> None:
        """Unless the session is over by then."""
        session = self._session

        def act() -> None:
            if session == self._session:
                action()

        self._agenda.after(ms, act)

    def _travels(self, arrives: Callable[[], None]) -> None:
        """To the other end of the socket, in order, if it is still open by then."""
        socket = self._socket

        def arrive() -> None:
            if socket == self._socket:
                arrives()

        self._agenda.after(self._way_ms, arrive)

    def _post(self, event: ev.Event) -> None:
        self._travels(lambda: self._told(event))

    def _say(self, event: ev.Event, ms: int = 0) -> None:
        self._later(ms, lambda: self._post(event))

    # --- commands

    def carry_out(self, command: do.Command) -> None:
        """Do what the call asks of the model's side: at once to the socket, and on it once it has travelled."""
        match command:
            case do.ConnectModel():
                self._socket += 1
                self._connect()
            case do.DisconnectModel():
                self._socket += 1
                self._end_session()
            case _:
                session = self._session
                self._travels(lambda: self._obey(command) if session == self._session else None)

    def _obey(self, command: do.Command) -> None:
        match command:
            case do.ConfigureModel():
                self._configure()
            case do.RequestResponse(purpose=purpose, instructions=instructions):
                if self._active:
                    self._say(ev.ModelErred("conversation_already_has_active_response"), 20)
                else:
                    self._begin(purpose, with_tools=not instructions)
            case do.RequestSummary():
                self._summarise()
            case do.AnswerTool():
                self.knows_more = True
            case do.CancelResponse(response_id=response_id):
                self._cancel(response_id)
            case _:
                pass  # remembered, and answered by nothing

    def _end_session(self) -> None:
        self._session += 1
        self.running = False
        self._active, self.knows_more = None, False
        self.listening, self.hears_turn, self._in_noise = False, False, False

    def _connect(self) -> None:
        self._end_session()
        self.running = True
        if self._chance(self._weather.connect_hangs):
            self._later(limits.MODEL_CONNECT_MS, lambda: self._die("timeout"))
        elif self._chance(self._weather.connect_fails):
            permanent = self._chance(0.2)
            self._later(self._rng.randint(10, 900), lambda: self._die("refused", permanent=permanent))
        else:
            self._say(ev.ModelConnected(), self._rng.randint(50, 900))

    def _configure(self) -> None:
        wrong = self._chance(self._weather.format_wrong)
        answer = ev.ModelConfigured("audio/pcmu", "audio/pcm" if wrong else "audio/pcmu")

        def ready() -> None:
            self.listening = True
            self._post(answer)

        if not self._chance(self._weather.connect_hangs):
            self._later(self._rng.randint(20, 300), ready)

    def _die(self, reason: str, *, permanent: bool = False) -> None:
        self._end_session()
        self._post(ev.ModelLost(reason, permanent))

    def _summarise(self) -> None:
        if self._chance(self._weather.response_stalls):
            return
        status = "failed" if self._chance(self._weather.response_fails) else "completed"
        text = "intent: general\nThe caller wants something."
        self._say(
            ev.ModelResponseFinished(self._name("s"), "summary", status, text=text), self._rng.randint(200, 2_500)
        )

    # --- a response

    def _begin(self, purpose: ev.Purpose, *, with_tools: bool = True) -> None:
        response_id = self._name("r")
        self._active, self._purpose, self.knows_more = response_id, purpose, False
        latency = self._rng.randint(150, 1_400)
        self._say(ev.ModelResponseStarted(response_id, purpose), latency // 2)
        if self._chance(self._weather.response_stalls):
            return
        if self._chance(self._weather.response_fails):
            retry = self._rng.choice([None, 100, 2_000, 9_000])
            self._in_response(response_id, latency, lambda: self._finish(response_id, "failed", retry))
        else:
            self._in_response(response_id, latency, lambda: self._make(response_id, with_tools=with_tools))

    def _in_response(self, response_id: str, ms: int, action: Callable[[], None]) -> None:
        """Unless it has been cancelled by then; a model that lies does not mind."""

        def act() -> None:
            if self._active == response_id or self._chance(self._weather.model_lies / 4):
                action()

        self._later(ms, act)

    def _make(self, response_id: str, *, with_tools: bool) -> None:
        tool = with_tools and self._chance(self._weather.tool_wanted)
        ends = with_tools and self._chance(self._weather.end_wanted)
        moves = with_tools and self._chance(self._weather.transfer_wanted)
        notes = with_tools and self._takes_messages and self._chance(self._weather.message_wanted)
        wishes = ((OWN_TOOL, tool), (TRANSFER, moves), (TAKE_MESSAGE, notes), (END_CALL, ends))
        calls = [name for name, wanted in wishes if wanted]
        voiced = not calls or self._chance(0.5)
        at = self._speak(response_id) if voiced else 0
        if calls and self._chance(self._weather.model_lies):
            calls += self._rng.choice([["no_such_tool"], calls])
        for name in calls:
            call = ev.ModelToolCalled(response_id, self._name("i"), self._name("c"), name, self._arguments())
            self._in_response(response_id, at + 10, lambda call=call: self._post(call))
            if self._chance(self._weather.model_lies):
                self._in_response(response_id, at + 15, lambda call=call: self._post(call))
        self._in_response(response_id, at + 20, lambda: self._finish(response_id, "completed"))

    def _arguments(self) -> str:
        if self._chance(self._weather.model_lies):
            return self._rng.choice(["", "[]", "{", '{"summary": 5}'])
        return json.dumps({"reason": "r", "summary": "s", "message": "m"} if self._chance(0.5) else {})

    def _speak(self, response_id: str) -> int:
        """Send speech several times faster than it plays; how long that takes, in ms."""
        item_id = self._name("i")
        made_of = self.made_of[item_id] = len(self.made_of) % ITEM_BYTES + 1
        left, at, pace = self._rng.randint(200, 7_000), 0, self._rng.randint(2, 12)
        dies = self._chance(self._weather.model_dies)
        stalls = self._chance(self._weather.response_stalls)
        while left > 0:
            piece = min(left, self._rng.randint(20, 400))
            audio = bytes([made_of]) * (piece * limits.BYTES_PER_MS - self._rng.randrange(8))
            heard, said = ev.ModelAudio(response_id, item_id, audio), ev.ModelSaid(response_id, item_id, "some words ")
            self._in_response(response_id, at, lambda heard=heard: self._post(heard))
            self._in_response(response_id, at, lambda said=said: self._post(said))
            left, at = left - piece, at + piece // pace
            if left < 3_000 and (dies or stalls):
                self._in_response(response_id, at, self._fall_silent if stalls else lambda: self._die("reset"))
                break
        self._in_response(response_id, at, lambda: self._post(ev.ModelAudioFinished(response_id, item_id)))
        return at

    def _fall_silent(self) -> None:
        """The session stays open, and nothing comes of it any more."""
        self._session += 1

    def _finish(
        self, response_id: str, status: Literal["completed", "failed"], retry_after_ms: int | None = None
    ) -> None:
        self._active = None if self._active == response_id else self._active
        self._post(ev.ModelResponseFinished(response_id, self._purpose, status, retry_after_ms=retry_after_ms))

    def _cancel(self, response_id: str) -> None:
        if self._active != response_id:
            self._say(ev.ModelErred("response_cancel_not_active"), 30)
            return
        purpose, self._active = self._purpose, None
        self._say(ev.ModelResponseFinished(response_id, purpose, "cancelled"), self._rng.randint(5, 120))

    # --- what it hears

    def hear_start(self) -> None:
        """The caller has been speaking for a moment."""
        if not self.listening or self.hears_turn:
            return
        self.hears_turn = True
        self._post(ev.CallerSpeechStarted(self._name("u")))
        if self._active and self._interrupts:
            self._cancel(self._active)

    def hear_stop(self, text: str) -> None:
        """The caller has been silent for a moment: it answers by itself."""
        if not (self.listening and self.hears_turn):
            return
        if self._in_noise or self._chance(self._weather.noise):
            self._in_noise = True
            return
        self.hears_turn = False
        item_id = self._name("u")
        self._post(ev.CallerSpeechStopped(item_id))
        written = self._chance(1 - self._weather.response_fails / 2)
        words = ev.CallerTranscribed(item_id, text) if written else ev.CallerTranscriptionFailed(item_id, "x")
        self._say(words, self._rng.randint(200, 2_500))
        if not self._active:
            self._begin("reply")

    def hear_nothing(self) -> None:
        """Nobody has said anything for long."""
        if self.listening and not self._active and not self.hears_turn:
            self._post(ev.CallerStayedSilent(self._name("u")))
            if not self._active:
                self._begin("reply")


class Services:
    """CRM, store and tools: they answer, fail, or hang."""

    def __init__(self, agenda: Agenda, rng: Random, weather: Weather, post: Callable[[ev.Event], None]) -> None:
        self._agenda = agenda
        self._rng = rng
        self._weather = weather
        self._post = post

    def carry_out(self, command: do.Command) -> None:
        """Answer a command once, or never."""
        match command:
            case do.FindContact():
                self._answer(ev.ContactFound("c1"), ev.ContactNotFound("x"), 1_500)
            case do.OpenTicket():
                self._answer(ev.TicketOpened("t1"), ev.TicketNotOpened("x"), 4_000)
            case do.SaveHandover():
                self._answer(ev.HandoverSaved("0123456789"), ev.HandoverNotSaved("x"), 3_000)
            case do.RunTool(call_id=call_id):
                self._answer(ev.ToolFinished(call_id, "done"), ev.ToolFailed(call_id, "x"), 9_000)
            case _:
                pass

    def _answer(self, good: ev.Event, bad: ev.Event, slowest_ms: int) -> None:
        if self._rng.random() < self._weather.service_hangs:
            return
        answer = bad if self._rng.random() < self._weather.service_fails else good
        self._agenda.after(self._rng.randint(20, slowest_ms), lambda: self._post(answer))
