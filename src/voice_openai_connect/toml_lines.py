"""Where in a TOML file something is written. `tomllib` tells values, not lines; this tells lines, not values."""

import re
from collections.abc import Sequence
from typing import Final

_PART: Final = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_NAME: Final = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER: Final = re.compile(rf"\s*\[\s*({_NAME})\s*\]")
_KEY: Final = re.compile(rf"\s*({_NAME})\s*=(.*)")
_FENCES: Final = ('"""', "'''")

Path = tuple[str, ...]


def key_lines(text: str) -> dict[Path, int]:
    """The line (from 1) of every table header and key in `text`, by its whole path.

    The text is taken to be valid TOML. Keys inside inline tables and items of lists have no line of their own;
    `line_of` gives them the line they belong to.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if fence:
            fence = "" if fence in line else fence
        elif header := _HEADER.match(line):
            table = _parts(header[1])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(table + _parts(key[1]), number)
            fence = _left_open(key[2])
    return lines


def line_of(lines: dict[Path, int], path: Sequence[str | int]) -> int:
    """The line of `path`, or else of the nearest thing around it; 1 if there is none."""
    steps = tuple(map(str, path))
    return next((lines[steps[:n]] for n in range(len(steps), 0, -1) if steps[:n] in lines), 1)


def _parts(name: str) -> Path:
    return tuple(part.strip("\"'") for part in re.findall(_PART, name))


def _left_open(value: str) -> str:
    """The quotes of a text that goes on in the next line, if `value` begins one."""
    start = value.lstrip()[:3]
    return start if start in _FENCES and value.count(start) == 1 else ""
