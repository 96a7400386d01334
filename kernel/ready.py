"""The line of tasks that may start: the best first, read without being disturbed.

Problem.  The best of 200,000 must be found at once, the usual order (all of one priority, by submission) must cost no more than a
list, and `decide` may only look.
Choice: entries (rank, first due instant, seq, task), rank being -priority, in two parts.  An entry not before the last one of `_line`, a
deque, joins its end (the usual case: O(1) in, O(1) out); any other goes to `_heap`.  The best is the smaller head.  A task that leaves
from the middle only loses its `entry`; dead heads are cleared at once, so the heads are always alive, and when the dead outnumber the
living all are swept.  `best` walks the deque from its left and the heap from its root, and changes neither.

With aging, the rank is `first due instant - priority * aging`: a point of priority is worth that much waiting, and since everybody ages
alike the order never changes while they wait (DECISIONS 2).  Rejected: one heap for everything (a pop among 200,000 costs 2 us and misses
the caches); a sorted list (insertion moves megabytes).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice

from journeyman.kernel.bounds import STALE_MIN
from journeyman.kernel.taskstate import TaskState

Entry = tuple[int, int, int, TaskState]


class Ready:
    """Tasks in order.  Each is in at most one `Ready`, under `task.entry`."""

    __slots__ = ("_aging_us", "_dead", "_heap", "_line", "count")

    def __init__(self, aging_us: int | None = None) -> None:
        self._aging_us = aging_us
        self._line: deque[Entry] = deque()
        self._heap: list[Entry] = []
        self._dead = 0
        self.count = 0

    def key(self, task: TaskState) -> Entry:
        """Its place in the order: higher priority, then earlier first due instant, then earlier submission; never a tie."""
        aging = self._aging_us
        rank = -task.priority if aging is None else task.first_due - task.priority * aging
        return (rank, task.first_due, task.seq, task)

    def __len__(self) -> int:
        """Entries kept, dead ones included: what it costs, not how many wait here (that is `count`)."""
        return len(self._line) + len(self._heap)

    def push(self, task: TaskState) -> None:
        """`task` joins the line at its place."""
        aging = self._aging_us
        rank = -task.priority if aging is None else task.first_due - task.priority * aging
        entry = task.entry = (rank, task.first_due, task.seq, task)
        line = self._line
        if not line or line[-1] < entry:
            line.append(entry)
        else:
            heappush(self._heap, entry)
        self.count += 1

    def remove(self, task: TaskState) -> None:
        """`task`, which is in the line, leaves it."""
        entry = task.entry
        task.entry = None
        self.count -= 1
        line, heap = self._line, self._heap
        if line and line[0] is entry:
            line.popleft()
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
            if not heap or (line and line[0] < heap[0]):
                return [line[0][3]]
            return [heap[0][3]]
        walk = self.in_order()
        return list(islice(walk if may is None else filter(may, walk), n))

    def in_order(self) -> Iterator[TaskState]:
        """All of them, best first.  Not to be used across a change."""
        return (entry[3] for entry in self._in_order() if entry[3].entry is entry)

    def _in_order(self) -> Iterator[Entry]:
        """All entries, dead ones too, best first: a merge of the deque and of a best-first walk of the heap."""
        heap, line = self._heap, iter(self._line)
        if not heap:
            yield from line
            return
        waiting = next(line, None)
        front = [(heap[0], 0)]
        while front:
            entry, index = front[0]
            while waiting is not None and waiting < entry:
                yield waiting
                waiting = next(line, None)
            yield entry
            heappop(front)
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(heap):
                    heappush(front, (heap[child], child))
        if waiting is not None:
            yield waiting
            yield from line

    def _clear_heads(self) -> None:
        line, heap = self._line, self._heap
        while line and line[0][3].entry is not line[0]:
            line.popleft()
            self._dead -= 1
        while heap and heap[0][3].entry is not heap[0]:
            heappop(heap)
            self._dead -= 1

    def _sweep(self) -> None:
        self._line = deque(entry for entry in self._line if entry[3].entry is entry)
        self._heap = [entry for entry in self._heap if entry[3].entry is entry]
        heapify(self._heap)
        self._dead = 0

    def load(self, tasks: list[TaskState]) -> None:
        """Replace everything by `tasks`, sorted once."""
        entries = sorted(map(self.key, tasks))
        for entry in entries:
            entry[3].entry = entry
        self._line, self._heap, self._dead, self.count = deque(entries), [], 0, len(entries)


__all__ = ["Entry", "Ready"]
