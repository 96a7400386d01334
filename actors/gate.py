"""The rate limit at the door of the handler.

The kernel's limiter spaces the *journalled* starts; commits then take their time, so two starts a second apart could enter
their handlers half a second apart.  A partner's window counts entries.  The gate runs the same theoretical-arrival-time rule
(GCRA) on trio's clock and holds a start until the promise "at most burst + limit * w / per entries in any window w" holds for
entries too (DECISIONS 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from journeyman.actors.attempt import Attempt


class Gate:
    """One queue's gate; without a rate it is always open."""

    __slots__ = ("_interval", "_slack", "_tat")

    def __init__(self) -> None:
        self._interval = 0.0
        self._slack = 0.0
        self._tat = 0.0

    def set(self, limit: int, per_us: int, burst: int) -> None:
        """`limit` entries per `per_us` microseconds, `burst` at once; limit 0 opens the gate."""
        self._interval = per_us / limit / 1_000_000 if limit else 0.0
        self._slack = self._interval * (burst - 1)

    async def hold(self, attempt: Attempt) -> None:
        """Wait for this entry's turn.  Returns early when the attempt is cancelled or stopped meanwhile (its `why` is then set)."""
        if not self._interval:
            return
        now = trio.current_time()
        enter_at = max(now, self._tat - self._slack)
        self._tat = max(self._tat, enter_at) + self._interval
        if enter_at > now:
            with trio.CancelScope() as scope:
                attempt.scope = scope
                await trio.sleep_until(enter_at)
            attempt.scope = None
