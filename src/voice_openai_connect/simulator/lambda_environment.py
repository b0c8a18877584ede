"""One execution environment of a Lambda function: a process that loads a handler and answers events one at a time.

Run as a script with the handler's path, never imported by it. Events come as JSON lines on standard input; answers go
out as JSON lines on standard output. Whatever the handler itself prints goes to standard error, which is the log.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

Answer = dict[str, Any]


def load(path: Path) -> Callable[[Any, object], object]:
    """The `lambda_handler` of that file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lambda_handler


def attempt(work: Callable[[], object]) -> Answer:
    """What the work returns, or what went wrong, as JSON can carry it."""
    try:
        result = work()
        json.dumps(result)
    except Exception as error:  # noqa: BLE001 - a function may fail in any way; that is an answer here
        return {"errorType": type(error).__name__, "errorMessage": str(error)}
    return {"result": result}


def serve(path: Path, events: TextIO, answers: TextIO) -> None:
    """Load the handler and say whether that worked; then answer every event until there are no more."""

    def answer(found: Answer) -> None:
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    loaded: list[Callable[[Any, object], object]] = []
    answer(attempt(lambda: loaded.append(load(path))))
    for line in events if loaded else ():
        event = json.loads(line)
        answer(attempt(lambda event=event: loaded[0](event, None)))


def main() -> None:
    """Serve the handler named on the command line, keeping its own output apart from the answers."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    serve(Path(sys.argv[1]), sys.stdin, answers)


if __name__ == "__main__":
    main()
