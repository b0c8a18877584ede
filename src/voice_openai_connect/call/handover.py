"""The record a person will read, and the words in it made safe to read, speak and show."""

import re
from dataclasses import dataclass
from typing import Final, Literal

Priority = Literal["low", "normal", "high", "urgent"]
PRIORITIES: Final[tuple[Priority, ...]] = ("low", "normal", "high", "urgent")


@dataclass(frozen=True, slots=True)
class HandoverRecord:
    """Everything the agent's side gets to know. All text is already plain (see `plain_text`)."""

    handover_id: str
    """Names this handover in logs and in the CRM. Never the token."""
    conversation_id: str
    call_sid: str
    caller_phone: str
    """E.164, or empty when the caller withheld it."""
    summary: str
    intent: str
    priority: Priority
    escalation_reason: str
    route_to_queue: str
    hubspot_contact_id: str = ""
    hubspot_ticket_id: str = ""
    hubspot_ticket_url: str = ""


@dataclass(frozen=True, slots=True)
class Redemption:
    """What became of a record that was stored under a token. Times are seconds since the epoch."""

    record: HandoverRecord
    redeemed_by: str
    """The contact that redeemed it; empty while nobody has."""
    redeemed_at: int | None
    created_at: int


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")
_REFERENCE: Final = re.compile(r"\$\.+")
_MARKUP: Final = str.maketrans({"<": "(", ">": ")"})
_LINK: Final = re.compile(r"(?:[a-z][a-z0-9+.-]{0,20}://|(?=www\.))(\S*)", re.IGNORECASE)
_DOT: Final = re.compile(r"\.(?=\w)")


def plain_text(text: str, max_chars: int) -> str:
    """Make words from a model or a caller safe to store, speak and show.

    Control and direction characters become one space, angle brackets become round ones (the text may be shown
    in a browser or spoken as SSML), ``$.`` loses its dot (Connect would read it as a reference), and an address
    of a page is spelled as it is said, "example dot com/account", so that nothing makes it a link: a caller must
    not be able to put one before an agent. The whole is cut to `max_chars` characters, at a word where possible.
    """
    text = _REFERENCE.sub("$", _CONTROL.sub(" ", text).translate(_MARKUP))
    text = _LINK.sub(_as_it_is_said, text)
    text = re.sub(r" {2,}", " ", text).strip()
    if len(text) <= max_chars:
        return text
    cut = text[: max_chars - 1]
    at_word = cut.rsplit(" ", 1)[0] if " " in cut[max_chars // 2 :] else cut
    return at_word.rstrip() + "…"


def _as_it_is_said(link: re.Match[str]) -> str:
    return _DOT.sub(" dot ", link[1].replace("://", " "))
