"""The composition root: settings in, running parts out. The only place where gateway and integrations meet.

`open_gateway` builds everything and gives it back; `run_gateway` serves it until it is told to stop. Whoever wants
another model, store or CRM passes it to `open_gateway`; nothing below this file knows the difference.
"""

import asyncio
import gc
import hashlib
import random
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fastapi import FastAPI

from voice_openai_connect import event_loop, limits
from voice_openai_connect.call.events import QueuesUnattended
from voice_openai_connect.call.machine import Call
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.clients import connect_client, dynamo_repository, hubspot_client, target_watch
from voice_openai_connect.cloudwatch import written_down
from voice_openai_connect.config import Settings
from voice_openai_connect.gateway.admission import (
    Admission,
    calls_that_fit,
    free_descriptors,
    raise_descriptors,
    watch_lag,
)
from voice_openai_connect.gateway.aftercare import Aftercare
from voice_openai_connect.gateway.app import Front, Gateway, build_app
from voice_openai_connect.gateway.lifeline import supervised
from voice_openai_connect.gateway.model_breaker import ModelBreaker
from voice_openai_connect.gateway.outbox import CrmOutbox
from voice_openai_connect.gateway.picows_media import media_protocol
from voice_openai_connect.gateway.ports import Crm, HandoverStore, ModelLeg, Outbox, OutboxShelf
from voice_openai_connect.gateway.presence import QueuePresence
from voice_openai_connect.gateway.server import DrainingServer, listening_socket, server_config
from voice_openai_connect.gateway.session_manager import SessionManager
from voice_openai_connect.gateway.siblings import Seat, open_door
from voice_openai_connect.gateway.stream_handler import Outside
from voice_openai_connect.integrations.model_socket import OpenModelSocket, open_picows, open_websockets
from voice_openai_connect.integrations.openai_client import RealtimeLeg
from voice_openai_connect.logs import configure_logging, get_logger
from voice_openai_connect.metrics import Metrics, count_in
from voice_openai_connect.observers import CallWatch, FrontWatch, ModelWatch, OutboxWatch, PresenceWatch
from voice_openai_connect.own_tools import OwnTool
from voice_openai_connect.profile import Profile, Profiles
from voice_openai_connect.recording.recorder import MakeCall, recorded_calls

log = get_logger(__name__)

OpenModel = Callable[[CallIdentity], ModelLeg]
"""Makes the model's side of one call, not yet connected. Also asked for `NOBODY`, to see whether the model is there."""

_CRM_OFF: Final = (
    "HUBSPOT_ACCESS_TOKEN is not set: calls are handed over without a ticket, and where nobody can be reached, nobody "
    "is told of the call back that the profile's call_back promises. Let it say what is true, such as: Nobody is free "
    "to take your call. Please call again later."
)
_MODEL_SOCKETS: Final[Mapping[str, OpenModelSocket]] = {"picows": open_picows, "websockets": open_websockets}

NOBODY: Final = CallIdentity("probe", "probe", "probe", "", "")
"""Whoever asks for a session in which nothing is said."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A gateway that is ready to serve."""

    app: FastAPI
    gateway: Gateway
    sessions: SessionManager
    metrics: Metrics
    media: type[asyncio.Protocol] | None
    """What carries the media sockets; None where that is left to the application."""
    presence: QueuePresence | None
    """None where nobody asks who is there."""


@dataclass(frozen=True, slots=True)
class Process:
    """What the process is to the gateway in it."""

    own_loop: bool = True
    """Nothing else runs on this event loop, so that its lag is the gateway's own."""
    seat: Seat | None = None
    """Its place among several on the same port; None where there are no others."""


OWN_PROCESS: Final = Process()


@dataclass(frozen=True, slots=True)
class Services:
    """Where calls leave what must outlive them. `crm` and `outbox` are None when no CRM is configured."""

    store: HandoverStore
    crm: Crm | None
    outbox: Outbox | None
    unattended: Callable[[], QueuesUnattended] = QueuesUnattended
    """Which of the contact centre's queues are known to have nobody."""


class Counter:
    """What a call is given when it begins: its profile, and the outside world through its own set of doors."""

    def __init__(
        self,
        settings: Settings,
        profiles: Profiles,
        tools: Sequence[OwnTool],
        *,
        open_model: OpenModel | None,
        services: Services,
        sessions: SessionManager,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._profiles = profiles
        self._specs = tuple(tool.spec for tool in tools)
        self._tools = {tool.spec.name: tool for tool in tools}
        # Made once: reading the system's certificates takes longer than setting a call up.
        self._tls = ssl.create_default_context() if settings.openai_base_url.startswith("https:") else None
        self._open_model = open_model or self._open_realtime
        self._model_watch = ModelWatch(metrics)
        self.breaker = ModelBreaker(lambda: self._open_model(NOBODY), self._model_watch)
        self._services = services
        self._sessions = sessions
        self._metrics = metrics

    def profile(self, called: str) -> Profile:
        """The profile of the number that was called."""
        return self._profiles.for_number(called)

    def call_settings(self, called: str) -> CallSettings:
        """How the call is to be run."""
        return self.profile(called).call_settings(self._settings, self._specs)

    def outside(self, identity: CallIdentity) -> Outside:
        """What this call may reach."""
        return Outside(
            open_model=lambda: self.breaker.watched(self._open_model(identity)),
            store=self._services.store,
            crm=self._services.crm,
            remember_step=self._sessions.remember_step,
            tools=self._tools,
            outbox=self._services.outbox,
            unattended=self._services.unattended,
        )

    def observer(self, identity: CallIdentity) -> CallWatch:
        """Where this call's facts go."""
        return CallWatch(identity, self._metrics)

    def _open_realtime(self, identity: CallIdentity) -> ModelLeg:
        settings = self._settings
        return RealtimeLeg(
            self.profile(identity.called_phone).model_settings(settings, self._specs),
            api_key=settings.openai_api_key.get_secret_value(),
            base_url=settings.openai_base_url,
            safety_identifier=_pseudonym(identity.caller_phone, settings),
            open_socket=_MODEL_SOCKETS[settings.media_socket],
            tls=self._tls,
            limit_left=self._model_watch.limit_left,
        )


def _pseudonym(caller_phone: str, settings: Settings) -> str:
    """A stable name for a caller that OpenAI cannot turn back into a number."""
    if not caller_phone:
        return ""
    key = settings.twilio_auth_token.get_secret_value().encode()
    return hashlib.blake2b(caller_phone.encode(), key=key[:64], digest_size=16).hexdigest()


@asynccontextmanager
async def open_gateway(
    settings: Settings,
    profiles: Profiles,
    tools: Sequence[OwnTool] = (),
    *,
    open_model: OpenModel | None = None,
    store: HandoverStore | None = None,
    crm: Crm | None = None,
    outbox: Outbox | None = None,
    process: Process = OWN_PROCESS,
) -> AsyncGenerator[Parts, None]:
    """Everything a process needs to answer calls; closed again when the block is left.

    What is passed is used instead of OpenAI, DynamoDB or HubSpot, and stays open: whoever made it closes it. A store
    of one's own comes with an `outbox` of one's own, or without one. `process` says where all this runs.
    """
    metrics = Metrics(process.seat.metrics if process.seat else None)
    watch = FrontWatch(metrics)
    async with AsyncExitStack() as stack:
        services = await _services(stack, settings, metrics, store=store, crm=crm, outbox=outbox)
        admission = Admission(calls_per_second=settings.max_calls_per_second)
        if process.own_loop:
            await stack.enter_async_context(_measuring_lag(admission, metrics))
        sessions = SessionManager(
            services.store,
            max_calls=settings.max_calls,
            on_failure=watch.failed,
            on_lost=watch.caller_lost,
            admission=admission,
            seat=process.seat,
        )
        stack.push_async_callback(sessions.questions.close)
        presence = _presence(settings, profiles, sessions, metrics) if services.outbox is not None else None
        if presence is not None:
            await stack.enter_async_context(presence)
            services = replace(services, unattended=presence.unattended)
        aftercare = Aftercare(services.store, services.outbox, watch)
        stack.push_async_callback(aftercare.settled)
        counter = Counter(
            settings, profiles, tools, open_model=open_model, services=services, sessions=sessions, metrics=metrics
        )
        stack.push_async_callback(counter.breaker.close)
        gateway = Gateway(
            _front(settings),
            counter,
            sessions,
            watch,
            aftercare=aftercare,
            make_call=await _call_maker(stack, settings.record_calls),
            model_is_up=lambda: not counter.breaker.is_open,
            seat=process.seat,
        )
        media = media_protocol(gateway.media_door) if settings.media_socket == "picows" else None
        await stack.enter_async_context(open_door(process.seat, sessions))
        yield Parts(build_app(gateway, watch), gateway, sessions, metrics, media, presence)


async def _services(
    stack: AsyncExitStack,
    settings: Settings,
    metrics: Metrics,
    *,
    store: HandoverStore | None,
    crm: Crm | None,
    outbox: Outbox | None,
) -> Services:
    """What was passed, and our own for the rest, entered into `stack`."""
    shelf: OutboxShelf | None = None
    if store is None:
        table = await stack.enter_async_context(dynamo_repository(settings, on_throttle=metrics.throttled))
        store, shelf = table, table.outbox
    hubspot = hubspot_client(settings, on_trouble=lambda reason: metrics.crm_failed("detail", reason))
    if crm is None and hubspot is not None:
        crm = await stack.enter_async_context(hubspot)
    if outbox is None and crm is not None and shelf is not None:
        outbox = await stack.enter_async_context(CrmOutbox(shelf, crm, OutboxWatch(metrics), jitter=_spread))
    return Services(store, crm, outbox)


def _presence(
    settings: Settings, profiles: Profiles, sessions: SessionManager, metrics: Metrics
) -> QueuePresence | None:
    """Who is at the queues. Of use only where a message can be left: else a transfer is the better answer anyway."""
    center, names = connect_client(settings), profiles.queues_that_may_be_empty
    if center is None or not names:
        return None
    return QueuePresence(center, names, PresenceWatch(metrics), on_change=sessions.tell_who_is_there)


def _spread(seconds: float) -> float:
    """A wait of about that long, so that instances that wait for the same thing do not come all at once."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads waits, keeps no secret


@asynccontextmanager
async def _measuring_lag(admission: Admission, metrics: Metrics) -> AsyncGenerator[None, None]:
    """Inside, the lag of the event loop is known."""
    watching = asyncio.create_task(
        watch_lag(admission.lag, lambda lag_ms: metrics.loop_lag(lag_ms / 1_000)), name="event loop's lag"
    )
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _call_maker(stack: AsyncExitStack, folder: str) -> MakeCall:
    """Calls as they are, or calls that are written down in `folder`."""
    return await stack.enter_async_context(recorded_calls(Path(folder), _recording_stopped)) if folder else Call


def _recording_stopped(call_sid: str, reason: str, error: Exception | None) -> None:
    log.warning("recording_stopped", call_sid=call_sid, reason=reason, error=type(error).__name__ if error else "")


def _front(settings: Settings) -> Front:
    live = (settings.twilio_auth_token, settings.twilio_auth_token_secondary)
    return Front(
        public_base_url=settings.public_base_url,
        stream_base_url=settings.stream_base_url,
        account_sid=settings.twilio_account_sid,
        secrets=tuple(secret.get_secret_value() for secret in live if secret),
        person_number=settings.connect_phone_number,
        console_token=settings.console_token.get_secret_value() if settings.console_token else "",
        digits_after_ms=settings.connect_digits_after_ms,
    )


def run_gateway(
    settings: Settings, profiles: Profiles, tools: Sequence[OwnTool] = (), *, seat: Seat | None = None
) -> int:
    """Serve until told to stop; the process's exit status. Raises `CannotListenError` before anything has begun.

    A process with a `seat` is one of several on the port, and standard input is its line to their supervisor.
    """
    configure_logging(
        settings.log_level,
        full_numbers=settings.log_full_numbers,
        secrets=settings.secrets(),
        worker=seat.number if seat else None,
    )
    if seat is not None:
        count_in(seat.metrics, seat.number)
    with listening_socket(settings.host, settings.port, shared=seat is not None) as listening:
        raise_descriptors()
        if _is_first(seat):
            _say_what_is_unusual(settings)
        event_loop.run(_serve(settings, profiles, tools, listening, seat))
    return 0


def _is_first(seat: Seat | None) -> bool:
    """Whether this process does what is to be done once for the whole instance."""
    return seat is None or seat.number == 0


def _say_what_is_unusual(settings: Settings) -> None:
    for warning in settings.warnings(datetime.now(UTC).date()):
        log.warning("setting_needs_attention", detail=warning)
    if calls_that_fit(free := free_descriptors()) < settings.max_calls:
        needed = settings.max_calls * limits.DESCRIPTORS_A_CALL + limits.DESCRIPTORS_RESERVED
        log.warning(
            "setting_needs_attention",
            detail=f"MAX_CALLS: {settings.max_calls} calls need {needed} file descriptors, and {free:.0f} are left. "
            "Raise the limit (ulimit -Hn, LimitNOFILE), or lower MAX_CALLS; until then some calls go to a person",
        )
    if settings.hubspot_access_token is None:
        log.warning("crm_off", detail=_CRM_OFF)


async def _serve(
    settings: Settings, profiles: Profiles, tools: Sequence[OwnTool], listening: socket.socket, seat: Seat | None
) -> None:
    async with (
        open_gateway(settings, profiles, tools, process=Process(seat=seat)) as parts,
        # The first of several writes for all.
        written_down(parts.metrics, settings.cloudwatch_service if _is_first(seat) else ""),
    ):
        port = listening.getsockname()[1]
        sessions, config = parts.sessions, server_config(parts.app, host=settings.host, port=port, media=parts.media)
        server = DrainingServer(config, sessions.drain, sessions.hasten)
        settle_down()
        log.info("serving", host=settings.host, port=port, public=settings.public_base_url)
        async with (
            _drained_when_target_goes(settings, port, server),
            supervised(server.until_started) if seat else nullcontext(),
        ):
            await server.serve([listening])


def settle_down() -> None:
    """Everything that a start has made stays to the end.

    Left to the collector, it would be looked through again and again, each time 60 ms in which all calls wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(limits.COLLECTED_AT, *gc.get_threshold()[1:])


def _drained_when_target_goes(
    settings: Settings, port: int, server: DrainingServer
) -> AbstractAsyncContextManager[object]:
    """Inside, the drain begins when the load balancer has begun to take this process out, where that is asked for.

    The process does not end by itself: ECS ends it, and would take an end of its own accord for a failure.
    """

    def drain() -> None:
        log.info("target_draining", target_group=settings.target_group_arn)
        server.drain()

    def trouble(reason: str) -> None:
        remedy = "allow elasticloadbalancing:DescribeTargetHealth, check TARGET_GROUP_ARN and AWS_REGION"
        log.warning("target_unknown", reason=reason, remedy=remedy)

    watch = target_watch(settings, port=port, on_draining=drain, on_trouble=trouble)
    return watch or nullcontext()
