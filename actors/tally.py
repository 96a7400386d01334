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
from typing import Any, Final, Self

from journeyman.kernel.events import (
    AttemptFailed,
    AttemptLost,
    AttemptReleased,
    AttemptSnoozed,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskSucceeded,
    TransitionRejected,
)

BOUNDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds, inclusive
_BOUNDS_US: Final = tuple(round(bound * 1_000_000) for bound in BOUNDS)
_ENDINGS: Final[dict[type, str]] = {
    TaskSucceeded: "succeeded", TaskFailed: "failed", TaskCancelled: "cancelled", TaskInterrupted: "interrupted",
}  # fmt: skip
_RUNS: Final[dict[type, str]] = {AttemptFailed: "failed", AttemptSnoozed: "snoozed", AttemptReleased: "released", AttemptLost: "lost"}
TALLIED: Final = frozenset({*_RUNS, TransitionRejected})  # beside the ends of tasks


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

    def task_ended(self, handler: str, event: Any) -> None:
        """With its run, if it had begun."""
        outcome = _ENDINGS[type(event)]
        self.ended[handler, outcome] += 1
        if outcome == "interrupted" or (outcome == "failed" and event.reason == "crashes"):
            self.attempts[handler, "lost"] += 1  # nobody knows how long it took
        elif event.attempt:
            self._run_ended(handler, outcome, event.elapsed_us)

    def heard(self, handler: str, event: Any) -> None:
        """One of TALLIED, of a task of this handler."""
        if type(event) is TransitionRejected:
            self.rejected += 1
        elif type(event) is AttemptLost:
            self.attempts[handler, "lost"] += 1
        else:
            self._run_ended(handler, _RUNS[type(event)], event.elapsed_us)
            if type(event) is AttemptFailed:
                self.retries[handler] += 1

    def _run_ended(self, handler: str, outcome: str, elapsed_us: int) -> None:
        self.attempts[handler, outcome] += 1
        buckets = self.durations.get(handler)
        if buckets is None:
            buckets = self.durations[handler] = Buckets()
        buckets.add(elapsed_us)

    def copy(self) -> Self:
        return deepcopy(self)


__all__ = ["BOUNDS", "TALLIED", "Buckets", "Tally"]
