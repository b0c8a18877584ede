"""Amazon Connect in the town: answers, hears the digits in the sound, runs the contact flow, finds an agent."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from voice_openai_connect.simulator import agent_screen, sound
from voice_openai_connect.simulator.contact_flow import FlowRunner, Invoke, LineDownError, Result, Say
from voice_openai_connect.simulator.contact_flow_rules import CHECKOUT, Flow
from voice_openai_connect.simulator.contact_flow_state import Contact, FlowState
from voice_openai_connect.simulator.dtmf import DtmfDetector
from voice_openai_connect.simulator.telephone import (
    FRAME_MS,
    SILENCE,
    Busy,
    Canceled,
    FrameClock,
    LineEnd,
    NoAnswer,
    Pulse,
)
from voice_openai_connect.simulator.timeline import Timeline

FLOWS: Final = CHECKOUT / "aws" / "contact_flow"

_ARN: Final = "arn:aws:connect:ap-southeast-2:000000000000:instance/simulated/"
DEPLOYED: Final = {
    "LambdaArn": "arn:aws:lambda:ap-southeast-2:000000000000:function:redeem-token",
    "PriorityQueueArn": _ARN + "queue/priority",
    "EscalationQueueArn": _ARN + "queue/escalation",
    "FallbackQueueArn": _ARN + "queue/fallback",
    "AgentGuideFlowArn": _ARN + "contact-flow/agent-guide",
    "AgentWhisperFlowArn": _ARN + "contact-flow/agent-whisper",
}
"""What a deployment would fill into the flow."""
QUEUES: Final = frozenset(arn for name, arn in DEPLOYED.items() if name.endswith("QueueArn"))

Greeting = Callable[[Contact], str]


def deployed_flow(path: Path = FLOWS / "inbound_handover.json") -> Flow:
    """The flow of this repository, with this town's ARNs. Raises `FlowRefusedError` and `OSError`."""
    return Flow.load(path.read_text(encoding="utf-8"), DEPLOYED)


def deployed_whisper(path: Path = FLOWS / "agent_whisper.json") -> Flow:
    """The flow that speaks to the agent alone. Raises `FlowRefusedError` and `OSError`."""
    return Flow.load(path.read_text(encoding="utf-8"), kind="agent_whisper")


def whispered(contact: Contact, flow: Flow) -> str:
    """What the agent hears before the caller does: every prompt on the contact's way through a whisper flow."""
    state, said, following = FlowState(contact, QUEUES), list[str](), flow.start
    while (action := flow.actions[following]).type != "EndFlowExecution":
        if action.type == "MessageParticipant":
            said.append(state.spoken(action.parameters["Text"]))
            following = action.next_action
        else:
            following = state.decide(action)
    return " ".join(said)


def usual_greeting(contact: Contact) -> str:
    """What an agent says first: different with and without context, so that one can hear which it was."""
    if contact.attributes.get("handover") != "ok":
        return "Hello, this is Sam. What can I do for you?"
    intent = contact.attributes.get("intent", "").replace("_", " ")
    about = f"I see it is about {intent}." if intent not in {"", "general"} else "I have your notes."
    return f"Hello, this is Sam. {about}"


@dataclass
class ContactCenter:
    """A subscriber that takes calls as a Connect instance with the inbound flow does.

    `invoke` is the Lambda (see `LambdaRuntime.invoke`). Without `say`, prompts are silence of about the right length.
    """

    invoke: Invoke
    flow: Flow = field(default_factory=deployed_flow)
    whisper: Flow = field(default_factory=deployed_whisper)
    timeline: Timeline = field(default_factory=Timeline)
    say: Say | None = None
    greeting: Greeting = usual_greeting
    agents: int = 1
    """How many may talk at the same time. With none, callers wait until they hang up."""
    accept_ms: int = 1_000
    """From entering the queue to the agent's hello, when one is free."""
    talk_ms: int | None = None
    """After how long the agent hangs up; None leaves that to the caller."""
    flow_after_ms: int = 0
    """From the answer to the flow's first block. Keys that are pressed meanwhile are lost, as in Connect."""
    rings_ms: int = 0
    """How long it rings before anything else happens."""
    deaf: bool = False
    """Tones do not get through."""
    busy: bool = False
    """The number is busy."""
    unanswered: bool = False
    """The number is not answered at all: not even by the flow."""
    canceled: bool = False
    """Whoever dials the number is stopped before it answers."""
    drops_after_ms: int | None = None
    """The number answers, and hangs up again after so long: not even the flow is heard. None: it does not."""
    closed: bool = False
    """Outside the queues' hours."""
    at_capacity: bool = False
    """The queues are full."""
    closed_queues: frozenset[str] = frozenset()
    full_queues: frozenset[str] = frozenset()
    """The same for some of them, by name."""
    contacts: list[Contact] = field(default_factory=list[Contact])
    runs: list[FlowRunner] = field(default_factory=list[FlowRunner])
    """What happened in the flow, contact by contact."""
    _talking: int = 0
    _changed: Pulse = field(default_factory=Pulse)

    async def answer(self, end: LineEnd) -> None:
        """Take one call, from ringing to its end. Raises `Busy`, `NoAnswer` and `Canceled`."""
        if not await self._rings_through(end):
            return
        if self.busy:
            raise Busy
        if self.unanswered:
            raise NoAnswer
        if self.canceled:
            raise Canceled
        if self.drops_after_ms is not None:
            await self._drop(end, self.drops_after_ms)
            return
        contact = Contact(str(uuid.uuid4()), customer_number=end.far, system_number=end.near)
        self.contacts.append(contact)
        self._enter(contact, "flow")
        line = _PacedLine(end, deaf=self.deaf)
        try:
            for _ in range(self.flow_after_ms // FRAME_MS):
                await line.step(SILENCE)
            if await self._run_flow(contact, line):
                await self._serve(contact, line, end)
        except LineDownError:
            pass  # the caller has hung up, which they may at any time
        finally:
            end.hang_up()
            self._enter(contact, "ended")

    async def _rings_through(self, end: LineEnd) -> bool:
        """Ring; False if the caller has given up by then."""
        clock = FrameClock()
        for _ in range(self.rings_ms // FRAME_MS):
            await clock.step()
            if end.hung_up:
                return False
        return True

    async def _drop(self, end: LineEnd, after_ms: int) -> None:
        """Answer, say nothing, and hang up."""
        line = _PacedLine(end)
        try:
            for _ in range(max(1, after_ms // FRAME_MS)):
                await line.step(SILENCE)
        except LineDownError:
            pass
        finally:
            end.hang_up()

    async def until_state(self, state: str, *, contacts: int = 1) -> Contact:
        """Return the first contact once `contacts` of them have been in that state."""
        while len(found := [contact for contact in self.contacts if state in contact.states]) < contacts:
            await self._changed.wait()
        return found[0]

    async def until_connected(self) -> Contact:
        """Return the first contact that talks to an agent, waiting for it if need be."""
        return await self.until_state("connected")

    def screen(self, contact: Contact) -> str:
        """What the agent has in front of them."""
        return agent_screen.render(contact.attributes, caller=contact.customer_number, queue=contact.queue)

    async def _run_flow(self, contact: Contact, line: "_PacedLine") -> bool:
        state = FlowState(
            contact,
            QUEUES,
            open_now=not self.closed,
            at_capacity=self.at_capacity,
            closed_queues=self.closed_queues,
            full_queues=self.full_queues,
        )
        run = FlowRunner(self.flow, state, line, self._noted(self.invoke), self.say)
        self.runs.append(run)
        return await run.run()

    def _noted(self, invoke: Invoke) -> Invoke:
        async def noted(event: dict[str, Any]) -> object:
            by_number = event["Details"]["Parameters"].get("match") == "phone"
            with self.timeline.span("connect", f"invoked the Lambda{' by number' if by_number else ''}"):
                return await invoke(event)

        return noted

    async def _serve(self, contact: Contact, line: "_PacedLine", end: LineEnd) -> None:
        self._enter(contact, "queued", queue=contact.queue, priority=contact.priority)
        waited_ms = 0
        while waited_ms < self.accept_ms or not self._next_in_line(contact):
            await line.step(SILENCE)
            waited_ms += FRAME_MS
        self._talking += 1
        end.introduce_person()
        if "AgentWhisper" in contact.event_hooks:
            self.timeline.note("connect", "whispers to the agent", text=whispered(contact, self.whisper))
        self._enter(contact, "connected", handover=contact.attributes.get("handover", ""))
        try:
            await self._talk(contact, line)
        finally:
            self._talking -= 1

    def _next_in_line(self, contact: Contact) -> bool:
        """Whether an agent is free for this contact: lowest priority number first, then who came first."""
        waiting = [other for other in self.contacts if other.states[-1] == "queued"]
        return self._talking < self.agents and min(waiting, key=lambda other: other.priority) is contact

    async def _talk(self, contact: Contact, line: "_PacedLine") -> None:
        hello = self.greeting(contact)
        said = sound.frames(await self._speech(hello, line))
        self.timeline.note("agent", "says", text=hello)
        talked_ms = 0
        while self.talk_ms is None or talked_ms < self.talk_ms:
            await line.step(said.pop(0) if said else SILENCE)
            talked_ms += FRAME_MS

    async def _speech(self, text: str, line: "_PacedLine") -> bytes:
        return b"" if self.say is None else await line.wait_for(asyncio.to_thread(self.say, text), _ignore)

    def _enter(self, contact: Contact, state: str, **details: object) -> None:
        contact.states.append(state)
        self.timeline.note("connect", f"contact {state}", **details)
        self._changed.beat()


def _ignore(keys: str) -> None:
    """Nobody listens for keys."""


class _PacedLine:
    """A line end at the pace of real time: a frame out every 20 ms, and everything heard until then."""

    def __init__(self, end: LineEnd, *, deaf: bool = False) -> None:
        self._end = end
        self._deaf = deaf
        self._clock = FrameClock()
        self._detector = DtmfDetector()

    async def step(self, frame: bytes) -> str:
        """Say 20 ms; return the keys heard meanwhile. Raises `LineDownError`."""
        await self._clock.step()
        if self._end.hung_up:
            raise LineDownError
        self._end.send(frame)
        keys = ""
        while (heard := self._end.receive_now()) is not None:
            keys += self._detector.feed(heard)
        return "" if self._deaf else keys

    async def wait_for(self, work: Awaitable[Result], heard: Callable[[str], None]) -> Result:
        """Say nothing until the work is done. Raises `LineDownError`, and then the work is given up."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                heard(await self.step(SILENCE))
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
