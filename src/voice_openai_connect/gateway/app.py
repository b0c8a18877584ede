"""The routes: Twilio's webhooks and media socket behind the signature gate, health, metrics, operator's commands."""

import asyncio
import hmac
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint, taken_up
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.next_step import FAIL_OPEN, AskAgain, NextStep, ResumeStream
from voice_openai_connect.call.outcome import Absence, DialOutcome
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.call.transfer import after_dial, after_stream, dial_outcome, is_suspicious, no_room
from voice_openai_connect.gateway.aftercare import Aftercare, EndedDial
from voice_openai_connect.gateway.media_socket import POLICY_VIOLATION, MediaSocket, StarletteMediaSocket, nobody_told
from voice_openai_connect.gateway.model_breaker import MODEL_DOWN
from voice_openai_connect.gateway.picows_media import MediaDoor
from voice_openai_connect.gateway.ports import CallObserver
from voice_openai_connect.gateway.session_manager import SessionManager
from voice_openai_connect.gateway.siblings import Crew, Seat
from voice_openai_connect.gateway.stream_handler import Outside, StreamHandler
from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.stream_ticket import Ticket, issue_ticket, read_ticket
from voice_openai_connect.wire.twilio_media import MediaReader, StreamStart, media_format_is_ulaw
from voice_openai_connect.wire.twilio_webhooks import (
    DialResult,
    Form,
    VoiceRequest,
    dial_result,
    signature_algorithm,
    signature_is_valid,
    tried_again,
    voice_request,
)
from voice_openai_connect.wire.twiml import Wording, connect_stream, render

_NOBODY_CAME: Final = "nobody_came"
"""Parameter of a stream whose caller no person could take: why. The store should know; if not, we do."""
_DIALS_END: Final = frozenset(outcome.value for outcome in DialOutcome)
_WHY_NOBODY: Final = _DIALS_END | frozenset(absence.value for absence in Absence)
_NAMESPACE: Final = uuid.UUID("8d6f0f4e-3a0b-5a55-9e0c-6a3f4e9f1c55")
"""Ids of a call are made from its CallSid, so that every instance and every repeat arrives at the same ones."""

STREAM_PATH: Final = "/twilio/stream/"
"""Where Twilio opens media sockets; the ticket comes after it."""
_REPEATED: Final = tried_again(limits.WEBHOOK_RETRIES)
"""Ends the addresses that Twilio asks in the middle of a call. A question that a dying process leaves unanswered would
otherwise not be repeated, and the caller would be lost."""


class Profile(Protocol):
    """What the gateway needs of an agent profile."""

    def wording(self) -> Wording:
        """The sentences that Twilio speaks."""
        ...


class Desk(Protocol):
    """What the gateway asks for each call; `build.py` answers it from the profiles and the integrations."""

    def profile(self, called: str) -> Profile:
        """The profile of the number that was called."""
        ...

    def call_settings(self, called: str) -> CallSettings:
        """How the call is to be run."""
        ...

    def outside(self, identity: CallIdentity) -> Outside:
        """What this call may reach."""
        ...

    def observer(self, identity: CallIdentity) -> CallObserver:
        """Where this call's facts go."""
        ...


class FrontObserver(Protocol):
    """Where facts go that belong to no live call."""

    def refused(self, what: str, reason: str) -> None:
        """A webhook or socket was turned away."""
        ...

    def stream_failed(self, call_sid: str, stream_sid: str, why: str) -> None:
        """Twilio could not open a stream, or lost it. `why` is what it says, in its own words."""
        ...

    def dial_ended(self, result: DialResult, outcome: DialOutcome, step: NextStep) -> None:
        """Twilio told how a dial to the contact centre ended, and was answered; perhaps not for the first time."""
        ...

    def failed(self, what: str, error: BaseException) -> None:
        """Something broke that should not."""
        ...

    def metrics(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        ...


@dataclass(frozen=True, slots=True)
class Front:
    """The gateway's own settings: who may talk to it, under which address, and whom it dials."""

    public_base_url: str
    stream_base_url: str
    account_sid: str
    secrets: Sequence[str]
    """Live signing secrets; tickets are issued under the first."""
    person_number: str
    console_token: str = ""
    """Bearer token for operators; empty switches their commands off."""
    digits_after_ms: int = limits.DIGITS_AFTER_MS
    """From the person's side's answer to the token's first tone."""


def identity_of(call_sid: str, caller: str, called: str) -> CallIdentity:
    """The ids of a call, the same on every instance."""
    return CallIdentity(
        call_sid=call_sid,
        conversation_id=str(uuid.uuid5(_NAMESPACE, call_sid)),
        handover_id=f"ho-{uuid.uuid5(_NAMESPACE, 'handover ' + call_sid)}",
        caller_phone=caller,
        called_phone=called,
    )


class Gateway:
    """Answers Twilio. One instance a process; all it knows about a call is in `sessions` or in the store."""

    def __init__(
        self,
        front: Front,
        desk: Desk,
        sessions: SessionManager,
        observer: FrontObserver,
        *,
        aftercare: Aftercare,
        make_call: Callable[[CallIdentity, CallSettings, Checkpoint | None], Call] = Call,
        model_is_up: Callable[[], bool] = lambda: True,
        seat: Seat | None = None,
    ) -> None:
        self.front = front
        self.sessions = sessions
        self.crew = Crew(sessions, seat, observer.failed)
        self._desk = desk
        self._observer = observer
        self._aftercare = aftercare
        self._make_call = make_call
        self._model_is_up = model_is_up

    # --- the signature gate

    async def signed_form(self, request: Request) -> Form | None:
        """The webhook's form if Twilio signed it for this very URL, else None. Nothing else is done before this."""
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.WEBHOOK_BODY_BYTES:
                    return self._refuse("webhook", "too_large")
        except ClientDisconnect:
            return self._refuse("webhook", "broken_off")
        try:
            form = Form.parse(bytes(body))
        except WireError:
            return self._refuse("webhook", "malformed")
        # Never from `request.url`: that one listens to the Host header, which is anybody's to write.
        query = request.scope["query_string"].decode("latin-1")
        url = f"{self.front.public_base_url}{request.scope['path']}{'?' if query else ''}{query}"
        algorithm = signature_algorithm(request.headers.get("x-twilio-webhooks-signature-settings"))
        signature = request.headers.get("x-twilio-signature")
        if algorithm is None or not signature_is_valid(signature, url, form, self.front.secrets, algorithm):
            return self._refuse("webhook", "signature")
        if form.get("AccountSid") != self.front.account_sid:
            return self._refuse("webhook", "account")
        return form

    def _refuse(self, what: str, reason: str) -> None:
        self._observer.refused(what, reason)

    # --- webhooks

    def answer_call(self, request: VoiceRequest) -> str:
        """A call comes in: connect it to a stream, or straight to a person: no room, or no model."""
        if reason := self.sessions.refusal(request.call_sid) if self._model_is_up() else MODEL_DOWN:
            self._refuse("call", reason)
            return self._render(FAIL_OPEN, request.called)
        return self._connect(request)

    def _connect(self, request: VoiceRequest, resume: ResumeStream | None = None) -> str:
        """A stream under a new ticket; what Twilio passes on with it comes back in `start`."""
        ticket = issue_ticket(
            self.front.secrets[0],
            call_sid=request.call_sid,
            expires_at_s=int(time.time()) + limits.STREAM_TICKET_S,
            nonce=secrets.token_bytes(16),
            resumes=resume is not None,
        )
        parameters = {"caller": request.caller, "called": request.called}
        if resume is not None and resume.nobody_came:
            parameters[_NOBODY_CAME] = resume.nobody_came
        return connect_stream(
            stream_url=f"{self.front.stream_base_url}{STREAM_PATH}{ticket}",
            action_url=f"{self.front.public_base_url}/twilio/next{_REPEATED}",
            parameters=parameters,
            status_url=f"{self.front.public_base_url}/twilio/stream-status",
        )

    async def what_is_next(self, request: VoiceRequest, asked: int = 0) -> str:
        """A stream has ended, on purpose or not. `asked` says how often this was asked, and put off, before."""
        step = await self._after_stream(request, asked)
        if isinstance(step, AskAgain):
            self.sessions.questions.expect(request.call_sid)
        else:
            self.sessions.questions.asked(request.call_sid)
        return self._answer(step, request)

    async def _after_stream(self, request: VoiceRequest, asked: int) -> NextStep:
        self._aftercare.asked(request.call_sid)
        if request.status == "completed":
            self._aftercare.caller_left(identity_of(request.call_sid, request.caller, request.called))
            return after_stream(CallItem(), caller_left=True)
        item = await self.sessions.memory.recall(request.call_sid)
        if item.handover_lost:
            self._aftercare.handover_lost(identity_of(request.call_sid, request.caller, request.called), item)
        step = after_stream(item, caller_left=False)
        # Even while the model is down: the call still knows what was said, and tells it to the person.
        if isinstance(step, ResumeStream) and (reason := self.sessions.refusal(request.call_sid, resumed=True)):
            self._refuse("resume", reason)
            return no_room(item, asked=asked)
        return step

    async def dial_ended(self, result: DialResult, request: VoiceRequest, attempt: int) -> str:
        """A dial to the contact centre has ended."""
        attempt, memory = min(max(attempt, 1), limits.DIAL_ATTEMPTS), self.sessions.memory
        item = await memory.recall(request.call_sid)
        outcome = dial_outcome(
            result.status,
            duration_s=result.duration_s,
            bridged=result.bridged,
            caller_left=request.status == "completed",
        )
        may_resume = self._model_is_up() and not self.sessions.refusal(request.call_sid, resumed=True)
        step = after_dial(outcome, item, attempt=attempt, may_resume=may_resume)
        memory.note_dial(request.call_sid, attempt, outcome)
        if isinstance(step, ResumeStream) and item.checkpoint and not item.checkpoint.nobody_came:
            await memory.bring_back(request.call_sid, item.checkpoint.brought_back(step.nobody_came))
        identity = identity_of(request.call_sid, request.caller, request.called)
        suspicious = is_suspicious(outcome, result.duration_s)
        self._aftercare.dial_ended(EndedDial(identity, attempt, outcome, suspicious, item, step))
        self._observer.dial_ended(result, outcome, step)
        return self._answer(step, request)

    def _answer(self, step: NextStep, request: VoiceRequest) -> str:
        return self._connect(request, step) if isinstance(step, ResumeStream) else self._render(step, request.called)

    def stream_told(self, form: Form) -> None:
        """Twilio tells of a stream. Nothing else says why one did not even begin."""
        match form.get("StreamEvent"):
            case "stream-error":
                self._observer.stream_failed(form.get("CallSid"), form.get("StreamSid"), form.get("StreamError"))
            case "stream-stopped":
                if not self.sessions.memory.has_left(call_sid := voice_request(form).call_sid):
                    self._aftercare.stream_stopped(call_sid, form.get("StreamSid"))
            case _:
                pass

    def _render(self, step: NextStep, called: str) -> str:
        try:
            return self._written(step, called)
        except Exception as error:  # noqa: BLE001 - Twilio hangs up on an error, and a person is always right
            self._observer.failed("write step", error)
            return self._written(FAIL_OPEN, called)

    def _written(self, step: NextStep, called: str) -> str:
        return render(
            step,
            wording=self._desk.profile(called).wording(),
            person_number=self.front.person_number,
            dial_action_url=lambda attempt: f"{self.front.public_base_url}/twilio/dialed/{attempt}{_REPEATED}",
            ask_again_url=lambda asked: f"{self.front.public_base_url}/twilio/next/{asked}{_REPEATED}",
            dial_seconds=limits.DIAL_SECONDS,
            digits_after_ms=self.front.digits_after_ms,
        )

    # --- the media socket

    @property
    def media_door(self) -> MediaDoor[Ticket]:
        """The way in for a server that carries media sockets by itself."""
        return MediaDoor(self.admit_socket, self.serve_socket, self._observer.failed)

    def admit_socket(self, path: str, headers: Mapping[str, str]) -> Ticket | None:
        """The ticket in the path, if the handshake is signed by Twilio and the ticket is good for the first time."""
        now = time.time()
        url = f"{self.front.stream_base_url}{path}"
        if not signature_is_valid(headers.get("x-twilio-signature"), url, None, self.front.secrets):
            return self._refuse("socket", "signature")
        ticket = read_ticket(self.front.secrets, path.removeprefix(STREAM_PATH), now_s=now)
        if ticket is None:
            return self._refuse("socket", "ticket")
        if not self.sessions.use_ticket(ticket.nonce, ticket.expires_at_s, now):
            return self._refuse("socket", "ticket_used")
        return ticket

    async def serve_socket(self, socket: MediaSocket, ticket: Ticket) -> None:
        """Run the call on an admitted socket, to its end."""
        claim = self.sessions.claim(ticket.call_sid, takes_over=ticket.resumes)
        if claim is None:
            self._refuse("socket", "line_taken")
            await socket.close(POLICY_VIOLATION)
            return
        handler: StreamHandler | None = None

        def give_up(reason: str) -> None:
            if handler is not None:
                handler.lose_stream(reason)

        socket.on_trouble, reader = give_up, MediaReader()
        try:
            start = await self._first_words(socket, reader)
            if start is not None and self._belongs(start, ticket):
                handler = await self._take_call(start, resumes=ticket.resumes)
                if self.sessions.started(claim, handler):
                    await handler.run(socket, reader, start.stream_sid)
        finally:
            self.sessions.release(claim)
            await socket.close()
            socket.on_trouble = nobody_told  # or the two would hold each other, and the call's memory with them
            if handler is not None:
                await handler.settle()

    async def _take_call(self, start: StreamStart, *, resumes: bool) -> StreamHandler:
        """The call that this stream carries: a new one, or one that goes on from its checkpoint."""
        caller, called = start.parameters.get("caller", ""), start.parameters.get("called", "")
        identity = identity_of(start.call_sid, caller, called)
        resumed = None
        if resumes:
            nobody_came = start.parameters.get(_NOBODY_CAME, "")
            known = (await self.sessions.memory.take_over(start.call_sid)).checkpoint
            resumed = taken_up(known, nobody_came if nobody_came in _WHY_NOBODY else "")
            if resumed.nobody_came in _DIALS_END:
                self.sessions.memory.note_dial(start.call_sid, limits.DIAL_ATTEMPTS, DialOutcome(resumed.nobody_came))
        call = self._make_call(identity, self._desk.call_settings(called), resumed)
        return StreamHandler(call, self._desk.outside(identity), self._desk.observer(identity))

    async def _first_words(self, socket: MediaSocket, reader: MediaReader) -> StreamStart | None:
        """The `start` message, which must come within its time."""
        try:
            async with asyncio.timeout(limits.STREAM_START_MS / 1_000):
                while (text := await socket.receive()) is not None:
                    message = reader.read(text)
                    if not reader.connected:
                        break
                    if isinstance(message, StreamStart):
                        return message
        except (TimeoutError, WireError):
            pass
        self._refuse("socket", "no_start")
        return None

    def _belongs(self, start: StreamStart, ticket: Ticket) -> bool:
        if start.call_sid != ticket.call_sid or start.account_sid != self.front.account_sid:
            self._refuse("socket", "other_call")
            return False
        if not media_format_is_ulaw(start):
            self._refuse("socket", "media_format")
            return False
        return True


def build_app(gateway: Gateway, observer: FrontObserver) -> FastAPI:
    """The ASGI application. It documents nothing of itself to the outside."""
    app = FastAPI(
        title="voice-openai-connect",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it would look for a provider at each request
    )
    _add_webhooks(app, gateway)
    _add_operations(app, gateway, observer)

    @app.websocket(f"{STREAM_PATH}{{ticket_text}}")
    async def stream(websocket: WebSocket) -> None:
        """Only reached with MEDIA_SOCKET=websockets; otherwise the server goes through `media_door`."""
        ticket = gateway.admit_socket(websocket.scope["path"], websocket.headers)
        if ticket is None:
            await websocket.close(code=1008)  # before `accept`: the handshake is answered with 403
            return
        await websocket.accept()
        await gateway.serve_socket(StarletteMediaSocket(websocket), ticket)

    return app


def _add_webhooks(app: FastAPI, gateway: Gateway) -> None:
    async def read(request: Request, parse: Callable[[Form], VoiceRequest]) -> VoiceRequest | None:
        form = await gateway.signed_form(request)
        return None if form is None else parse(form)

    @app.post("/twilio/voice")
    async def voice(request: Request) -> Response:
        asked = await read(request, voice_request)
        return _FORBIDDEN if asked is None else _twiml(gateway.answer_call(asked))

    @app.post("/twilio/next")
    @app.post("/twilio/next/{asked}")
    async def what_is_next(request: Request, asked: int = 0) -> Response:
        call = await read(request, voice_request)
        return _FORBIDDEN if call is None else _twiml(await gateway.what_is_next(call, asked))

    @app.post("/twilio/dialed/{attempt}")
    async def dialed(request: Request, attempt: int) -> Response:
        form = await gateway.signed_form(request)
        if form is None:
            return _FORBIDDEN
        return _twiml(await gateway.dial_ended(dial_result(form), voice_request(form), attempt))

    @app.post("/twilio/stream-status")
    async def stream_status(request: Request) -> Response:
        form = await gateway.signed_form(request)
        if form is None:
            return _FORBIDDEN
        gateway.stream_told(form)
        return Response(status_code=204)

    @app.exception_handler(WireError)
    async def unreadable(_: Request, __: Exception) -> Response:
        return PlainTextResponse("the request could not be read", status_code=400)


def _add_operations(app: FastAPI, gateway: Gateway, observer: FrontObserver) -> None:
    @app.head("/healthz")
    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @app.head("/readyz")
    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        state = await gateway.crew.state()
        return JSONResponse({"status": state}, status_code=200 if state == "ready" else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        body, content_type = observer.metrics()
        return Response(body, headers={"content-type": content_type})

    def is_operator(request: Request) -> bool:
        token, given = gateway.front.console_token, request.headers.get("authorization", "")
        return bool(token) and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())

    @app.get("/console/calls")
    async def calls(request: Request) -> Response:
        if not is_operator(request):
            return _FORBIDDEN
        return JSONResponse({"calls": [msgspec.structs.asdict(call) for call in await gateway.crew.calls()]})

    @app.post("/console/calls/{call_sid}/handover")
    async def handover(request: Request, call_sid: str) -> Response:
        if not is_operator(request):
            return _FORBIDDEN
        if not await gateway.crew.order_handover(call_sid):
            return JSONResponse({"error": "this call is not on the line here"}, status_code=404)
        return JSONResponse({"status": "ordered"}, status_code=202)


_FORBIDDEN: Final = PlainTextResponse("forbidden", status_code=403)


def _twiml(document: str) -> Response:
    return Response(document, media_type="text/xml")
