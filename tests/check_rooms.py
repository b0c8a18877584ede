"""What the pure rooms may import, all of it named: anything else would have to be argued for here."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "voice_openai_connect"
WORDS_AND_NUMBERS = frozenset(
    {"collections", "dataclasses", "enum", "functools", "json", "math", "operator", "re", "typing", "unicodedata"}
)
FORMATS = frozenset({"base64", "datetime", "hashlib", "hmac", "msgspec", "types", "urllib", "xml"})
MAY_IMPORT = {
    "call": (frozenset({"call", "limits"}), WORDS_AND_NUMBERS),
    "wire": (frozenset({"wire", "call", "limits"}), WORDS_AND_NUMBERS | FORMATS),
}
"""By room: which of our own, and which of others."""


def imported(path: Path) -> Iterator[str]:
    """Every module that a file names, also within its functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (f"{PACKAGE}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def forbidden(path: Path, ours: frozenset[str], others: frozenset[str]) -> Iterator[str]:
    for name in imported(path):
        first, _, rest = name.partition(".")
        allowed = rest.partition(".")[0] in ours if first == PACKAGE else first in others
        if not allowed:
            yield f"{path.relative_to(ROOT)} imports {name}"


def main() -> int:
    complaints = [
        f"{complaint}: {room}/ may import {', '.join(sorted(ours))} and {', '.join(sorted(others))}"
        for room, (ours, others) in MAY_IMPORT.items()
        for path in (ROOT / "src" / PACKAGE / room).rglob("*.py")
        for complaint in forbidden(path, ours, others)
    ]
    sys.stdout.write("".join(f"{complaint}\n" for complaint in sorted(complaints)))
    return 1 if complaints else 0


if __name__ == "__main__":
    raise SystemExit(main())
