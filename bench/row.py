"""One line of the speed table: what is measured, against what, and what it must reach.

Problem. The speed of a shared machine drifts by half within a minute, so a figure compared with one of another minute is noise.
Choice: a row runs in rounds; in each round our measurement and its baselines run in turn, in alternating order, and the *ratio*
is taken within the round. Reported are medians over the rounds, with the whole range beside them.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ground import Ground

Job = Callable[[Path], float]
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Target:
    """One figure to judge: `of`, divided by `per` of the same round if given.

    `least` is the minimum (the maximum when `lower` is better), `aim` what we hope for; None: not judged.
    """

    label: str
    of: str
    unit: str
    per: str | None = None
    least: float | None = None
    aim: float | None = None
    lower: bool = False

    def value(self, figures: Figures) -> float:
        return figures[self.of] / figures[self.per] if self.per else figures[self.of]

    def meets(self, value: float, bound: float | None) -> bool:
        if bound is None:
            return True
        return value <= bound if self.lower else value >= bound


@dataclass(slots=True)
class Round:
    """What a row's `measure` is given: the ground, the round's number and the size of the run."""

    ground: Ground
    number: int
    quick: bool
    announce: Callable[[str], None] = lambda _: None

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def run(self, name: str, job: Job) -> float:
        """Run one job in a directory of its own."""
        self.announce(name)
        directory = self.ground.fresh(name.replace(" ", "-"))
        gc.collect()
        gc.freeze()  # what the bench itself has imported is no part of anybody's work
        try:
            return job(directory)
        finally:
            gc.unfreeze()
            self.ground.discard(directory)

    def in_turn(self, jobs: dict[str, Job]) -> Figures:
        """Run the jobs one after another, every other round in reverse, so that none always has the warmer machine."""
        names = list(jobs) if self.number % 2 == 0 else list(reversed(jobs))
        return {name: self.run(name, jobs[name]) for name in names}


@dataclass(frozen=True, slots=True)
class Row:
    """`measure` gives the figures of one round; `rounds` is for a full run (a quick one takes two)."""

    name: str
    title: str
    measure: Callable[[Round], Figures]
    targets: tuple[Target, ...]
    rounds: int = 5
    note: str = ""


@dataclass(slots=True)
class Result:
    """All rounds of one row."""

    row: Row
    rounds: list[Figures] = field(default_factory=list)

    def values(self, target: Target) -> list[float]:
        return [target.value(figures) for figures in self.rounds]

    def median(self, target: Target) -> float:
        return statistics.median(self.values(target))

    def missed(self) -> list[Target]:
        return [t for t in self.row.targets if not t.meets(self.median(t), t.least)]
