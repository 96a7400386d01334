"""Chance, drawn from the seed and nothing else.

Each kind of fault has a generator of its own, so that leaving one fault out of a plan leaves the draws of all others as they were: that is
what lets a failing plan be made smaller.  How long until a fault strikes next is drawn at once (a geometric distribution), not asked anew
at each opportunity: an await costs one subtraction.
"""

from __future__ import annotations

import math
from random import Random

from journeyman.sim.faults import KINDS, Faults, chance_of, size_of

SLOW = 100.0
CRASH, EFFECT = "crash", "effect"  # a crash at an effect of a handler is a crash, drawn by itself
DISTURB = frozenset({"slow_disk", "disk_full", "read_error", "bit_flip", "stall", "clock_step"})  # an engine that is up, in its work


class Dice:
    def __init__(self, seed: int, faults: Faults) -> None:
        self._seed = seed
        self._random = {name: Random(f"{seed}-{name}") for name in (*KINDS, EFFECT, "coin", "latency", "size", "power")}
        self.struck: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.disturbed = 0  # times that a fault of `DISTURB` has struck
        self.plan(faults)

    def plan(self, faults: Faults) -> None:
        """Go on with another plan."""
        self.faults = faults
        self.until = {name: self._gap(name) for name in (*KINDS, EFFECT)}  # opportunities that pass before the next strike
        self._any_latency = faults.disk_latency[1] > 0

    def _gap(self, name: str) -> float:
        """How many opportunities pass before the next strike."""
        chance = chance_of(self.faults, CRASH if name == EFFECT else name)
        if not chance:
            return math.inf
        if chance >= 1:
            return 0
        return math.floor(math.log(1.0 - self._random[name].random()) / math.log1p(-chance))

    def strikes(self, name: str) -> bool:
        """Whether this opportunity is one."""
        left = self.until[name]
        if left > 0:
            self.until[name] = left - 1
            return False
        self.until[name] = self._gap(name)
        self.struck[CRASH if name == EFFECT else name] += 1
        self.disturbed += name in DISTURB
        return True

    def possible(self, name: str) -> bool:
        return self.until[name] != math.inf

    def size(self, name: str, default: float) -> float:
        return size_of(self.faults, name, default)

    def within(self, name: str, default: float) -> float:
        """Seconds, evenly from 0 to the size of a fault."""
        return self._random["size"].random() * self.size(name, default)

    def either_way(self, name: str, default: float) -> float:
        return (self._random["size"].random() * 2 - 1) * self.size(name, default)

    def latency(self) -> float:
        """Seconds the next commit takes."""
        low, high = self.faults.disk_latency
        seconds = low + (high - low) * self._random["latency"].random() if self._any_latency else 0.0
        if self.strikes("slow_disk"):
            seconds = self.size("slow_disk", max(seconds, 0.01) * SLOW)
        return seconds

    def power(self) -> bool:
        """Whether the machine dies with the process."""
        return self.faults.power > 0 and self._random["power"].random() < self.faults.power

    def coin(self) -> bool:
        return self._random["coin"].random() < 0.5

    def below(self, n: int) -> int:
        return self._random["coin"].randrange(n)
