"""The routes over a real server. Requests are signed by Twilio's own code, for the address that the settings name."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from voice_openai_connect import limits
from voice_openai_connect.call.call_item import CallItem
from voice_openai_connect.call.checkpoint import Checkpoint, Turn
from voice_openai_connect.call.handover import Redemption
from voice_openai_connect.call.next_step import DialPerson, HangUp, NextStep, PromiseCallBack
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.call.settings import CallIdentity, CallSettings
from voice_openai_connect.gateway.admission import Admission
from voice_openai_connect.gateway.aftercare import Aftercare
from voice_openai_connect.gateway.app import Front, Gateway, build_app, identity_of
from voice_openai_connect.gateway.ports import CallObserver
from voice_openai_connect.gateway.session_manager import SessionManager
from voice_openai_connect.gateway.stream_handler import Outside
from voice_openai_connect.simulator.carrier_webhooks import signer
from voice_openai_connect.simulator.serving import serving
from voice_openai_connect.wire.stream_ticket import read_ticket
from voice_openai_connect.wire.twilio_webhooks import DialResult
from voice_openai_connect.wire.twiml import Wording

PUBLIC = "https://voice.example.com"
ACCOUNT_SID = "AC" + "5" * 32
CALL_SID = "CA" + "8" * 32
SECRET = "the account's token"
PERSON = "+61255505678"
FORM = {
    "AccountSid": ACCOUNT_SID,
    "CallSid": CALL_SID,
    "From": "+61491570006",
    "To": "+61255501234",
    "CallStatus": "in-progress",
}
TOKEN = "0123456789"
ASKED_AGAIN = "#ct=1000&rt=4000&rc=3&rp=ct,rt,5xx"
WEBHOOKS = ["/twilio/voice", "/twilio/next", "/twilio/dialed/1", "/twilio/stream-status"]


class Speaks:
    def wording(self) -> Wording:
        return Wording("en-AU", "One moment, please.", "Sorry, once more.", "We will call you back.", "Goodbye.")


class WebhooksOnly:
    """A desk for tests in which no stream is ever opened."""

    def profile(self, called: str) -> Speaks:
        return Speaks()

    def call_settings(self, called: str) -> CallSettings:
        raise AssertionError

    def outside(self, identity: CallIdentity) -> Outside:
        raise AssertionError

    def observer(self, identity: CallIdentity) -> CallObserver:
        raise AssertionError


@dataclass
class Watch:
    refusals: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    streams_failed: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    dials: list[NextStep] = field(default_factory=list[NextStep])
    failures: list[str] = field(default_factory=list[str])

    def refused(self, what: str, reason: str) -> None:
        self.refusals.append((what, reason))

    def dial_ended(self, result: DialResult, outcome: DialOutcome, step: NextStep) -> None:
        self.dials.append(step)

    def stream_failed(self, call_sid: str, stream_sid: str, why: str) -> None:
        self.streams_failed.append((call_sid, stream_sid, why))

    def _unseen(self, *_: Any, **__: Any) -> None:
        return

    transfer_ended = call_ended = person_reached = context_not_delivered = _unseen

    def failed(self, what: str, error: BaseException) -> None:
        self.failures.append(what)

    def metrics(self) -> tuple[bytes, str]:
        return b"calls 1\n", "text/plain; version=1.0.0"


class Store:
    """Keeps what is known about calls, or does what a test says instead."""

    def __init__(self) -> None:
        self.items: dict[str, CallItem] = {}
        self.revoked: list[str] = []
        self.asked: list[str] = []
        self.trouble: Callable[[], Awaitable[None]] | None = None

    async def _change(self, call_sid: str, **changes: Any) -> None:
        self.items[call_sid] = replace(await self.recall_call(call_sid), **changes)

    def _of_live_calls(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no stream is ever opened")

    save = attach_ticket = save_checkpoint = take_over = _of_live_calls

    async def remember_step(self, call_sid: str, step: NextStep) -> None:
        await self._change(call_sid, step=step)

    async def bring_back(self, call_sid: str, checkpoint: Checkpoint) -> None:
        await self._change(call_sid, checkpoint=checkpoint, step=None)

    async def close_call(self, call_sid: str, outcome: Outcome, *, words_kept: bool = True) -> None:
        await self._change(call_sid, checkpoint=None, outcome=outcome)

    async def note_asked(self, call_sid: str) -> None:
        self.asked.append(call_sid)

    async def note_stopped(self, call_sid: str, stream_sid: str) -> None:
        await self._change(call_sid, stopped_stream=stream_sid)

    async def note_dial(self, call_sid: str, attempt: int, outcome: DialOutcome) -> bool:
        dials = self.items.get(call_sid, CallItem()).dials
        await self._change(call_sid, dials={attempt: outcome, **dials})
        return attempt not in dials

    async def redemption(self, token: str) -> Redemption | None:
        return None

    async def revoke(self, token: str) -> bool:
        self.revoked.append(token)
        return True

    async def recall_call(self, call_sid: str) -> CallItem:
        if self.trouble is not None:
            await self.trouble()
        return self.items.get(call_sid, CallItem())

    def hasten(self) -> None:
        return


@dataclass
class Site:
    """A gateway behind an address, and Twilio's way of asking it."""

    base: str
    client: httpx2.AsyncClient
    sessions: SessionManager
    admission: Admission
    store: Store
    watch: Watch
    aftercare: Aftercare
    model_up: bool = True

    async def post(self, path: str, form: Mapping[str, str] = FORM, **more: str) -> httpx2.Response:
        """A webhook as Twilio posts it: the form, with `more` over it, signed."""
        fields = {**form, **more}
        return await self.send(path, urlencode(fields).encode(), signer(SECRET)(PUBLIC + path, fields))

    async def send(self, path: str, body: bytes, signature: str) -> httpx2.Response:
        headers = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature}
        return await self.client.post(self.base + path, content=body, headers=headers)

    async def twiml(self, path: str, **more: str) -> ET.Element:
        answer = await self.post(path, {**FORM, **more})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/xml")
        return ET.fromstring(answer.text)  # noqa: S314 - our own gateway's


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    store, watch = Store(), Watch()
    admission = Admission()
    sessions = SessionManager(store, max_calls=1, on_failure=watch.failed, admission=admission)
    aftercare = Aftercare(store, None, watch)
    front = Front(PUBLIC, "wss://voice.example.com", ACCOUNT_SID, (SECRET,), PERSON, console_token="operator" * 4)
    gateway = Gateway(front, WebhooksOnly(), sessions, watch, aftercare=aftercare, model_is_up=lambda: here.model_up)
    app = build_app(gateway, watch)
    async with serving(app) as base, httpx2.AsyncClient(trust_env=False) as client:
        here = Site(base, client, sessions, admission, store, watch, aftercare)
        yield here
        await aftercare.settled()
        await sessions.questions.close()


def dial_in(response: ET.Element) -> tuple[str, str]:
    """The number that is dialled and the keys that are sent."""
    number = response.find("Dial/Number")
    assert number is not None
    return number.text or "", number.get("sendDigits", "")


def said_in(response: ET.Element) -> list[str]:
    return [say.text or "" for say in response.findall("Say")]


# --- ids


def test_a_call_has_the_same_ids_on_every_instance_and_no_other_call_has_them() -> None:
    one, other = identity_of(CALL_SID, "+1", "+2"), identity_of("CA" + "9" * 32, "+1", "+2")

    assert one == identity_of(CALL_SID, "+1", "+2")
    assert one.conversation_id == "7ef99d9d-7333-5dac-b43b-6e1954db3e6a"
    assert len({one.conversation_id, one.handover_id, other.conversation_id, other.handover_id}) == 4


# --- a call comes in


async def test_a_call_is_connected_to_a_stream_of_its_own(site: Site) -> None:
    response = await site.twiml("/twilio/voice")
    (connect,) = response
    (stream,) = connect

    assert (connect.tag, connect.attrib) == ("Connect", {"action": f"{PUBLIC}/twilio/next{ASKED_AGAIN}"})
    assert stream.get("statusCallback") == f"{PUBLIC}/twilio/stream-status"
    assert {p.get("name"): p.get("value") for p in stream} == {"caller": FORM["From"], "called": FORM["To"]}
    url, _, ticket = stream.get("url", "").rpartition("/")
    assert url == "wss://voice.example.com/twilio/stream"
    read = read_ticket((SECRET,), ticket, now_s=0)
    assert read is not None
    assert read.call_sid == CALL_SID


async def test_a_call_that_is_announced_twice_gets_the_same_answer_but_for_the_ticket(site: Site) -> None:
    answers = [await site.twiml("/twilio/voice") for _ in range(2)]
    streams = [answer.find("Connect/Stream") for answer in answers]
    tickets = {stream.attrib.pop("url") for stream in streams if stream is not None}

    assert len(tickets) == 2
    assert ET.tostring(answers[0]) == ET.tostring(answers[1])


@pytest.mark.parametrize(("state", "reason"), [("full", "full"), ("draining", "draining")])
async def test_without_room_a_call_goes_straight_to_a_person(site: Site, state: str, reason: str) -> None:
    assert site.sessions.claim("another call")
    site.sessions.draining = state == "draining"
    response = await site.twiml("/twilio/voice")

    assert dial_in(response) == (PERSON, "")
    assert said_in(response) == ["One moment, please."]
    assert site.watch.refusals == [("call", reason)]


async def test_while_the_model_is_down_a_new_call_goes_straight_to_a_person(site: Site) -> None:
    site.model_up = False
    response = await site.twiml("/twilio/voice")

    assert dial_in(response) == (PERSON, "")
    assert said_in(response) == ["One moment, please."]
    assert site.watch.refusals == [("call", "model_down")]
    assert (await site.client.get(f"{site.base}/readyz")).json() == {"status": "ready"}


async def test_a_process_that_lags_takes_no_new_call_and_is_not_ready(site: Site) -> None:
    site.admission.lag.lag_ms = 10 * limits.LAG_BUSY_MS
    response = await site.twiml("/twilio/voice")

    assert dial_in(response) == (PERSON, "")
    assert site.watch.refusals == [("call", "busy")]
    answer = await site.client.get(f"{site.base}/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "busy"})


# --- what is next


async def test_a_call_that_broke_off_goes_on_whatever_new_calls_are_told(site: Site) -> None:
    site.store.items[CALL_SID] = CallItem(checkpoint=Checkpoint((Turn("caller", "Hello."),)))
    site.model_up = False
    site.admission.lag.lag_ms = 10 * limits.LAG_BUSY_MS
    response = await site.twiml("/twilio/next")

    assert response.find("Connect/Stream") is not None
    assert site.watch.refusals == []


async def test_a_call_that_broke_off_and_finds_no_room_is_put_off_and_at_last_goes_to_a_person(site: Site) -> None:
    site.store.items[CALL_SID] = CallItem(checkpoint=Checkpoint((Turn("caller", "Hello."),)))
    assert site.sessions.claim("another call")
    path = "/twilio/next"
    for asked in range(1, limits.ASKED_AGAIN + 1):
        response = await site.twiml(path)
        path = f"/twilio/next/{asked}"
        assert [verb.tag for verb in response] == ["Pause", "Redirect"]
        assert (response.findtext("Redirect") or "").partition("#")[0] == f"{PUBLIC}{path}"
    response = await site.twiml(path)

    assert dial_in(response) == (PERSON, "")
    assert said_in(response) == ["One moment, please."]
    assert site.watch.refusals == [("resume", "full")] * (limits.ASKED_AGAIN + 1)


async def test_a_drain_waits_for_a_question_that_was_put_off(site: Site) -> None:
    site.store.items[CALL_SID] = CallItem(checkpoint=Checkpoint((Turn("caller", "Hello."),)))
    site.sessions.draining = True
    site.sessions.questions.expect(CALL_SID)
    await site.twiml("/twilio/next")
    assert not site.sessions.questions.none_awaited.is_set()

    await site.twiml(f"/twilio/next/{limits.ASKED_AGAIN}")
    assert site.sessions.questions.none_awaited.is_set()


async def test_a_call_that_nobody_knows_goes_to_a_person_and_is_told_so(site: Site) -> None:
    response = await site.twiml("/twilio/next")

    assert dial_in(response) == (PERSON, "")
    assert said_in(response) == ["One moment, please."]


async def test_what_was_decided_is_answered_and_answered_again_when_asked_again(site: Site) -> None:
    await site.sessions.remember_step(CALL_SID, DialPerson(token=TOKEN))
    answers = [await site.twiml("/twilio/next") for _ in range(3)]

    assert {dial_in(answer) for answer in answers} == {(PERSON, f"wwww{TOKEN}#")}
    assert all(said_in(answer) == [] for answer in answers)


async def test_a_call_that_has_completed_is_hung_up_whatever_was_decided(site: Site) -> None:
    await site.sessions.remember_step(CALL_SID, DialPerson(token=TOKEN))
    response = await site.twiml("/twilio/next", CallStatus="completed")

    assert [verb.tag for verb in response] == ["Hangup"]


@pytest.mark.parametrize("status", ["in-progress", "completed"])
async def test_once_twilio_has_asked_a_drain_need_not_wait_for_it(site: Site, status: str) -> None:
    await site.sessions.remember_step(CALL_SID, HangUp())
    await site.twiml("/twilio/next", CallStatus=status)

    await asyncio.wait_for(site.sessions.drain(), limits.NEXT_ASKED_S / 2)


async def hangs() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ConnectionError


@pytest.mark.parametrize("trouble", [hangs, fails])
async def test_a_store_in_trouble_does_not_keep_the_caller_waiting(
    site: Site, trouble: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STEP_STORE_MS", 20)
    site.store.trouble = trouble
    response = await site.twiml("/twilio/next")

    assert dial_in(response) == (PERSON, "")
    assert site.watch.failures == ["recall call"]


async def test_a_step_that_cannot_be_written_down_becomes_a_person(site: Site) -> None:
    await site.sessions.remember_step(CALL_SID, DialPerson(token="not ten digits"))
    response = await site.twiml("/twilio/next")

    assert dial_in(response) == (PERSON, "")
    assert site.watch.failures == ["write step"]


# --- after a dial


@pytest.mark.parametrize(
    ("attempt", "form", "step"),
    [
        (1, {"DialCallStatus": "completed", "DialCallDuration": "60", "DialBridged": "true"}, HangUp()),
        (1, {"DialCallStatus": "completed", "DialCallDuration": "2"}, DialPerson(attempt=2, apologise=True)),
        (1, {"DialCallStatus": "completed", "DialBridged": "false"}, DialPerson(attempt=2, apologise=True)),
        (1, {"DialCallStatus": "busy"}, DialPerson(attempt=2, apologise=True)),
        (1, {"DialCallStatus": "something new"}, DialPerson(attempt=2, apologise=True)),
        (1, {}, DialPerson(attempt=2, apologise=True)),
        (2, {"DialCallStatus": "no-answer"}, PromiseCallBack()),
        (2, {"DialCallStatus": "failed"}, PromiseCallBack()),
        (2, {"DialCallStatus": "answered", "DialCallDuration": "60"}, HangUp()),
    ],
)
async def test_what_follows_a_dial(site: Site, attempt: int, form: Mapping[str, str], step: NextStep) -> None:
    answers = [await site.post(f"/twilio/dialed/{attempt}", {**FORM, **form}) for _ in range(2)]
    response = ET.fromstring(answers[0].text)  # noqa: S314 - our own gateway's

    assert answers[0].text == answers[1].text
    assert site.watch.dials == [step, step]
    match step:
        case DialPerson():
            assert dial_in(response) == (PERSON, "")
            assert response.find(f"Dial[@action='{PUBLIC}/twilio/dialed/2{ASKED_AGAIN}']") is not None
            assert said_in(response) == ["Sorry, once more."]
        case PromiseCallBack():
            assert said_in(response) == ["We will call you back.", "Goodbye."]
            assert response[-1].tag == "Hangup"
        case _:
            assert [verb.tag for verb in response] == ["Hangup"]


# --- nobody came, and the caller goes back to the assistant

BUSY = {"DialCallStatus": "busy"}


def parameters_in(response: ET.Element) -> dict[str, str]:
    """What a new stream is told; empty if there is none."""
    return {p.get("name", ""): p.get("value", "") for p in response.findall("Connect/Stream/Parameter")}


async def test_after_two_failed_dials_a_stream_is_opened_that_knows_how_they_ended(site: Site) -> None:
    site.store.items[CALL_SID] = CallItem(DialPerson(token=TOKEN), Checkpoint(person_needed=True))
    response = await site.twiml("/twilio/dialed/2", **BUSY)

    assert parameters_in(response) == {"caller": FORM["From"], "called": FORM["To"], "nobody_came": "busy"}
    item = site.store.items[CALL_SID]
    assert item.step is None
    assert item.checkpoint == Checkpoint(resumes=0, nobody_came="busy")


async def test_the_same_news_again_leads_to_the_same_stream_and_overwrites_nothing(site: Site) -> None:
    later = Checkpoint((Turn("caller", "Then take a message"),), nobody_came="busy")
    known = CallItem(HangUp(), later, {1: DialOutcome.BUSY, 2: DialOutcome.BUSY})
    site.store.items[CALL_SID] = known
    response = await site.twiml("/twilio/dialed/2", DialCallStatus="no-answer")

    assert parameters_in(response)["nobody_came"] == "busy"
    assert (site.store.items[CALL_SID].step, site.store.items[CALL_SID].checkpoint) == (HangUp(), later)


async def test_a_caller_is_not_sent_back_to_a_model_that_is_known_to_be_down(site: Site) -> None:
    site.store.items[CALL_SID] = CallItem(checkpoint=Checkpoint(person_needed=True))
    site.model_up = False
    response = await site.twiml("/twilio/dialed/2", **BUSY)

    assert said_in(response) == ["We will call you back.", "Goodbye."]


async def test_without_room_a_call_back_is_promised_and_nobody_is_dialled_a_third_time(site: Site) -> None:
    back = Checkpoint(nobody_came="busy")
    site.store.items[CALL_SID] = CallItem(checkpoint=back)
    assert site.sessions.claim("another call")
    response = await site.twiml(f"/twilio/next/{limits.ASKED_AGAIN}")

    assert said_in(response) == ["We will call you back.", "Goodbye."]


async def test_a_caller_who_is_back_and_whose_line_breaks_gets_a_stream_that_still_knows(site: Site) -> None:
    site.store.items[CALL_SID] = CallItem(checkpoint=Checkpoint(nobody_came="failed"))

    assert parameters_in(await site.twiml("/twilio/next"))["nobody_came"] == "failed"


async def test_nobody_is_dialled_a_third_time_even_if_the_store_forgets_everything(site: Site) -> None:
    site.store.items[CALL_SID] = CallItem(DialPerson(token=TOKEN))
    for attempt in (1, 2):
        await site.twiml(f"/twilio/dialed/{attempt}", **BUSY)
    await site.aftercare.settled()
    site.store.items.clear()

    assert said_in(await site.twiml("/twilio/next")) == ["We will call you back.", "Goodbye."]


@pytest.mark.parametrize("attempt", [0, 3, 99])
async def test_an_attempt_that_was_never_made_is_taken_for_the_nearest(site: Site, attempt: int) -> None:
    response = await site.twiml(f"/twilio/dialed/{attempt}", **BUSY)
    await site.aftercare.settled()

    assert bool(response.findall("Dial")) is (attempt == 0)
    assert list(site.store.items[CALL_SID].dials) == [1 if attempt == 0 else 2]
    assert site.watch.failures == []


# --- what follows in the background


async def test_a_caller_who_left_is_hung_up_at_once_and_looked_after_behind_it(site: Site) -> None:
    site.store.items[CALL_SID] = CallItem(DialPerson(token=TOKEN))
    response = await site.twiml("/twilio/dialed/1", DialCallStatus="no-answer", CallStatus="completed")
    await site.aftercare.settled()

    assert [verb.tag for verb in response] == ["Hangup"]
    assert site.store.revoked == [TOKEN]
    assert site.store.items[CALL_SID].outcome is Outcome.CALLER_LEFT


async def test_every_question_is_kept_for_the_instance_that_had_the_stream(site: Site) -> None:
    await site.twiml("/twilio/next")
    await site.aftercare.settled()

    assert site.store.asked == [CALL_SID]


async def test_a_store_that_hangs_delays_the_answer_to_a_dial_by_no_more_than_the_recall(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STEP_STORE_MS", 20)
    monkeypatch.setattr(limits, "AFTERCARE_S", 0.05)
    site.store.trouble = hangs
    response = await asyncio.wait_for(site.twiml("/twilio/dialed/1", **BUSY), 5)
    await site.aftercare.settled()

    assert dial_in(response) == (PERSON, "")
    assert site.watch.failures[0] == "recall call"


# --- what is refused


async def test_an_unsigned_webhook_is_forbidden(site: Site) -> None:
    for path in WEBHOOKS:
        answer = await site.send(path, urlencode(FORM).encode(), "")
        assert (answer.status_code, answer.text) == (403, "forbidden")
    assert site.watch.refusals == [("webhook", "signature")] * len(WEBHOOKS)


@pytest.mark.parametrize("path", WEBHOOKS)
async def test_a_malformed_form_is_refused_and_never_an_error_of_ours(site: Site, path: str) -> None:
    for body in (b"", b"&", b"no equals sign", b"a=%ff", b"\xff=1", b"a=1&" * 200 + b"a=1", b"a" * 40_000):
        assert (await site.send(path, body, "x")).status_code in {400, 403}


async def test_a_signed_form_that_names_no_call_is_a_bad_request(site: Site) -> None:
    for path in WEBHOOKS[:3]:
        for wrong in ("", "CA1", "CA" + "x" * 32):
            assert (await site.post(path, CallSid=wrong)).status_code == 400


async def test_a_stream_s_errors_are_told_and_its_end_in_good_order_is_kept_unless_it_is_no_news(site: Site) -> None:
    site.sessions.memory.note_left(left := "CA" + "1" * 32)
    for news, call_sid in (("stream-started", CALL_SID), ("stream-stopped", left), ("stream-stopped", CALL_SID)):
        await site.post("/twilio/stream-status", StreamEvent=news, StreamSid="MZ1", CallSid=call_sid)
    await site.aftercare.settled()
    assert site.store.items == {CALL_SID: CallItem(stopped_stream="MZ1")}
    failed = site.post("/twilio/stream-status", StreamEvent="stream-error", StreamSid="MZ1", StreamError="no handshake")
    assert (await failed).status_code == 204
    assert site.watch.streams_failed == [(CALL_SID, "MZ1", "no handshake")]


async def test_there_is_nothing_else_to_see(site: Site) -> None:
    for path in ("/", "/twilio", "/twilio/dialed", "/docs", "/redoc", "/openapi.json", "/console"):
        assert (await site.client.get(site.base + path)).status_code == 404
    assert (await site.client.get(site.base + "/twilio/voice")).status_code == 405


async def test_a_dial_without_a_number_is_not_found_or_not_understood(site: Site) -> None:
    for attempt in ("x", "1.5", "", "9" * 5_000):
        assert (await site.post(f"/twilio/dialed/{attempt}")).status_code in {404, 422}


# --- operations


async def test_a_process_that_lives_is_healthy_even_if_it_takes_no_calls(site: Site) -> None:
    site.sessions.draining = True

    assert (await site.client.get(f"{site.base}/healthz")).json() == {"status": "ok"}
    assert (await site.client.head(f"{site.base}/healthz")).is_success


async def test_a_process_is_ready_while_it_takes_calls(site: Site) -> None:
    async def readiness() -> tuple[int, str]:
        answer = await site.client.get(f"{site.base}/readyz")
        return answer.status_code, answer.json()["status"]

    assert await readiness() == (200, "ready")
    claim = site.sessions.claim("the only call")
    assert claim
    assert await readiness() == (503, "full")
    site.sessions.release(claim)
    assert await readiness() == (200, "ready")
    site.sessions.draining = True
    assert await readiness() == (503, "draining")


async def test_metrics_are_passed_on_as_they_are(site: Site) -> None:
    answer = await site.client.get(f"{site.base}/metrics")

    assert (answer.text, answer.headers["content-type"]) == ("calls 1\n", "text/plain; version=1.0.0")


async def test_an_operator_needs_the_token(site: Site) -> None:
    right = {"authorization": "Bearer " + "operator" * 4}
    url = f"{site.base}/console/calls"
    for wrong in (b"", b"Bearer", b"Bearer wrong", b"operator" * 4, b"Bearer \xe9"):
        headers = {b"authorization": wrong}
        assert (await site.client.get(url, headers=headers)).status_code == 403
        assert (await site.client.post(f"{url}/{CALL_SID}/handover", headers=headers)).status_code == 403

    assert (await site.client.get(url, headers=right)).json() == {"calls": []}
    assert (await site.client.post(f"{url}/{CALL_SID}/handover", headers=right)).status_code == 404
