"""What may be seen of a value in a log: the one place that decides it.

Phone numbers keep their last three digits, secrets and ten-digit tokens nothing. Control characters become visible
text, long values are cut, audio and objects become their kind. Redacting is the net below careful code, not a
licence to log what callers say.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

VALUE_CHARS: Final = 200
"""No value in a log line is longer."""
ITEMS: Final = 20
"""No list or table in a log line has more entries."""

_SECRETS: Final = re.compile(
    r"""
    (?P<key> \b(?:sk|ek|pat|rk)-[A-Za-z0-9_-]{6,} | \bek_[A-Za-z0-9]{6,} | \b(?:AKIA|ASIA)[A-Z0-9]{12,} )
    | (?P<bearer> \b[Bb]earer\s+[^\s"',]+ | \bBasic\s+[A-Za-z0-9+/=]{8,} )
    | (?P<data> [A-Za-z0-9+/_-]{64,}={0,2} )
    | (?P<hash> (?<![0-9A-Za-z])(?:[0-9a-fA-F]{32}|[A-Za-z0-9/+]{40})(?![0-9A-Za-z/+]) )
    | (?P<phone> \+\d{6,15}(?!\d) | \+\d{1,3}(?:[ ().-]{1,2}\d{1,5}(?!\d)){1,5} )
    | (?P<digits> (?<![0-9A-Za-z])\d{10,19}(?![0-9A-Za-z]) )
    """,
    re.VERBOSE,
)
_IDS: Final = re.compile(
    r"(?:CA|MZ|AC)[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?!.k_)[a-z]{2,8}_[0-9A-Za-z]{1,40}"
)
"""What Twilio and we name things by: nothing in it is private, and searches need the whole of it."""


def mask_phone(number: str) -> str:
    """`number` with nothing but its last three digits; a withheld number stays empty."""
    digits = re.sub(r"\D", "", number)
    return f"***{digits[-3:]}" if len(digits) > 6 else "***" if number else ""  # noqa: PLR2004  (shorter is no number)


class Redaction:
    """Makes values fit to be logged. `secrets` are taken out wherever they turn up, whatever they look like."""

    def __init__(self, *, full_numbers: bool = False, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)  # noqa: PLR2004
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self._full_numbers = full_numbers

    def text(self, text: str, max_chars: int = VALUE_CHARS) -> str:
        """`text` without secrets and control characters, cut to `max_chars`."""
        # Cut before looking, so that a megabyte costs no more than a line; generously, so that nothing is cut in half.
        cut = text[: 2 * max_chars]
        if self._known:
            cut = self._known.sub("[secret]", cut)
        if _IDS.fullmatch(cut):
            return cut
        cut = _SECRETS.sub(self._replacement, cut)
        if not cut.isprintable():
            cut = "".join(c if c.isprintable() else _visible(c) for c in cut)
        return cut if len(cut) <= max_chars else cut[: max_chars - 1] + "…"

    def _replacement(self, match: re.Match[str]) -> str:
        match match.lastgroup:
            case "phone":
                return match[0] if self._full_numbers else mask_phone(match[0])
            case "digits":
                return "[digits]"
            case "data":
                return "[data]"
            case _:
                return "[secret]"

    def value(self, value: object, depth: int = 2) -> object:
        """Any value as something that JSON can hold. Objects are named, never shown."""
        match value:
            case None | bool() | float():
                return value
            case int():
                return value if abs(value) < 10**9 else self.text(str(value))
            case str():
                return self.text(str(value))
            case bytes() | bytearray():
                return f"[{len(value)} bytes]"
            case Mapping() if depth:
                pairs = list(cast("Mapping[object, object]", value).items())[:ITEMS]
                return {self.text(str(key)): self.value(item, depth - 1) for key, item in pairs}
            case list() | tuple() | set() | frozenset() if depth:
                return [self.value(item, depth - 1) for item in list(cast("Iterable[object]", value))[:ITEMS]]
            case _:
                return f"[{type(value).__name__}]"


def _visible(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"  # noqa: PLR2004
