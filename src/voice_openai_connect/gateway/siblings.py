"""The processes of one instance that serve the same port, and what has to hold for all of them.

Whoever asks the port cannot choose who answers. So each worker has a door, a Unix socket in a folder of the instance's
own, at which the others ask what it knows: a line of JSON in, a line of JSON out. A worker that does not answer in time
counts as one that has nothing to say.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from voice_openai_connect import limits
from voice_openai_connect.gateway.bounded import within

State = Literal["ready", "full", "draining", "busy", "starting"]
"""Whether another call can be answered, and if not, why. Only an instance with workers is ever ``starting``."""


class LiveCall(msgspec.Struct, frozen=True):
    """A call on the line, as operators see it."""

    call_sid: str
    conversation_id: str
    phase: str


class Question(msgspec.Struct, frozen=True):
    """What one worker asks another. `call_sid` is the call to hand over."""

    ask: Literal["state", "calls", "handover"]
    call_sid: str = ""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What it is told: of these, whatever the question was about."""

    state: State = "starting"
    calls: Sequence[LiveCall] = ()
    ordered: bool = False


class Sessions(Protocol):
    """What a worker knows of its own calls."""

    @property
    def state(self) -> State:
        """Whether this process can answer another call, and if not, why."""
        ...

    def calls(self) -> Sequence[LiveCall]:
        """The calls on the line here."""
        ...

    def order_handover(self, call_sid: str) -> bool:
        """Send a live call to a person. False if there is no such call here."""
        ...


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's place: its `number`, from 0, among `workers` that share the folder `room`."""

    room: Path
    number: int
    workers: int

    def door(self, number: int) -> Path:
        """Where the worker with that number is asked."""
        return self.room / f"{number}.sock"

    @property
    def siblings(self) -> tuple[Path, ...]:
        """The doors of all the others."""
        return tuple(self.door(number) for number in range(self.workers) if number != self.number)

    @property
    def metrics(self) -> Path:
        """Where all workers count."""
        return self.room / "metrics"

    def is_first_use(self, nonce: bytes) -> bool:
        """True once for each `nonce`, whichever worker asks: a file can be made by one of them only."""
        try:
            self._ticket(nonce).touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError:
            return True  # a full disk must not turn callers away
        return True

    def forget(self, nonce: bytes) -> None:
        """A ticket that has expired opens nothing anyway."""
        self._ticket(nonce).unlink(missing_ok=True)

    def _ticket(self, nonce: bytes) -> Path:
        return self.room / f"{nonce.hex()}.used"


class Crew:
    """All workers of this instance as one. Without a `seat` there is only this process."""

    def __init__(self, sessions: Sessions, seat: Seat | None, on_failure: Callable[[str, BaseException], None]) -> None:
        self._sessions = sessions
        self._seat = seat
        self._on_failure = on_failure

    async def state(self) -> State:
        """Ready when any worker is; draining when any is, for a signal to stop is meant for all of them."""
        own = self._sessions.state
        if self._seat is None or own == "draining":
            return own
        if not all(door.exists() for door in self._seat.siblings):
            return "starting"  # a lone early worker would get the calls of all
        states = [own, *(answer.state for answer in await self._asked(Question("state")))]
        if "draining" in states:
            return "draining"
        return "ready" if "ready" in states else own

    async def calls(self) -> list[LiveCall]:
        """The calls on the line of the whole instance."""
        others = await self._asked(Question("calls"))
        return [*self._sessions.calls(), *(call for answer in others for call in answer.calls)]

    async def order_handover(self, call_sid: str) -> bool:
        """Send a call to a person, whichever worker has it. False if none has."""
        if self._sessions.order_handover(call_sid):
            return True
        return any(answer.ordered for answer in await self._asked(Question("handover", call_sid)))

    async def _asked(self, question: Question) -> list[Answer]:
        doors = self._seat.siblings if self._seat else ()
        answers = await asyncio.gather(*(self._ask(door, question) for door in doors))
        return [answer for answer in answers if answer is not None]

    async def _ask(self, door: Path, question: Question) -> Answer | None:
        return await within(limits.SIBLING_S, _asked_at(door, question), self._unanswered)

    def _unanswered(self, error: BaseException) -> None:
        # One that has just died is told by whoever keeps the workers; its socket is still there, and refuses.
        if not isinstance(error, ConnectionRefusedError | FileNotFoundError):
            self._on_failure("ask sibling", error)


async def _asked_at(door: Path, question: Question) -> Answer:
    reader, writer = await asyncio.open_unix_connection(door, limit=limits.SIBLING_BYTES)
    try:
        writer.write(msgspec.json.encode(question) + b"\n")
        return msgspec.json.decode(await reader.readline(), type=Answer)
    finally:
        writer.close()


@asynccontextmanager
async def open_door(seat: Seat | None, sessions: Sessions) -> AsyncGenerator[None]:
    """While the block runs, the siblings are answered."""
    if seat is None:
        yield
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            question = msgspec.json.decode(await reader.readline(), type=Question)
            writer.write(msgspec.json.encode(_answered(sessions, question)) + b"\n")
            await writer.drain()
        except (msgspec.DecodeError, OSError):
            pass  # a sibling that died while it asked
        finally:
            writer.close()

    door = seat.door(seat.number)
    door.unlink(missing_ok=True)  # left behind by one that was killed
    async with await asyncio.start_unix_server(answer, door):
        yield


def _answered(sessions: Sessions, question: Question) -> Answer:
    match question.ask:
        case "state":
            return Answer(state=sessions.state)
        case "calls":
            return Answer(calls=sessions.calls())
        case "handover":
            return Answer(ordered=sessions.order_handover(question.call_sid))
