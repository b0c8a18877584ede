"""One call's sockets, timers and tasks, around a call that says what the test wants it to say."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import commands as do
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.handover import HandoverRecord
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.phases import Phase
from voice_openai_connect.call.settings import CallIdentity, CallSettings, Intent
from voice_openai_connect.call.transfer import FAIL_OPEN, DialPerson, HangUp, NextStep
from voice_openai_connect.gateway.ports import Post, ToolContext
from voice_openai_connect.gateway.stream_handler import Outside, StreamHandler
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

    def __init__(self, answers: Answers | None = None, broken: frozenset[type[ev.Event]] = frozenset()) -> None:
        general = Intent("general", "support", "normal")
        super().__init__(IDENTITY, CallSettings("Hello.", "One moment.", "Bye.", NobodyAsks(), {}, general))
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
    sent: list[str] = field(default_factory=list[str])
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    deaf: bool = False
    """Goes on as if it had never been closed."""

    def send(self, text: str) -> None:
        self.sent.append(text)

    async def receive(self) -> str | None:
        return await self.to_gateway.get()

    async def close(self) -> None:
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

    async def close(self) -> None:
        self.closed.set()


@dataclass
class Service:
    """Store and CRM in one. `does` is what happens when it is asked: answer, raise, or hang."""

    does: Callable[[], Awaitable[None]]
    attached: list[str] = field(default_factory=list[str])

    async def save(self, record: HandoverRecord) -> str:
        await self.does()
        return "0123456789"

    async def attach_ticket(self, token: str, contact_id: str, ticket_id: str, ticket_url: str) -> bool:
        await self.does()
        self.attached.append(ticket_id)
        return True

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        raise AssertionError("steps go through the session manager")

    async def recall_step(self, call_sid: str) -> NextStep | None:
        raise AssertionError("steps go through the session manager")

    async def find_contact(self, caller_phone: str) -> str:
        await self.does()
        return "101"

    async def open_ticket(self, record: HandoverRecord) -> tuple[str, str]:
        await self.does()
        return "201", "https://crm.example.com/201"

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
    await asyncio.sleep(0)


async def raises() -> None:
    await asyncio.sleep(0)
    raise LookupError("not today")


async def hangs() -> None:
    await asyncio.Event().wait()


class Stage:
    """A handler with everything around it."""

    def __init__(
        self,
        call: ScriptedCall,
        *,
        does: Callable[[], Awaitable[None]] = answers,
        leg: Leg | None = None,
        crm: bool = True,
        remember: Callable[[], Awaitable[None]] = answers,
    ) -> None:
        self.call, self.line, self.leg, self.watch = call, Line(), leg or Leg(), Watch()
        self.service = Service(does)
        self.steps: list[NextStep] = []

        async def remember_step(call_sid: str, step: NextStep) -> None:
            assert call_sid == CALL_SID
            self.steps.append(step)
            await remember()

        self.handler = StreamHandler(
            call,
            Outside(
                open_model=lambda: self.leg,
                store=self.service,
                crm=self.service if crm else None,
                remember_step=remember_step,
                tools={"order_status": self.service.tool},
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


async def over(served: asyncio.Task[None]) -> None:
    await asyncio.wait_for(served, DEADLINE_S)
    assert [task for task in asyncio.all_tasks() if CALL_SID in task.get_name()] == []


def on_start(*commands: do.Command) -> ScriptedCall:
    return ScriptedCall({ev.StreamStarted: commands})


async def whole_call(stage: Stage) -> None:
    """The call begins and the caller hangs up at once."""
    served = await stage.begin()
    stage.line.says("stop")
    await over(served)


# --- commands


def subclasses(kind: type[do.Command]) -> set[type[do.Command]]:
    return {kind, *(deeper for each in kind.__subclasses__() for deeper in subclasses(each))}


def test_every_command_there_is_is_carried_out() -> None:
    abstract = {do.Command, do.ModelCommand}

    assert set(StreamHandler._carry_out) == subclasses(do.Command) - abstract  # pyright: ignore[reportPrivateUsage]


async def test_what_the_caller_is_to_hear_goes_out_in_order_and_exactly() -> None:
    stage = Stage(on_start(do.PlayAudio(b"\x01" * 160), do.MarkPlayback("m1"), do.ClearPlayback()))
    await whole_call(stage)

    media, mark, clear = (json.loads(text) for text in stage.line.sent)
    assert base64.b64decode(media["media"]["payload"]) == b"\x01" * 160
    assert mark["mark"]["name"] == "m1"
    assert clear == {"event": "clear", "streamSid": "MZ1"}
    assert len(stage.watch.clears) == 1


async def test_what_the_model_is_to_do_reaches_the_model_in_order() -> None:
    asked: list[do.ModelCommand] = [do.ConfigureModel(), do.SendCallerAudio("AAAA"), do.RequestResponse("reply")]
    stage = Stage(on_start(do.ConnectModel(), *asked, do.TruncateItem("i", 20), do.DeleteItem("j")))
    await whole_call(stage)

    assert stage.leg.sent == [*asked, do.TruncateItem("i", 20), do.DeleteItem("j")]


async def test_the_model_s_side_is_closed_when_the_call_says_so() -> None:
    call = ScriptedCall({ev.StreamStarted: (do.ConnectModel(),), ev.KeyPressed: (do.DisconnectModel(),)})
    stage = Stage(call)
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await asyncio.wait_for(stage.leg.closed.wait(), DEADLINE_S)
    stage.line.says("stop")
    await over(served)


async def test_facts_and_frames_are_told() -> None:
    stage = Stage(on_start(do.Tell(Fact.MODEL_READY)))
    served = await stage.begin()
    for chunk in (1, 2, 5):
        stage.line.says("media", media={"payload": "AAAA", "chunk": str(chunk)})
    stage.line.says("stop")
    await over(served)

    assert stage.watch.facts == [do.Tell(Fact.MODEL_READY)]
    assert stage.watch.counted == [(3, 2)]
    assert stage.watch.stream == "MZ1"


# --- answers

ASKED: dict[type[do.Command], do.Command] = {
    do.ConnectModel: do.ConnectModel(),
    do.RunTool: do.RunTool("t1", "order_status", '{"order": "7"}'),
    do.FindContact: do.FindContact("+61255501234"),
    do.OpenTicket: do.OpenTicket(RECORD),
    do.SaveHandover: do.SaveHandover(RECORD),
}
ANSWERED_BY_THE_LEG = {do.ConfigureModel}
"""Sent to the model like any other; what comes back is the leg's business."""


def with_life(does: Callable[[], Awaitable[None]]) -> Leg:
    async def life(post: Post) -> None:
        await does()
        post(ev.ModelConnected())

    return Leg(life)


def test_every_command_with_an_answer_is_among_the_tests_below() -> None:
    assert set(do.ANSWERS) == set(ASKED) | ANSWERED_BY_THE_LEG


@pytest.mark.parametrize("kind", ASKED, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("does", [answers, raises])
async def test_a_command_has_exactly_one_answer_whatever_the_service_does(
    kind: type[do.Command], does: Callable[[], Awaitable[None]]
) -> None:
    success, failure = do.ANSWERS[kind]
    stage = Stage(on_start(ASKED[kind]), does=does, leg=with_life(does))
    served = await stage.begin()
    await stage.call.until(success, failure)
    stage.leg.closed.set()
    stage.line.says("stop")
    await over(served)

    assert [type(event) for event in stage.call.saw(success, failure)] == [success if does is answers else failure]
    assert len(stage.watch.failures) == (does is raises)


@pytest.mark.parametrize("kind", ASKED, ids=lambda kind: kind.__name__)
async def test_a_service_that_hangs_posts_nothing_and_is_ended_with_the_call(
    kind: type[do.Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CRM_LATE_MS", 20)
    stage = Stage(on_start(ASKED[kind]), does=hangs, leg=with_life(hangs))
    await whole_call(stage)

    assert stage.call.saw(*do.ANSWERS[kind]) == []
    assert stage.watch.failures == ["settle"]


async def test_the_answers_carry_what_the_services_said() -> None:
    stage = Stage(on_start(*(command for kind, command in ASKED.items() if kind is not do.ConnectModel)))
    served = await stage.begin()
    found = [await stage.call.until(kind) for kind in (ev.ContactFound, ev.TicketOpened, ev.HandoverSaved)]
    finished = await stage.call.until(ev.ToolFinished)
    stage.line.says("stop")
    await over(served)

    assert found[0] == ev.ContactFound("101")
    assert found[1] == ev.TicketOpened("201", "https://crm.example.com/201")
    assert found[2] == ev.HandoverSaved("0123456789")
    assert finished == ev.ToolFinished("t1", "7 of conv-1")


async def test_a_failure_is_named_by_the_short_reason_that_the_error_gives() -> None:
    class Throttled(Exception):  # noqa: N818 - as the store has it
        reason = "throttled"

    async def throttles() -> None:
        raise Throttled

    stage = Stage(on_start(do.SaveHandover(RECORD)), does=throttles)
    served = await stage.begin()
    assert await stage.call.until(ev.HandoverNotSaved) == ev.HandoverNotSaved("throttled")
    stage.line.says("stop")
    await over(served)


async def test_without_a_crm_the_answer_is_that_it_is_off() -> None:
    stage = Stage(on_start(do.FindContact("+61255501234"), do.OpenTicket(RECORD)), crm=False)
    await whole_call(stage)

    assert stage.call.saw(ev.ContactNotFound) == [ev.ContactNotFound("crm_off")]
    assert stage.call.saw(ev.TicketNotOpened) == [ev.TicketNotOpened("crm_off")]
    assert stage.watch.failures == []


async def test_a_tool_that_is_not_registered_fails_like_one_that_raises() -> None:
    stage = Stage(on_start(do.RunTool("t1", "no_such_tool", "{}")))
    served = await stage.begin()
    assert await stage.call.until(ev.ToolFailed) == ev.ToolFailed("t1", "KeyError")
    stage.line.says("stop")
    await over(served)


async def test_a_model_that_cannot_even_be_made_is_a_lost_model() -> None:
    def no_model() -> Leg:
        raise RuntimeError("numpy is not installed")

    stage = Stage(ScriptedCall())
    outside = Outside(no_model, stage.service, None, stage.handler._outside.remember_step)  # pyright: ignore[reportPrivateUsage]
    stage.call.answers[ev.StreamStarted] = (do.ConnectModel(),)
    stage.handler = StreamHandler(stage.call, outside, stage.watch)
    await whole_call(stage)

    assert stage.call.saw(ev.ModelLost) == [ev.ModelLost("not_opened", permanent=True)]


async def test_a_late_ticket_that_cannot_be_attached_is_told_and_nothing_else() -> None:
    for does, expected in ((answers, []), (raises, ["attach ticket"])):
        stage = Stage(on_start(do.AttachTicket("0123456789", "101", "201")), does=does)
        await whole_call(stage)

        assert stage.watch.failures == expected
        assert stage.service.attached == ([] if expected else ["201"])


# --- events


async def test_an_event_that_comes_while_another_is_handled_waits_its_turn() -> None:
    """`FindContact` without a CRM is answered at once, from within the event that asked for it."""
    call = ScriptedCall(
        {
            ev.StreamStarted: (do.FindContact(""), do.OpenTicket(RECORD), do.Tell(Fact.CALL_STARTED)),
            ev.ContactNotFound: (do.Tell(Fact.CONTACT_MISSING),),
            ev.TicketNotOpened: (do.Tell(Fact.TICKET_MISSING),),
        }
    )
    stage = Stage(call, crm=False)
    await whole_call(stage)

    assert [tell.fact for tell in stage.watch.facts] == [
        Fact.CALL_STARTED,
        Fact.CONTACT_MISSING,
        Fact.TICKET_MISSING,
    ]


async def test_a_slow_tool_does_not_delay_audio() -> None:
    may_finish = asyncio.Event()

    async def slow() -> None:
        await may_finish.wait()

    call = ScriptedCall(
        {
            ev.StreamStarted: (do.ConnectModel(), ASKED[do.RunTool]),
            ev.CallerAudio: (do.SendCallerAudio("AAAA"), do.PlayAudio(bytes(160))),
        }
    )
    stage = Stage(call, does=slow)
    served = await stage.begin()
    for _ in range(3):
        stage.line.says("media", media={"payload": "AAAA"})
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await call.until(ev.KeyPressed)

    assert stage.leg.sent == [do.SendCallerAudio("AAAA")] * 3
    assert len(stage.line.sent) == 3
    assert call.saw(ev.ToolFinished) == []
    may_finish.set()
    await call.until(ev.ToolFinished)
    stage.line.says("stop")
    await over(served)


async def test_a_timer_fires_once_the_later_one_of_a_name_counts_and_a_cancelled_one_never_fires() -> None:
    now = int(asyncio.get_running_loop().time() * 1_000)
    far = now + 3_600_000
    stage = Stage(
        on_start(
            do.SetTimer("replaced", now + 1),
            do.SetTimer("replaced", far),
            do.SetTimer("cancelled", now + 1),
            do.CancelTimer("cancelled"),
            do.CancelTimer("never set"),
            do.SetTimer("due", now + 2),
        )
    )
    served = await stage.begin()
    await stage.call.until(ev.TimerFired)
    stage.line.says("stop")
    await over(served)

    assert stage.call.saw(ev.TimerFired) == [ev.TimerFired("due")]


# --- mistakes of ours


async def test_a_call_that_raises_is_taken_to_a_person() -> None:
    stage = Stage(ScriptedCall(broken=frozenset({ev.KeyPressed})))
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await over(served)

    assert stage.steps == [FAIL_OPEN]
    assert stage.line.closed.is_set()
    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("broken")]
    assert stage.watch.failures == ["call"]


async def test_a_call_that_always_raises_is_asked_twice_and_its_model_is_closed_all_the_same() -> None:
    call = ScriptedCall({ev.StreamStarted: (do.ConnectModel(),)}, frozenset({ev.CallerAudio, ev.StreamLost}))
    stage = Stage(call)
    served = await stage.begin()
    for _ in range(50):
        stage.line.says("media", media={"payload": "AAAA"})
    await over(served)

    assert stage.steps == [FAIL_OPEN]
    assert [type(event) for event in call.seen] == [ev.StreamStarted, ev.CallerAudio, ev.StreamLost]
    assert stage.watch.failures == ["call", "call"]
    assert stage.leg.closed.is_set()


async def test_a_command_that_cannot_be_carried_out_takes_the_caller_to_a_person() -> None:
    stage = Stage(ScriptedCall({ev.KeyPressed: (do.Command(),)}))
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await over(served)

    assert stage.steps == [FAIL_OPEN]


async def test_a_step_that_was_decided_before_a_mistake_stays_decided() -> None:
    step = DialPerson(token="0123456789")
    call = ScriptedCall({ev.KeyPressed: (do.CloseStream(step),)}, frozenset({ev.TicketOpened}))
    stage = Stage(call)
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await asyncio.wait_for(stage.line.closed.wait(), DEADLINE_S)
    stage.handler.post(ev.TicketOpened("201"))
    await over(served)

    assert stage.steps == [step]


async def test_a_reader_that_raises_what_it_should_not_ends_the_stream_and_the_call_hears_of_it() -> None:
    class Raises(MediaReader):
        def read(self, text: str | bytes) -> ev.Event:
            raise ZeroDivisionError

    stage = Stage(ScriptedCall())
    stage.line.says("stop")
    await asyncio.wait_for(stage.handler.run(stage.line, Raises(), "MZ1"), DEADLINE_S)
    await asyncio.wait_for(stage.handler.settle(), DEADLINE_S)

    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("closed")]
    assert stage.watch.failures == ["listen"]
    assert stage.line.closed.is_set()


# --- how a stream ends


async def test_a_stop_from_twilio_is_the_last_thing_the_call_hears() -> None:
    stage = Stage(ScriptedCall())
    await whole_call(stage)

    assert stage.call.seen == [ev.StreamStarted("MZ1"), ev.StreamStopped()]
    assert stage.line.closed.is_set()


async def test_a_socket_that_breaks_is_a_lost_line() -> None:
    stage = Stage(ScriptedCall())
    served = await stage.begin()
    stage.line.to_gateway.put_nowait(None)
    await over(served)

    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("closed")]


async def test_a_line_that_has_fallen_silent_is_a_lost_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAM_SILENT_MS", 20)
    stage = Stage(ScriptedCall())
    await over(await stage.begin())

    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("silent")]
    assert stage.line.closed.is_set()


async def test_bad_messages_are_passed_over_until_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BAD_MESSAGES_MAX", 3)
    stage = Stage(ScriptedCall())
    served = await stage.begin()
    for bad in ("{not json", "", '{"event": "media"}'):
        stage.line.to_gateway.put_nowait(bad)
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await stage.call.until(ev.KeyPressed)
    assert stage.call.saw(ev.StreamLost) == []

    stage.line.to_gateway.put_nowait("")  # what a binary message comes as
    await over(served)
    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("garbage")]


async def test_a_peer_that_does_not_read_is_given_up_even_if_it_goes_on_talking() -> None:
    stage = Stage(ScriptedCall())
    served = await stage.begin()
    stage.handler.lose_stream("not_reading")
    await over(served)

    assert stage.call.saw(ev.StreamLost) == [ev.StreamLost("not_reading")]
    assert stage.line.closed.is_set()


@pytest.mark.parametrize("deaf", [False, True], ids=["an ordinary peer", "a peer that ignores the close"])
async def test_our_own_close_remembers_the_step_first_and_is_no_lost_line(*, deaf: bool) -> None:
    remembered = asyncio.Event()

    async def remember() -> None:
        await remembered.wait()

    call = ScriptedCall({ev.KeyPressed: (do.CloseStream(HangUp()),)})
    stage = Stage(call, remember=remember)
    stage.line.deaf = deaf
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await call.until(ev.KeyPressed)
    stage.line.says("mark", mark={"name": "m1"})
    await call.until(ev.PlaybackReached)
    assert stage.steps == [HangUp()]
    assert not stage.line.closed.is_set()

    remembered.set()
    await asyncio.wait_for(stage.line.closed.wait(), DEADLINE_S)
    await stage.end()
    await over(served)
    assert call.saw(ev.StreamLost) == []


async def test_the_stream_is_closed_even_if_the_step_cannot_be_remembered() -> None:
    call = ScriptedCall({ev.KeyPressed: (do.CloseStream(HangUp()),)})
    stage = Stage(call, remember=raises)
    served = await stage.begin()
    call.phase = Phase.ENDED
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await over(served)

    assert stage.line.closed.is_set()
    assert stage.watch.failures == ["close stream"]


# --- what is left when a stream has ended


async def test_a_ticket_on_its_way_is_waited_for_after_the_stream() -> None:
    may_answer = asyncio.Event()

    async def later() -> None:
        await may_answer.wait()

    call = ScriptedCall({ev.KeyPressed: (do.OpenTicket(RECORD), do.CloseStream(FAIL_OPEN))})
    stage = Stage(call, does=later)
    served = await stage.begin()
    stage.line.says("dtmf", dtmf={"digit": "1"})
    await asyncio.wait_for(stage.line.closed.wait(), DEADLINE_S)
    assert not served.done()

    may_answer.set()
    await call.until(ev.TicketOpened)
    await stage.end()
    await over(served)


async def test_no_timer_outlives_the_call_not_even_one_that_a_dying_task_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CRM_LATE_MS", 20)
    later = int(asyncio.get_running_loop().time() * 1_000) + 3_600_000

    async def clings() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return  # and so it answers, when nobody asks any more

    call = ScriptedCall({ev.StreamStarted: (do.SetTimer("a", later), ASKED[do.RunTool], do.CloseStream(FAIL_OPEN))})
    call.answers[ev.ToolFinished] = (do.SetTimer("b", later),)
    stage = Stage(call, does=clings)
    await over(await stage.begin())

    assert call.saw(ev.ToolFinished) == []
    assert stage.handler._timers == {}  # pyright: ignore[reportPrivateUsage]


async def test_a_stream_that_is_cancelled_from_outside_closes_socket_and_model() -> None:
    stage = Stage(on_start(do.ConnectModel()))
    served = await stage.begin()
    served.cancel()
    with pytest.raises(asyncio.CancelledError):
        await served
    await asyncio.wait_for(stage.handler.settle(), DEADLINE_S)

    assert stage.line.closed.is_set()
    assert stage.leg.closed.is_set()
