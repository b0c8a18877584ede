"""The load generator's Twilio: N calls, each following the gateway's TwiML to its end.

Webhooks carry Twilio's own signature over the public address; the TwiML is read by the strict simulator's parser; a
stream that ends, however it ends, is followed by the question to `<Connect action>`; `<Dial>` is played by posting its
outcome. What is left out: sound of its own (`<Say>` lasts about as long as it would).
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlencode, urlsplit

from bench.load import media, webhook
from bench.load.fleet import Fleet, Instance
from bench.load.ledger import CallBook, Ledger
from bench.load.person import Person, Plan
from bench.load.sockets import Ending, InvalidHandshake, LightSocket, connect
from bench.load.spread import Spread
from bench.load.stream import Line, MediaStream
from bench.load.trouble import Trouble
from voice_openai_connect.simulator.carrier_twiml import (
    RETRIEVAL_FAILED,
    Connect,
    Dial,
    Document,
    Hangup,
    Pause,
    Redirect,
    Say,
    Stream,
    TwimlError,
    read,
)
from voice_openai_connect.simulator.carrier_webhooks import overrides, signer

PUBLIC_HOST: Final = "voice.example.com"
ACCOUNT_SID: Final = "AC" + "5" * 32
AUTH_TOKEN: Final = "load-auth-token-of-the-account"  # noqa: S105 - of no real account
GATEWAY_NUMBER: Final = "+61255501234"
PERSON_NUMBER: Final = "+61255505678"
WEBHOOK_S: Final = 15.0
SAY_MS_PER_LETTER: Final = 20
TALK_S: Final = 1.0
"""How long the person talks; Twilio is said to have measured `TALK_POSTED_S`."""
TALK_POSTED_S: Final = 45
SUCCESS: Final = range(200, 300)

Outcome = Literal["", "caller_hung_up", "person", "goodbye", "apology", "ran_out", "silent_hang_up", "stuck"]
"""How a call ended. The last four are lost callers."""
LOST: Final[frozenset[Outcome]] = frozenset({"", "apology", "ran_out", "silent_hang_up", "stuck"})


@dataclass
class Break:
    """A stream that ended and was not the call's last word. Times in seconds of the loop's clock."""

    ending: Ending
    at: float
    on: str
    """The instance that it was on."""
    streams: int
    """How many streams the call had had by then."""
    stream_at: float | None = None
    """When the next stream was open."""
    then_on: str = ""
    sound_at: float | None = None
    """When the caller heard anything again, the holding sound included."""
    voice_at: float | None = None
    """When the caller heard the model again."""


@dataclass
class CarriedCall:
    """A call. `ended` is its task."""

    book: CallBook
    person: Person
    line: Line
    sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    status: str = "ringing"
    outcome: Outcome = ""
    stream: MediaStream | None = None
    instance: Instance | None = None
    """Where its stream is, while it has one."""
    streams: int = 0
    breaks: list[Break] = field(default_factory=list[Break])
    dials: int = 0
    was_spoken_to: bool = False
    """Since the last stream, Twilio has said something; or the model has, in the last stream."""
    voices: int = 0
    """Streams in which the model was heard."""

    @property
    def lost(self) -> bool:
        """Whether the caller was left without a person, a goodbye, or a hang-up of their own."""
        return self.outcome in LOST


class LoadCarrier:
    """Places calls. `on_break` is told when a stream that was talking has ended without the caller leaving."""

    def __init__(self, fleet: Fleet, ledger: Ledger, *, trouble: Trouble | None = None, seed: int = 1) -> None:
        self.calls: list[CarriedCall] = []
        self.pacing = Spread()
        self.silences = Spread()
        self.failures: list[str] = []
        """Requests that got no answer, and what was wrong."""
        self._fleet = fleet
        self._ledger = ledger
        self._trouble = trouble or Trouble()
        self._random = random.Random(seed)
        self._sign = signer(AUTH_TOKEN)
        self._errands: set[asyncio.Task[None]] = set()
        self.lives: dict[int, asyncio.Task[None]] = {}

    def place_call(self, plan: Plan) -> CarriedCall:
        """Ring. The call lives in a task of its own, in `lives`, under its number."""
        number = len(self.calls) + 1
        person = Person(plan, seed=self._random.getrandbits(32))
        call = CarriedCall(self._ledger.open(number, plan), person, Line(self.pacing, self.silences))
        self.calls.append(call)
        self.lives[number] = asyncio.create_task(self._live(call), name=f"call {number}")
        return call

    async def finish(self, within_s: float) -> None:
        """Wait until every call has ended; those that have not are stuck, and are ended here."""
        if self.lives:
            await asyncio.wait(self.lives.values(), timeout=within_s)
        for number, life in self.lives.items():
            if not life.done():
                life.cancel()
                self.calls[number - 1].outcome = "stuck"
        results = await asyncio.gather(*self.lives.values(), *self._errands, return_exceptions=True)
        for error in results:
            if isinstance(error, Exception):
                raise error

    # --- one call

    async def _live(self, call: CarriedCall) -> None:
        """From the first ring to the end."""
        try:
            document = await self._ask(call, f"https://{PUBLIC_HOST}/twilio/voice", {})
            while document is not None:
                call.status = "in-progress"
                document = await self._follow(call, document)
        except TwimlError as error:
            self._ledger.complain(call.book.number, f"Twilio says sorry: {error}")
            call.outcome = "apology"
        finally:
            call.status = "completed"
            if call.stream is not None:
                call.stream.drop()

    async def _follow(self, call: CarriedCall, document: Document) -> Document | None:
        """Carry out a document. Returns the next one, or None when the call is over."""
        for warning in document.warnings:
            self._ledger.complain(call.book.number, f"12200: {warning}")
        for verb in document.verbs:
            match verb:
                case Connect():
                    if await self._connect(call, verb.stream) == "left":
                        call.outcome = "caller_hung_up"
                        return None
                    return await self._ask(call, document.resolve(verb.action), {})
                case Dial():
                    posted = await self._dial(call, verb)
                    return await self._ask(call, document.resolve(verb.action), posted)
                case Say():
                    call.was_spoken_to = True
                    await asyncio.sleep(len(verb.text) * SAY_MS_PER_LETTER / 1_000)
                case Pause():
                    await asyncio.sleep(verb.seconds)
                case Redirect():
                    return await self._ask(call, document.resolve(verb.url), {})
                case Hangup():
                    self._hung_up(call)
                    return None
                case _:
                    raise TwimlError(12200, f"{type(verb).__name__} is nothing this gateway says")
        call.outcome = "ran_out"
        return None

    def _hung_up(self, call: CarriedCall) -> None:
        if call.dials:
            call.outcome = "person"
        else:
            call.outcome = "goodbye" if call.was_spoken_to else "silent_hang_up"

    async def _dial(self, call: CarriedCall, verb: Dial) -> Mapping[str, str]:
        """The contact centre answers, takes the digits, and talks."""
        if verb.number != PERSON_NUMBER:
            self._ledger.complain(call.book.number, f"{verb.number} was dialled")
        call.dials += 1
        self._heard(call)
        await asyncio.sleep(TALK_S)
        return {
            "DialCallSid": "CA" + secrets.token_hex(16),
            "DialCallStatus": "completed",
            "DialBridged": "true",
            "DialCallDuration": str(TALK_POSTED_S),
        }

    @staticmethod
    def _heard(call: CarriedCall) -> None:
        """The ringing tone ends a silence too."""
        call.line.waits_since = None

    # --- streams

    async def _connect(self, call: CarriedCall, wanted: Stream) -> Ending:
        """A `<Connect><Stream>`, from the handshake to its end. One that cannot be opened counts as dropped."""
        stream_sid = "MZ" + secrets.token_hex(16)
        try:
            socket, instance = await self._fleet.balanced(lambda each: self._open(each, wanted.url))
        except (TimeoutError, OSError, InvalidHandshake) as error:
            self.failures.append(f"call {call.book.number}: a stream was not opened: {error!r}")
            self._report(wanted, call, "stream-error", stream_sid)
            return "dropped"
        try:
            return await self._stay(call, wanted, socket, instance, stream_sid)
        finally:
            instance.streams -= 1
            call.stream = call.instance = None

    async def _open(self, instance: Instance, url: str) -> tuple[LightSocket, Instance]:
        instance.streams += 1
        try:
            headers = {"x-twilio-signature": self._sign(url, {}), "User-Agent": "Twilio.TmeWs/1.0"}
            return await connect("127.0.0.1", instance.port, url=url, headers=headers), instance
        except BaseException:
            instance.streams -= 1
            raise

    async def _stay(
        self, call: CarriedCall, wanted: Stream, socket: LightSocket, instance: Instance, stream_sid: str
    ) -> Ending:
        loop = asyncio.get_running_loop()
        writer = media.Writer(stream_sid, call.sid, ACCOUNT_SID)
        stream = MediaStream(
            socket, writer, stream_sid, person=call.person, line=call.line, book=call.book, ledger=self._ledger
        )
        stream.on_voice = lambda: self._talks(call, stream)
        call.stream, call.instance, call.was_spoken_to = stream, instance, False
        call.streams += 1
        if call.breaks and call.breaks[-1].stream_at is None:
            call.breaks[-1].stream_at, call.breaks[-1].then_on = loop.time(), instance.name
        call.line.waits_since = call.line.waits_since or loop.time()
        self._report(wanted, call, "stream-started", stream_sid)
        stream.begin(wanted.parameters)
        if self._trouble.strikes("socket_reset"):
            loop.call_later(self._random.uniform(1.0, 8.0), stream.drop)
        ending = await stream.ended
        self._report(wanted, call, "stream-error" if ending == "dropped" else "stream-stopped", stream_sid)
        if call.breaks:
            call.breaks[-1].sound_at = call.breaks[-1].sound_at or stream.first_sound_at
        if ending != "left":
            call.breaks.append(Break(ending, loop.time(), instance.name, call.streams))
            call.line.waits_since = loop.time()
        return ending

    @staticmethod
    def _talks(call: CarriedCall, stream: MediaStream) -> None:
        """The caller hears the model, for the first time in this stream."""
        call.was_spoken_to = True
        call.voices += 1
        if call.breaks and call.breaks[-1].voice_at is None:
            call.breaks[-1].voice_at = stream.first_voice_at
            call.breaks[-1].sound_at = stream.first_sound_at

    # --- requests

    async def _ask(self, call: CarriedCall, url: str, more: Mapping[str, str]) -> Document:
        """Ask a webhook for TwiML, and again as often as its address asks for (`#rc=2&rp=5xx`).

        Raises `TwimlError` for an answer that is none.
        """
        address, rules = overrides(url)
        problem = ""
        for _ in range(rules.retries + 1):
            answer, kind, problem = await self._try(call, address, more, rules.read_ms / 1_000)
            if answer is not None:
                return read(answer.body, answer.content_type, address)
            self.failures.append(f"call {call.book.number}: {problem}")
            if not rules.retried(kind):
                break
        raise TwimlError(RETRIEVAL_FAILED, problem)

    async def _try(
        self, call: CarriedCall, url: str, more: Mapping[str, str], seconds: float
    ) -> tuple[webhook.Answer | None, str, str]:
        """One try: the answer, or the kind of failure in the words of `#rp=`, and what it was.

        Twilio talks to the balancer, so that a process that cannot be reached is a 502 to it.
        """
        path = urlsplit(url).path
        try:
            answer = await self._fleet.balanced(lambda each: self._post(each, call, url, more, seconds))
        except TimeoutError:
            return None, "rt", f"{path} did not answer in {seconds:g} s"
        except OSError as error:
            return None, "5xx", f"{path}: {error!r}"
        if answer.status in SUCCESS:
            return answer, "", ""
        return None, f"{answer.status // 100}xx", f"{path} was answered with {answer.status}"

    async def _post(
        self, instance: Instance, call: CarriedCall, url: str, more: Mapping[str, str], seconds: float = WEBHOOK_S
    ) -> webhook.Answer:
        form = self._form(call) | dict(more)
        headers = {
            "Host": PUBLIC_HOST,
            "User-Agent": "TwilioProxy/1.1",
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": self._sign(url, form),
        }
        body = urlencode(form).encode()
        path = urlsplit(url).path
        return await webhook.request(
            "POST", "127.0.0.1", instance.port, path, headers=headers, body=body, seconds=seconds
        )

    @staticmethod
    def _form(call: CarriedCall) -> dict[str, str]:
        caller = f"+6149157{call.book.number % 10_000:04}"
        return {
            "AccountSid": ACCOUNT_SID,
            "ApiVersion": "2010-04-01",
            "CallSid": call.sid,
            "CallStatus": call.status,
            "Called": GATEWAY_NUMBER,
            "Caller": caller,
            "Direction": "inbound",
            "From": caller,
            "To": GATEWAY_NUMBER,
            "FromCity": "",
        }

    def _report(self, wanted: Stream, call: CarriedCall, event: str, stream_sid: str) -> None:
        """`<Stream statusCallback>`; nobody waits for the answer."""
        if not wanted.status_callback:
            return
        posted = {"StreamSid": stream_sid, "StreamName": wanted.name or stream_sid, "StreamEvent": event}
        self._run(lambda: self._fleet.balanced(lambda each: self._post(each, call, wanted.status_callback, posted)))

    def _run(self, errand: Callable[[], object]) -> None:
        async def run() -> None:
            try:
                await errand()  # pyright: ignore[reportGeneralTypeIssues]
            except (OSError, TimeoutError) as error:
                self.failures.append(f"a status callback: {error!r}")

        task = asyncio.create_task(run())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
