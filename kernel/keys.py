"""Serialization keys: who of a key's tasks may start, and who waits behind them.

Problem.  Tasks with one key must run `per_key` at a time and in order, across retries, snoozes, restarts and crashes; with a hundred
thousand keys each task must cost what it costs with one, and a task whose key is busy must not be looked at by every pick.

Choice: one line a key, kept only while the key has tasks in it.  Its *front* holds at most `per_key` tasks: the running ones, and those
that may start now (they stand in the queue's ready line like any other task) or hold the key while they wait.  All others are in its
*back*, a heap by (first due instant, submission), and in no other index.  Whoever leaves the front makes room for the best of the back.

What stands in the line (DECISIONS 3):
- strict (the usual order): every unfinished task that has come due once.  One that failed and waits for its backoff, one that snoozed
  and one that is parked keep their place at the front, so nothing of the key overtakes them.  Priority does not reorder within a key.
- relaxed: only running tasks, and due ones that could run here.  What waits for a backoff, or is parked, has stepped out, and comes
  back to its old place (its first due instant) when it is due again.

Arrivals nearly always belong at the end.  One that does not (a replay, which sees submissions before it advances the clock; a task that
steps in again) takes the place of the last waiting task of the front, which goes back.  All of this is derived from the tasks, like the
rest of the agenda, and rebuilt on load.  Rejected: a queue of tasks per key in the journal (a second truth); a filter over the ready
line (a flood on one key would be walked through at every pick).
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from journeyman.kernel.bounds import STALE_MIN
from journeyman.kernel.lifecycle import State
from journeyman.kernel.taskstate import TaskState

Place = tuple[int, int, TaskState]


def key_of(task: TaskState) -> str | None:
    """Its serialization key, if it has one."""
    options = task.options
    found: str | None = None if options is None else options.get("key")
    return found


def _place(task: TaskState) -> Place:
    return (task.first_due, task.place, task)


class Line:
    """One key's tasks."""

    __slots__ = ("_dead", "back", "front", "places")

    def __init__(self) -> None:
        self.front: dict[bytes, TaskState] = {}
        self.back: list[Place] = []
        self.places: dict[bytes, Place] = {}  # the live entries of `back`
        self._dead = 0

    def __len__(self) -> int:
        return len(self.front) + len(self.places)

    def queue_up(self, task: TaskState) -> None:
        place = self.places[task.id] = _place(task)
        heappush(self.back, place)

    def drop(self, id: bytes) -> bool:
        """It leaves the back; whether it was there."""
        if self.places.pop(id, None) is None:
            return False
        self._dead += 1
        if self._dead > STALE_MIN and self._dead > len(self.places):
            self.back = [place for place in self.back if self.places.get(place[2].id) is place]
            heapify(self.back)
            self._dead = 0
        return True

    def head(self) -> TaskState | None:
        """The best of the back."""
        back = self.back
        while back and self.places.get(back[0][2].id) is not back[0]:
            heappop(back)
            self._dead -= 1
        return back[0][2] if back else None

    def shed(self, per_key: int) -> TaskState | None:
        """Send the last waiting task of a front that has grown beyond `per_key` to the back; which one."""
        if len(self.front) <= per_key:
            return None
        last = self.last_waiting()
        if last is not None:
            del self.front[last.id]
            self.queue_up(last)
        return last

    def last_waiting(self) -> TaskState | None:
        """Of those at the front that do not run, the one that came last."""
        return max((task for task in self.front.values() if task.state is not State.RUNNING), key=_place, default=None)

    def take_head(self) -> None:
        """`head`, which there is, moves to the front."""
        task = heappop(self.back)[2]
        del self.places[task.id]
        self.front[task.id] = task


class Stand(NamedTuple):
    """Where a task has come to stand; who falls back from the front because of it, or comes up to it."""

    at_front: bool
    falls_back: TaskState | None = None
    comes_up: TaskState | None = None


AT_FRONT: Final = Stand(True)
BEHIND: Final = Stand(False)


class Keys:
    """The lines of one queue."""

    __slots__ = ("lines", "per_key", "strict")

    def __init__(self, per_key: int = 1, strict: bool = True) -> None:
        self.per_key = per_key
        self.strict = strict
        self.lines: dict[str, Line] = {}

    def holds(self, task: TaskState) -> bool:
        """Whether a task that waits, and is not due, keeps its key: it has run before, and the order is strict."""
        return self.strict and task.attempt > 0

    def stand(self, task: TaskState, key: str) -> Stand:
        """`task`, which does not run, stands in the line of `key` from now on."""
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line()
        front, id = line.front, task.id
        if id in front:
            return self._stay(line, task)
        if id in line.places:
            return BEHIND
        head = line.head()
        if head is None or _place(task) < _place(head):  # only then can it be better than one of the front
            if len(front) < self.per_key:
                front[id] = task
                return AT_FRONT
            last = line.last_waiting()
            if last is not None and _place(task) < _place(last):
                del front[last.id]
                line.queue_up(last)
                front[id] = task
                return Stand(True, falls_back=last)
        line.queue_up(task)
        return BEHIND

    def _stay(self, line: Line, task: TaskState) -> Stand:
        """A run of `task` is over, and it waits again.  While it ran, one with an older claim may have come (relaxed order), or fewer may
        stand at the front than before.
        """
        shed = line.shed(self.per_key)
        if shed is not None:
            return BEHIND if shed is task else Stand(True, falls_back=shed)
        head = line.head()
        if head is None or _place(task) < _place(head):
            return AT_FRONT
        line.take_head()
        del line.front[task.id]
        line.queue_up(task)
        return Stand(False, comes_up=head)

    def started(self, task: TaskState, key: str) -> TaskState | None:
        """`task` runs, wherever it stood: a replay does not advance the clock, and may find it in the back or nowhere.  Who has to make
        room for it.
        """
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line()
        line.drop(task.id)
        line.front[task.id] = task
        return line.shed(self.per_key)

    def leave(self, task: TaskState, key: str) -> list[TaskState]:
        """`task` has no part in its key any more; who comes to the front instead."""
        line = self.lines.get(key)
        if line is None:
            return []
        if line.front.pop(task.id, None) is None:
            line.drop(task.id)
        next_up: list[TaskState] = []
        while len(line.front) < self.per_key and (head := line.head()) is not None:
            line.take_head()
            next_up.append(head)
        if not line:
            del self.lines[key]
        return next_up

    def is_behind(self, task: TaskState, key: str) -> bool:
        """Whether `task` waits in the back."""
        line = self.lines.get(key)
        return line is not None and task.id in line.places

    def at_front(self, key: str) -> list[TaskState]:
        """Who holds the key, in order."""
        line = self.lines.get(key)
        return [] if line is None else sorted(line.front.values(), key=_place)

    def room(self, key: str, stragglers: Iterable[bytes]) -> int:
        """How many more may run beside the key's running tasks and those `stragglers` (ids of tasks whose thread has not ended)."""
        line = self.lines.get(key)
        running = set() if line is None else {id for id, task in line.front.items() if task.state is State.RUNNING}
        return self.per_key - len(running.union(stragglers))

    def load(self, tasks: Iterable[tuple[str, TaskState]]) -> None:
        """Every line anew, from those that stand in one."""
        self.lines = {}
        lines = self.lines
        waiting: dict[str, list[TaskState]] = {}
        for key, task in tasks:
            if task.state is State.RUNNING:
                lines.setdefault(key, Line()).front[task.id] = task
            else:
                waiting.setdefault(key, []).append(task)
        for key, some in waiting.items():
            some.sort(key=_place)
            line = lines.setdefault(key, Line())
            room = max(0, self.per_key - len(line.front))
            line.front.update((task.id, task) for task in some[:room])
            line.back = [_place(task) for task in some[room:]]  # sorted, so it is a heap
            line.places = {place[2].id: place for place in line.back}


__all__ = ["Keys", "Line", "Stand", "key_of"]
