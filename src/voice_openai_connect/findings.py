"""What a check found out: one line for a person to read, and to act on."""

from dataclasses import dataclass
from typing import Literal

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
