"""How a call reaches the system under test: a gateway by its signed webhooks and TwiML, a bare bridge by its socket."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlencode, urlsplit

from bench.audio.caller import ACCOUNT_SID
from bench.audio.engine import Engine, EngineLine
from bench.audio.lines import connect
from bench.load import webhook
from voice_openai_connect.simulator.carrier_twiml import Connect, Dial, Document, Hangup, read
from voice_openai_connect.simulator.carrier_webhooks import overrides, signer

PUBLIC_HOST: Final = "voice.example.com"
AUTH_TOKEN: Final = "bench-auth-token-of-the-account"  # noqa: S105 - of no real account
GATEWAY_NUMBER: Final = "+61255501234"
PERSON_NUMBER: Final = "+61255505678"
WEBHOOK_S: Final = 15.0
OK: Final = range(200, 300)
BRIDGE_PATH: Final = "/media-stream"


class NotAnsweredError(ConnectionError):
    """The call was not connected to a stream."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open stream of a call."""

    line: EngineLine
    parameters: dict[str, str]
    status_url: str = ""
    action_url: str = ""


class Edge(Protocol):
    """A way to the system under test."""

    hands_over: bool
    """Whether it moves callers to a person when they ask for one."""

    async def open(self, engine: Engine, call_sid: str, caller: str) -> Opened:
        """Let the telephone ring until a media stream is open. Raises `OSError`."""
        ...

    async def report(self, opened: Opened, call_sid: str, caller: str, event: str, stream_sid: str) -> None:
        """What Twilio tells about streams."""
        ...

    async def follow(self, opened: Opened, call_sid: str, caller: str) -> str:
        """The gateway has closed the stream: what becomes of the call, in a word (``person``, ``goodbye``)."""
        ...


class BridgeEdge:
    """A bare bridge: one path, no webhooks."""

    hands_over = False

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self, engine: Engine, call_sid: str, caller: str) -> Opened:  # noqa: ARG002 - a bridge asks for neither
        """Connect to the one path there is."""
        headers = {"Host": f"127.0.0.1:{self._port}", "User-Agent": "Twilio.TmeWs/1.0"}
        return Opened(await connect(engine, self._port, BRIDGE_PATH, headers), {})

    async def report(self, opened: Opened, call_sid: str, caller: str, event: str, stream_sid: str) -> None:
        """A bridge has not asked for it."""

    async def follow(self, opened: Opened, call_sid: str, caller: str) -> str:  # noqa: ARG002
        """A bridge has no say in what comes next."""
        return "cut off"


class GatewayEdge:
    """The gateway as Twilio meets it: every request signed, every document followed."""

    hands_over = True

    def __init__(self, port: int) -> None:
        self._port = port
        self._sign = signer(AUTH_TOKEN)

    async def open(self, engine: Engine, call_sid: str, caller: str) -> Opened:
        """`POST /twilio/voice`, then the handshake with the address in the TwiML."""
        form = _form(call_sid, caller, "ringing")
        document = await self._ask(f"https://{PUBLIC_HOST}/twilio/voice", form)
        verb = document.verbs[0]
        if not isinstance(verb, Connect):
            raise NotAnsweredError(f"answered with {type(verb).__name__}")
        url = verb.stream.url
        headers = {
            "Host": PUBLIC_HOST,
            "x-twilio-signature": self._sign(url, {}),
            "User-Agent": "Twilio.TmeWs/1.0",
        }
        line = await connect(engine, self._port, urlsplit(url).path, headers)
        return Opened(line, verb.stream.parameters, verb.stream.status_callback, document.resolve(verb.action))

    async def report(self, opened: Opened, call_sid: str, caller: str, event: str, stream_sid: str) -> None:
        """`<Stream statusCallback>`."""
        if opened.status_url:
            form = _form(call_sid, caller, "in-progress")
            form |= {"StreamSid": stream_sid, "StreamName": stream_sid, "StreamEvent": event}
            await self._post(opened.status_url, form)

    async def follow(self, opened: Opened, call_sid: str, caller: str) -> str:
        """Ask `<Connect action>`, and play a dial that reached a person."""
        form = _form(call_sid, caller, "in-progress")
        document = await self._ask(opened.action_url, form)
        for verb in document.verbs:
            if isinstance(verb, Dial):
                dialed = {"DialCallSid": _sid("CA"), "DialCallStatus": "completed"}
                dialed |= {"DialBridged": "true", "DialCallDuration": "45"}
                await self._ask(document.resolve(verb.action), {**form, **dialed})
                return "person" if verb.number == PERSON_NUMBER and verb.send_digits else "person without context"
            if isinstance(verb, Hangup):
                return "goodbye"
        return "neither a dial nor a goodbye"

    async def _ask(self, url: str, form: Mapping[str, str]) -> Document:
        answer = await self._post(url, form)
        return read(answer.body, answer.content_type, overrides(url)[0])

    async def _post(self, url: str, form: Mapping[str, str]) -> webhook.Answer:
        url = overrides(url)[0]
        path = urlsplit(url).path
        headers = {
            "Host": PUBLIC_HOST,
            "User-Agent": "TwilioProxy/1.1",
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": self._sign(url, form),
        }
        body = urlencode(form).encode()
        answer = await webhook.request(
            "POST", "127.0.0.1", self._port, path, headers=headers, body=body, seconds=WEBHOOK_S
        )
        if answer.status not in OK:
            raise NotAnsweredError(f"{path} was answered with {answer.status}")
        return answer


def _sid(kind: str) -> str:
    return kind + secrets.token_hex(16)


def _form(call_sid: str, caller: str, status: str) -> dict[str, str]:
    return {
        "AccountSid": ACCOUNT_SID,
        "ApiVersion": "2010-04-01",
        "CallSid": call_sid,
        "CallStatus": status,
        "Called": GATEWAY_NUMBER,
        "Caller": caller,
        "Direction": "inbound",
        "From": caller,
        "To": GATEWAY_NUMBER,
        "FromCity": "",
    }
