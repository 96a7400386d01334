"""The slots of the whole engine (`Engine(max_concurrency=)`), or of a namespace, shared so that no queue starves another.

Problem.  A queue that ends an attempt is the first to know of the free slot; if it may take it back at once, a busy queue keeps
all slots for ever.  Choice: queues that were refused stand in line (actors/turns.py), and are served in proportion to their weights.  How
many slots are taken is counted from live attempts each time (law 7); only the line itself is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from journeyman.actors.turns import Turns


class Claimant(Protocol):
    @property
    def weight(self) -> int: ...

    def live(self) -> int:
        """Attempts, stragglers included, that hold a slot now."""
        ...

    def wake(self) -> None: ...


class Slots:
    """`limit` None means no bound beyond each queue's own concurrency."""

    def __init__(self, limit: int | None, claimants: Callable[[], list[Claimant]]) -> None:
        self._limit = limit
        self._claimants = claimants
        self._turns: Turns[Claimant] = Turns()

    def grant(self, claimant: Claimant) -> int | None:
        """How many attempts `claimant` may start now; None: as many as it likes."""
        return None if self._limit is None else self._turns.share(claimant, self._free())

    def used(self, claimant: Claimant, started: int, wants_more: bool) -> None:
        """Tell what became of a grant: a claimant that still wants stands in line, behind those that have had less.

        One that leaves its place may not have used what it was woken for (its rate, or a pause, holds it back): then it is the turn of
        those behind it, and nobody else would tell them.
        """
        if self._limit is None:
            return
        turns = self._turns
        leaves = claimant in turns and bool(started or not wants_more)
        turns.heard(claimant, started, wants_more)
        if leaves:
            self.freed()

    def forget(self, claimant: Claimant) -> None:
        """It is gone, for now or for good: nobody waits behind it."""
        self.used(claimant, 0, False)

    def freed(self) -> None:
        """An attempt ended: wake as many of the line as there are slots."""
        if self._limit is not None and len(self._turns):
            for claimant in self._turns.first(max(0, self._free())):
                claimant.wake()

    def free(self) -> int | None:
        """Slots nobody holds; None: there is no bound."""
        return None if self._limit is None else max(0, self._free())

    def _free(self) -> int:
        assert self._limit is not None
        return self._limit - sum(claimant.live() for claimant in self._claimants())
