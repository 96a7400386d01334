"""How a queue is doing, as `Engine.stats` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from journeyman.actors.queue_actor import QueueActor
from journeyman.engine.policy import QueuePolicy, policy_in_force
from journeyman.journal.instants import instant_of
from journeyman.kernel.lifecycle import State


@dataclass(frozen=True, slots=True)
class QueueStats:
    """One queue.  Ages and durations in seconds, rates per second over the last minute.

    `policy`: what is in force now.  `counts`: visible tasks by state.  `handlers`: unfinished tasks by handler.  `parked`: tasks that
    cannot run in this process.  `oldest_pending`: how long the longest-waiting due task has been due.  Durations are of attempts that
    ended since this engine was opened; quantiles are within 5 %.  `parked_until`: the instant before which nothing of the queue starts, as
    a handler's RetryLater(scope="queue") asked; None for a queue that is not parked.
    """

    name: str
    counts: Mapping[State, int] = field(hash=False)
    handlers: Mapping[str, int] = field(hash=False)
    declared: bool
    paused: bool
    broken: bool
    parked: int
    stragglers: int
    oldest_pending: float | None
    submitted_rate: float
    started_rate: float
    ended_rate: float
    mean: float | None
    p50: float | None
    p99: float | None
    policy: QueuePolicy
    parked_until: datetime | None = None


def stats_of(actor: QueueActor, name: str, counts: Mapping[State, int], now: int) -> QueueStats:
    """`name`: what the asker calls the queue."""
    state = actor.state
    state.advance(now)
    oldest = state.agenda.rosters[State.PENDING].oldest()
    return QueueStats(
        name=name,
        counts=counts,
        handlers={name: n for name, n in actor.figures.handlers.items() if n},
        declared=actor.lane is not None,
        paused=state.paused is not None,
        broken=actor.broken is not None,
        parked=len(state.agenda.parked),
        stragglers=len(actor.stragglers),
        oldest_pending=None if oldest is None else max(0, now - oldest.due_at) / 1_000_000,
        submitted_rate=actor.figures.submitted.rate(now),
        started_rate=actor.figures.started.rate(now),
        ended_rate=actor.figures.ended.rate(now),
        mean=actor.figures.durations.mean,
        p50=actor.figures.durations.quantile(0.5),
        p99=actor.figures.durations.quantile(0.99),
        policy=policy_in_force(actor),
        parked_until=instant_of(state.parked_until) if state.parked_until > now else None,
    )
