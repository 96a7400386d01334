"""The rate limit at the door of the handler.

The kernel's limiter spaces the *journalled* starts; commits then take their time, so two starts a second apart could enter
their handlers half a second apart.  A partner's window counts entries.  The gate runs the same theoretical-arrival-time rule
(GCRA) on trio's clock and holds a start until the promise "at most burst + limit * w / per entries in any window w" holds for
entries too (DECISIONS 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from journeyman.actors.attempt import Attempt

ENTRY_LAG: Final = 0.05  # seconds between a journalled start and its entry: a commit, on a disk that is not broken


class Gate:
    """The gate of one queue, or of all queues that share a limiter; without a rate it is always open."""

    __slots__ = ("_burst", "_interval", "_line", "_tat")

    def __init__(self) -> None:
        self._interval = 0.0
        self._burst = 1
        self._tat = 0.0
        self._line = trio.Lock()  # first come, first served

    def set(self, limit: int, per_us: int, burst: int) -> None:
        """`limit` entries per `per_us` microseconds, `burst` at once; limit 0 opens the gate."""
        interval = per_us / limit / 1_000_000 if limit else 0.0
        if (interval, burst) != (self._interval, self._burst):
            self._interval, self._burst = interval, burst
            self._tat = min(self._tat, trio.current_time() + burst * interval)  # what an older rate put off is not owed to this one

    def resume(self, ahead: float) -> None:
        """The journal's limiter stands `ahead` seconds from now (negative: it has run out), by starts of an earlier boot.

        Their entries came after them; the last ones are taken to have come `ENTRY_LAG` after their starts.  That none can have come later
        than now is no bound to go by: what the last one cost, and so what it owes, is not known any more.
        """
        lag = min(ENTRY_LAG, self._interval or ENTRY_LAG)
        self._tat = max(self._tat, trio.current_time() + max(0.0, ahead + lag))

    async def hold(self, attempt: Attempt) -> None:
        """Wait for this entry's turn.  Returns early when the attempt is cancelled or stopped meanwhile (its `why` is then set).

        The next turn counts from the instant at which this one was really let in: a sleep that ended late brings the next entry no nearer.
        """
        if not self._interval or attempt.why is not None:
            return
        with trio.CancelScope() as scope:
            attempt.scope = scope
            async with self._line:
                cost = attempt.cost
                if (opens_at := self._tat - self._interval * (self._burst - min(cost, self._burst))) > trio.current_time():
                    await trio.sleep_until(opens_at)
                self._tat = max(self._tat, trio.current_time()) + cost * self._interval
        attempt.scope = None
