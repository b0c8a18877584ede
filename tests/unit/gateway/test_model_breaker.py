"""When the model counts as down. Time is a number that the test moves; a probe comes when the test lets it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from voice_openai_connect import limits
from voice_openai_connect.call import events as ev
from voice_openai_connect.call.commands import ConfigureModel, ModelCommand, SendCallerAudio
from voice_openai_connect.gateway.model_breaker import Breaker, ModelBreaker
from voice_openai_connect.gateway.ports import ModelLeg, Post

DEADLINE_S = 10
CONFIGURED = ev.ModelConfigured("audio/pcmu", "audio/pcmu")
REFUSED = ev.ModelLost("http_401", permanent=True)
UNREACHABLE = ev.ModelLost("connect_failed")


# --- the rules


def test_one_refusal_for_good_is_enough() -> None:
    breaker = Breaker()
    breaker.failed("http_401", 0.0, permanent=True)

    assert (breaker.is_open, breaker.reason) == (True, "http_401")


def test_failures_in_a_row_are_enough_when_they_come_soon_after_each_other() -> None:
    soon, late = Breaker(), Breaker()
    for failure in range(limits.MODEL_FAILURES):
        assert not soon.is_open
        soon.failed("connect_failed", failure * limits.MODEL_FAILURES_WITHIN_S / (limits.MODEL_FAILURES - 1))
        late.failed("connect_failed", failure * limits.MODEL_FAILURES_WITHIN_S / (limits.MODEL_FAILURES - 1) * 1.01)

    assert soon.is_open
    assert not late.is_open


def test_old_failures_are_forgotten_one_by_one() -> None:
    breaker = Breaker()
    breaker.failed("connect_failed", 0.0)
    for failure in range(limits.MODEL_FAILURES):
        assert not breaker.is_open
        breaker.failed("connect_failed", 100.0 + failure)

    assert breaker.is_open


def test_one_session_that_works_makes_up_for_those_that_did_not() -> None:
    breaker = Breaker()
    for now in range(20):
        breaker.failed("connect_failed", now)
        breaker.failed("connect_failed", now)
        breaker.worked(now)

    assert not breaker.is_open


def test_while_it_is_down_the_first_reason_stays_and_the_first_success_ends_it() -> None:
    breaker = Breaker()
    breaker.failed("http_401", 0.0, permanent=True)
    breaker.failed("http_403", 1.0, permanent=True)
    assert breaker.reason == "http_401"

    breaker.worked(2.0)
    assert not breaker.is_open
    breaker.failed("connect_failed", 3.0)
    assert not breaker.is_open


def test_pauses_between_probes_double_up_to_the_longest() -> None:
    breaker = Breaker()
    breaker.failed("http_401", 0.0, permanent=True)

    assert [breaker.next_pause_s() for _ in range(6)] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_a_model_that_is_soon_down_again_is_probed_as_rarely_as_before() -> None:
    breaker = Breaker()
    breaker.failed("insufficient_quota", 0.0, permanent=True)
    breaker.next_pause_s()
    breaker.worked(5.0)
    breaker.failed("insufficient_quota", 10.0, permanent=True)
    assert breaker.next_pause_s() == 10.0

    breaker.worked(20.0)
    breaker.failed("insufficient_quota", 21.0 + limits.PROBE_LAST_S, permanent=True)
    assert breaker.next_pause_s() == 5.0


# --- what is learnt from a leg


@dataclass
class Leg:
    """A model's side that says what the test lets it."""

    says: asyncio.Queue[ev.Event | None] = field(default_factory=asyncio.Queue[ev.Event | None])
    sent: list[ModelCommand] = field(default_factory=list[ModelCommand])
    closes: int = 0

    async def run(self, post: Post) -> None:
        while (event := await self.says.get()) is not None:
            post(event)
            self.says.task_done()

    def send(self, command: ModelCommand) -> None:
        self.sent.append(command)

    def send_audio(self, audio: bytes) -> None:
        self.send(SendCallerAudio(audio))

    async def close(self) -> None:
        self.closes += 1
        self.says.put_nowait(None)


class Watch:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.news = asyncio.Event()

    def model_down(self, reason: str) -> None:
        self._tell(f"down: {reason}")

    def model_back(self) -> None:
        self._tell("back")

    def failed(self, what: str, error: BaseException) -> None:
        self._tell(f"{what}: {type(error).__name__}")

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.news.set()

    async def until(self, what: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while what not in self.told:
                self.news.clear()
                await self.news.wait()


class Desk:
    """A breaker with everything around it. `now` is the time; a pause ends when the test says so."""

    def __init__(self, open_probe: Callable[[], ModelLeg] | None = None) -> None:
        self.now = 0.0
        self.watch = Watch()
        self.pauses: asyncio.Queue[float] = asyncio.Queue()
        self.pause_over: asyncio.Queue[None] = asyncio.Queue()
        self.probes: asyncio.Queue[Leg] = asyncio.Queue()
        self.breaker = ModelBreaker(
            open_probe or self._open_probe, self.watch, clock=lambda: self.now, pause=self._pause
        )

    def _open_probe(self) -> ModelLeg:
        leg = Leg()
        self.probes.put_nowait(leg)
        return leg

    async def _pause(self, seconds: float) -> None:
        self.pauses.put_nowait(seconds)
        await self.pause_over.get()

    async def next_probe(self) -> tuple[float, Leg]:
        """The pause before the next probe, and the probe."""
        async with asyncio.timeout(DEADLINE_S):
            pause = await self.pauses.get()
            self.pause_over.put_nowait(None)
            return pause, await self.probes.get()

    async def session(self, *events: ev.Event, waits_s: float = 0.0) -> list[ev.Event]:
        """A call's session of the model in which this happened; what the call heard of it."""
        leg, heard = Leg(), list[ev.Event]()
        for event in events:
            leg.says.put_nowait(event)
        watched = self.breaker.watched(leg)
        running = asyncio.create_task(watched.run(heard.append))
        await asyncio.wait_for(leg.says.join(), DEADLINE_S)
        self.now += waits_s
        await watched.close()
        await running
        assert leg.closes == 1
        return heard

    async def close(self) -> None:
        await self.breaker.close()
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("model probe")] == []


async def test_a_watched_leg_passes_on_what_both_sides_say() -> None:
    desk, leg = Desk(), Leg()
    watched = desk.breaker.watched(leg)
    watched.send(ConfigureModel())
    watched.send_audio(b"\xff")

    assert leg.sent == [ConfigureModel(), SendCallerAudio(b"\xff")]
    events = [ev.ModelConnected(), CONFIGURED, ev.ModelErred("some_error", None), UNREACHABLE]
    assert await desk.session(*events) == events


async def test_a_model_that_refuses_us_is_down_and_said_so_once() -> None:
    desk = Desk()
    await desk.session(REFUSED)
    await desk.session(REFUSED)

    assert desk.breaker.is_open
    assert desk.watch.told == ["down: http_401"]
    await desk.close()


async def test_a_model_that_cannot_be_reached_is_down_after_some_tries() -> None:
    desk = Desk()
    for _ in range(limits.MODEL_FAILURES - 1):
        await desk.session(UNREACHABLE)
    assert not desk.breaker.is_open
    await desk.session(UNREACHABLE)

    assert desk.watch.told == ["down: connect_failed"]
    await desk.close()


async def test_a_session_that_is_lost_after_it_worked_says_nothing_about_the_next() -> None:
    desk = Desk()
    for _ in range(limits.MODEL_FAILURES * 2):
        await desk.session(ev.ModelConnected(), CONFIGURED, ev.ModelLost("closed_1006"))
        await desk.session(ev.ModelConnected(), CONFIGURED, ev.ModelLost("closed_4000:a", permanent=True))

    assert not desk.breaker.is_open


@pytest.mark.parametrize(
    "end",
    [
        ev.ModelLost("insufficient_quota", permanent=True),
        ev.ModelResponseFinished("r", "reply", "failed", "insufficient_quota", permanent=True),
    ],
)
async def test_an_account_without_credit_is_down_although_its_sessions_work(end: ev.Event) -> None:
    desk = Desk()
    await desk.session(ev.ModelConnected(), CONFIGURED, end)

    assert desk.watch.told == ["down: insufficient_quota"]
    await desk.close()


async def test_a_response_that_failed_for_its_own_reasons_says_nothing_about_the_model() -> None:
    desk = Desk()
    for _ in range(limits.MODEL_FAILURES):
        failed = ev.ModelResponseFinished("r", "reply", "failed", "server_error", None, "")
        await desk.session(ev.ModelConnected(), CONFIGURED, failed)

    assert not desk.breaker.is_open


async def test_settings_that_are_refused_are_one_profile_s_and_the_model_is_there() -> None:
    desk = Desk()
    await desk.session(UNREACHABLE)
    await desk.session(UNREACHABLE)
    await desk.session(ev.ModelConnected(), ev.ModelLost("settings_refused:invalid_value", permanent=True))
    await desk.session(UNREACHABLE)

    assert not desk.breaker.is_open


async def test_a_model_that_is_waited_for_in_vain_counts_as_a_failure() -> None:
    desk = Desk()
    for _ in range(limits.MODEL_FAILURES):
        await desk.session(ev.ModelConnected(), waits_s=limits.MODEL_CONNECT_MS / 1_000)

    assert desk.watch.told == ["down: not_ready"]
    await desk.close()


async def test_a_caller_who_hangs_up_at_once_says_nothing_about_the_model() -> None:
    desk = Desk()
    for _ in range(limits.MODEL_FAILURES * 2):
        await desk.session(waits_s=limits.MODEL_CONNECT_MS / 1_000 - 0.1)

    assert not desk.breaker.is_open


async def test_a_failure_that_took_long_is_one_failure() -> None:
    desk = Desk()
    for _ in range(limits.MODEL_FAILURES - 1):
        await desk.session(ev.ModelLost("connect_timeout"), waits_s=limits.MODEL_CONNECT_MS / 1_000)

    assert not desk.breaker.is_open


# --- probes


async def test_a_probe_opens_a_session_configures_it_and_closes_it_and_the_model_is_back() -> None:
    desk = Desk()
    await desk.session(REFUSED)
    pause, probe = await desk.next_probe()
    probe.says.put_nowait(ev.ModelConnected())
    probe.says.put_nowait(CONFIGURED)
    await desk.watch.until("back")

    assert not desk.breaker.is_open
    assert pause == limits.PROBE_FIRST_S
    assert probe.sent == [ConfigureModel()]
    await desk.close()
    assert probe.closes == 1


async def test_probes_go_on_with_longer_pauses_until_one_succeeds() -> None:
    desk = Desk()
    await desk.session(REFUSED)
    pauses: list[float] = []
    for _ in range(3):
        pause, probe = await desk.next_probe()
        probe.says.put_nowait(REFUSED)
        pauses.append(pause)
    _, probe = await desk.next_probe()
    probe.says.put_nowait(CONFIGURED)
    await desk.watch.until("back")

    assert pauses == [5.0, 10.0, 20.0]
    assert desk.watch.told == ["down: http_401", "back"]
    await desk.close()


async def test_a_probe_that_gets_no_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MODEL_READY_MS", 10)
    desk = Desk()
    await desk.session(REFUSED)
    _, silent = await desk.next_probe()
    await desk.next_probe()

    assert silent.closes == 1
    assert desk.breaker.is_open
    await desk.close()


async def test_a_call_that_gets_through_ends_the_probes() -> None:
    desk = Desk()
    await desk.session(REFUSED)
    async with asyncio.timeout(DEADLINE_S):
        await desk.pauses.get()
    await desk.session(ev.ModelConnected(), CONFIGURED)

    assert desk.watch.told == ["down: http_401", "back"]
    await desk.close()
    assert desk.probes.empty()


async def test_a_model_that_goes_down_again_is_probed_again() -> None:
    desk = Desk()
    for _ in range(2):
        await desk.session(REFUSED)
        _, probe = await desk.next_probe()
        probe.says.put_nowait(CONFIGURED)
        desk.watch.told.clear()
        await desk.watch.until("back")
    await desk.close()


async def test_a_probe_that_breaks_is_told_and_followed_by_the_next() -> None:
    opened: list[Leg] = []

    def open_probe() -> ModelLeg:
        opened.append(Leg())
        if len(opened) == 1:
            raise RuntimeError
        opened[-1].says.put_nowait(CONFIGURED)
        return opened[-1]

    desk = Desk(open_probe)
    await desk.session(REFUSED)
    for _ in range(2):
        desk.pause_over.put_nowait(None)
    await desk.watch.until("back")

    assert desk.watch.told == ["down: http_401", "model probe: RuntimeError", "back"]
    await desk.close()


async def test_closing_ends_a_probe_in_the_middle() -> None:
    desk = Desk()
    await desk.session(REFUSED)
    _, probe = await desk.next_probe()
    await desk.close()

    assert probe.closes == 1
    assert desk.watch.told == ["down: http_401"]


async def test_closing_what_never_had_to_probe_is_nothing() -> None:
    await Desk().close()
