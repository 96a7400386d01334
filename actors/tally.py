"""Counters of a queue since somebody began to count: what a monitoring system wants, and statistics do not keep.

Problem.  A monitoring system wants counters that only rise and a histogram of durations, by handler; few programs have one.  Choice: a
queue has a tally only once it was asked for, so that nobody else pays for it at each task; it is filled where events are applied, and read,
like everything, when what it rests on is durable.  Buckets are those that the field's systems use, a millisecond to a minute.

Rejected: to read the journal for it (a second pass over every event); to count always (two per cent of a task's time).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from copy import deepcopy
from typing import Final, Self

BOUNDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds, inclusive
_BOUNDS_US: Final = tuple(round(bound * 1_000_000) for bound in BOUNDS)


class Buckets:
    """A histogram: `counts` has one number more than there are BOUNDS, of what is above them all."""

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_US) + 1)
        self.sum_us = 0

    def add(self, elapsed_us: int) -> None:
        self.counts[bisect_left(_BOUNDS_US, elapsed_us)] += 1
        self.sum_us += elapsed_us


class Tally:
    """By handler: tasks `submitted`, `retries` decided.  By (handler, outcome): `attempts` that ended, tasks `ended`.  By handler: how long
    attempts took.  `rejected`: what stale attempts tried."""

    __slots__ = ("attempts", "durations", "ended", "rejected", "retries", "submitted")

    def __init__(self) -> None:
        self.submitted: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.ended: Counter[tuple[str, str]] = Counter()
        self.durations: dict[str, Buckets] = {}
        self.rejected = 0

    def run_ended(self, handler: str, outcome: str, elapsed_us: int | None) -> None:
        """elapsed_us: None where nobody knows how long it took."""
        self.attempts[handler, outcome] += 1
        if elapsed_us is not None:
            buckets = self.durations.get(handler)
            if buckets is None:
                buckets = self.durations[handler] = Buckets()
            buckets.add(elapsed_us)

    def refuse(self) -> None:
        """A stale attempt has said something."""
        self.rejected += 1

    def copy(self) -> Self:
        return deepcopy(self)


__all__ = ["BOUNDS", "Buckets", "Tally"]
