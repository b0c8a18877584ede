"""A recorded call once more, through the machine of today: where it would ask for something else."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from voice_openai_connect import limits
from voice_openai_connect.call.machine import Call
from voice_openai_connect.recording.lines import Plain, RecordingError, Step, plain_commands, read_head, read_step

SHOWN: Final = 20
"""Differences that are printed; after the first, most of the others follow from it."""
SAME, DIFFERENT, UNREADABLE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Difference:
    """A line at which today's machine asks for something else than the recorded one did."""

    line: int
    event: str
    recorded: list[Plain]
    today: list[Plain]


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a replay."""

    steps: int
    unfinished: bool
    """Whether the last line had no end: the process was killed, or the disk was full."""
    differences: list[Difference]


def replay(path: Path) -> Replay:
    """Play a recording again. Raises `RecordingError` if it is none, `OSError` if it cannot be read."""
    lines = _lines(path)
    call, steps, unfinished = Call(*read_head(next(lines, b""))), 0, False
    differences: list[Difference] = []
    for number, line in enumerate(lines, start=2):
        if not line.endswith(b"\n"):
            unfinished = True
            break
        step = read_step(number, line)
        steps += 1
        recorded = [*step.commands, {"raised": step.raised}] if step.raised else step.commands
        if (today := _today(call, step)) != recorded:
            differences.append(Difference(number, type(step.event).__name__, recorded, today))
    return Replay(steps, unfinished, differences)


def _lines(path: Path) -> Iterator[bytes]:
    """Line by line, none longer than a recording's may be."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(limits.RECORDED_LINE_BYTES + 1):
            number += 1
            if len(line) > limits.RECORDED_LINE_BYTES:
                raise RecordingError(number, f"is longer than {limits.RECORDED_LINE_BYTES} bytes")
            yield line


def _today(call: Call, step: Step) -> list[Plain]:
    try:
        commands = call.handle(step.event, step.now)
    except Exception as error:  # noqa: BLE001 - a call that breaks is a finding like any other
        return [{"raised": type(error).__name__}]
    # Through JSON and back, so that what JSON cannot tell apart is not a difference.
    today: list[Plain] = msgspec.json.decode(msgspec.json.encode(plain_commands(commands)))
    return today


def run_replay(path: Path, say: Callable[[str], Any], complain: Callable[[str], Any]) -> int:
    """Replay and tell; the exit status: 0 all the same, 1 differences, 2 not a readable recording."""
    try:
        result = replay(path)
    except (RecordingError, OSError) as error:
        complain(f"{path}: {error.strerror if isinstance(error, OSError) else error}")
        return UNREADABLE
    for each in result.differences[:SHOWN]:
        say(f"line {each.line}, {each.event}:")
        say("\n".join(_differing(each)))
    if result.unfinished:
        say("The last line has no end and was left out.")
    say(f"{result.steps} steps, {len(result.differences)} with a difference.")
    return DIFFERENT if result.differences else SAME


def _differing(difference: Difference) -> Iterator[str]:
    yield from (f"  - {_short(each)}" for each in difference.recorded if each not in difference.today)
    yield from (f"  + {_short(each)}" for each in difference.today if each not in difference.recorded)
    if all(each in difference.today for each in difference.recorded) and len(difference.recorded) == len(
        difference.today
    ):
        yield "  the same commands in another order"


def _short(plain: Plain) -> str:
    name = plain.get("type", "raised")
    return f"{name} " + ", ".join(f"{key}={value!r}" for key, value in plain.items() if key != "type")
