"""One alarm for the whole engine.

Every queue's kernel says when it next wants to be called; the timer sleeps until the earliest of those instants and wakes that
actor.  Nothing polls.  Stale entries of the heap are skipped, not searched for.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import Protocol

import trio

from journeyman.actors.clock import KernelClock


class Sleeper(Protocol):
    def wake(self) -> None: ...


class Timer:
    def __init__(self, clock: KernelClock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Sleeper]] = []
        self._wanted: dict[Sleeper, int] = {}
        self._ties = itertools.count()
        self._scope = trio.CancelScope()

    def set(self, sleeper: Sleeper, due_at: int | None) -> None:
        """Wake `sleeper` at `due_at` (kernel time, microseconds) and at no other time; None: not at all."""
        if due_at is None:
            self._wanted.pop(sleeper, None)
            return
        if self._wanted.get(sleeper) == due_at:
            return
        self._wanted[sleeper] = due_at
        heapq.heappush(self._heap, (due_at, next(self._ties), sleeper))
        self._rearm()

    def forget(self, sleeper: Sleeper) -> None:
        self._wanted.pop(sleeper, None)

    def clock_moved(self) -> None:
        """Kernel time has stepped: the same instants are nearer or farther now."""
        self._rearm()

    def _rearm(self) -> None:
        while self._heap and self._wanted.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if not self._heap:
            self._scope.deadline = math.inf
            return
        # One microsecond late rather than early: trio's clock and ours may differ in the last digit.
        wait = max(0, self._heap[0][0] - self._clock.now() + 1) / 1_000_000
        self._scope.deadline = trio.current_time() + wait

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Sleep and wake, until cancelled."""
        while True:
            self._rearm()
            with self._scope:
                await trio.sleep_forever()
            if not self._scope.cancelled_caught:
                return
            self._scope = trio.CancelScope()
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                due_at, _, sleeper = heapq.heappop(self._heap)
                if self._wanted.get(sleeper) == due_at:
                    del self._wanted[sleeper]
                    sleeper.wake()
