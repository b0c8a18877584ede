"""The gateway as it is, in a process that can be asked what it holds: SIGUSR1 writes one line into its log.

    python -m bench.load.instance serve

The line has the number of unfinished tasks on the event loop; memory and descriptors are read from outside, by `held`.
"""

import asyncio
import gc
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from voice_openai_connect.cli import main

PROBE: Final = "bench_probe"
_KILOBYTE: Final = 1_024


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds at one moment."""

    rss_bytes: int
    descriptors: int
    tasks: int


def _tell(_: int, __: FrameType | None) -> None:
    gc.collect()
    tasks = len(asyncio.all_tasks())
    sys.stdout.write(json.dumps({"level": "info", "message": PROBE, "tasks": tasks}) + "\n")
    sys.stdout.flush()


def held(pid: int, tasks: int) -> Held:
    """Read the rest of it from /proc. Linux only."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Held(int(resident.split()[1]) * _KILOBYTE, descriptors, tasks)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    main()
