"""A second opinion on the kernel: the same rules in the most naive form there is.

One list of tasks, every question a scan over all of it, no indexes, no events to fold: each method changes the tasks in place and says
in plain tuples what happened.  It shares no code with the kernel (not even the names of its modules), so that a mistake must be
made twice, in two different shapes, to go unseen.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

Said = list[tuple[object, ...]]
SECOND = 1_000_000


@dataclass
class Rules:
    """A policy, as the oracle sees it.  Times in microseconds."""

    concurrency: int = 1
    attempts: int = 1
    crashes: int = 3
    base: int = SECOND
    factor: int = 2
    cap: int = 3600 * SECOND
    rate: tuple[int, int, int] | None = None
    interrupt: bool = False
    max_pending: int | None = None
    keep: int = 100 * SECOND
    per_key: int = 1
    relaxed: bool = False
    aging: int | None = None


@dataclass
class Work:
    """A task, as the oracle sees it."""

    n: int
    place: int
    handler: str
    priority: int
    due: int
    first: int
    deadline: int | None
    key: str | None = None
    state: str = "waiting"  # waiting, running, succeeded, failed, cancelled, interrupted
    why: str = "due"  # of waiting: due, later, backoff
    attempt: int = 0
    epoch: int = 0
    failures: int = 0
    crashes: int = 0
    ends: int | None = None
    wish: bool = False
    stale: set[tuple[int, str]] = field(default_factory=set)


class Oracle:
    """The naive queue."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.tasks: list[Work] = []
        self._turn = itertools.count().__next__
        self.paused = False
        self.epoch = 1
        self.starts: list[tuple[int, int]] = []  # (when, interval of the rate then), all of them, for ever
        self.known: Collection[str] | None = None

    def find(self, n: int) -> Work | None:
        return next((w for w in self.tasks if w.n == n), None)

    def look(self, n: int, now: int) -> str:
        """The state an observer sees."""
        work = self.find(n)
        if work is None:
            return "none"
        if work.state != "waiting":
            return work.state
        if work.due <= now or work.why == "due":
            return "pending"
        return "retrying" if work.why == "backoff" else "scheduled"

    # --- what comes in ----------------------------------------------------------------------------------------------------

    def submit(self, n: int, handler: str, priority: int, due: int, deadline: int | None, now: int, key: str | None = None) -> Said:
        known = self.find(n)
        if known is not None:
            return [("same" if known.handler == handler else "duplicate", n)]
        if self.rules.max_pending is not None and sum(w.state == "waiting" for w in self.tasks) >= self.rules.max_pending:
            return [("full", n)]
        due = max(due, now)
        self.tasks.append(Work(n, self._turn(), handler, priority, due, due, deadline, key, why="later" if due > now else "due"))
        return [("submitted", n, due)]

    def cancel(self, n: int, running: bool, now: int) -> Said:
        work = self.find(n)
        if work is None or (work.ends is not None and work.ends <= now):
            return [("not found", n)]
        if work.state == "waiting":
            self._end(work, "cancelled", now)
            return [("cancelled", n)]
        if work.state == "running" and running:
            said: Said = [] if work.wish else [("asked", n)]
            work.wish = True
            return said
        return [("not cancellable", n)]

    def retry(self, n: int, now: int) -> Said:
        work = self.find(n)
        if work is None or (work.ends is not None and work.ends <= now):
            return [("not found", n)]
        if work.state not in ("failed", "cancelled", "interrupted"):
            return [("not retryable", n)]
        work.state, work.why, work.due, work.first, work.ends = "waiting", "due", now, now, None
        work.failures = work.crashes = 0
        work.wish = False
        work.deadline = None
        work.place = self._turn()
        return [("retried", n)]

    def clear(self, now: int) -> Said:
        said: Said = []
        for work in self.tasks:
            if work.state == "waiting":
                self._end(work, "cancelled", now)
                said.append(("cancelled", work.n))
        return said

    def expire(self, now: int) -> Said:
        late = [w for w in self.tasks if w.state == "waiting" and w.deadline is not None and w.deadline < now]
        for work in late:
            self._end(work, "cancelled", now)
        return [("cancelled", w.n) for w in sorted(late, key=lambda w: (w.deadline or 0, w.place))]

    # --- what starts ------------------------------------------------------------------------------------------------------

    def _suspect(self, work: Work) -> bool:
        return work.crashes > 0 and work.crashes >= self.rules.crashes

    def _theoretical(self, upto: int) -> int:
        tat = 0
        for when, interval in self.starts:
            tat = max(tat, when) + interval if interval else tat
        return tat

    def _rank(self, work: Work) -> tuple[int, int, int]:
        aging = self.rules.aging
        return (-work.priority if aging is None else work.first - work.priority * aging, work.first, work.place)

    def _key_free(self, work: Work, now: int, stragglers: Collection[int]) -> bool:
        """Whether `work` is among the first of its key, and no left-over thread takes what is left."""
        if work.key is None:
            return True
        mine = [w for w in self.tasks if w.key == work.key]
        running = {w.n for w in mine if w.state == "running"}
        left_over = {w.n for w in mine if w.n in stragglers}
        if left_over and len(running | left_over) >= self.rules.per_key:
            return False
        if self.rules.relaxed:
            standing = [w for w in mine if w.state == "waiting" and w.due <= now and (self.known is None or w.handler in self.known)]
        else:
            standing = [w for w in mine if w.state == "waiting" and (w.due <= now or w.attempt)]
        standing.sort(key=lambda w: (w.first, w.place))
        return work in standing[: max(0, self.rules.per_key - len(running))]

    def dispatch(self, now: int, slots: int | None, stragglers: Collection[int]) -> Said:
        said: Said = []
        while True:
            if self.paused or (slots is not None and len(said) >= slots):
                return said
            live = [w for w in self.tasks if w.state == "running"]
            held = len(live) + sum(s not in [w.n for w in live] for s in stragglers)
            if held >= self.rules.concurrency:
                return said
            interval = 0
            if self.rules.rate is not None:
                limit, per, burst = self.rules.rate
                interval = ceil(Fraction(per, limit))
                if self._theoretical(now) - (burst - 1) * interval > now:
                    return said
            able = [
                w for w in self.tasks
                if w.state == "waiting" and w.due <= now and w.n not in stragglers
                and (self.known is None or w.handler in self.known)
                and (w.deadline is None or w.deadline >= now)
                and not (self._suspect(w) and any(map(self._suspect, live)))
                and self._key_free(w, now, stragglers)
            ]  # fmt: skip
            if not able:
                return said
            work = min(able, key=self._rank)
            work.state = "running"
            work.attempt += 1
            work.epoch = self.epoch
            self.starts.append((now, interval))
            said.append(("started", work.n, work.attempt))

    # --- what ends ---------------------------------------------------------------------------------------------------------

    def _end(self, work: Work, state: str, now: int) -> None:
        work.state, work.ends = state, now + self.rules.keep

    def _back(self, work: Work, due: int, why: str) -> None:
        work.state, work.due, work.why = "waiting", due, why

    def finish(self, n: int, epoch: int, attempt: int, how: str, now: int, delay: int = 0) -> Said:
        work = self.find(n)
        if work is None:
            return [("not found", n)]
        if (work.state, work.epoch, work.attempt) != ("running", epoch, attempt):
            again = (attempt, how) in work.stale
            work.stale.add((attempt, how))
            return [] if again else [("rejected", n, attempt)]
        if how == "success":
            self._end(work, "succeeded", now)
            return [("succeeded", n)]
        if work.wish or how == "cancel":
            self._end(work, "cancelled", now)
            return [("cancelled", n)]
        if how == "failure":
            work.failures += 1
            if work.failures >= self.rules.attempts:
                self._end(work, "failed", now)
                return [("failed", n)]
            pause = min(self.rules.cap, self.rules.base * self.rules.factor ** (work.failures - 1))
            self._back(work, now + pause, "backoff")
            return [("will retry", n, now + pause)]
        if how == "snooze":
            self._back(work, now + delay, "later")
            return [("snoozed", n, now + delay)]
        self._back(work, now, "due")
        return [("released", n)]

    def reopen(self, now: int, entered: Collection[int], crashed: bool) -> Said:
        self.epoch += 1
        said: Said = []
        for work in self.tasks:
            if work.state != "running":
                continue
            if work.wish:
                self._end(work, "cancelled", now)
                said.append(("cancelled", work.n))
            elif not crashed:
                self._back(work, now, "due")
                said.append(("released", work.n))
            elif self.rules.interrupt:
                self._end(work, "interrupted", now)
                said.append(("interrupted", work.n))
            else:
                work.crashes += work.n in entered
                if work.n in entered and work.crashes > self.rules.crashes:
                    self._end(work, "failed", now)
                    said.append(("failed", work.n))
                else:
                    self._back(work, now, "due")
                    said.append(("lost", work.n, work.crashes))
        return said
