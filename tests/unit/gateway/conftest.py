"""A stream handler with everything around it: a call that says what the test wants, and fakes of our own ports."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from starlette.types import ASGIApp

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint
from voice_openai_connect.call.handover import HandoverRecord, Redemption
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.next_step import NextStep
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings, Intent
from voice_openai_connect.call.ticket_note import TicketNote
from voice_openai_connect.gateway.ports import Post, ToolContext
from voice_openai_connect.gateway.server import DrainingServer, server_config
from voice_openai_connect.gateway.stream_handler import Outside, StreamHandler
from voice_openai_connect.simulator.ports import free_port
from voice_openai_connect.wire.twilio_media import MediaReader

DEADLINE_S = 10
CALL_SID = "CA" + "0" * 32
IDENTITY = CallIdentity(CALL_SID, "conv-1", "ho-1", "+61255501234", "+61255505678")
RECORD = HandoverRecord("ho-1", "conv-1", CALL_SID, "+61255501234", "why", "general", "normal", "key", "support")
Answers = dict[type[ev.Event], tuple[do.Command, ...]]


class NobodyAsks:
    def wants_person(self, text: str) -> bool:
        return False


class ScriptedCall(Call):
    """Answers events as it is told; ends when the stream does. `broken` events make it raise."""

    def __init__(
        self,
        answers: Answers | None = None,
        broken: frozenset[type[ev.Event]] = frozenset(),
        resumed: Checkpoint | None = None,
    ) -> None:
        general = Intent("general", "support", "normal")
        super().__init__(IDENTITY, CallSettings("Hello.", "One moment.", "Bye.", NobodyAsks(), {}, general), resumed)
        self.answers = answers or {}
        self.broken = broken
        self.seen: list[ev.Event] = []
        self.news = asyncio.Event()

    def handle(self, event: ev.Event, now: int) -> tuple[do.Command, ...]:
        self.seen.append(event)
        self.news.set()
        if type(event) in self.broken:
            raise ZeroDivisionError
        if isinstance(event, ev.StreamStopped | ev.StreamLost):
            self.phase = Phase.ENDED
        return self.answers.get(type(event), ())

    def saw(self, *kinds: type[ev.Event]) -> list[ev.Event]:
        return [event for event in self.seen if isinstance(event, kinds)]

    async def until(self, *kinds: type[ev.Event]) -> ev.Event:
        async with asyncio.timeout(DEADLINE_S):
            while not self.saw(*kinds):
                self.news.clear()
                await self.news.wait()
        return self.saw(*kinds)[0]


@dataclass
class Line:
    """A media socket, seen from Twilio's end."""

    to_gateway: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue[str | None])
    sent: list[bytes] = field(default_factory=list[bytes])
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    deaf: bool = False
    """Goes on as if it had never been closed."""
    on_trouble: Callable[[str], None] = lambda _: None

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    async def receive(self) -> str | None:
        return await self.to_gateway.get()

    async def deliver(self, heard: Callable[[str], bool]) -> None:
        while (text := await self.receive()) is not None and heard(text):
            pass

    async def close(self, code: int = 1000) -> None:
        self.closed.set()
        if not self.deaf:
            self.to_gateway.put_nowait(None)

    def says(self, event: str, **fields: Any) -> None:
        self.to_gateway.put_nowait(json.dumps({"event": event, "streamSid": "MZ1", **fields}))


@dataclass
class Leg:
    """A model's side that does what `life` says, and notes what it is asked for."""

    life: Callable[[Post], Awaitable[None]] | None = None
    sent: list[do.ModelCommand] = field(default_factory=list[do.ModelCommand])
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, post: Post) -> None:
        if self.life is not None:
            await self.life(post)
        await self.closed.wait()

    def send(self, command: do.ModelCommand) -> None:
        self.sent.append(command)

    def send_audio(self, audio: bytes) -> None:
        self.send(do.SendCallerAudio(audio))

    async def close(self) -> None:
        self.closed.set()


@dataclass
class Service:
    """Store, CRM and outbox in one. `does` is what happens when it is asked: answer, raise, or hang."""

    does: Callable[[], Awaitable[None]]
    attached: list[str] = field(default_factory=list[str])
    checkpoints: list[Checkpoint] = field(default_factory=list[Checkpoint])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    words_kept: bool | None = None
    """Whether there were said to be words of a call that was closed."""
    revoked: list[str] = field(default_factory=list[str])
    notes: list[TicketNote] = field(default_factory=list[TicketNote])
    owed: list[HandoverRecord] = field(default_factory=list[HandoverRecord])

    async def save(self, record: HandoverRecord) -> str:
        await self.does()
        return "0123456789"

    async def attach_ticket(self, token: str, contact_id: str, ticket_id: str, ticket_url: str) -> bool:
        await self.does()
        self.attached.append(ticket_id)
        return True

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        raise AssertionError("steps go through the session manager")

    def save_checkpoint(self, call_sid: str, checkpoint: Checkpoint, *, at_once: bool = False) -> asyncio.Future[None]:
        async def save() -> None:
            await self.does()
            self.checkpoints.append(checkpoint)

        return asyncio.ensure_future(save())

    async def bring_back(self, call_sid: str, checkpoint: Checkpoint) -> None:
        raise AssertionError("callers are brought back between streams")

    def hasten(self) -> None:
        return

    async def close_call(self, call_sid: str, outcome: Outcome, *, words_kept: bool = True) -> None:
        await self.does()
        self.checkpoints.clear()
        self.outcomes.append(outcome)
        self.words_kept = words_kept

    async def take_over(self, call_sid: str) -> CallItem:
        raise AssertionError

    async def recall_call(self, call_sid: str) -> CallItem:
        raise AssertionError("calls are recalled through the session manager")

    async def note_asked(self, call_sid: str) -> None:
        raise AssertionError("the session manager keeps that")

    async def note_stopped(self, call_sid: str, stream_sid: str) -> None:
        raise AssertionError("the aftercare keeps that")

    async def note_dial(self, call_sid: str, attempt: int, outcome: DialOutcome) -> bool:
        raise AssertionError("the aftercare keeps that")

    async def redemption(self, token: str) -> Redemption | None:
        raise AssertionError("the aftercare asks for that")

    async def revoke(self, token: str) -> bool:
        await self.does()
        self.revoked.append(token)
        return True

    async def find_contact(self, caller_phone: str) -> str:
        await self.does()
        return "101"

    async def open_ticket(self, record: HandoverRecord) -> tuple[str, str]:
        await self.does()
        return "201", "https://crm.example.com/201"

    async def note(self, note: TicketNote) -> None:
        raise AssertionError("notes go through the outbox")

    async def keep_ticket(self, record: HandoverRecord) -> None:
        await self.does()
        self.owed.append(record)

    async def keep_note(self, note: TicketNote) -> None:
        await self.does()
        self.notes.append(note)

    async def tool(self, arguments: Mapping[str, Any], context: ToolContext) -> str:
        await self.does()
        return f"{arguments['order']} of {context.conversation_id}"


@dataclass
class Watch:
    """Everything that was told."""

    facts: list[do.Tell] = field(default_factory=list[do.Tell])
    failures: list[str] = field(default_factory=list[str])
    counted: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    clears: list[float] = field(default_factory=list[float])
    stream: str = ""
    stream_over: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, fact: do.Tell) -> None:
        self.facts.append(fact)

    def stream_started(self, stream_sid: str) -> None:
        self.stream = stream_sid

    def cleared(self, took_ms: float) -> None:
        self.clears.append(took_ms)

    def frames(self, *, received: int, lost: int) -> None:
        self.counted.append((received, lost))
        self.stream_over.set()

    def failed(self, what: str, error: BaseException) -> None:
        self.failures.append(what)


async def answers() -> None:
    """What a service does unless a test says otherwise."""
    await asyncio.sleep(0)


class Stage:
    """A handler with everything around it."""

    def __init__(
        self,
        answers_to: Answers | None = None,
        *,
        broken: frozenset[type[ev.Event]] = frozenset(),
        does: Callable[[], Awaitable[None]] = answers,
        life: Callable[[Post], Awaitable[None]] | None = None,
        makes_models: bool = True,
        crm: bool = True,
        remember: Callable[[], Awaitable[None]] = answers,
        unattended: Callable[[], ev.QueuesUnattended] = ev.QueuesUnattended,
        resumed: Checkpoint | None = None,
    ) -> None:
        self.call = ScriptedCall(answers_to, broken, resumed)
        self.line, self.leg, self.watch = Line(), Leg(life), Watch()
        self.service = Service(does)
        self.steps: list[NextStep] = []

        async def remember_step(call_sid: str, step: NextStep) -> None:
            assert call_sid == CALL_SID
            self.steps.append(step)
            await remember()

        def open_model() -> Leg:
            if not makes_models:
                raise RuntimeError("numpy is not installed")
            return self.leg

        self.handler = StreamHandler(
            self.call,
            Outside(
                open_model=open_model,
                store=self.service,
                crm=self.service if crm else None,
                remember_step=remember_step,
                tools={"order_status": self.service.tool},
                outbox=self.service if crm else None,
                unattended=unattended,
            ),
            self.watch,
        )

    async def begin(self) -> asyncio.Task[None]:
        """Start the stream; the task serves it to its end and settles."""
        reader = MediaReader()
        body = {"streamSid": "MZ1", "callSid": CALL_SID, "accountSid": "AC1"}
        body |= {"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}}
        reader.read(json.dumps({"event": "connected"}))
        reader.read(json.dumps({"event": "start", "start": body}))

        async def serve() -> None:
            await self.handler.run(self.line, reader, "MZ1")
            await self.handler.settle()

        served = asyncio.create_task(serve())
        await self.call.until(ev.StreamStarted)
        return served

    async def end(self) -> None:
        """The stream has been served to its end; then the call says that nothing more will come of it."""
        await asyncio.wait_for(self.watch.stream_over.wait(), DEADLINE_S)
        self.call.phase = Phase.ENDED
        self.handler.post(ev.TimerFired("late"))

    async def over(self, served: asyncio.Task[None]) -> None:
        """The stream has been served to its end, and nothing of the call is left."""
        await asyncio.wait_for(served, DEADLINE_S)
        assert [task for task in asyncio.all_tasks() if CALL_SID in task.get_name()] == []

    async def whole_call(self) -> None:
        """The call begins and the caller hangs up at once."""
        served = await self.begin()
        self.line.says("stop")
        await self.over(served)


@pytest.fixture
def make_stage() -> type[Stage]:
    """Makes a stage: `make_stage({event: (command, …)}, does=…, …)`."""
    return Stage


class Table:
    """What instances share of calls, in memory. `does` is what happens when it is asked: answer, raise, or hang."""

    def __init__(self) -> None:
        self.items: dict[str, CallItem] = {}
        self.redeemed: dict[str, Redemption] = {}
        self.revoked: list[str] = []
        self.taken_over: list[str] = []
        self.now = 1_000
        self.does: Callable[[], Awaitable[None]] = answers

    async def _change(self, call_sid: str, **changes: Any) -> None:
        await self.does()
        self.items[call_sid] = replace(self.items.get(call_sid, CallItem()), **changes)

    async def save(self, record: HandoverRecord) -> str:
        raise AssertionError("only a live call does that")

    async def attach_ticket(self, token: str, contact_id: str, ticket_id: str, ticket_url: str) -> bool:
        raise AssertionError("only a live call does that")

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        await self._change(call_sid, step=step)

    def save_checkpoint(self, call_sid: str, checkpoint: Checkpoint, *, at_once: bool = False) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._change(call_sid, checkpoint=checkpoint))

    async def bring_back(self, call_sid: str, checkpoint: Checkpoint) -> None:
        await self._change(call_sid, checkpoint=checkpoint, step=None)

    def hasten(self) -> None:
        return

    async def close_call(self, call_sid: str, outcome: Outcome, *, words_kept: bool = True) -> None:
        await self._change(call_sid, checkpoint=None, outcome=outcome)

    async def note_asked(self, call_sid: str) -> None:
        await self._change(call_sid, asked_at=self.now)

    async def note_stopped(self, call_sid: str, stream_sid: str) -> None:
        await self._change(call_sid, stopped_stream=stream_sid)

    async def note_dial(self, call_sid: str, attempt: int, outcome: DialOutcome) -> bool:
        dials = self.items.get(call_sid, CallItem()).dials
        await self._change(call_sid, dials={attempt: outcome, **dials})
        return attempt not in dials

    async def recall_call(self, call_sid: str) -> CallItem:
        await self.does()
        return self.items.get(call_sid, CallItem())

    async def take_over(self, call_sid: str) -> CallItem:
        self.taken_over.append(call_sid)
        await self._change(call_sid, step=None)
        return self.items[call_sid]

    async def redemption(self, token: str) -> Redemption | None:
        await self.does()
        return self.redeemed.get(token)

    async def revoke(self, token: str) -> bool:
        await self.does()
        self.revoked.append(token)
        return True


@pytest.fixture
def table() -> Table:
    """A table that instances share."""
    return Table()


@asynccontextmanager
async def on_a_port(app: ASGIApp, request_s: float = limits.REQUEST_S) -> AsyncGenerator[int]:
    """Our server with any application behind it, which has nothing to drain."""

    async def drain() -> None:
        return

    port = free_port()
    server = DrainingServer(server_config(app, host="127.0.0.1", port=port), drain, lambda: None, request_s=request_s)
    task = asyncio.create_task(server.serve_within())
    await server.until_started()
    try:
        yield port
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def serving() -> Callable[..., AbstractAsyncContextManager[int]]:
    """Serves an application while the block lasts, on the port it gives: `serving(app, request_s)`."""
    return on_a_port
