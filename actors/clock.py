"""Kernel time: the wall clock's calendar on the monotonic clock's legs (DECISIONS 1).

Problem.  Due instants are wall-clock instants, but a wall clock steps; a queue that trusts it fires early, late or twice.  Choice: kernel
time is the wall clock as read at boot plus monotonic time since.  It does not go back within a boot.  When it and the wall clock have
drifted apart by more than `STEP_US`, either way, the difference becomes an event (`ClockStepped`), and only then does kernel time move
over; where an instant by the calendar is waited for, less is enough (actors/following.py).  Rejected: reading the wall clock for every
decision (NTP steps and suspends become early starts), and monotonic time alone (it stops in suspend and means nothing after a restart).
"""

from __future__ import annotations

import time
from typing import Final, Protocol

STEP_US: Final = 3600 * 1_000_000


class Clock(Protocol):
    """The seam: two readings in integer microseconds."""

    def wall(self) -> int:
        """Microseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> int:
        """Microseconds since some fixed instant; never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> int:
        return time.monotonic_ns() // 1000


class KernelClock:
    """Kernel time for one boot.

    `last_at` is the newest instant in the journal: a boot begins no earlier, unless the clock was set back by more than `STEP_US`;
    then `step` holds the (negative) delta to journal.  A forward gap between boots is simply time that passed.
    """

    def __init__(self, clock: Clock, last_at: int = 0) -> None:
        self._clock = clock
        wall = clock.wall()
        self.step: int = 0
        if wall < last_at:
            if last_at - wall > STEP_US:
                self.step = wall - last_at
            else:
                wall = last_at
        self._base = wall - clock.monotonic()

    def now(self) -> int:
        return self._base + self._clock.monotonic()

    def monotonic(self) -> int:
        return self._clock.monotonic()

    def wall(self) -> int:
        """What the wall clock says now: up to `STEP_US` from kernel time, either way, and more until a step is journalled."""
        return self._clock.wall()

    def drift(self, apart_us: int = STEP_US) -> int:
        """How far the wall clock is ahead of kernel time, in microseconds, when that is more than `apart_us`; else 0."""
        gap = self._clock.wall() - self.now()
        return gap if abs(gap) > apart_us else 0

    def move(self, delta_us: int) -> None:
        """Follow the wall clock; the caller journals `ClockStepped(delta_us)` in the same step."""
        self._base += delta_us
