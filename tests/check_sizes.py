"""The agreed sizes: no file over 600 lines, no function over 60, and every source file has a test twin."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE_LINES = 600
FUNCTION_LINES = 60
PACKAGE = ROOT / "src" / "voice_openai_connect"


def too_long(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    found = [f"{name}: {n} lines, {FILE_LINES} agreed"] if (n := text.count("\n")) > FILE_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{name}:{node.lineno} {node.name}: {lines} lines, {FUNCTION_LINES} agreed")
    return found


def without_twin(path: Path) -> list[str]:
    if path.name in {"__init__.py", "__main__.py"} or path.is_relative_to(ROOT / "tests"):
        return []
    twin = f"test_{path.name}"
    if any((ROOT / "tests").rglob(twin)):
        return []
    return [f"{path.relative_to(ROOT)}: no test twin {twin} below tests/"]


def main() -> int:
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "aws").rglob("*.py")]
    others = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    complaints = [c for p in [*sources, *others] for c in too_long(p)]
    complaints += [c for p in sources for c in without_twin(p)]
    sys.stdout.write("".join(f"{c}\n" for c in sorted(complaints)))
    return 1 if complaints else 0


if __name__ == "__main__":
    raise SystemExit(main())
