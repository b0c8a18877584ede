"""The 20 ms of telephony, on an absolute schedule: a kernel timer twice a millisecond, callers spread over it."""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from typing import Final

SLOTS: Final = 40
FRAME_S: Final = 0.02
SLOT_S: Final = FRAME_S / SLOTS
_SLOT_NS: Final = int(SLOT_S * 1e9)
_MONOTONIC: Final = 1
_NONBLOCK: Final = os.O_NONBLOCK | os.O_CLOEXEC
_libc: Final = ctypes.CDLL(None, use_errno=True)

Step = Callable[[float], None]


class _TimerSpec(ctypes.Structure):
    """`struct itimerspec`: the interval, then the first time."""

    _fields_ = (("every_s", ctypes.c_long), ("every_ns", ctypes.c_long), ("at_s", ctypes.c_long), ("at_ns", ctypes.c_long))


class Metronome:
    """Calls every step once in 20 ms, in the slot that it was given. Steps get the time of `time.monotonic`.

    The event loop's own timers count whole milliseconds, which would let a thirtieth of all callers speak at once.
    """

    def __init__(self, lateness: Callable[[float], None]) -> None:
        self._lateness = lateness
        """Told, for each slot, by how many seconds it came after its time."""
        self._slots: list[dict[Step, None]] = [{} for _ in range(SLOTS)]
        self._timer = _libc.timerfd_create(_MONOTONIC, _NONBLOCK)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        _libc.timerfd_settime(self._timer, 0, ctypes.byref(_TimerSpec(0, _SLOT_NS, 0, _SLOT_NS)), None)
        self._next = 0
        self._began = time.monotonic()
        asyncio.get_running_loop().add_reader(self._timer, self._tick)

    def add(self, step: Step, slot: int) -> None:
        """From now on."""
        self._slots[slot % SLOTS][step] = None

    def remove(self, step: Step, slot: int) -> None:
        """No more."""
        self._slots[slot % SLOTS].pop(step, None)

    def stop(self) -> None:
        """Call nobody any more."""
        asyncio.get_running_loop().remove_reader(self._timer)
        os.close(self._timer)

    def _tick(self) -> None:
        os.read(self._timer, 8)
        now = time.monotonic()
        while (due := self._began + self._next * SLOT_S) <= now:
            steps = self._slots[self._next % SLOTS]
            self._next += 1
            if steps:
                self._lateness(now - due)
                for step in list(steps):
                    step(now)
                now = time.monotonic()
