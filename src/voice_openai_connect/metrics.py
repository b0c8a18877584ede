"""What is counted, for Prometheus. One `Metrics` a process, with a registry of its own.

Names begin with ``voice_connect_``; times are in seconds. Labels are names from our own small sets. One that is no
short name, or one too many for its metric, is counted as ``other``: nothing from outside can make the list grow.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Tell
from voice_openai_connect.call.escalation import Reason
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.outcome import Absence, DialOutcome, Outcome

OTHER: Final = "other"
LABELS_MAX: Final = 40
"""Values of one label; a metric with more is no longer read by anybody, and costs memory for ever."""
ENDINGS: Final = frozenset({"handed_over", "goodbye", "caller_left", "line_lost", "moved", "call_back_promised"})

CRM_NOT_ASKED: Final = frozenset({"crm_off", "withheld", "no_number"})
"""Why a contact or a ticket may be missing without anything being wrong with the CRM."""

_Merge = Literal["livesum", "livemax", "livemostrecent"]
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_TURN_S: Final = (0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_CLEAR_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
_HANDOVER_S: Final = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.5, 15.0)
_PERSON_S: Final = (2.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 60.0)
_CALL_S: Final = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 3_600.0)


class Labels:
    """Keeps the values of one label few. With `known`, only those; without, the first `LABELS_MAX` short names."""

    def __init__(self, known: frozenset[str] | None = None) -> None:
        self._known = known
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """`value`, or ``other``. What follows a colon is detail for the log and left out."""
        name = value.partition(":")[0]
        if self._known is not None:
            return name if name in self._known else OTHER
        if name not in self._seen:
            if len(self._seen) >= LABELS_MAX or not _NAME.fullmatch(name):
                return OTHER
            self._seen.add(name)
        return name


_limit_name: Final = Labels(frozenset({"requests", "tokens"}))


class Metrics:
    """Everything that is counted, and the exposition of it: of this process, or of all that count in `shared`."""

    def __init__(self, shared: Path | None = None) -> None:
        self.registry = CollectorRegistry()
        self.exposed = self.registry if shared is None else _merged(shared)
        """What is shown to the outside."""
        self._labels: dict[MetricWrapperBase, tuple[Labels, ...]] = {}
        self._active = self._gauge("active_calls", "Calls that the assistant is in at this moment", "livesum")
        self._model_down = self._gauge("model_down", "1 while new calls go straight to a person", "livemax")
        self._outages = self._counter("model_outages", "Times that the model went down")
        self._limit_left = self._gauge(
            "model_limit_left_ratio", "What is left of OpenAI's rate limits (0 to 1)", "livemostrecent", "limit"
        )
        self._lag = self._gauge("loop_lag_seconds", "How late the event loop is, smoothed", "livemax")
        self._call_s = self._histogram("call_seconds", "Length of calls with the assistant", _CALL_S)
        self._first_audio = self._histogram(
            "first_audio_seconds", "From the end of the caller's speech to the first sound of the answer", _TURN_S
        )
        self._clear = self._histogram(
            "speech_to_clear_seconds", "From the news that the caller speaks to the order to stop playing", _CLEAR_S
        )
        self._handover_s = self._histogram(
            "handover_seconds", "From the decision for a person to the dial", _HANDOVER_S
        )
        self._dropped_s = self._counter("audio_dropped_seconds", "Audio that we left out", "where")
        self._frames = self._counter("caller_frames", "Frames of the caller's audio that arrived")
        self._frames_lost = self._counter("caller_frames_lost", "Frames of the caller's audio that Twilio left out")
        self._outcomes = self._counter("call_outcomes", "Calls by how they ended", outcome=frozenset(Outcome))
        self._transfers = self._counter(
            "transfers", "Dials to the contact centre by how they ended", outcome=frozenset(DialOutcome)
        )
        self._short_transfers = self._counter("transfers_suspicious", "Connected dials that were over within seconds")
        self._person_s = self._histogram(
            "time_to_person_seconds", "From the stored record to the contact centre that fetches it", _PERSON_S
        )
        self._not_delivered = self._counter("context_not_delivered", "Connected callers whose record nobody fetched")
        self._lost = self._counter("callers_lost", "Ended streams after which Twilio asked nobody what is next")
        self._refused = self._counter(
            "refused", "Webhooks and sockets turned away, and calls sent straight to a person", "what", "reason"
        )
        self._throttles = self._counter("dynamodb_throttles", "Answers in which DynamoDB asked us to slow down")
        self._crm_failures = self._counter("crm_failures", "What the CRM could not be got to do", "what", "reason")
        self._crm_skipped = self._counter("crm_skipped", "What the CRM was not asked for", "what", "reason")
        self._owed = self._gauge(
            "outbox_pending",
            "Conversations that the CRM is still owed something of, as far as this process knows",
            "livemax",
        )
        self._unattended = self._gauge(
            "queues_unattended",
            "Queues that are known to have nobody, as far as this process knows, and why",
            "livemax",
            "why",
        )
        self.queues_unattended(closed=0, unstaffed=0)
        self._delivered_late = self._counter("outbox_delivered", "Conversations whose outbox the CRM has taken")
        self._given_up = self._counter("outbox_given_up", "Conversations that the CRM will never get", "reason")
        self._not_kept = self._counter("outbox_not_kept", "What neither the outbox nor the CRM took", "reason")
        self._bypassed = self._counter("outbox_bypassed", "What only the CRM took, and the outbox did not", "reason")
        self._broken = self._counter("errors", "What broke and should not", "what")
        self._facts = self._fact_counters()

    # --- what is told

    def observe(self, tell: Tell) -> None:
        """Count a fact that a call stated about itself."""
        fact, seconds = tell.fact, max(tell.value_ms or 0, 0) / 1_000
        match fact:
            case Fact.CALL_STARTED:
                self._active.inc()
            case Fact.CALL_ENDED:
                self._active.dec()
            case Fact.FIRST_AUDIO if tell.value_ms is not None:
                self._first_audio.observe(seconds)
            case Fact.OUTCOME:
                self.call_outcome(tell.label)
            case Fact.FRAMES_DROPPED:
                self._count(self._dropped_s, tell.label, amount=seconds)
            case Fact.CONTACT_MISSING:
                self.crm_failed("contact", tell.label)
            case Fact.TICKET_MISSING:
                self.crm_failed("ticket", tell.label)
            case Fact.DIALING if tell.value_ms is not None:
                self._handover_s.observe(seconds)
            case _:
                pass
        if counter := self._facts.get(fact):
            self._count(counter, *[tell.label][: len(self._labels[counter])])

    def call_lasted(self, seconds: float) -> None:
        """A call with the assistant is over."""
        self._call_s.observe(seconds)

    def cleared(self, seconds: float) -> None:
        """Playing was stopped, so long after the news that the caller speaks."""
        self._clear.observe(seconds)

    def frames(self, *, received: int, lost: int) -> None:
        """A stream is over: the caller's frames that arrived, and those that Twilio left out."""
        self._count(self._frames, amount=received)
        self._count(self._frames_lost, amount=lost)

    def call_outcome(self, outcome: str) -> None:
        """How a call ended."""
        self._count(self._outcomes, outcome)

    def transfer_ended(self, outcome: str, *, suspicious: bool) -> None:
        """A dial to the contact centre is over; `suspicious` if it was connected only for seconds."""
        self._count(self._transfers, outcome)
        if suspicious:
            self._count(self._short_transfers)

    def person_reached(self, seconds: float) -> None:
        """The contact centre fetched a record, so long after it was stored."""
        self._person_s.observe(seconds)

    def context_not_delivered(self) -> None:
        """A connected caller's record was never fetched."""
        self._count(self._not_delivered)

    def caller_lost(self) -> None:
        """Nobody was asked what is next for a caller who had not left."""
        self._count(self._lost)

    def refused(self, what: str, reason: str) -> None:
        """A webhook or socket was turned away."""
        self._count(self._refused, what, reason)

    def model_is_down(self, *, down: bool) -> None:
        """The model went down, or is back."""
        self._model_down.set(down)
        if down:
            self._count(self._outages)

    def model_limit_left(self, limit: str, share: float) -> None:
        """So much of a rate limit is left: 0 to 1."""
        self._limit_left.labels(_limit_name(limit)).set(share)

    def loop_lag(self, seconds: float) -> None:
        """How late the event loop is."""
        self._lag.set(seconds)

    def throttled(self) -> None:
        """DynamoDB asked us to slow down."""
        self._count(self._throttles)

    def crm_failed(self, what: str, reason: str) -> None:
        """Something was not got from the CRM: a failure, unless it could not have been asked."""
        self._count(self._crm_skipped if reason in CRM_NOT_ASKED else self._crm_failures, what, reason)

    def outbox_pending(self, count: int) -> None:
        """So many conversations wait in the outbox."""
        self._owed.set(count)

    def queues_unattended(self, *, closed: int, unstaffed: int) -> None:
        """So many queues are closed, and so many have nobody at work."""
        self._unattended.labels(Absence.CLOSED).set(closed)
        self._unattended.labels(Absence.UNSTAFFED).set(unstaffed)

    def outbox_delivered(self) -> None:
        """The CRM has taken what was kept of a conversation."""
        self._count(self._delivered_late)

    def outbox_given_up(self, reason: str) -> None:
        """The CRM will never get what was kept of a conversation."""
        self._count(self._given_up, reason)

    def outbox_not_kept(self, reason: str) -> None:
        """Neither the outbox nor the CRM took something."""
        self._count(self._not_kept, reason)

    def outbox_bypassed(self, reason: str) -> None:
        """The outbox did not take something, and the CRM did at once."""
        self._count(self._bypassed, reason)

    def broke(self, what: str) -> None:
        """Something broke that should not."""
        self._count(self._broken, what)

    def render(self) -> bytes:
        """The exposition, in the format that `content_type` names."""
        return generate_latest(self.exposed)

    content_type: Final = CONTENT_TYPE_LATEST

    # --- inside

    def _fact_counters(self) -> dict[Fact, Counter]:
        """The facts that are counted one by one, most with a label of their own."""
        make, reasons = self._counter, frozenset(Reason)
        return {
            Fact.CALL_STARTED: make("calls_started", "Calls that the assistant began"),
            Fact.CALL_ENDED: make("calls_ended", "Calls that ended for the assistant, and how", outcome=ENDINGS),
            Fact.MODEL_READY: make("model_sessions", "Sessions of the model that were set up"),
            Fact.MODEL_LOST: make("model_failures", "Sessions that failed or were lost", "reason"),
            Fact.RESUMED: make(
                "resumes", "Calls that were taken up again from a checkpoint, and how often by then", "times"
            ),
            Fact.MODEL_RECOVERED: make("model_recoveries", "Sessions that took over in the middle of a call"),
            Fact.HOLD_PLAYED: make("hold_rounds", "Rounds of the holding sound that callers heard"),
            Fact.MARKS_MISSING: make("calls_without_marks", "Calls in which Twilio stopped returning marks"),
            Fact.MODEL_FORMAT_REFUSED: make("model_formats_refused", "Sessions with an audio format that is not ours"),
            Fact.BARGE_IN: make("barge_ins", "Times that a caller interrupted the assistant"),
            Fact.SPEECH_WITHOUT_END: make(
                "speech_without_end",
                "Half minutes in which a caller's turn did not end: noise, or a deaf session",
            ),
            Fact.RESPONSE_FAILED: make("model_responses_failed", "Replies that the model broke off", "code"),
            Fact.MODEL_ERROR: make("model_errors", "Requests that the model refused", "code"),
            Fact.TRANSCRIPTION_FAILED: make("transcriptions_failed", "Turns that could not be written down", "code"),
            Fact.TOOL_CALLED: make("tool_calls", "Calls of registered tools", "tool"),
            Fact.TOOL_REFUSED: make("tool_calls_refused", "Calls of tools that were not carried out", "reason"),
            Fact.ESCALATED: make("escalations", "Calls that a person was needed for", reason=reasons),
            Fact.NOBODY_FREE: make("nobody_free", "Wishes for a person after nobody had come", reason=reasons),
            Fact.NOBODY_THERE: make(
                "nobody_there", "Needs for a person whose queue was known to have nobody", absence=frozenset(Absence)
            ),
            Fact.SUMMARY_FELL_BACK: make("summary_fallbacks", "Summaries that we had to write ourselves", "reason"),
            Fact.TRANSFER_SENTENCE_CUT: make("transfer_sentences_cut", "Transfer sentences that ran out of time"),
            Fact.CONTACT_FOUND: make("crm_contacts", "Callers that the CRM knows"),
            Fact.TICKET_OPENED: make("crm_tickets", "Tickets, in time for the handover or late", "when"),
            Fact.HANDOVER_SAVED: make("handovers_saved", "Handovers that were stored"),
            Fact.HANDOVER_NOT_SAVED: make("handovers_not_saved", "Handovers that could not be stored", "reason"),
            Fact.DIALING: make("dials", "Dials to the contact centre, with and without a token", "how"),
            Fact.IGNORED: make("ignored_events", "Events that mean nothing in the phase a call is in", "event"),
        }

    def _counter(self, name: str, text: str, *labels: str, **known: frozenset[str]) -> Counter:
        names: Sequence[str] = (*labels, *known)
        counter = Counter(f"voice_connect_{name}", text, names, registry=self.registry)
        self._labels[counter] = (*(Labels() for _ in labels), *map(Labels, known.values()))
        return counter

    def _gauge(self, name: str, text: str, merge: _Merge, *labels: str) -> Gauge:
        """`merge` says what several workers that live make together: what is theirs adds up, what all see does not; of
        what is news, the latest counts."""
        return Gauge(f"voice_connect_{name}", text, labels, registry=self.registry, multiprocess_mode=merge)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"voice_connect_{name}", text, buckets=buckets, registry=self.registry)

    def _count(self, counter: Counter, *values: str, amount: float = 1) -> None:
        labels = [keep(value) for keep, value in zip(self._labels[counter], values, strict=True)]
        (counter.labels(*labels) if labels else counter).inc(amount)


# --- Several processes that count together: prometheus_client's multi-process mode

FILES: Final = ("counter", "histogram", "gauge_livesum", "gauge_livemax", "gauge_livemostrecent")
"""How prometheus_client calls the files of a worker, by what is in them."""
_EMPTY: Final = bytes(limits.METRICS_FILE_BYTES)


def count_in(folder: Path, worker: int) -> None:
    """Count in files below `folder`, together with the other workers. To be called before the first `Metrics` is made.

    The files outlive the process: one that takes the place of a dead worker counts on where that one stopped, so that
    nothing it counted is lost, and no sum ever goes down.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # pyright: ignore[reportUnknownMemberType]


def make_room(folder: Path, workers: int) -> None:
    """Make the workers' files, with all the room that they will ever need. Raises `OSError` where there is none.

    They are written through memory: on a disk that has become full, the next label would end the process (SIGBUS), and
    the next one in its place as well.
    """
    for kind in FILES:
        for worker in range(workers):
            (folder / f"{kind}_{worker}.db").write_bytes(_EMPTY)


def forget_what_was_live(folder: Path, worker: int) -> None:
    """A worker has died, and with it the calls that it had on the line. Its files keep their room."""
    for file in folder.glob(f"gauge_live*_{worker}.db"):
        with file.open("r+b") as live:
            live.write(_EMPTY)


def _merged(folder: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    return registry
