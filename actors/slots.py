"""The slots of the whole engine (`Engine(max_concurrency=)`), shared so that no queue starves another.

Problem.  A queue that ends an attempt is the first to know of the free slot; if it may take it back at once, a busy queue keeps
all slots for ever.  Choice: queues that were refused stand in line, and whoever stands in line is served before anyone comes
twice.  How many slots are taken is counted from live attempts each time (law 7); only the line itself is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Claimant(Protocol):
    def live(self) -> int:
        """Attempts, stragglers included, that hold a slot now."""
        ...

    def wake(self) -> None: ...


class Slots:
    """`limit` None means no bound beyond each queue's own concurrency."""

    def __init__(self, limit: int | None, claimants: Callable[[], list[Claimant]]) -> None:
        self._limit = limit
        self._claimants = claimants
        self._line: list[Claimant] = []

    def grant(self, claimant: Claimant) -> int | None:
        """How many attempts `claimant` may start now; None: as many as it likes."""
        if self._limit is None:
            return None
        free = self._free()
        ahead = self._line.index(claimant) if claimant in self._line else len(self._line)
        if free <= ahead:
            return 0
        others = len(self._line) - (1 if claimant in self._line else 0)
        return max(1, free // (others + 1)) if others else free

    def used(self, claimant: Claimant, started: int, wants_more: bool) -> None:
        """Tell what became of a grant: a claimant that still wants goes to the end of the line.

        One that leaves its place may not have used what it was woken for (its rate, or a pause, holds it back): then it is the turn of
        those behind it, and nobody else would tell them.
        """
        if self._limit is None:
            return
        leaves = claimant in self._line and bool(started or not wants_more)
        if leaves:
            self._line.remove(claimant)
        if wants_more and claimant not in self._line:
            self._line.append(claimant)
        if leaves:
            self.freed()

    def freed(self) -> None:
        """An attempt ended: wake as many of the line as there are slots."""
        if self._limit is not None and self._line:
            for claimant in self._line[: max(0, self._free())]:
                claimant.wake()

    def free(self) -> int | None:
        """Slots nobody holds; None: there is no bound."""
        return None if self._limit is None else max(0, self._free())

    def _free(self) -> int:
        assert self._limit is not None
        return self._limit - sum(claimant.live() for claimant in self._claimants())
