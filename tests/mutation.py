"""Would the tests notice? Breaks `call/` in thousands of small ways, one at a time, and counts what goes unseen.

    python tests/mutation.py                    all of call/
    python tests/mutation.py playback floor     these files
    python tests/mutation.py --survivors        what the last run left alive, as differences

Works on a copy in out/mutation, with mutmut. mutmut leaves decorated functions alone, and most of the machine's methods
are decorated; so in the copy `@d def f` is written as `def f` and `f = d(f)`, which means the same.
"""

import ast
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
COPY: Final = ROOT / "out" / "mutation"
CALL: Final = Path("src/voice_openai_connect/call")
PACKAGE: Final = "voice_openai_connect.call."
CAUGHT: Final = ("killed", "timeout", "suspicious", "segfault", "caught by type check")
LEFT_TO_MUTMUT: Final = {"staticmethod", "classmethod"}


def undecorated(source: str) -> str:
    """The same module, with its functions decorated by a statement of its own."""
    lines = source.splitlines()
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef) and n.decorator_list]
    for function in sorted(functions, key=lambda f: f.lineno, reverse=True):
        decorators = [ast.unparse(d) for d in function.decorator_list]
        if LEFT_TO_MUTMUT & set(decorators):
            continue
        indent = " " * function.col_offset
        applied = [f"{indent}{function.name} = {d}({function.name})" for d in reversed(decorators)]
        lines[function.end_lineno : function.end_lineno] = applied
        first = min(d.lineno for d in function.decorator_list) - 1
        del lines[first : function.lineno - 1]
    return "\n".join(lines) + "\n"


def make_copy() -> None:
    """A fresh copy of what is broken and of what must notice; results of earlier runs stay."""
    COPY.mkdir(parents=True, exist_ok=True)
    for folder in ("src", "tests", "aws"):
        shutil.rmtree(COPY / folder, ignore_errors=True)
        shutil.copytree(ROOT / folder, COPY / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, COPY / name)
    for path in (COPY / CALL).glob("*.py"):
        path.write_text(undecorated(path.read_text()))


def mutmut(*arguments: str) -> str:
    """What mutmut says about the copy."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=COPY, capture_output=True, text=True, check=False).stdout


def score() -> int:
    """A line a file, and the whole."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for line in mutmut("results", "--all", "true").splitlines():
        name, _, result = line.strip().partition(": ")
        if name.startswith(PACKAGE):
            counts[name.removeprefix(PACKAGE).partition(".")[0]][result] += 1
    whole = Counter[str]()
    for file, results in sorted(counts.items()):
        results.pop("not checked", None)
        whole += results
        if results:
            sys.stdout.write(told(file, results))
    sys.stdout.write(told("all", whole))
    return 0


def told(name: str, results: Counter[str]) -> str:
    """How many of a file's mutants were noticed."""
    caught = sum(results[each] for each in CAUGHT)
    share = 100 * caught / max(1, results.total())
    rest = ", ".join(f"{count} {what}" for what, count in results.most_common() if what not in CAUGHT)
    return f"{name:<18}{share:6.1f} %  {caught} of {results.total()}{'; ' if rest else ''}{rest}\n"


def main(arguments: list[str]) -> int:
    """Break, run, and count."""
    if arguments == ["--survivors"]:
        for line in mutmut("results").splitlines():
            name, _, result = line.strip().partition(": ")
            if result in {"survived", "no tests"}:
                sys.stdout.write(mutmut("show", name) + "\n")
        return 0
    make_copy()
    wanted = [f"{PACKAGE}{name}.*" for name in arguments] or [f"{PACKAGE}*"]
    subprocess.run([sys.executable, "-m", "mutmut", "run", *wanted], cwd=COPY, check=False)
    return score()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
