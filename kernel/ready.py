"""The line of tasks that may start: the best first, read without being disturbed.

Problem.  The best of 200,000 must be found at once, the usual order (all of one priority, by submission) must cost no more than a
list, and `decide` may only look.
Choice: tasks have places (rank, first due instant, seq of the submission or of a retry by hand), rank being -priority, and stand in two
parts.  One whose place is behind that of the last in `_line`, a deque, joins its end (the usual case: O(1) in, O(1) out); any other goes
to `_heap`.  The best is the smaller head.  What stands for a task, its entry in the heap or its ticket in the deque, is `task.entry` while
it is alive.  A task that leaves from the middle only loses that; dead heads are cleared at once, so the heads are always alive, and when
the dead outnumber the living all are swept.  `best` walks the deque from its left and the heap from its root, and changes neither.

A ticket is a bare `object()`, and the tickets stand in a deque of their own beside their tasks: a tuple for each waiting task, tied to it
in a circle, is one more thing for Python's cyclic collector to walk (two thirds of the time that it took from 64 producers).

With aging, the rank is `first due instant - priority * aging`: a point of priority is worth that much waiting, and since everybody ages
alike the order never changes while they wait (DECISIONS 2).  Rejected: one heap for everything (a pop among 200,000 costs 2 us and misses
the caches); a sorted list (insertion moves megabytes).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice

from journeyman.kernel.bounds import STALE_MIN
from journeyman.kernel.taskstate import TaskState

Place = tuple[int, int, int]  # rank, first due instant, seq
Entry = tuple[int, int, int, TaskState]


class Ready:
    """Tasks in order.  Each is in at most one `Ready`, under `task.entry`."""

    __slots__ = ("_aging_us", "_dead", "_heap", "_last", "_line", "_tickets", "count")

    def __init__(self, aging_us: int | None = None) -> None:
        self._aging_us = aging_us
        self._line: deque[TaskState] = deque()
        self._tickets: deque[object] = deque()  # of those in `_line`
        self._last: Place = (0, 0, 0)  # of the last in `_line`
        self._heap: list[Entry] = []
        self._dead = 0
        self.count = 0

    def key(self, task: TaskState) -> Place:
        """Its place in the order: higher priority, then earlier first due instant, then earlier submission; never a tie."""
        aging = self._aging_us
        rank = -task.priority if aging is None else task.first_due - task.priority * aging
        return (rank, task.first_due, task.place)

    def __len__(self) -> int:
        """Entries kept, dead ones included: what it costs, not how many wait here (that is `count`)."""
        return len(self._line) + len(self._heap)

    def push(self, task: TaskState) -> None:
        """`task` joins the line at its place."""
        aging = self._aging_us
        due, seq = task.first_due, task.seq if task.options is None else task.place
        place = (-task.priority if aging is None else due - task.priority * aging, due, seq)
        line = self._line
        if not line or self._last < place:
            ticket = task.entry = object()
            line.append(task)
            self._tickets.append(ticket)
            self._last = place
        else:
            entry = task.entry = (*place, task)
            heappush(self._heap, entry)
        self.count += 1

    def push_all(self, tasks: Sequence[TaskState]) -> None:
        """As `push`, for each: written out again, for replay lives on the one and bulk submits on the other."""
        aging, last, line, tickets = self._aging_us, self._last, self._line, self._tickets
        for task in tasks:
            due, seq = task.first_due, task.seq if task.options is None else task.place
            place = (-task.priority if aging is None else due - task.priority * aging, due, seq)
            if not line or last < place:
                ticket = task.entry = object()
                line.append(task)
                tickets.append(ticket)
                last = place
            else:
                entry = task.entry = (*place, task)
                heappush(self._heap, entry)
        self._last = last
        self.count += len(tasks)

    def remove(self, task: TaskState) -> None:
        """`task`, which is in the line, leaves it."""
        entry = task.entry
        task.entry = None
        self.count -= 1
        tickets, heap = self._tickets, self._heap
        if tickets and tickets[0] is entry:
            tickets.popleft()
            self._line.popleft()
            if self._dead:
                self._clear_heads()
        elif heap and heap[0] is entry:
            heappop(heap)
            if self._dead:
                self._clear_heads()
        else:
            self._dead += 1
            if self._dead > STALE_MIN and self._dead > self.count:
                self._sweep()

    def best(self, n: int, may: Callable[[TaskState], bool] | None = None) -> list[TaskState]:
        """The first `n` in order for which `may` holds.  Costs by what it passes; changes nothing."""
        if not self.count:
            return []
        if n == 1 and may is None:
            line, heap = self._line, self._heap
            if not heap or (line and self.key(line[0]) < heap[0][:3]):
                return [line[0]]
            return [heap[0][3]]
        walk = self.in_order()
        return list(islice(walk if may is None else filter(may, walk), n))

    def in_order(self) -> Iterator[TaskState]:
        """All of them, best first.  Not to be used across a change."""
        heap = self._heap
        line = (task for task, ticket in zip(self._line, self._tickets, strict=True) if task.entry is ticket)
        if not heap:
            return line
        return self._merged(line)

    def _merged(self, line: Iterator[TaskState]) -> Iterator[TaskState]:
        """A merge of the deque's living and of a best-first walk of the heap."""
        heap = self._heap
        waiting = next(line, None)
        front = [(heap[0], 0)]
        while front:
            entry, index = front[0]
            place = entry[:3]
            while waiting is not None and self.key(waiting) < place:
                yield waiting
                waiting = next(line, None)
            if entry[3].entry is entry:
                yield entry[3]
            heappop(front)
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(heap):
                    heappush(front, (heap[child], child))
        if waiting is not None:
            yield waiting
            yield from line

    def _clear_heads(self) -> None:
        line, tickets, heap = self._line, self._tickets, self._heap
        while line and line[0].entry is not tickets[0]:
            line.popleft()
            tickets.popleft()
            self._dead -= 1
        while heap and heap[0][3].entry is not heap[0]:
            heappop(heap)
            self._dead -= 1

    def _sweep(self) -> None:
        living = [(task, ticket) for task, ticket in zip(self._line, self._tickets, strict=True) if task.entry is ticket]
        self._line = deque(task for task, _ in living)
        self._tickets = deque(ticket for _, ticket in living)
        self._heap = [entry for entry in self._heap if entry[3].entry is entry]
        heapify(self._heap)
        self._dead = 0

    def load(self, tasks: list[TaskState]) -> None:
        """Replace everything by `tasks`, sorted once."""
        self._line = deque(sorted(tasks, key=self.key))
        self._tickets = deque()
        for task in self._line:
            ticket = task.entry = object()
            self._tickets.append(ticket)
        self._last = self.key(self._line[-1]) if self._line else (0, 0, 0)
        self._heap, self._dead, self.count = [], 0, len(tasks)


__all__ = ["Place", "Ready"]
