"""The cores of a virtual machine: kept from falling asleep, and watched for what the host takes away. Linux only.

A virtual core that has nothing to do for a moment is given to other guests, comes back late, and costs whoever wakes it
an interrupt through the host. Measured here: waking cost half of a bare bridge's time at 50 calls, and with a busy
neighbour a quarter of a core's time was gone, which looked like 30 ms of delay in every system.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HALT_POLL: Final = Path("/sys/module/haltpoll/parameters/guest_halt_poll_ns")
"""How long an idle core looks for work itself before it lets the host have it (kernel documentation, `haltpoll`)."""
AWAKE_NS: Final = 20_000_000
"""Longer than the pause between two frames, even of a single call."""
STAT: Final = Path("/proc/stat")
_STEAL: Final = 8
"""The column of `/proc/stat` with the time in which a core had work and did not run (proc(5))."""


@contextmanager
def kept_awake() -> Generator[bool]:
    """While the block runs, idle cores do not go back to the host. False where the machine or the user cannot do it."""
    try:
        before = HALT_POLL.read_text(encoding="ascii")
        HALT_POLL.write_text(str(AWAKE_NS), encoding="ascii")
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        HALT_POLL.write_text(before, encoding="ascii")


def taken_s(core: int) -> float:
    """Seconds since the start of the machine in which the host kept this core from its work."""
    lines = STAT.read_text(encoding="ascii").splitlines()
    fields = next((line.split() for line in lines if line.startswith(f"cpu{core} ")), None)
    return int(fields[_STEAL]) / os.sysconf("SC_CLK_TCK") if fields else 0.0
