"""What a process costs, read from /proc: processor time to the nanosecond, resident memory. Linux only."""

import os
from pathlib import Path
from typing import Final

_KILOBYTE: Final = 1_024


def cpu_ms(pid: int) -> float:
    """Milliseconds on a processor so far, all threads together."""
    return sum(_thread_ns(stat) for stat in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e6


def resident_kb(pid: int) -> float:
    """Resident memory, in KB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


def children(pid: int) -> set[int]:
    """The processes that a process has started and that still run."""
    others = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal())
    return {other for other in others if _parent(other) == pid}


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process on one core; threads that it starts later stay there too."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def put_first(pid: int) -> str:
    """The best scheduling that this user may give: SCHED_FIFO, a nice value below zero, or none. Says which."""
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pass
    else:
        return "SCHED_FIFO"
    try:
        os.setpriority(os.PRIO_PROCESS, pid, -15)
    except PermissionError:
        return "ordinary"
    return "nice -15"


def put_back(pid: int, cores: set[int]) -> None:
    """Back among all the others, on any of these cores."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(int(task.name), cores)


def _thread_ns(stat: Path) -> int:
    try:
        return int(stat.read_text(encoding="ascii").split()[0])
    except FileNotFoundError:
        return 0


def _parent(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:")), 0)
