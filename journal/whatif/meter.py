"""What a queue did over some time, in figures: the same meter hangs on the recorded queue and on each hypothetical one.

Integrals (backlog, slots in use, time held up by a rate) are kept exactly, from change to change; so are the waits, eight bytes a start.
The curve of the backlog is thinned as it grows: of two neighbours the higher one stays.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from journeyman.kernel.commands import Env
from journeyman.kernel.events import (
    AttemptFailed,
    AttemptLost,
    AttemptReleased,
    AttemptSnoozed,
    AttemptStarted,
    Event,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskSucceeded,
)
from journeyman.kernel.limiters import limiter_at
from journeyman.kernel.ratelimit import allowed_at
from journeyman.kernel.state import QueueState

_CURVE_MAX: Final = 4_096
_ENDS: Final = frozenset({TaskSucceeded, TaskFailed, TaskCancelled, TaskInterrupted})
_NO_ENV: Final = Env()


@dataclass(frozen=True, slots=True)
class Figures:
    """Durations in microseconds.  `wait_*`: from due to started, over all starts."""

    tasks: int
    starts: int
    wait_p50_us: int | None
    wait_p95_us: int | None
    wait_p99_us: int | None
    wait_max_us: int | None
    wait_mean_us: float | None
    makespan_us: int
    backlog_max: int
    backlog_mean: float
    succeeded: int
    failures: int  # runs that failed
    retries: int  # of them, those that another run followed
    dead_letters: int
    snoozes: int
    cancelled: int
    cut_short: int  # runs that a crash or a stop ended
    unfinished: int
    utilisation: float | None  # of the slots, while the engine was up
    limited_us: int  # a slot free, a task due, and no token
    curve: list[tuple[int, int]] = field(repr=False)  # (microseconds since the beginning, backlog)


class Meter:
    """Told of each event and of each change; `figures` in the end."""

    def __init__(self) -> None:
        self.counts: Counter[type] = Counter()
        self.waits = array("q")
        self.tasks = 0
        self.up = True
        self._began_at: int | None = None
        self._at = 0
        self._ended_at = 0
        self._backlog = self._running = self._slots = 0
        self._limited = False
        self._backlog_us = self._running_us = self._slots_us = self._limited_us = 0
        self._until_end = (0, 0, 0, 0)  # those four as they stood at the last end
        self._backlog_max = 0
        self._curve_at = array("q")
        self._curve = array("q")

    def begin(self, at: int) -> None:
        """Time counts from here."""
        if self._began_at is None:
            self._began_at = self._at = self._ended_at = at

    def count(self, event: Event, at: int) -> None:
        """`event` happened at `at`."""
        kind = type(event)
        counts = self.counts
        counts[kind] = counts.get(kind, 0) + 1  # `+=` asks a Counter for what is missing, in Python
        if kind is AttemptStarted:
            self.waits.append(event.at - event.eligible_at)  # type: ignore[union-attr]
        elif kind in _ENDS:
            self._pass(at)
            self._ended_at = at
            self._until_end = (self._backlog_us, self._running_us, self._slots_us, self._limited_us)

    def look(self, state: QueueState, now: int, at: int, env: Env = _NO_ENV) -> None:
        """The queue is as `state` says from here on.  `now`: as the state counts time; `at`: as this meter does."""
        state.advance(now)
        if at > self._at:
            self._pass(at)
        backlog = state.agenda.pending.count
        if backlog != self._backlog:
            self._backlog = backlog
            self._draw(at, backlog)
        policy = state.policy
        if not self.up:
            self._running, self._slots, self._limited = 0, 0, False
            return
        self._running, self._slots = len(state.running), policy.concurrency
        self._limited = (policy.rate is not None or policy.rate_per_key is not None) and _limited(state, now, env)

    def come_due(self, state: QueueState, until: int, shift: int = 0, env: Env = _NO_ENV) -> None:
        """Look at each instant before `until` at which something became due by itself.  Instants of the state are `shift` ahead."""
        while (due := state.agenda.next_due()) is not None and due < until:
            self.look(state, due, due - shift, env)

    def _pass(self, at: int) -> None:
        span = at - self._at
        if span <= 0:
            return
        self._at = at
        if self._backlog > self._backlog_max:  # what stood for a while: a recording and a play go through an instant in other steps
            self._backlog_max = self._backlog
        self._backlog_us += self._backlog * span
        self._running_us += self._running * span
        self._slots_us += self._slots * span
        if self._limited:
            self._limited_us += span

    def _draw(self, at: int, backlog: int) -> None:
        ats, curve = self._curve_at, self._curve
        if ats and ats[-1] == at:
            curve[-1] = backlog
            return
        ats.append(at)
        curve.append(backlog)
        if len(ats) >= 2 * _CURVE_MAX:
            kept = [i if curve[i] >= curve[i + 1] else i + 1 for i in range(0, len(ats), 2)]
            self._curve_at = array("q", (ats[i] for i in kept))
            self._curve = array("q", (curve[i] for i in kept))

    def figures(self, unfinished: int) -> Figures:
        """What it came to, up to the last end of a task."""
        began_at = self._began_at or 0
        makespan = self._ended_at - began_at
        waits = sorted(self.waits)
        counts = self.counts
        backlog_us, running_us, slots_us, limited_us = self._until_end
        failed_runs = counts[AttemptFailed] + counts[TaskFailed]
        return Figures(
            tasks=self.tasks,
            starts=counts[AttemptStarted],
            wait_p50_us=percentile(waits, 50),
            wait_p95_us=percentile(waits, 95),
            wait_p99_us=percentile(waits, 99),
            wait_max_us=waits[-1] if waits else None,
            wait_mean_us=sum(waits) / len(waits) if waits else None,
            makespan_us=makespan,
            backlog_max=max(self._backlog_max, self._backlog),
            backlog_mean=backlog_us / makespan if makespan else 0.0,
            succeeded=counts[TaskSucceeded],
            failures=failed_runs,
            retries=counts[AttemptFailed],
            dead_letters=counts[TaskFailed],
            snoozes=counts[AttemptSnoozed],
            cancelled=counts[TaskCancelled],
            cut_short=counts[AttemptLost] + counts[AttemptReleased] + counts[TaskInterrupted],
            unfinished=unfinished,
            utilisation=running_us / slots_us if slots_us else None,
            limited_us=limited_us,
            curve=[(at - began_at, backlog) for at, backlog in zip(self._curve_at, self._curve, strict=True)],
        )


def percentile(ordered: list[int], share: int) -> int | None:
    """The smallest value that at least `share` percent do not exceed; None of nothing."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)] if ordered else None


def _limited(state: QueueState, now: int, env: Env) -> bool:
    """Whether tokens alone keep a task from starting.  Of a queue with a rate."""
    policy, agenda = state.policy, state.agenda
    if state.paused is not None or state.parked_until > now or len(state.running) >= policy.concurrency:
        return False
    if policy.rate is not None and (agenda.ready.count or agenda.suspects.count):
        return allowed_at(policy.rate, limiter_at(state, env)) > now
    return policy.rate_per_key is not None and not agenda.ready.count and agenda.next_token() is not None


__all__ = ["Figures", "Meter", "percentile"]
