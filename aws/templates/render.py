"""Puts files of this repository into the templates: the Lambda's code and the contact flows.

A block of text below a line ``# rendered from PATH`` (relative to the templates) is that file, word for word; JSON
without its line breaks, since a template may have 50 KB. So one command deploys a stack, without a bucket to upload to,
and what is tested is what is deployed.

    python aws/templates/render.py
"""

import json
import re
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent

_RENDERED: Final = re.compile(
    r"""
    ^ (?P<head> (?P<indent> [ ]*) [#][ ]rendered[ ]from[ ](?P<path>\S+) \n
      (?P=indent) [^\n]* [ ]\| \n )
    (?: (?P=indent)[ ] [^\n]* \n | \n )*
    """,
    re.MULTILINE | re.VERBOSE,
)
"""The mark, the line that opens a literal block, and the block: lines indented deeper, and empty ones."""


def render(template: str) -> str:
    """The template with every marked block as its file is now. Raises `FileNotFoundError` for one that is gone."""
    return _RENDERED.sub(_with_its_file, template)


def _with_its_file(found: re.Match[str]) -> str:
    indent = found["indent"] + "  "
    text = (HERE / found["path"]).read_text(encoding="utf-8").rstrip("\n")
    if found["path"].endswith(".json"):
        text = json.dumps(json.loads(text), separators=(",", ":"))
    lines = [f"{indent}{line}".rstrip() for line in text.split("\n")]
    return found["head"] + "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    for path in HERE.glob("*.yaml"):
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
