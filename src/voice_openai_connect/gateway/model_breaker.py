"""Knows when the model is down, so that callers do not have to find out one by one.

While it is, new calls go straight to a person, and a session of nobody's is tried from time to time: opened,
configured, closed, without a sound. The first that works, the assistant answers again.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from voice_openai_connect import limits
from voice_openai_connect.call.commands import ConfigureModel
from voice_openai_connect.call.events import (
    Event,
    ModelConfigured,
    ModelConnected,
    ModelLost,
    ModelResponseFinished,
)
from voice_openai_connect.gateway.ports import ModelLeg, Post
from voice_openai_connect.wire.openai_events import FATAL_CODES, SETTINGS_REFUSED

MODEL_DOWN: Final = "model_down"
"""Why a call is sent straight to a person while the breaker is open."""


class Breaker:
    """Whether the model is known to be down. Times are seconds on any clock that only goes forward."""

    def __init__(self) -> None:
        self.reason = ""
        """Why it counts as down; empty while it does not."""
        self._failures: deque[float] = deque(maxlen=limits.MODEL_FAILURES)
        self._closed_at: float | None = None
        self._pause_s = limits.PROBE_FIRST_S

    @property
    def is_open(self) -> bool:
        """True while the model counts as down."""
        return bool(self.reason)

    def failed(self, reason: str, now: float, *, permanent: bool = False) -> None:
        """A session did not come about, or ended in a way that every other would. `permanent` is enough by itself."""
        if self.is_open:
            return
        self._failures.append(now)
        in_a_row = len(self._failures) == limits.MODEL_FAILURES
        if permanent or (in_a_row and now - self._failures[0] <= limits.MODEL_FAILURES_WITHIN_S):
            self._open(reason, now)

    def worked(self, now: float) -> None:
        """A session confirmed its settings."""
        self._failures.clear()
        if self.is_open:
            self.reason = ""
            self._closed_at = now

    def next_pause_s(self) -> float:
        """How long to wait before the next probe; longer each time."""
        pause, self._pause_s = self._pause_s, min(self._pause_s * 2, limits.PROBE_LAST_S)
        return pause

    def _open(self, reason: str, now: float) -> None:
        self.reason = reason
        # A model that confirms settings and then answers nobody, such as one without credit, gets through every
        # probe. Soon down again, it is probed as rarely as before, and so has few callers to fail.
        if self._closed_at is None or now - self._closed_at > limits.PROBE_LAST_S:
            self._pause_s = limits.PROBE_FIRST_S


class ModelObserver(Protocol):
    """Where it is told whether the model is there."""

    def model_down(self, reason: str) -> None:
        """From now on, new calls go straight to a person."""
        ...

    def model_back(self) -> None:
        """From now on, the assistant answers again."""
        ...

    def failed(self, what: str, error: BaseException) -> None:
        """Something broke that should not."""
        ...


class ModelBreaker:
    """A `Breaker` that learns from every leg it watches, and probes by itself while it is open.

    `open_probe` makes the leg of a session that belongs to no call.
    """

    def __init__(
        self,
        open_probe: Callable[[], ModelLeg],
        observer: ModelObserver,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._open_probe = open_probe
        self._observer = observer
        self._clock = clock
        self._pause = pause
        self._breaker = Breaker()
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the model is known to be down, so that only a person is there for a caller."""
        return self._breaker.is_open

    def watched(self, leg: ModelLeg) -> ModelLeg:
        """The same leg, from which this breaker learns."""
        return _WatchedLeg(leg, self, self._clock)

    def failed(self, reason: str, *, permanent: bool) -> None:
        """A leg did not get ready, or ended in a way that every other would."""
        was_open = self.is_open
        self._breaker.failed(reason, self._clock(), permanent=permanent)
        if self.is_open and not was_open:
            self._observer.model_down(reason)
            self._probing = asyncio.create_task(self._probe_until_back(), name="model probes")

    def worked(self) -> None:
        """A leg got ready."""
        was_open = self.is_open
        self._breaker.worked(self._clock())
        if was_open:
            self._observer.model_back()
            self._stop_probing()

    async def close(self) -> None:
        """End the probes."""
        self._stop_probing()
        if self._probing is not None:
            await asyncio.wait({self._probing})

    def _stop_probing(self) -> None:
        if self._probing is not None:
            self._probing.cancel()

    async def _probe_until_back(self) -> None:
        while self.is_open:
            await self._pause(self._breaker.next_pause_s())
            try:
                await self._probe()
            except Exception as error:  # noqa: BLE001 - without probes the assistant would never come back
                self._observer.failed("model probe", error)

    async def _probe(self) -> None:
        """Open a session, up to its confirmed settings, and close it. Costs nothing: nothing is said in it."""
        leg, settled = self.watched(self._open_probe()), asyncio.Event()

        def post(event: Event) -> None:
            if isinstance(event, ModelConnected):
                leg.send(ConfigureModel())
            elif isinstance(event, ModelConfigured | ModelLost):
                settled.set()

        running = asyncio.create_task(leg.run(post), name="model probe")
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.MODEL_READY_MS / 1_000):
                    await settled.wait()
        finally:
            await leg.close()
            await running


_TELLING: Final = frozenset({ModelConfigured, ModelLost, ModelResponseFinished})
"""The events that say something about whether the model is there."""


class _WatchedLeg:
    """A leg that passes everything through."""

    def __init__(self, leg: ModelLeg, breaker: ModelBreaker, clock: Callable[[], float]) -> None:
        self._leg = leg
        self._breaker = breaker
        self._clock = clock
        self._settled = False
        """Whether it is known if this session came about."""
        self.send, self.send_audio = leg.send, leg.send_audio
        """Fifty times a second, so nothing stands between."""

    async def run(self, post: Post) -> None:
        """Run the leg."""
        began_at = self._clock()

        def pass_on(event: Event) -> None:
            if type(event) in _TELLING:
                self._learn(event)
            post(event)

        try:
            await self._leg.run(pass_on)
        finally:
            # Whoever closed it may have lost patience, or only hung up: that depends on how long they waited.
            if not self._settled and self._clock() - began_at >= limits.MODEL_CONNECT_MS / 1_000:
                self._breaker.failed("not_ready", permanent=False)

    async def close(self) -> None:
        """Close the leg."""
        await self._leg.close()

    def _learn(self, event: Event) -> None:
        match event:
            case ModelConfigured():
                self._settled = True
                self._breaker.worked()
            case ModelLost(reason) if reason.startswith(SETTINGS_REFUSED):
                # The model is there and knows us. These settings are one profile's; others have their own.
                self._settled = True
                self._breaker.worked()
            case ModelLost(reason, permanent) if not self._settled or reason in FATAL_CODES:
                self._settled = True
                self._breaker.failed(reason, permanent=permanent)
            case ModelResponseFinished(permanent=True, code=code):
                self._breaker.failed(code, permanent=True)
            case _:
                pass
