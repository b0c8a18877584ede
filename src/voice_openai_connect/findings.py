"""What a check found out: one line for a person to read, and to act on."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, Literal

State = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Never carries a secret or a whole phone number."""

    subject: str
    """What was looked at, e.g. ``OpenAI model``."""
    state: State
    detail: str = ""
    """What was seen; for `ok` it may be empty."""
    remedy: str = ""
    """What to do about it; never empty unless `state` is ``ok``."""

    def __post_init__(self) -> None:
        if self.state != "ok" and not (self.detail and self.remedy):
            raise ValueError(f"{self.subject}: a finding that is not ok says what is wrong and what to do")


def ok(subject: str, detail: str = "") -> Finding:
    """All is well."""
    return Finding(subject, "ok", detail)


def warning(subject: str, detail: str, remedy: str) -> Finding:
    """Calls are answered, but something will go wrong later or is missing."""
    return Finding(subject, "warning", detail, remedy)


def wrong(subject: str, detail: str, remedy: str) -> Finding:
    """Calls suffer from this now."""
    return Finding(subject, "wrong", detail, remedy)


_GAP: Final = "  "
_NARROWEST: Final = 20


def table(findings: Sequence[Finding], *, width: int = 120) -> str:
    """The findings as a table for a terminal `width` characters wide: check, state, what was seen, how to mend it."""
    heading = ("check", "state", "what was seen", "how to mend it")
    rows = [heading, *((each.subject, each.state, each.detail, each.remedy) for each in findings)]
    subject = max(len(row[0]) for row in rows)
    state = max(len(row[1]) for row in rows)
    left = max(width - subject - state - 3 * len(_GAP), 2 * _NARROWEST)
    widths = (subject, state, left // 2, left - left // 2)
    return "\n".join(line for row in rows for line in _lines(row, widths))


def _lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """One row, each cell broken into lines where it is too long."""
    cells = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
    for parts in zip_longest(*cells, fillvalue=""):
        yield _GAP.join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
