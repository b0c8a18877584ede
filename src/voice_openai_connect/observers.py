"""Where facts go: each into the log and the metrics, in one step. The gateway gets these and knows neither."""

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from voice_openai_connect import limits
from voice_openai_connect.call.commands import Tell
from voice_openai_connect.call.events import QueuesUnattended
from voice_openai_connect.call.facts import Fact
from voice_openai_connect.call.next_step import NextStep
from voice_openai_connect.call.outcome import DialOutcome, Outcome
from voice_openai_connect.call.settings import CallIdentity
from voice_openai_connect.gateway.model_breaker import MODEL_DOWN
from voice_openai_connect.logs import bind_call, get_logger
from voice_openai_connect.metrics import CRM_NOT_ASKED, Metrics
from voice_openai_connect.wire.twilio_webhooks import DialResult

_log: Final = get_logger(__name__)
_MIGHT_NEED_A_LOOK: Final = frozenset(
    {
        Fact.MODEL_LOST,
        Fact.MODEL_FORMAT_REFUSED,
        Fact.RESPONSE_FAILED,
        Fact.MODEL_ERROR,
        Fact.SPEECH_WITHOUT_END,
        Fact.TRANSCRIPTION_FAILED,
        Fact.TOOL_REFUSED,
        Fact.TRANSFER_SENTENCE_CUT,
        Fact.CONTACT_MISSING,
        Fact.TICKET_MISSING,
        Fact.HANDOVER_NOT_SAVED,
        Fact.FRAMES_DROPPED,
        Fact.MARKS_MISSING,
    }
)
_DOCTOR: Final = "run voice-connect doctor: it says what HubSpot wants"
_NAME_THEM: Final = "set CONNECT_QUEUES: what these queues are called in Amazon Connect"
_MANY: Final = frozenset({Fact.FIRST_AUDIO, Fact.BARGE_IN, Fact.HOLD_PLAYED, Fact.IGNORED})
"""Several in every minute of a call: counted always, written down under DEBUG."""


class CallWatch:
    """The facts of one call. `clock` gives seconds on any clock that only goes forward."""

    def __init__(
        self, identity: CallIdentity, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._began_at: float | None = None
        self._ids = {"call_sid": identity.call_sid, "conversation_id": identity.conversation_id}
        self._handover_id = identity.handover_id

    def stream_started(self, stream_sid: str) -> None:
        """From now on this stream is the one being talked about."""
        self._ids["stream_sid"] = stream_sid
        bind_call(**self._ids)

    def tell(self, fact: Tell) -> None:
        """Log and count a fact that the call stated about itself."""
        self._metrics.observe(fact)
        if fact.fact is Fact.CALL_STARTED:
            self._began_at = self._clock()
        if fact.fact is Fact.CALL_ENDED and self._began_at is not None:
            self._metrics.call_lasted(self._clock() - self._began_at)
        if fact.fact is Fact.ESCALATED:
            self._ids["handover_id"] = self._handover_id
        write = _writer(fact)
        label = {"label": fact.label} if fact.label else {}
        value = {} if fact.value_ms is None else {"value_ms": fact.value_ms}
        write(fact.fact.value, **self._ids, **label, **value)

    def cleared(self, took_ms: float) -> None:
        """Playing was stopped because the caller speaks."""
        self._metrics.cleared(took_ms / 1_000)

    def frames(self, *, received: int, lost: int) -> None:
        """The stream is over."""
        self._metrics.frames(received=received, lost=lost)
        write = _log.warning if lost else _log.info
        write("stream_over", **self._ids, frames_received=received, frames_lost=lost)

    def failed(self, what: str, error: BaseException) -> None:
        """Something could not be done; the error's type and place are logged, its words only if they are ours.

        A service that fails in a way we know is no news here: the call has a fact for it, which is counted and warns.
        """
        if _is_a_service_s_own(error):
            _log.info("not_done", **self._ids, what=what, exc_info=error)
            return
        self._metrics.broke(what.replace(" ", "_"))
        _log.error("broke", **self._ids, what=what, exc_info=error)


def _is_a_service_s_own(error: BaseException) -> bool:
    """Whether our own client has put a service's failure into words: then the error is ours and has a `reason`."""
    return type(error).__module__.startswith("voice_openai_connect.") and hasattr(error, "reason")


def _reason(error: BaseException) -> str:
    """In one word, for a label."""
    return str(getattr(error, "reason", "failed"))


def _writer(fact: Tell) -> Callable[..., object]:
    """The level at which a fact is written down."""
    if fact.fact in _MANY:
        return _log.debug
    return _log.warning if fact.fact in _MIGHT_NEED_A_LOOK and fact.label not in CRM_NOT_ASKED else _log.info


class ModelWatch:
    """Whether the model is there at all."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def model_down(self, reason: str) -> None:
        """From now on, new calls go straight to a person."""
        self._metrics.model_is_down(down=True)
        _log.warning("model_down", reason=reason, detail="new calls go straight to a person until a probe succeeds")

    def model_back(self) -> None:
        """From now on, the assistant answers again."""
        self._metrics.model_is_down(down=False)
        _log.info("model_back")

    def limit_left(self, limit: str, share: float) -> None:
        """So much of a limit of the account is left, as the model said when it began an answer."""
        self._metrics.model_limit_left(limit, share)

    def failed(self, what: str, error: BaseException) -> None:
        """A probe broke that should only fail."""
        self._metrics.broke(what.replace(" ", "_"))
        _log.error("broke", what=what, exc_info=error)


def _ids(identity: CallIdentity) -> dict[str, str]:
    return {"call_sid": identity.call_sid, "conversation_id": identity.conversation_id}


class FewLines:
    """So many lines a minute of each kind, `REFUSED_LINES`: strangers decide how often there would be one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[tuple[str, str], float] = {}
        self._written: Counter[tuple[str, str]] = Counter()
        self._left_out: Counter[tuple[str, str]] = Counter()

    def left_out(self, what: str, reason: str) -> int | None:
        """How many were left out before this one; None if it is to be left out as well."""
        kind, now = (what, reason), self._clock()
        if now >= self._since.get(kind, -math.inf) + 60:
            self._since[kind], self._written[kind] = now, 0
        if self._written[kind] >= limits.REFUSED_LINES:
            self._left_out[kind] += 1
            return None
        self._written[kind] += 1
        return self._left_out.pop(kind, 0)


class FrontWatch:
    """The facts that belong to no live call. `clock` gives seconds on any clock that only goes forward."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._few = FewLines(clock)

    def refused(self, what: str, reason: str) -> None:
        """A webhook or socket was turned away."""
        self._metrics.refused(what, reason)
        if (left_out := self._few.left_out(what, reason)) is None:
            return
        write = _log.info if reason == MODEL_DOWN else _log.warning  # of an outage, one warning is enough
        write("refused", what=what, reason=reason, **({"left_out": left_out} if left_out else {}))

    def stream_failed(self, call_sid: str, stream_sid: str, why: str) -> None:
        """Twilio could not open a stream, or lost it."""
        self._metrics.refused("stream", "twilio_error")
        _log.warning("stream_failed", call_sid=call_sid, stream_sid=stream_sid, why=why)

    def dial_ended(self, result: DialResult, outcome: DialOutcome, step: NextStep) -> None:
        """Twilio told how a dial ended. Counted by `transfer_ended`, which is told once for each dial."""
        facts = {"status": result.status, "duration_s": result.duration_s, "outcome": outcome.value}
        _log.info("dial_ended", call_sid=result.call_sid, **facts, next=type(step).__name__)

    def transfer_ended(self, identity: CallIdentity, outcome: DialOutcome, *, suspicious: bool) -> None:
        """A dial to the contact centre is over."""
        self._metrics.transfer_ended(outcome, suspicious=suspicious)
        reached = outcome in {DialOutcome.CONNECTED, DialOutcome.CALLER_LEFT} and not suspicious
        write = _log.info if reached else _log.warning
        write("transfer_ended", **_ids(identity), outcome=outcome.value, suspicious=suspicious)

    def call_ended(self, identity: CallIdentity, outcome: Outcome) -> None:
        """How a call ended whose end the assistant did not see."""
        self._metrics.call_outcome(outcome)
        _log.info("outcome", **_ids(identity), label=outcome.value)

    def person_reached(self, identity: CallIdentity, seconds: float) -> None:
        """The contact centre fetched the record so long after it had been stored."""
        self._metrics.person_reached(seconds)
        _log.info("person_reached", **_ids(identity), value_ms=round(seconds * 1_000))

    def context_not_delivered(self, identity: CallIdentity) -> None:
        """A token was dialled, the caller was connected, and nobody fetched the record."""
        self._metrics.context_not_delivered()
        _log.warning("context_not_delivered", **_ids(identity))

    def caller_lost(self, call_sid: str) -> None:
        """A stream ended, and Twilio asked nobody what is next."""
        self._metrics.caller_lost()
        _log.error("caller_lost", call_sid=call_sid)

    def failed(self, what: str, error: BaseException) -> None:
        """The store did not answer a question about what a call does next, or the answer could not be written.

        A store that is slow or refuses is counted like the rest, but no mistake of ours: callers have another way.
        """
        self._metrics.broke(what.replace(" ", "_"))
        theirs = _is_a_service_s_own(error) or isinstance(error, TimeoutError)
        write, message = (_log.warning, "not_done") if theirs else (_log.error, "broke")
        write(message, what=what, exc_info=error)

    def metrics(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return self._metrics.render(), self._metrics.content_type


class OutboxWatch:
    """The facts of what is owed to the CRM."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def pending(self, count: int) -> None:
        """So many conversations have something in the outbox."""
        self._metrics.outbox_pending(count)

    def delivered(self, conversation_id: str) -> None:
        """The CRM has taken it."""
        self._metrics.outbox_delivered()
        _log.info("outbox_delivered", conversation_id=conversation_id)

    def given_up(self, conversation_id: str, reason: str) -> None:
        """The CRM will never get it: somebody has to look at this conversation by hand."""
        self._metrics.outbox_given_up(reason)
        _log.error("outbox_given_up", conversation_id=conversation_id, reason=reason)

    def paused(self, reason: str, seconds: float, *, for_a_person: bool) -> None:
        """The CRM is in trouble, or will not have us."""
        self._metrics.crm_failed("outbox", reason)
        write, remedy = (_log.error, {"remedy": _DOCTOR}) if for_a_person else (_log.warning, {})
        write("outbox_paused", reason=reason, seconds=round(seconds), **remedy)

    def not_kept(self, conversation_id: str, error: BaseException) -> None:
        """Neither the table nor the CRM took it: somebody has to look at this conversation by hand."""
        self._metrics.outbox_not_kept(_reason(error))
        _log.error("outbox_not_kept", conversation_id=conversation_id, exc_info=error)

    def bypassed(self, conversation_id: str, error: BaseException) -> None:
        """The table did not take it, and the CRM did: nothing is lost, but the table should be looked at."""
        self._metrics.outbox_bypassed(_reason(error))
        _log.warning("outbox_bypassed", conversation_id=conversation_id, exc_info=error)

    def failed(self, what: str, error: BaseException) -> None:
        """Something could not be done, and is tried again later."""
        if not _is_a_service_s_own(error):
            self._metrics.broke(what.replace(" ", "_"))
        _log.warning("not_done", what=what, exc_info=error)


class PresenceWatch:
    """The facts about the contact centre's queues."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def unattended(self, known: QueuesUnattended) -> None:
        """These queues have nobody from now on."""
        self._metrics.queues_unattended(closed=len(known.closed), unstaffed=len(known.unstaffed))
        _log.info("queues_unattended", closed=sorted(known.closed), unstaffed=sorted(known.unstaffed))

    def queues_unknown(self, names: frozenset[str]) -> None:
        """The contact centre has no queues of these names, or has them all by now."""
        if names:
            _log.warning("queues_unknown", names=sorted(names), remedy=_NAME_THEM)

    def presence_unknown(self, what: str, error: Exception) -> None:
        """The contact centre cannot be asked: callers are moved as if somebody were there."""
        if not _is_a_service_s_own(error):
            self._metrics.broke("presence")
        _log.warning("presence_unknown", what=what, exc_info=error, remedy="run voice-connect doctor")

    def presence_known(self) -> None:
        """The contact centre answers again."""
        _log.info("presence_known")
