"""OpenAI Realtime (GA): what it sends, read into events of the call."""

import re
from collections.abc import Callable
from typing import Any, Final, cast, get_args

from voice_openai_connect import limits
from voice_openai_connect.call import events
from voice_openai_connect.call.events import Event, Purpose
from voice_openai_connect.wire import openai_messages as msg
from voice_openai_connect.wire.errors import WireError

CONFIGURE_EVENT_ID: Final = "configure"
"""The event id of every `session.update`: an error that names it refuses the configuration."""

FATAL_CODES: Final = frozenset(
    {
        "account_deactivated",
        "beta_api_shape_disabled",
        "billing_hard_limit_reached",
        "insufficient_quota",
        "invalid_api_key",
        "missing_model",
        "model_not_found",
    }
)
"""Errors that every later session would meet as well."""
SETTINGS_REFUSED: Final = "settings_refused"
"""How the reason begins when the service is there but does not take the session's settings."""
SESSION_OVER_CODES: Final = frozenset({"session_expired"})
"""Errors after which this session is over, and a new one would do."""

PURPOSES: Final[frozenset[str]] = frozenset(get_args(Purpose))
PURPOSES_KEPT: Final = 64
"""Responses whose purpose is remembered. A call has a handful that are not replies."""
NAME_CHARS: Final = 64
PERMANENT_STATUSES: Final = frozenset({401, 403, 404})
CLOSED_BY_POLICY: Final = 4000


class RealtimeReader:
    """Reads the messages of one session, in the order they came.

    `limit_left` is told how much of a limit of the account is left: its name, and the share, 0 to 1.
    """

    def __init__(self, limit_left: Callable[[str, float], None] | None = None) -> None:
        self.expires_at: float | None = None
        """When the service will end the session (epoch seconds), once it has said so."""
        self.unknown: dict[str, int] = {}
        """Types that are documented nowhere we know of, and how often they came. At most `UNKNOWN_NAMES` names."""
        self._configured = False
        self._purposes: dict[str, Purpose] = {}
        self._limit_left = limit_left

    def read(self, text: str) -> tuple[Event, ...]:
        """What one message means for the call; often nothing.

        Raises WireError for malformed JSON, and for a field that we need and that is missing or of the wrong type.
        """
        message = msg.decode_message(text)
        if isinstance(message, str):
            return self._pass_over(message)
        if isinstance(message, _OF_A_RESPONSE):
            # The summary is written, not spoken, and calls no tool, whatever the model makes of that.
            return () if self._purposes.get(message.response_id) == "summary" else _of_response(message)
        if isinstance(message, _OF_A_TURN):
            return _of_turn(message)
        return self._of_session(message)

    def _pass_over(self, kind: str) -> tuple[Event, ...]:
        if kind in msg.PASSED_OVER:
            return ()
        name = kind[:NAME_CHARS]
        if name not in self.unknown and len(self.unknown) >= limits.UNKNOWN_NAMES - 1:
            name = "other"
        self.unknown[name] = self.unknown.get(name, 0) + 1
        return ()

    def _of_session(self, message: "_OfSession") -> tuple[Event, ...]:
        match message:
            case msg.ResponseCreated():
                return (self._response_started(message.response),)
            case msg.ResponseDone():
                return (self._response_finished(message.response),)
            case msg.SessionCreated():
                self.expires_at = message.session.expires_at
                return (events.ModelConnected(),)
            case msg.SessionUpdated():
                self._configured = True
                audio = message.session.audio or msg.BothWays()
                return (events.ModelConfigured(_format_name(audio.input), _format_name(audio.output)),)
            case msg.Refusal():
                return (self._refused(message.error),)
            case msg.RateLimits():
                self._tell_limits(message)
                return ()

    def _tell_limits(self, message: msg.RateLimits) -> None:
        if self._limit_left is not None:
            for name, share in msg.limits_left(message).items():
                self._limit_left(name, share)

    def _response_started(self, response: msg.StartedResponse) -> Event:
        purpose = _purpose(response.metadata)
        if purpose != "reply":
            self._purposes[response.id] = purpose
            if len(self._purposes) > PURPOSES_KEPT:
                del self._purposes[next(iter(self._purposes))]
        return events.ModelResponseStarted(response.id, purpose)

    def _response_finished(self, response: msg.FinishedResponse) -> Event:
        details = response.status_details or msg.StatusDetails()
        failed = response.status == "failed"
        code = _code(details.error) if failed else _label(details.reason)
        return events.ModelResponseFinished(
            response_id=response.id,
            purpose=self._purposes.get(response.id, _purpose(response.metadata)),
            status=response.status,
            code=code,
            retry_after_ms=retry_after_ms(details.error.message or "") if failed and details.error else None,
            text=_written(response.output or []),
            permanent=failed and code in FATAL_CODES,
        )

    def _refused(self, error: msg.Error) -> Event:
        code = _code(error)
        about_settings = not self._configured and (error.param or "").startswith("session.")
        if code in FATAL_CODES:
            return events.ModelLost(code, permanent=True)
        if code in SESSION_OVER_CODES:
            return events.ModelLost(code)
        if error.event_id == CONFIGURE_EVENT_ID or about_settings:
            return events.ModelLost(f"{SETTINGS_REFUSED}:{code}", permanent=True)
        return events.ModelErred(code, error.event_id)


_OfResponse = msg.AudioDelta | msg.TranscriptDelta | msg.AudioDone | msg.TranscriptDone | msg.ItemDone
_OF_A_RESPONSE: Final = (msg.AudioDelta, msg.TranscriptDelta, msg.AudioDone, msg.TranscriptDone, msg.ItemDone)
_OfTurn = msg.SpeechStarted | msg.SpeechStopped | msg.TimeoutTriggered | msg.Transcribed | msg.NotTranscribed
_OF_A_TURN: Final = (msg.SpeechStarted, msg.SpeechStopped, msg.TimeoutTriggered, msg.Transcribed, msg.NotTranscribed)
_OfSession = (
    msg.ResponseCreated | msg.ResponseDone | msg.SessionCreated | msg.SessionUpdated | msg.Refusal | msg.RateLimits
)


def _of_turn(message: _OfTurn) -> tuple[Event, ...]:
    match message:
        case msg.SpeechStarted():
            return (events.CallerSpeechStarted(message.item_id),)
        case msg.SpeechStopped():
            return (events.CallerSpeechStopped(message.item_id),)
        case msg.TimeoutTriggered():
            return (events.CallerStayedSilent(message.item_id),)
        case msg.Transcribed():
            return (events.CallerTranscribed(message.item_id, message.transcript),)
        case msg.NotTranscribed():
            return (events.CallerTranscriptionFailed(message.item_id, _code(message.error)),)


def _of_response(message: _OfResponse) -> tuple[Event, ...]:
    match message:
        case msg.AudioDelta():
            return (events.ModelAudio(message.response_id, message.item_id, message.delta),) if message.delta else ()
        case msg.TranscriptDelta():
            return (events.ModelSaid(message.response_id, message.item_id, message.delta),)
        case msg.AudioDone():
            return (events.ModelAudioFinished(message.response_id, message.item_id),)
        case msg.TranscriptDone():
            return (events.ModelSaid(message.response_id, message.item_id, message.transcript, final=True),)
        case msg.ItemDone():
            return _tool_called(message.response_id, message.item)


def _tool_called(response_id: str, item: msg.Item) -> tuple[Event, ...]:
    # Only a completed item: a cancelled response also reports its tool calls, with arguments cut short.
    if item.type != "function_call" or item.status != "completed":
        return ()
    if not item.id or not item.call_id or not item.name or item.arguments is None:
        raise WireError("a finished tool call lacks its id, its call_id, its name or its arguments")
    return (events.ModelToolCalled(response_id, item.id, item.call_id, item.name, item.arguments),)


# --- Small readings ------------------------------------------------------------------------------------------


def handshake_refused(status: int) -> events.ModelLost:
    """What an HTTP answer other than 101 to the socket's handshake means."""
    return events.ModelLost(f"http_{status}", permanent=status in PERMANENT_STATUSES)


def session_closed(code: int, reason: str) -> events.ModelLost:
    """What the end of the socket means, by close code (1006 if there was no close frame) and reason.

    The service closes with 4000 and ``<error type>.<error code>``; an invalid request stays invalid, except that an
    expired session may be followed by a new one. 1000 and 1001 are a lost model as well: 1001 ends every session
    after 60 minutes.
    """
    if code != CLOSED_BY_POLICY or not reason:
        return events.ModelLost(f"closed_{code}")
    kind, _, name = reason.partition(".")
    permanent = name in FATAL_CODES or (kind == "invalid_request_error" and name not in SESSION_OVER_CODES)
    return events.ModelLost(f"closed_{code}:{_label(reason)}", permanent=permanent)


_WAIT: Final = re.compile(r"\bin ((?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|s|m|h)(?![a-z]))+)")
_WAIT_PART: Final = re.compile(r"([0-9.]+)(ms|s|m|h)")
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def retry_after_ms(message: str) -> int | None:
    """The wait that a rate limit's message names ("Please try again in 1.2s", "in 166ms", "in 6m0s"), if it does."""
    wait = _WAIT.search(message)
    if wait is None:
        return None
    return round(sum(float(amount) * _UNIT_MS[unit] for amount, unit in _WAIT_PART.findall(wait[1])))


_LABEL: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def _label(text: str | None) -> str:
    """A code of the service's, which will become a metric label; whatever does not look like one is ``unknown``."""
    if not text:
        return ""
    return text if _LABEL.fullmatch(text) else "unknown"


def _code(error: msg.Error | None) -> str:
    return (_label(error.code) or _label(error.type) if error else "") or "unknown"


def _purpose(metadata: dict[str, Any] | None) -> Purpose:
    """What we said a response is for when we asked for it; one that we did not ask for is a reply."""
    purpose = (metadata or {}).get("purpose")
    return cast("Purpose", purpose) if isinstance(purpose, str) and purpose in PURPOSES else "reply"


def _format_name(audio: msg.OneWay | None) -> str:
    """`audio/pcmu`; PCM at a rate that we did not ask for is named with it, so that nobody takes it for ours."""
    described = audio.format if audio and audio.format else msg.Format()
    odd_rate = described.type == "audio/pcm" and described.rate not in {None, 24_000}
    return f"{described.type};rate={described.rate}" if odd_rate else described.type


def _written(output: list[msg.Item]) -> str:
    """The text of a response that was asked to write; what was spoken has a transcript instead."""
    parts = [part for item in output for part in item.content or [] if part.type == "output_text"]
    return "".join(part.text or "" for part in parts)
