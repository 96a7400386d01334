"""Virtual time: a wall clock that can step and drift on top of trio's clock, which cannot.

Monotonic time is trio's time.  The wall clock is where the world began, plus monotonic time, plus what steps and drift have
added: an engine sees both through the same two readings as in production (actors/clock.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import trio

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9500, 1, 1, tzinfo=UTC)  # that a step may set it to
LATEST_US: Final = (LATEST - EPOCH) // timedelta(microseconds=1)
BEGINNING: Final = datetime(2030, 1, 1, tzinfo=UTC)


class WorldClock:
    """The clocks of one machine.  `drift` in parts per million."""

    __slots__ = ("_drift_since", "_drifted_us", "_start_us", "drift", "read", "stepped_us")

    def __init__(self, start: datetime = BEGINNING, drift: float = 0.0) -> None:
        if start.tzinfo is None:
            raise ValueError(f"start must be an aware datetime, not {start!r}")
        if start < EPOCH:
            raise ValueError(f"start must not lie before 1970, where an engine tells no time: {start!r}")
        self._start_us = (start - EPOCH) // timedelta(microseconds=1)
        self.stepped_us = 0
        self.drift = drift
        self._drifted_us = 0.0
        self._drift_since = 0.0
        self.read: Callable[[], float] = trio.current_time  # in a simulated run what it comes to, three calls sooner

    def monotonic(self) -> int:
        return round(self.read() * 1_000_000)

    def wall(self) -> int:
        now = self.read()
        wall = self._start_us + round(now * 1_000_000) + self.stepped_us
        return wall + round(self._drifted_us + (now - self._drift_since) * self.drift) if self.drift or self._drifted_us else wall

    def step(self, seconds: float) -> None:
        """Set the wall clock by `seconds`, forward or back.  TypeError for what is no number, ValueError for one that is not finite and for
        a step that would set it before 1970 or after 9500.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise TypeError(f"a step of the wall clock is a number of seconds, not {seconds!r}")
        if not math.isfinite(seconds):
            raise ValueError(f"a step of the wall clock is a finite number of seconds, forward or back, not {seconds!r}")
        stepped = round(seconds * 1_000_000)
        if not 0 <= self.wall() + stepped <= LATEST_US:
            where = "before 1970, where an engine tells no time" if stepped < 0 else f"after {LATEST:%Y}, which leaves it no room to go on"
            raise ValueError(f"a step of {seconds:+g} s would set the wall clock {where}: give a smaller one")
        self.stepped_us += stepped

    def run_true(self) -> None:
        """No drift from here on; what has come together stays."""
        now = self.read()
        self._drifted_us += (now - self._drift_since) * self.drift
        self._drift_since, self.drift = now, 0.0

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return EPOCH + timedelta(microseconds=self.wall())
