"""The telephone exchange of a run: calls that come, talk, ask for a person and leave, and the model they talk to."""

import asyncio
import random
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qs, urlsplit

from bench.audio.caller import Caller
from bench.audio.edges import Edge, Opened
from bench.audio.engine import SLOTS, Engine
from bench.audio.lines import Line, Listener
from bench.audio.session import Manner, Session
from bench.audio.tally import Tally
from voice_openai_connect.simulator.carrier_twiml import TwimlError

API_KEY: Final = "sk-bench"
MODEL: Final = "gpt-realtime-2.1"
READY_S: Final = 10.0
"""From the first ring to a model that talks."""
LOOK_S: Final = 0.01
"""How often it is looked for calls that are not over."""


class Call:
    """One call: the party that a session of the model belongs to."""

    def __init__(self, number: int, tally: Tally) -> None:
        self.number = number
        self.sid = "CA" + secrets.token_hex(16)
        self.phone = f"+6149157{number % 10_000:04}"
        self.caller: Caller | None = None
        self.session: Session | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.began = time.monotonic()
        self.leaves = False
        """Whether the stream may end now: the caller hangs up, or has asked for a person."""
        self._tally = tally

    def talks(self) -> None:
        """The model is ready."""
        self._tally.set_up.append((time.monotonic() - self.began) * 1_000)
        if not self.ready.done():
            self.ready.set_result(None)


class Exchange:
    """Calls and sessions of one run. `close` ends them all, without complaint."""

    def __init__(self, manner: Manner, tally: Tally, *, tls: ssl.SSLContext | None = None, seed: int = 1) -> None:
        self.calls: dict[int, Call] = {}
        """Those on the line, by their numbers."""
        self.sessions: list[Session] = []
        self._manner = manner
        self._tally = tally
        self._random = random.Random(seed)
        self.engine = Engine(tally.complain)
        self._listener = Listener(self.engine, self._welcome, tls)
        self._scheme = "https" if tls else "http"
        self._placed = 0
        self._lives: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        """What `OPENAI_BASE_URL` should be."""
        return f"{self._scheme}://127.0.0.1:{self._listener.port}/v1"

    async def place(self, edge: Edge) -> Call:
        """Ring, and return when the call is talking. Raises `OSError` or `TimeoutError` if it does not come to that."""
        self._placed += 1
        call = self.calls[self._placed] = Call(self._placed, self._tally)
        try:
            opened = await edge.open(self.engine, call.sid, call.phone)
            life = asyncio.create_task(self._live(call, opened, edge), name=f"call {call.number}")
            self._lives.add(life)
            life.add_done_callback(self._lives.discard)
            async with asyncio.timeout(READY_S):
                await call.ready
        except (OSError, TimeoutError, TwimlError) as error:
            self._tally.complain("not answered", f"call {call.number}: {error!r}")
            self.calls.pop(call.number, None)
            raise
        return call

    async def _live(self, call: Call, opened: Opened, edge: Edge) -> None:
        """A stream from its first message to what comes after it."""
        stream_sid = "MZ" + secrets.token_hex(16)
        caller = call.caller = Caller(
            self.engine, opened.line, call_sid=call.sid, stream_sid=stream_sid, tally=self._tally
        )
        caller.begin(call.number, opened.parameters, self._random.randrange(SLOTS))
        if call.leaves:  # since before the line was open
            caller.leave()
        await edge.report(opened, call.sid, call.phone, "stream-started", stream_sid)
        ending = await caller.ended
        self.calls.pop(call.number, None)
        if not call.leaves:
            self._tally.complain("stream lost", f"call {call.number} was {ending}")
        await edge.report(opened, call.sid, call.phone, "stream-stopped", stream_sid)
        if ending == "closed":
            self._tally.counts[f"calls to a {await edge.follow(opened, call.sid, call.phone)}"] += 1

    def let_one_go(self, edge: Edge, *, asks_for_person: bool) -> None:
        """The call that has lasted longest ends: the caller hangs up, or asks for a person by key or by word."""
        call = next((each for each in self.calls.values() if each.ready.done() and not each.leaves), None)
        if call is None or call.caller is None or call.session is None:
            return
        if not (asks_for_person and edge.hands_over):
            self.hang_up(call)
            return
        call.leaves = True
        if self._random.choice((True, False)):
            call.session.quiet = True
            call.caller.press("0")
        else:
            call.session.escalates = True

    def hang_up(self, call: Call) -> None:
        """The caller leaves."""
        call.leaves = True
        self._tally.counts["calls hung up"] += 1
        if call.caller is not None:
            call.caller.leave()

    def missing(self, older_than_s: float) -> int:
        """Frames of callers that were sent so long ago and have not arrived."""
        before = time.monotonic() - older_than_s
        return sum(call.caller.missing(before) for call in self.calls.values() if call.caller and not call.leaves)

    async def close(self, settle_s: float) -> int:
        """Everybody hangs up, then all is closed. How many sessions of the model were open `settle_s` after that."""
        for call in list(self.calls.values()):
            self.hang_up(call)
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                while self.calls:  # noqa: ASYNC110 - some have been ringing until now
                    await asyncio.sleep(LOOK_S)
        if self._lives:
            await asyncio.wait(self._lives, timeout=READY_S)
        await asyncio.sleep(settle_s)
        left_open = sum(1 for session in self.sessions if session.open)
        for session in self.sessions:
            session.drop()
        self._listener.close()
        self.engine.stop()
        return left_open

    # --- the model's side

    def _welcome(self, path: str, headers: Mapping[str, str]) -> Callable[[Line], None] | str:
        parts = urlsplit(path)
        if headers.get("authorization") != f"Bearer {API_KEY}" or "openai-beta" in headers:
            self._tally.complain("refused by the model", "a handshake had the wrong headers")
            return "401 Unauthorized"
        if parts.path != "/v1/realtime" or parse_qs(parts.query).get("model") != [MODEL]:
            self._tally.complain("refused by the model", f"a handshake asked for {path}")
            return "404 Not Found"
        return self._open_session

    def _open_session(self, line: Line) -> None:
        session = Session(
            line,
            len(self.sessions) + 1,
            find=self._find,
            manner=self._manner,
            tally=self._tally,
            seed=self._random.getrandbits(32),
        )
        self.sessions.append(session)
        session.begin()

    def _find(self, session: Session, payload: bytes) -> Caller | None:
        """Whose voice it is: a block says so itself."""
        if self._manner.pcm:  # nothing can be read in transcoded sound; these calls are placed one after the other
            call = next((each for each in self.calls.values() if each.session is None), None)
        else:
            number = self.engine.owner(payload)
            if not 0 < number <= self._placed:
                self._tally.complain("changed", "the first append of a session is nobody's voice")
            call = self.calls.get(number)
        if call is None:  # that caller has left already
            return None
        call.session = session
        session.on_ready = call.talks
        return call.caller
