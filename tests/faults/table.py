"""Writes docs/reliability.md from the tests beside this file: `python tests/faults/table.py`.

A test's name carries the ids of its rows (`test_O4_O7_…`); its docstring says `Fault:` and `Hears:`.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"
CHAPTERS = ("openai", "twilio", "dynamodb", "hubspot", "transfer", "process")
_NAME = re.compile(r"test_((?:[A-Z][0-9]+_)+)")
_WORDS = re.compile(r"Fault: (?P<fault>.+?)\n\nHears: (?P<hears>.+)", re.DOTALL)

INTRODUCTION = """\
# Reliability

What can fail, what the caller hears then, and the test that proves it.

The tests play calls through the simulated town: real sockets, real DTMF tones, the real Lambda and contact flow, and a
bad line or a failing service where the table says so. When a test is over, every call is ended and nothing of it may be
left: no session of the model, no task that carries its CallSid, no live call, the gauge of active calls at 0. No rule
of Twilio's may be broken; there may be two dials in a call, one of them with a token, and one ticket.

This page is written from the tests: `python tests/faults/table.py`. Run them with `make test ARGS=tests/faults`.
"""


@dataclass(frozen=True)
class Row:
    """One test, as the table shows it."""

    ids: tuple[str, ...]
    fault: str
    hears: str
    proof: str

    def __str__(self) -> str:
        return f"| {' '.join(self.ids)} | {self.fault} | {self.hears} | `{self.proof}` |"


def rows(source: str) -> Iterator[Row]:
    """The rows of one file's text. Raises `ValueError` for a test that says too little about itself."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_"):
            ids, words = _NAME.match(node.name), _WORDS.match(ast.get_docstring(node) or "")
            if ids is None or words is None:
                raise ValueError(f"{node.name}: its name needs an id, its docstring `Fault:` and `Hears:`")
            fault, hears = (_one_line(words[part]) for part in ("fault", "hears"))
            yield Row(tuple(ids[1].rstrip("_").split("_")), fault, hears, node.name)


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(_chapter(HERE / f"test_{name}.py") for name in CHAPTERS)])


def _chapter(path: Path) -> str:
    source = path.read_text(encoding="utf-8")
    title, _, about = _one_line(ast.get_docstring(ast.parse(source)) or "").partition(": ")
    head = f"## {title}\n\n{_one_line(about)} Proofs are in `tests/faults/{path.name}`.\n"
    table = ["| Id | What fails | What the caller hears | Proof |", "|---|---|---|---|", *map(str, rows(source))]
    return head + "\n" + "\n".join(table) + "\n"


def _one_line(text: str) -> str:
    """Without line breaks, and with nothing that would end a cell; a sentence begins with a capital."""
    line = " ".join(text.split()).replace("|", "\\|")
    return line[:1].upper() + line[1:]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
