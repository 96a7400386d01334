"""One recurring task as the fold of its events: when it fires, what has fired, and what an event changes of that.

Problem.  A fire must happen once and only once, while clocks step back and forth, processes die, programs declare the same schedule again
at every start, and rules of time zones change.  Choice: what is journalled is not a next fire time but two facts about the past.

- `cursor`: every fire time up to it has been considered.  The next one is the first after it, computed anew whenever it is wanted (a cron
  expression by a callable that is brought in, for the kernel knows no calendar), so it needs no event and new rules of a zone hold at once.
- `runs`: [first, last] fire times of cron that were taken, without a missed one between them.  When the clock is set back, the
cursor follows
  it and the taken ones are passed over: nothing fires twice, and what an error of the clock had skipped still fires.  A schedule that
  never misses has one run, however long it lives; of more than RUNS_MAX the two oldest become one, which can only fire less.

Cron fire times are instants of the wall clock: no step moves them.  Those of `every` are a distance: anchor + k * every, and a step moves
anchor and cursor, as it moves every other duration (kernel/world.py).

Which tasks of a schedule are unfinished (for overlap="skip") is an index, derived from the tasks: no part of what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from journeyman.kernel.bounds import FIRE_MAX_US, SCHEDULE_ALL_MAX, SCHEDULE_COUNT_MAX, SCHEDULE_RUNS_MAX, SECOND_US
from journeyman.kernel.events import ScheduleDeclared, ScheduleFired, ScheduleRemoved

if TYPE_CHECKING:
    from journeyman.kernel.state import QueueState

After = Callable[[int], int | None]  # the first fire time of a cron expression after an instant, both microseconds UTC; None: never again

MISFIRE: Final = "misfire"
OVERLAP: Final = "overlap"
# What of a spec says when it fires; the rest says what it fires.
TIMING: Final = ("cron", "every_us", "timezone", "start_at", "end_at")


class ScheduleState:
    """A schedule.  Instants in microseconds UTC.

    `spec`: what was declared (docs/FORMAT.md).  `opens_at`: nothing fires before it.  `last_at`, `last_task`: the last fire that became a
    task.  `skipped_at`, `skipped_why`: the last that did not.
    """

    __slots__ = ("anchor", "cursor", "fired", "last_at", "last_task", "name", "opens_at", "runs", "skipped_at", "skipped_why", "spec")

    def __init__(self, name: str) -> None:
        self.name = name
        self.spec: Mapping[str, Any] = {}
        self.anchor = 0
        self.opens_at: int | None = None
        self.cursor = 0
        self.runs: list[list[int]] = []
        self.fired = 0
        self.last_at: int | None = None
        self.last_task: bytes | None = None
        self.skipped_at: int | None = None
        self.skipped_why = ""

    def row(self) -> list[Any]:
        """All that is logical in it, CBOR-able.  New facts are appended."""
        return [
            self.name, dict(self.spec), self.anchor, self.opens_at, self.cursor, [list(run) for run in self.runs], self.fired, self.last_at,
            self.last_task, self.skipped_at, self.skipped_why,
        ]  # fmt: skip

    @classmethod
    def from_row(cls, row: list[Any]) -> ScheduleState:
        """Back from `row`, also of an older version's shorter one."""
        made = cls(row[0])
        made.spec, made.anchor, made.opens_at, made.cursor = row[1], row[2], row[3], row[4]
        made.runs = [list(run) for run in row[5]]
        made.fired, made.last_at, made.last_task, made.skipped_at, made.skipped_why = row[6:11]
        return made

    @property
    def by_cron(self) -> bool:
        return self.spec["cron"] is not None

    # --- when ---------------------------------------------------------------------------------------------------------------

    def instant_after(self, t: int, cron: After) -> int | None:
        """The first fire time after `t`, taken or not."""
        if self.opens_at is not None and t < self.opens_at:
            t = self.opens_at - 1
        every: int | None = self.spec["every_us"]
        found = cron(t) if every is None else self.anchor + max(1, (t - self.anchor) // every + 1) * every
        end: int | None = self.spec["end_at"]
        return None if found is None or found > FIRE_MAX_US or (end is not None and found > end) else found

    def next_after(self, t: int, cron: After) -> int | None:
        """The first fire time after `t` that has not been taken."""
        found = self.instant_after(t, cron)
        for first, last in self.runs:
            if found is not None and first <= found <= last:
                found = self.instant_after(last, cron)
        return found

    def newest(self, first: int, now: int, cron: After) -> int:
        """The last fire time up to `now`; `first` is one of them.  By halving, so that years of downtime cost some thirty evaluations."""
        following = self.next_after(first, cron)
        if following is None or following > now:
            return first
        unit = SECOND_US if self.by_cron else 1  # cron's fire times are whole seconds
        low, high = 0, (now - first) // unit  # the first fire time at or after first + low * unit is not beyond now
        while low < high:
            middle = (low + high + 1) // 2
            found = self.next_after(first + middle * unit - 1, cron)
            if found is not None and found <= now:
                low = middle
            else:
                high = middle - 1
        found = self.next_after(first + low * unit - 1, cron)
        assert found is not None
        return found

    def before(self, t: int, first: int, gap: int, cron: After) -> int:
        """The last fire time before the fire time `t`; `first` is one of those.  `gap`: how far back to look first."""
        while True:
            low = max(first, t - gap)
            found = self.next_after(low - 1, cron)
            assert found is not None
            if found < t:
                return self.newest(found, t - 1, cron)
            gap *= 2

    def many(self, first: int, now: int, cron: After) -> list[int]:
        """The fire times from `first` to `now`, oldest first: all of them, or the newest SCHEDULE_ALL_MAX."""
        found = [first]
        while len(found) <= SCHEDULE_ALL_MAX:
            following = self.next_after(found[-1], cron)
            if following is None or following > now:
                return found
            found.append(following)
        newest = [self.newest(first, now, cron)]
        gap = SECOND_US
        while len(newest) < SCHEDULE_ALL_MAX:
            newest.append(self.before(newest[-1], first, gap, cron))
            gap = newest[-2] - newest[-1]
        return newest[::-1]

    def count(self, first: int, until: int, cron: After) -> int:
        """How many fire times there are from `first` to before `until`; of cron, no more than SCHEDULE_COUNT_MAX are counted."""
        if first >= until:
            return 0
        every: int | None = self.spec["every_us"]
        if every is not None:
            return -(-(until - first) // every)
        n, t = 0, first
        while t < until and n < SCHEDULE_COUNT_MAX:
            following = self.next_after(t, cron)
            n += 1
            if following is None:
                break
            t = following
        return n

    # --- what events change -------------------------------------------------------------------------------------------------

    def take(self, t: int, missed: bool) -> None:
        """The fire time `t` is taken; `missed`: others before it were passed over, and may fire yet if the clock goes back."""
        if not self.by_cron:
            return
        runs = self.runs
        behind = [run for run in runs if run[1] < t]
        if behind and not missed and behind[-1][1] >= self.cursor:
            behind[-1][1] = t  # its successor
            return
        runs.insert(len(behind), [t, t])
        if len(runs) > SCHEDULE_RUNS_MAX:
            runs[0][1] = runs.pop(1)[1]


# --- apply (kernel/apply.py) -------------------------------------------------------------------------------------------------


def schedule_declared(state: QueueState, event: ScheduleDeclared, seq: int) -> None:
    schedule = state.schedules.get(event.name)
    if schedule is None:
        schedule = state.schedules[event.name] = ScheduleState(event.name)
    schedule.spec = event.spec
    schedule.anchor, schedule.opens_at, schedule.cursor = event.anchor_at, event.opens_at, event.cursor_at
    state.schedules_seq = seq


def schedule_removed(state: QueueState, event: ScheduleRemoved, seq: int) -> None:
    state.schedules.pop(event.name, None)
    state.schedules_seq = seq


def schedule_fired(state: QueueState, event: ScheduleFired, seq: int) -> None:
    state.schedules_seq = seq
    schedule = state.schedules.get(event.name)
    if schedule is None:  # removed since, and only that record is left
        return
    if event.reason != MISFIRE:
        schedule.take(event.fire_at, event.missed > 0)
    schedule.cursor = event.fire_at
    if event.submitted is None:
        schedule.skipped_at, schedule.skipped_why = event.fire_at, event.reason
        return
    schedule.fired += 1
    schedule.last_at, schedule.last_task = event.fire_at, event.submitted
    task = state.tasks.get(event.submitted)
    if task is not None:
        state.note_unfinished(task)


def schedules_stepped(state: QueueState, delta_us: int, at: int, seq: int) -> None:
    """The clock was moved by `delta_us`, to `at`."""
    if not state.schedules:
        return
    for schedule in state.schedules.values():
        if schedule.by_cron:
            schedule.cursor = min(schedule.cursor, at)
        elif schedule.opens_at is None or schedule.cursor >= schedule.opens_at:
            schedule.anchor += delta_us
            schedule.cursor += delta_us
            schedule.opens_at = None  # it has begun; the instant at which it did has no meaning on the clock as it is now
    state.schedules_seq = seq


SCHEDULE_APPLY: Final[Mapping[type, Callable[[QueueState, Any, int], None]]] = {
    ScheduleDeclared: schedule_declared,
    ScheduleRemoved: schedule_removed,
    ScheduleFired: schedule_fired,
}

__all__ = ["MISFIRE", "OVERLAP", "SCHEDULE_APPLY", "TIMING", "After", "ScheduleState", "schedules_stepped"]
