"""What can be measured of an open engine: the statistics of each queue, its counters, its journal.

    tally(scope)     from now on its queues count
    measure(scope)   all of it, as of now; the caller waits until that is durable (law 3)

This knows no monitoring system: engine/metrics.py tells Prometheus, and whoever has another asks `engine.measures()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from journeyman.actors.tally import Tally
from journeyman.engine.stats import QueueStats, stats_of

if TYPE_CHECKING:
    from journeyman.engine.scope import Scope


@dataclass(frozen=True, slots=True)
class QueueMeasures:
    """Of one queue.  tally: what has been counted since `engine.tally()`; None before.  running: attempts that live, stragglers too.
    restarts: how often its actor died of a bug since the engine was opened, and was started again."""

    stats: QueueStats
    tally: Tally | None
    running: int
    restarts: int


@dataclass(frozen=True, slots=True)
class JournalMeasures:
    """Of the journal.  seq: its newest event's.  commits: since the engine was opened.  In bytes: used_bytes, of which free_bytes are free
    inside it, and disk_free."""

    seq: int
    commits: int
    used_bytes: int
    free_bytes: int
    disk_free: int


@dataclass(frozen=True, slots=True)
class Measures:
    """queues: by the name that the asker calls them.  journal: None for a namespace, whose it is not."""

    queues: Mapping[str, QueueMeasures] = field(hash=False)
    journal: JournalMeasures | None


def tally(scope: Scope) -> None:
    """Let the queues count, and those that come later."""
    if not scope.namespace:
        scope.shell.tallied = True
    for actor in scope.queues():
        if actor.figures.tally is None:
            actor.figures.tally = Tally()


def measure(scope: Scope) -> Measures:
    now = scope.shell.now()
    queues: dict[str, QueueMeasures] = {}
    for actor in sorted(scope.queues(), key=lambda actor: actor.name):
        name = scope.called(actor.name)
        figures = actor.figures
        counted = None if figures.tally is None else figures.tally.copy()
        queues[name] = QueueMeasures(stats_of(actor, name, scope.reader.counts(actor), now), counted, actor.live(), figures.restarts)
    return Measures(queues, None if scope.namespace else _journal(scope))


def _journal(scope: Scope) -> JournalMeasures:
    shell = scope.shell
    gauge = shell.store.gauge()
    return JournalMeasures(shell.journal.next_seq - 1, shell.writer.commits, gauge.map_used, gauge.reusable, gauge.disk_free)


__all__ = ["JournalMeasures", "Measures", "QueueMeasures", "measure", "tally"]
