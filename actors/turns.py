"""Whose turn it is among those that share something scarce: the engine's slots, a named limiter.

Problem.  Whoever hears first of a free slot or a token would take it again and again, and the others would starve beside it.  Choice:
those that were refused stand in line, and the line is ordered by what each has had so far, divided by its weight (start-time fair
queueing): taking an amount moves a claimant back by amount / weight, and one that comes anew begins where the line is now.  So in any
stretch in which two of them stand in line, they get in proportion to their weights, one that takes dear things the less often; who has
rested has nothing saved up.

Only the line is kept, never how much there is: slots and tokens are derived from the queues' state at each question (law 7).
Rejected: first in, first out (a claimant that takes five at once gets five times as much); a ring (knows no weights and no costs).
"""

from __future__ import annotations

from heapq import heapify, heapreplace, nsmallest
from typing import Final, Generic, Protocol, TypeVar

_WHOLE: Final = 1 << 20  # what one unit of amount moves a claimant of weight 1; enough for weights to divide it evenly enough

_ONE_BY_ONE: Final = 64  # so much is given out exactly; of more, a share is near enough


class Claimant(Protocol):
    """One that shares.  Hashable by identity."""

    @property
    def weight(self) -> int:
        """Its share is in proportion to this, which is at least 1."""
        ...

    def wake(self) -> None:
        """It may be its turn."""
        ...


C = TypeVar("C", bound=Claimant)


class Turns(Generic[C]):
    """The line for one thing."""

    __slots__ = ("_clock", "_had", "_line", "_ties")

    def __init__(self) -> None:
        self._clock = 0  # where the line is: the place of whoever was served last
        self._had: dict[C, int] = {}  # the place of each that was served, while it is ahead of the line
        self._line: dict[C, tuple[int, int]] = {}
        self._ties = 0

    def __contains__(self, claimant: C) -> bool:
        return claimant in self._line

    def __len__(self) -> int:
        return len(self._line)

    def share(self, claimant: C, free: int) -> int:
        """How much of `free` is `claimant`'s now: all, if nobody else stands in line; 0 if it is not its turn."""
        line = self._line
        mine = line.get(claimant)
        if not line or (mine is not None and len(line) == 1):
            return max(0, free)
        place = mine or (self._place(claimant), self._ties + 1)
        ahead = sum(1 for other, its in line.items() if other is not claimant and its < place)
        if free <= ahead:
            return 0
        if free > _ONE_BY_ONE:
            weights = sum(other.weight for other in line if other is not claimant)
            return max(1, min(free - ahead, free * claimant.weight // (weights + claimant.weight)))
        # Given out one by one to whoever is first, as if all could use all of it: what one leaves, the next is told of.
        places = [(*its, other.weight, other is claimant) for other, its in line.items() if other is not claimant]
        places.append((*place, claimant.weight, True))
        heapify(places)
        count = 0
        for _ in range(free):
            had, tie, weight, own = places[0]
            count += own
            heapreplace(places, (had + _WHOLE // weight, tie, weight, own))
        return count

    def heard(self, claimant: C, amount: int, wants_more: bool) -> None:
        """What became of its share: it took so much, and wants more or does not."""
        if amount:
            self.took(claimant, amount, wants_more)
        elif wants_more:
            self.join(claimant)
        else:
            self.leave(claimant)

    def took(self, claimant: C, amount: int, wants_more: bool) -> None:
        """It was served, and stands in line again, so much further back, or wants no more for now."""
        mine = self._line.pop(claimant, None)
        place = self._place(claimant) if mine is None else mine[0]
        self._clock = max(self._clock, place)
        had = self._had[claimant] = place + amount * _WHOLE // claimant.weight
        if wants_more:  # it has not rested: its place is its own, wherever the line is
            self._ties += 1
            self._line[claimant] = (had, self._ties)
        if len(self._had) > 2 * len(self._line) + 64:
            self._had = {other: had for other, had in self._had.items() if had > self._clock}

    def join(self, claimant: C) -> None:
        """It was refused, and wants."""
        if claimant not in self._line:
            self._ties += 1
            self._line[claimant] = (self._place(claimant), self._ties)

    def leave(self, claimant: C) -> bool:
        """It wants no more; whether it stood in line."""
        return self._line.pop(claimant, None) is not None

    def first(self, n: int = 1) -> list[C]:
        """The next `n`."""
        line = self._line
        return nsmallest(n, line, key=lambda claimant: line[claimant])

    def _place(self, claimant: C) -> int:
        return max(self._clock, self._had.get(claimant, 0))


__all__ = ["Claimant", "Turns"]
