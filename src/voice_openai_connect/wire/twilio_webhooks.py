"""Twilio's webhooks: the forms it posts and the signatures that prove they are Twilio's.

What is answered is TwiML (`wire.twiml`); what opens a media socket is a ticket (`wire.stream_ticket`). Both are
named here too, so that whoever serves a webhook needs one import.
"""

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit

from voice_openai_connect import limits
from voice_openai_connect.call.transfer import DIAL_STATUSES
from voice_openai_connect.wire.errors import WireError
from voice_openai_connect.wire.stream_ticket import CALL_SID, Ticket, issue_ticket, read_ticket
from voice_openai_connect.wire.twiml import E164, Wording, connect_stream, render

__all__ = [
    "DialResult",
    "Form",
    "Ticket",
    "VoiceRequest",
    "Wording",
    "connect_stream",
    "dial_result",
    "issue_ticket",
    "read_ticket",
    "render",
    "signature_algorithm",
    "signature_is_valid",
    "voice_request",
]

Algorithm = Literal["sha1", "sha256"]

WITHHELD: Final = frozenset({"+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"})
"""ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN and UNAVAILABLE, spelled on a telephone's keys: Twilio's way of saying
that the caller withheld the number. They look like E.164 and belong to nobody."""
CALL_STATUSES: Final = frozenset(
    {"queued", "initiated", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled"},
)


# --- Forms ---------------------------------------------------------------------------------------------------


class Form:
    """A form as it was posted: names in order, each with one or more values. Never printed with its values."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    @classmethod
    def parse(cls, body: bytes) -> "Form":
        """Read an `application/x-www-form-urlencoded` body. An empty body is an empty form.

        Raises WireError if it is too long, has too many fields, has a field without `=`, or is not UTF-8.
        """
        if len(body) > limits.WEBHOOK_BODY_BYTES:
            raise WireError(f"a form is longer than {limits.WEBHOOK_BODY_BYTES} bytes")
        try:
            pairs = parse_qsl(
                body.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=bool(body),
                errors="strict",
                max_num_fields=limits.WEBHOOK_FIELDS,
            )
        except ValueError:
            raise WireError(f"a form is malformed or has more than {limits.WEBHOOK_FIELDS} fields") from None
        return cls(pairs)

    def __getitem__(self, name: str) -> str:
        """The first value of `name`. Raises KeyError if it was not posted."""
        return self._values[name][0]

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __repr__(self) -> str:
        return f"<Form of {len(self._values)} fields>"

    def get(self, name: str, default: str = "") -> str:
        """The first value of `name`, or `default` if it was not posted."""
        return self._values[name][0] if name in self._values else default

    def getall(self, name: str) -> list[str]:
        """Every value of `name`, in order; empty if it was not posted."""
        return list(self._values.get(name, ()))

    def names(self) -> list[str]:
        """The names that were posted, each once."""
        return list(self._values)


# --- Addresses -----------------------------------------------------------------------------------------------


def tried_again(times: int) -> str:
    """The end of an address that Twilio asks again, up to so many times, where we cannot be reached, hang or fail.

    It is a fragment, which Twilio keeps to itself and does not sign ("Webhooks connection overrides"). Without it, only
    a connection that cannot be made is tried once more.
    """
    return f"#ct={limits.WEBHOOK_CONNECT_MS}&rt={limits.WEBHOOK_READ_MS}&rc={times}&rp=ct,rt,5xx"


# --- Signatures ----------------------------------------------------------------------------------------------


def signature_is_valid(
    signature: str | None,
    url: str,
    form: Form | None,
    secrets: Sequence[str],
    algorithm: Algorithm = "sha1",
) -> bool:
    """Whether one of `secrets` signed this request, as Twilio's own validator would say.

    `url` is the public URL as Twilio was given it, from settings and never from the request's headers. `form` is the
    posted form, every field of it; None for the WebSocket handshake, where the `wss` URL alone is signed. Several
    secrets may be live at once: tokens are rotated, and each of Twilio's regions has its own. Never raises, and takes
    the same time whichever secret fits. An empty secret fits nothing.
    """
    given = (signature or "").encode(errors="replace")
    fields = _signed_fields(form)
    messages = [(address + fields).encode(errors="replace") for address in _as_twilio_may_write(url)]
    fits = [
        hmac.compare_digest(given, base64.b64encode(hmac.digest(secret.encode(errors="replace"), message, algorithm)))
        for secret in secrets
        if secret
        for message in messages
    ]
    return any(fits)


def signature_algorithm(settings: str | None) -> Algorithm | None:
    """What `X-Twilio-Webhooks-Signature-Settings` (e.g. ``key=…,algorithm=HMAC_SHA256``) says was used to sign.

    SHA-1 without the header, which is how requests signed with the Auth Token come. None for an algorithm that is
    not known: such a request must be refused.
    """
    for part in (settings or "").split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return _ALGORITHMS.get(value.strip().upper())
    return "sha1"


_ALGORITHMS: Final[dict[str, Algorithm]] = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}


def _signed_fields(form: Form | None) -> str:
    if form is None:
        return ""
    return "".join(name + value for name in sorted(form.names()) for value in sorted(set(form.getall(name))))


def _as_twilio_may_write(url: str) -> tuple[str, ...]:
    """The URL without its fragment, with and without the port: Twilio is not consistent about the port."""
    url = url.partition("#")[0]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return (url,)
    if not parts.netloc:
        return (url,)
    before, host, after = url.partition(parts.netloc)
    bare = host if port is None else host.removesuffix(f":{port}")
    port = port or (443 if parts.scheme in {"https", "wss"} else 80)
    return (f"{before}{bare}{after}", f"{before}{bare}:{port}{after}")


# --- What is posted ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoiceRequest:
    """A call that Twilio asks about."""

    call_sid: str
    account_sid: str
    caller: str
    """E.164, or empty when withheld or not a telephone number."""
    called: str
    """E.164, or empty when it is not a telephone number."""
    status: str
    """Twilio's `CallStatus`, or empty if it is not one we know."""


@dataclass(frozen=True, slots=True)
class DialResult:
    """What became of a dial."""

    call_sid: str
    status: str
    """One of `DIAL_STATUSES`, or ``unknown``."""
    duration_s: int | None
    """Of the dialled leg, if posted."""
    bridged: bool | None
    """Whether the caller was connected with it, if posted."""


def voice_request(form: Form) -> VoiceRequest:
    """Read a voice webhook. Raises WireError if it names no call."""
    status = form.get("CallStatus")
    return VoiceRequest(
        call_sid=_call_sid(form),
        account_sid=form.get("AccountSid"),
        caller=_e164(form.get("From")),
        called=_e164(form.get("To")),
        status=status if status in CALL_STATUSES else "",
    )


def dial_result(form: Form) -> DialResult:
    """Read what Twilio posts to the `action` of a dial. Raises WireError if it names no call."""
    status = form.get("DialCallStatus")
    duration = form.get("DialCallDuration")
    return DialResult(
        call_sid=_call_sid(form),
        status=status if status in DIAL_STATUSES else "unknown",
        duration_s=int(duration) if re.fullmatch(r"[0-9]{1,6}", duration) else None,
        bridged={"true": True, "false": False}.get(form.get("DialBridged").lower()),
    )


def _call_sid(form: Form) -> str:
    call_sid = form.get("CallSid")
    if not CALL_SID.fullmatch(call_sid):
        raise WireError("a webhook names no call: CallSid must be CA and 32 hexadecimal digits")
    return call_sid


def _e164(number: str) -> str:
    return number if E164.fullmatch(number) and number not in WITHHELD else ""
