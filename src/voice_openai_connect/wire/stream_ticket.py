"""Tickets for media sockets: a path segment that proves that a signed webhook announced this call.

The stream's URL would otherwise be the same for every call, and with it the signature of the handshake: whoever saw
one could open sockets for ever. A ticket makes both single-use, once whoever serves the socket remembers its nonce.
"""

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CALL_SID: Final = re.compile(r"CA[0-9a-f]{32}")
NONCE_BYTES: Final = range(8, 33)
_PURPOSE: Final = b"voice-openai-connect media stream ticket 1"
"""Derives the key. A signature made with the same secret for anything else is worth nothing here."""
_TICKET: Final = re.compile(r"(CA[0-9a-f]{32})\.([0-9]{1,12})(r?)\.([A-Za-z0-9_-]{11,43})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket that is genuine and not expired. Whether it was used before, only a memory of nonces knows."""

    call_sid: str
    expires_at_s: int
    nonce: bytes
    resumes: bool = False
    """Twilio was told to open this stream because an earlier one of the same call has ended."""


def issue_ticket(secret: str, *, call_sid: str, expires_at_s: int, nonce: bytes, resumes: bool = False) -> str:
    """A ticket for one call until `expires_at_s` (epoch seconds), safe as a URL path segment.

    `nonce` is 8 to 32 random bytes, never used twice. Raises ValueError for anything that could not be read back.
    """
    if not secret:
        raise ValueError("a ticket needs a secret")
    if not CALL_SID.fullmatch(call_sid) or len(nonce) not in NONCE_BYTES or not 0 <= expires_at_s < 10**12:
        raise ValueError("a ticket needs a CallSid, a time in epoch seconds, and a nonce of 8 to 32 bytes")
    claims = f"{call_sid}.{expires_at_s}{'r' if resumes else ''}.{_text(nonce)}"
    return f"{claims}.{_seal(secret, claims)}"


def read_ticket(secrets: Sequence[str], ticket: str, *, now_s: float) -> Ticket | None:
    """The ticket, if one of `secrets` made it and it has not expired; else None. Never raises."""
    shape = _TICKET.fullmatch(ticket)
    if shape is None:
        return None
    claims, seal = ticket.rsplit(".", 1)
    genuine = [hmac.compare_digest(seal, _seal(secret, claims)) for secret in secrets if secret]
    expires_at_s = int(shape[2])
    if not any(genuine) or now_s >= expires_at_s:
        return None
    return Ticket(shape[1], expires_at_s, _bytes(shape[4]), resumes=bool(shape[3]))


def _seal(secret: str, claims: str) -> str:
    key = hmac.digest(secret.encode(errors="replace"), _PURPOSE, "sha256")
    return _text(hmac.digest(key, claims.encode(), "sha256"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
