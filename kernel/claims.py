"""Unique keys of one queue: which unfinished tasks bear one, and which keys are still taken by a task that has succeeded.

Problem.  "At most one task with this key" must be answered at every submit, in a step, whatever else waits.  Choice: an index from key to
the unfinished tasks that bear it, derived from the tasks, rebuilt on load; and the *holds*: `unique_for` keeps a key taken for a while
after a successful end, which may be longer than the task itself is kept.  So a hold cannot be derived from tasks.  It is a fact of the
queue, folded from the end event, left behind by prune as residue (retention) or given up there (by hand), moved with the clock like
everything that came from a duration.

Live and replayed holds must be equal, though prune and compaction take events away.  So holds that have passed are forgotten only where
an event says what time it is and no deletion can hide it: at the next hold, at every TasksPruned and at every JournalCompacted.  What a
missing event would have forgotten, the TasksPruned that took it away forgets.

A task that uses no unique key never comes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

from journeyman.kernel.taskstate import TaskState


class Hold(NamedTuple):
    """A key that is taken until `until_at` by `task`, which has succeeded; `seq`: of the event that said so."""

    until_at: int
    task: bytes
    seq: int


class Claims:
    """`holders`: unfinished tasks by unique key, oldest first.  `holds`: what is left of ended ones."""

    __slots__ = ("_ends", "holders", "holds")

    def __init__(self) -> None:
        self.holders: dict[str, list[TaskState]] = {}
        self.holds: dict[str, Hold] = {}
        self._ends: list[tuple[int, str]] = []

    # --- unfinished tasks -----------------------------------------------------------------------------------------------

    def take(self, task: TaskState) -> None:
        """`task`, unfinished from now on, bears its key if it has one."""
        key = None if task.options is None else task.options.get("unique")
        if key is not None:
            self.holders.setdefault(key, []).append(task)

    def drop(self, task: TaskState) -> None:
        """`task` has ended: its key is free."""
        key = None if task.options is None else task.options.get("unique")
        if key is not None and (holders := self.holders.get(key)) is not None:
            holders.remove(task)
            if not holders:
                del self.holders[key]

    def rebuild(self, unfinished: Iterable[TaskState]) -> None:
        """The index anew.  In the order of submission, as the live one came about."""
        self.holders = {}
        for task in sorted(unfinished):
            self.take(task)

    # --- keys that outlive their task -----------------------------------------------------------------------------------

    def hold(self, key: str, hold: Hold) -> None:
        """The younger of two holds of a key stands."""
        known = self.holds.get(key)
        if known is None or hold.seq >= known.seq:
            self.holds[key] = hold
            heappush(self._ends, (hold.until_at, key))

    def held(self, key: str, now: int) -> Hold | None:
        """The hold on `key` at `now`."""
        found = self.holds.get(key)
        return None if found is None or found.until_at <= now else found

    def give_up(self, key: str, seq: int) -> None:
        """Somebody deleted the task that has held `key` since `seq`."""
        found = self.holds.get(key)
        if found is not None and found.seq <= seq:
            del self.holds[key]

    def pass_by(self, at: int) -> None:
        """Forget what has passed by `at`."""
        ends = self._ends
        while ends and ends[0][0] <= at:
            until_at, key = heappop(ends)
            found = self.holds.get(key)
            if found is not None and found.until_at == until_at:
                del self.holds[key]

    def move(self, delta_us: int) -> None:
        """The clock has stepped: what had so long to go has as long to go."""
        self._load((key, hold._replace(until_at=hold.until_at + delta_us)) for key, hold in self.holds.items())

    def residue(self, tasks: Iterable[TaskState], *, by_hand: bool) -> dict[str, Any]:
        """What a prune of these ended tasks must say of keys: those that stay taken, or, by hand, those that are given up."""
        kept: dict[str, list[Any]] = {}
        freed: dict[str, int] = {}
        for task in tasks:
            key = None if task.options is None else task.options.get("unique")
            found = None if key is None else self.holds.get(key)
            if key is None or found is None or found.task != task.id:
                continue
            if by_hand:
                freed[key] = found.seq
            else:
                kept[key] = list(found)
        return ({"holds": kept} if kept else {}) | ({"freed": freed} if freed else {})

    def absorb(self, residue: Mapping[str, Any]) -> None:
        """What `residue` said, for a fold that has not seen the tasks."""
        for key, hold in residue.get("holds", {}).items():
            self.hold(key, Hold(*hold))
        for key, seq in residue.get("freed", {}).items():
            self.give_up(key, seq)

    def facts(self) -> dict[str, list[Any]]:
        """The holds, CBOR-able."""
        return {key: list(hold) for key, hold in self.holds.items()}

    def load(self, facts: Mapping[str, Any]) -> None:
        """Take over `facts`.  They are the whole truth as of the record that has them, so nothing is merged."""
        self._load((key, Hold(*hold)) for key, hold in facts.items())

    def _load(self, holds: Iterable[tuple[str, Hold]]) -> None:
        self.holds = dict(holds)
        self._ends = [(hold.until_at, key) for key, hold in self.holds.items()]
        heapify(self._ends)


__all__ = ["Claims", "Hold"]
