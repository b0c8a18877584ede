"""One call through the carrier: the caller's line in steps of 20 ms, and the TwiML that says what is on it."""

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, Literal
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection

from voice_openai_connect.simulator import carrier_connect as codes
from voice_openai_connect.simulator.carrier_connect import Handshake, StreamLeg
from voice_openai_connect.simulator.carrier_dial import Dialled, Leg
from voice_openai_connect.simulator.carrier_line import Announcement, Ear, Nobody, Party, Ringing, Tape
from voice_openai_connect.simulator.carrier_media import MediaHabits, MediaStream
from voice_openai_connect.simulator.carrier_playout import Heard
from voice_openai_connect.simulator.carrier_twiml import (
    BAD_CALLER_ID,
    INVALID,
    RETRIEVAL_FAILED,
    UNREACHABLE,
    Connect,
    Dial,
    Document,
    Hangup,
    Pause,
    Play,
    Redirect,
    Reject,
    Say,
    TwimlError,
    read,
)
from voice_openai_connect.simulator.carrier_webhooks import WebhookRequest, Webhooks
from voice_openai_connect.simulator.dtmf import tones
from voice_openai_connect.simulator.telephone import FrameClock, Pulse, Subscriber, line
from voice_openai_connect.simulator.timeline import Timeline

EVERYDAY: Final = frozenset(
    {RETRIEVAL_FAILED, UNREACHABLE, codes.CONNECT_TIMEOUT, codes.CONNECT_REFUSED, codes.DROPPED, codes.CLOSED}
)
"""What Twilio's debugger shows also when the gateway broke no rule: outages, and every intended close."""
AFTERWARDS_S: Final = 10.0
"""What anybody may still do once the line is down, before their task is ended."""
APOLOGY: Final = "We are sorry, an application error has occurred. Goodbye."

Outcome = Literal[
    "", "caller-hung-up", "hung-up", "ran-out", "rejected", "busy", "error", "rest-completed", "time-limit"
]
"""How a call ended: the caller, `<Hangup>`, no verb left, `<Reject>`, no usable TwiML, or the REST API."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What Twilio's documents leave open. A gateway has to be right either way."""

    after_drop: Literal["action", "fallback"] = "action"
    """What is asked when a stream's socket breaks, or never comes to be: for every call whose own `after_drop` does
    not say otherwise."""
    action_after_redirect: bool = False
    """Whether the REST API's redirect also asks the `action` of the verb it interrupts. The answer is not used."""
    action_after_hang_up: bool = False
    """The same when the caller hangs up."""
    media: MediaHabits = field(default_factory=MediaHabits)


@dataclass(frozen=True, slots=True)
class Account:
    """The account a call belongs to, as its owner has set it up. Empty addresses are not asked."""

    sid: str
    auth_token: str = field(repr=False)
    number: str
    fallback_url: str = ""
    """Asked when a document cannot be had or followed (`VoiceFallbackUrl` of the number)."""
    status_callback: str = ""
    bins: Mapping[str, str] = field(default_factory=dict[str, str])
    """TwiML Bins: documents that the carrier keeps itself, by address. Nobody's server is asked for them."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a call uses of its carrier."""

    account: Account
    habits: Habits
    webhooks: Webhooks
    handshake: Handshake
    timeline: Timeline
    speak: Callable[[str, str], bytes]
    directory: Mapping[str, Subscriber]


@dataclass(frozen=True, slots=True)
class Alert:
    """A line in Twilio's debugger."""

    at_ms: int
    code: int
    text: str


class CarriedCall:
    """A live call. Everything it has seen stays readable when it is over.

    `ended` is a task: awaiting it gives the `outcome`, and raises what went wrong in the town itself, such as a
    caller whose script could not go on. `recording` has what the caller said and what the caller heard.
    """

    def __init__(self, exchange: Exchange, from_: str, to: str) -> None:
        self.sid = "CA" + secrets.token_hex(16)
        self.from_, self.to = from_, to
        self.began_at = datetime.now(UTC).replace(microsecond=0)
        self.requests: list[WebhookRequest] = []
        self.dials: list[Dialled] = []
        self.streams: list[MediaStream] = []
        self.alerts: list[Alert] = []
        self.recording = Tape()
        self.status = "ringing"
        self.outcome: Outcome = ""
        self.after_drop = exchange.habits.after_drop
        """May be changed while the call goes on: what is asked when its stream breaks."""
        self.ended: asyncio.Task[Outcome]
        self._exchange = exchange
        self._caller_end, self._end = line(from_, to)
        self._party: Party = Ringing()
        self._pulse = Pulse()
        self._step: asyncio.Task[Document | None] | None = None
        self._instead: list[Document | None] = []
        self._afterwards: list[asyncio.Task[None]] = []
        self._limit: asyncio.TimerHandle | None = None

    # --- For whoever watches

    @property
    def now_ms(self) -> int:
        """Milliseconds since it rang: the time base of the recording and of every record."""
        return self.recording.length_ms

    @property
    def stream(self) -> MediaStream:
        """The latest media stream. Raises `LookupError` before the first."""
        if not self.streams:
            raise LookupError("this call has had no stream yet")
        return self.streams[-1]

    @property
    def heard(self) -> list[Heard]:
        """The gateway's audio as the caller really heard it, all streams together."""
        return [piece for stream in self.streams for piece in stream.playout.heard]

    @property
    def violations(self) -> list[Alert]:
        """The alerts that are the gateway's own fault. A good gateway has none."""
        return [alert for alert in self.alerts if alert.code not in EVERYDAY]

    def asked(self, path: str) -> list[WebhookRequest]:
        """The requests made to this path, in order."""
        return [request for request in self.requests if request.path == path]

    async def until(self, predicate: Callable[["CarriedCall"], object], *, within_s: float = 30.0) -> None:
        """Return when `predicate(call)` holds; it is asked every 20 ms.

        Raises `TimeoutError` when it takes longer, and `LookupError` when the call ends without it.
        """
        async with asyncio.timeout(within_s):
            while not predicate(self):
                if self.ended.done():
                    raise LookupError(f"the call has ended ({self.outcome}) without it")
                await self._pulse.wait()

    # --- From outside: the REST API

    def redirect(self, document: Document) -> None:
        """Leave what is being done and follow this document."""
        self._interrupt(document)

    def complete(self, outcome: Outcome = "rest-completed") -> None:
        """End the call from the carrier's side."""
        self._over(outcome)
        self._interrupt(None)

    def limit(self, seconds: int) -> None:
        """End the call when it has lasted that long, counted from its beginning. Takes the place of an earlier limit.

        Raises `ValueError` when it has lasted longer already.
        """
        if seconds * 1000 <= self.now_ms:
            raise ValueError(f"the call has lasted longer than {seconds} s already")
        self._lift_limit()
        left_s = seconds - self.now_ms / 1000
        self._limit = asyncio.get_running_loop().call_later(left_s, self.complete, "time-limit")

    # --- The whole call

    def begin(self, caller: Subscriber, voice_url: str) -> None:
        """Ring, with `caller` at the other end."""
        self._note("rings", number=self.to)
        self.ended = asyncio.create_task(self._live(caller, voice_url))
        self.ended.add_done_callback(lambda _: self._pulse.beat())

    async def _live(self, caller: Subscriber, voice_url: str) -> Outcome:
        """From the first ring to the status callback."""
        self._afterwards.append(asyncio.create_task(self._speak_for(caller)))
        heart = asyncio.create_task(self._beat())
        try:
            await self._journey(self._fetch(voice_url, "POST", {}))
        finally:
            self._over("error")
            self._lift_limit()
            self._end.hang_up()
            await heart
            self._note("hangs up", outcome=self.outcome)
            await self._finish_afterwards()
        await self._report_end()
        return self.outcome

    async def _speak_for(self, caller: Subscriber) -> None:
        try:
            await caller.answer(self._caller_end)
        finally:
            self._caller_end.hang_up()

    async def _beat(self) -> None:
        """The call's clock: every 20 ms the two sides exchange a frame, until the line is down."""
        clock, ear = FrameClock(), Ear(self._end)
        try:
            while not self._end.hung_up:
                await clock.step()
                said, keys = ear.take(), self._end.keys_now()
                heard = self._party.exchange(said, keys)
                self._end.send(heard)
                self.recording.add(said, heard)
                self._pulse.beat()
        finally:
            if not self.outcome:
                self._over("caller-hung-up")
                self._interrupt(None)

    async def _journey(self, coming: Coroutine[None, None, Document | None]) -> None:
        """Follow documents until there is none, or somebody ends the call."""
        while True:
            self._step = asyncio.create_task(coming)
            document = await _result(self._step)
            if self._instead:
                document = self._instead[-1]
                self._instead.clear()
            if document is None or self.outcome:
                return
            coming = self._follow(document)

    def _interrupt(self, document: Document | None) -> None:
        """Stop the present step. Its farewells are not interrupted by a second interruption."""
        self._instead.append(document)
        if self._step is not None and len(self._instead) == 1:
            self._step.cancel()

    def _over(self, outcome: Outcome) -> None:
        """Say how the call ended. The first word counts."""
        if not self.outcome:
            self.outcome = outcome
            self.status = {"rejected": "failed", "busy": "busy"}.get(outcome, "completed")

    # --- TwiML

    async def _follow(self, document: Document) -> Document | None:
        """Carry out a document. Returns the one that takes its place, or None at the end of the call."""
        for verb in document.verbs:
            if isinstance(verb, Reject) and self.status == "ringing":
                return self._over(verb.reason)
            self.status = "in-progress"
            match verb:
                case Hangup() | Reject():
                    return self._over("hung-up")
                case Redirect():
                    return await self._fetch(document.resolve(verb.url), verb.method, {})
                case Connect() | Dial():
                    try:
                        posted = await self._join(verb, document)
                    except TwimlError as broken:
                        return await self._fall_back(broken, document.url)
                    if verb.action:
                        return await self._fetch(document.resolve(verb.action), verb.method, posted)
                case Say() | Play() | Pause():
                    await self._perform(verb)
        return self._over("ran-out")

    async def _perform(self, verb: Say | Play | Pause) -> None:
        """The verbs that are heard and are over."""
        match verb:
            case Say():
                self._note("says", text=verb.text)
                await self._announce(await asyncio.to_thread(self._exchange.speak, verb.text, verb.language))
            case Play():
                await self._announce(tones(verb.digits))
            case Pause():
                self._switch(Nobody())
                await asyncio.sleep(verb.seconds)

    async def _announce(self, audio: bytes) -> None:
        announcement = Announcement(audio)
        self._switch(announcement)
        await announcement.finished.wait()
        self._switch(Nobody())

    async def _fetch(self, url: str, method: str, more: Mapping[str, str]) -> Document | None:
        """Ask for TwiML; when that fails the fallback, and when that fails too say sorry and end the call."""
        try:
            return await self._document(url, method, more)
        except TwimlError as error:
            return await self._fall_back(error, url)

    async def _fall_back(self, error: TwimlError, url: str) -> Document | None:
        self._alert(error.code, error.reason)
        if self._exchange.account.fallback_url:
            try:
                posted = {"ErrorCode": str(error.code), "ErrorUrl": url}
                return await self._document(self._exchange.account.fallback_url, "POST", posted)
            except TwimlError as second:
                self._alert(second.code, second.reason)
        self.status = "in-progress"
        await self._perform(Say(APOLOGY))
        return self._over("error")

    async def _document(self, url: str, method: str, more: Mapping[str, str]) -> Document:
        self._note("asks", url=urlsplit(url).path)
        kept = self._exchange.account.bins.get(url)
        answer = self._from_bin(url, kept) if kept is not None else await self._ask(url, method, more)
        document = read(answer.body, answer.content_type, answer.url)
        for warning in document.warnings:
            self._alert(INVALID, warning)
        return document

    def _from_bin(self, url: str, twiml: str) -> WebhookRequest:
        answer = WebhookRequest("POST", url, self.params(), 1, 200, "text/xml", twiml.encode())
        self.requests.append(answer)
        return answer

    # --- Verbs that join the caller to somebody

    async def _join(self, verb: Connect | Dial, document: Document) -> Mapping[str, str]:
        """Carry out `<Connect>` or `<Dial>`, and return what its `action` is posted.

        Raises `TwimlError` when a stream broke and it is this carrier's habit to go to the fallback then.
        """
        try:
            return await (self._dial(verb) if isinstance(verb, Dial) else self._connect(verb))
        except asyncio.CancelledError:
            self._ask_in_vain(verb, document)
            raise
        finally:
            self._switch(Nobody())

    async def _connect(self, verb: Connect) -> Mapping[str, str]:
        def stream(socket: ClientConnection) -> MediaStream:
            media = MediaStream(
                socket,
                self._exchange.account.sid,
                self.sid,
                self._alert,
                lambda: self.now_ms,
                verb.stream.parameters,
                self._exchange.habits.media,
            )
            self.streams.append(media)
            self._note("opens a stream", number=len(self.streams))
            return media

        leg = StreamLeg(verb.stream, self._exchange.handshake, self._alert, self._tell)
        ending = await leg.run(stream, self._switch)
        if ending == "dropped" and self.after_drop == "fallback":
            raise TwimlError(codes.DROPPED, "the stream broke")
        return {}

    async def _dial(self, verb: Dial) -> Mapping[str, str]:
        dialled = Dialled(verb.number, verb.send_digits, verb.caller_id or self.from_)
        self.dials.append(dialled)
        self._note("dials", number=verb.number)
        subscriber = self._exchange.directory.get(verb.number)
        if dialled.caller_id not in {self.from_, self.to, self._exchange.account.number}:
            self._alert(BAD_CALLER_ID, f"callerId {dialled.caller_id} is neither on this call nor owned")
            dialled.status = "failed"
        elif subscriber is None:
            dialled.status = "failed"
        else:
            await Leg(dialled, self._end, self._switch, self._afterwards.append).run(verb, subscriber)
        self._note("has dialled", status=dialled.status, bridged=dialled.bridged)
        return dialled.params()

    def _ask_in_vain(self, verb: Connect | Dial, document: Document) -> None:
        """Ask an interrupted verb's `action`, where that is this carrier's habit."""
        habits = self._exchange.habits
        if verb.action and (habits.action_after_hang_up if self.outcome else habits.action_after_redirect):
            posted = self.dials[-1].params() if isinstance(verb, Dial) else {}
            self._tell(document.resolve(verb.action), posted, verb.method)

    # --- Requests

    async def _ask(self, url: str, method: str, more: Mapping[str, str]) -> WebhookRequest:
        return await self._exchange.webhooks.ask(url, self.params() | dict(more), method=method, log=self.requests)

    def _tell(self, url: str, more: Mapping[str, str], method: str = "POST") -> None:
        """Make a request whose answer changes nothing."""
        self._afterwards.append(asyncio.create_task(self._ask_and_drop(url, more, method)))

    async def _ask_and_drop(self, url: str, more: Mapping[str, str], method: str = "POST") -> None:
        try:
            await self._ask(url, method, more)
        except TwimlError as error:
            self._alert(error.code, error.reason)

    def params(self) -> dict[str, str]:
        """The parameters of every voice webhook. Twilio adds to them without notice, and sends empty ones too."""
        token = json.dumps({"parentCallInfoToken": secrets.token_urlsafe(24), "identityHeaderTokens": []})
        parties = ("From", "To", "Caller", "Called")
        where = {f"{party}{what}": "" for party in parties for what in ("City", "State", "Zip")}
        return {
            "AccountSid": self._exchange.account.sid,
            "ApiVersion": "2010-04-01",
            "CallSid": self.sid,
            "CallStatus": self.status,
            "CallToken": token,
            "Called": self.to,
            "Caller": self.from_,
            "Direction": "inbound",
            "From": self.from_,
            "StirVerstat": "TN-Validation-Passed-A",
            "To": self.to,
            **where,
            **{f"{party}Country": "US" for party in parties},
        }

    # --- The end

    def _lift_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()

    async def _report_end(self) -> None:
        if self._exchange.account.status_callback:
            more = {
                "CallDuration": str(round(self.now_ms / 1000)),
                "CallbackSource": "call-progress-events",
                "SequenceNumber": "0",
                "Timestamp": format_datetime(datetime.now(UTC)),
            }
            await self._ask_and_drop(self._exchange.account.status_callback, more)

    async def _finish_afterwards(self) -> None:
        """Let everybody finish who still has something to do, and raise what they raise."""
        try:
            done, _ = await asyncio.wait(self._afterwards, timeout=AFTERWARDS_S)
        finally:
            await _end_all(self._afterwards)
        for task in done:
            task.result()

    def _switch(self, party: Party) -> None:
        self._party = party

    def _alert(self, code: int, text: str) -> None:
        self.alerts.append(Alert(self.now_ms, code, text))
        self._note("logs", code=code, text=text)

    def _note(self, what: str, **details: object) -> None:
        self._exchange.timeline.note("carrier", what, **details)


async def _result(step: asyncio.Task[Document | None]) -> Document | None:
    """The step's document, or None when it was interrupted. Cancelled from outside, the step goes too."""
    try:
        await asyncio.wait({step})
    finally:
        await _end_all([step])
    return None if step.cancelled() else step.result()


async def _end_all(tasks: list[asyncio.Task[None]] | list[asyncio.Task[Document | None]]) -> None:
    """Cancel what still runs, and wait until it is over."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
