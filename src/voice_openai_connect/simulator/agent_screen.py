"""What the agent sees when the call arrives: the contact's attributes, drawn as a box of text.

The agent's page in a browser (`aws/agent_page`) shows the same rows in the same order; a test holds one against the
other.
"""

import re
import textwrap
import unicodedata
from collections.abc import Mapping
from typing import Final

WIDTH: Final = 80
_INNER: Final = WIDTH - 4
_LABEL: Final = 10

ATTRIBUTES_SHOWN: Final = (
    "handover",
    "caller_phone",
    "escalation_reason",
    "intent",
    "priority",
    "route_to_queue",
    "summary",
    "hubspot_contact_id",
    "hubspot_ticket_id",
    "hubspot_ticket_url",
    "conversation_id",
    "matched_by",
)
"""Every attribute this screen reads."""

_REASONS: Final[Mapping[str, str]] = {
    "caller_asked": "the caller asked for a person",
    "tool": "the assistant asked for a person",
    "key": "the caller pressed the key for a person",
    "operator": "an operator moved the call",
    "stopping": "the assistant had to be stopped",
    "repeated_failure": "the assistant failed repeatedly",
    "model_lost": "the assistant was lost",
    "time_limit": "the call had lasted too long",
    "context_lost": "the call was interrupted",
}
NO_CONTEXT: Final = "No context came with this call. Please ask the caller what it is about."
UNVERIFIED: Final = "Found by the caller's number alone. Ask who is calling before you rely on these notes."


WITHHELD: Final = "number withheld"
_TICKET_LINK: Final = re.compile(r"https://app(-[a-z0-9]+)?\.hubspot\.com/[A-Za-z0-9/._~?=&%-]*")
"""A record in HubSpot. An attribute may hold any address, and agents follow links."""


def fields(attributes: Mapping[str, str], *, caller: str, queue: str) -> dict[str, str]:
    """The rows of the screen by name, in their order, as plain text; rows that have nothing to say are left out.

    `caller` is the number the telephone network shows, `queue` the name of the queue that the contact is in.
    """
    said = {key: _plain(attributes.get(key, "")) for key in ATTRIBUTES_SHOWN}
    caller, queue = _plain(caller), _plain(queue)
    if attributes.get("handover") != "ok":
        rows = {"Caller": caller or WITHHELD, "Queue": queue, "Summary": NO_CONTEXT}
    else:
        rows = {
            "Caller": said["caller_phone"] or caller or WITHHELD,
            "Verify": UNVERIFIED if said["matched_by"] == "phone" else "",
            "Reason": _in_words(said["escalation_reason"]),
            "Intent": said["intent"].replace("_", " "),
            "Priority": said["priority"] or "normal",
            "Queue": _queue_in_words(queue, said["route_to_queue"]),
            "Summary": said["summary"] or "No summary.",
            "Ticket": said["hubspot_ticket_id"] or "none yet",
            "Link": said["hubspot_ticket_url"] if _TICKET_LINK.fullmatch(said["hubspot_ticket_url"]) else "",
            "Contact": said["hubspot_contact_id"],
            "Reference": said["conversation_id"],
        }
    return {name: value for name, value in rows.items() if value}


def render(attributes: Mapping[str, str], *, caller: str, queue: str, agent: str = "") -> str:
    """The screen as a box, 80 columns wide: `fields`, with the summary by itself in the middle.

    Attributes are shown as text: nothing in them can leave the box.
    """
    rows = fields(attributes, caller=caller, queue=queue)
    names = list(rows)
    summary = names.index("Summary")
    above, below = ({name: rows[name] for name in part} for part in (names[:summary], names[summary + 1 :]))
    parts = [_facts(above), _paragraph(rows["Summary"]), *([_facts(below)] if below else [])]
    return _box(f"Incoming call{' for ' + agent if agent else ''}", parts)


def _queue_in_words(queue: str, wished: str) -> str:
    """The queue the contact is in, not the one that was wished for: they differ when the wish is unknown."""
    return queue if wished.lower() in queue.lower() else f"{queue} (asked for: {wished})".strip()


def _in_words(reason: str) -> str:
    """``key`` as an agent would say it; for ``tool: …`` the model's own words."""
    code, _, own_words = reason.partition(":")
    return own_words.strip() or _REASONS.get(code, reason)


def _plain(text: str) -> str:
    """Without anything a terminal would obey."""
    return " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in text).split())


def _facts(facts: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for label, value in facts.items():
        first, *rest = _wrap(value, _INNER - _LABEL)
        lines += [f"{label:<{_LABEL}}{first}", *(" " * _LABEL + line for line in rest)]
    return lines


def _paragraph(text: str) -> list[str]:
    return _wrap(text, _INNER)


def _wrap(text: str, columns: int) -> list[str]:
    """Wrapped by columns on the screen: East Asian characters take two."""
    if _columns(text) == len(text):
        return textwrap.wrap(text, columns, break_on_hyphens=False) or [""]
    lines = [""]
    for word in text.split(" "):
        for piece in _pieces(word, columns):
            glue = " " if lines[-1] else ""
            if _columns(lines[-1] + glue + piece) > columns:
                lines.append(piece)
            else:
                lines[-1] += glue + piece
    return lines


def _pieces(word: str, columns: int) -> list[str]:
    pieces = [""]
    for character in word:
        if _columns(pieces[-1] + character) > columns:
            pieces.append("")
        pieces[-1] += character
    return pieces


def _columns(text: str) -> int:
    return sum(_character_columns(character) for character in text)


def _character_columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _box(title: str, parts: list[list[str]]) -> str:
    rule = "─" * (WIDTH - 2)
    heading = f"─ {title} "
    lines = [f"┌{heading}{rule[len(heading) :]}┐"]
    for n, part in enumerate(parts):
        lines += [f"├{rule}┤"] if n else []
        lines += [f"│ {line}{' ' * (_INNER - _columns(line))} │" for line in part]
    return "\n".join([*lines, f"└{rule}┘"])
