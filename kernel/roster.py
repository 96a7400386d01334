"""Who stands in one state, newest first: listing costs what it shows, keeping the list costs next to nothing.

Problem.  `list(state="running")` beside 200,000 waiting tasks must not look at them, yet joining and leaving a state happens three times a
task on the hottest path, where even one bisection is felt. Choice: joining appends to `_fresh`, leaving counts down; nothing else.  A
reader first merges what is fresh into chunks ordered by seq (each task pays for that at most once per joining, and only if somebody looks),
then walks them backwards.  Entries of tasks that have left are recognised by `task.shown` and skipped; when they outnumber the present
ones, they are swept out. So joining, leaving and sweeping are amortised O(1), a page of k costs O(k + what is fresh).

Rejected: a balanced tree or eager deletion (1 us a step for readers that may never come); a sort at each listing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Final

from journeyman.kernel.bounds import ROSTER_CHUNK, STALE_MIN
from journeyman.kernel.lifecycle import State
from journeyman.kernel.taskstate import TaskState

_SEQ: Final = attrgetter("seq")


class Roster:
    """The tasks shown in one state.  `count` is exact at any time."""

    __slots__ = ("_chunks", "_fresh", "_kept", "_limit", "_state", "count")

    def __init__(self, state: State) -> None:
        self._state = state
        self._fresh: list[TaskState] = []
        self._chunks: list[list[TaskState]] = []
        self._kept = 0  # entries in the chunks, dead ones included
        self._limit = STALE_MIN
        self.count = 0

    def __len__(self) -> int:
        """Entries kept, dead ones included: what it costs, not how many stand here (that is `count`)."""
        return self._kept + len(self._fresh)

    def add(self, task: TaskState) -> None:
        """`task.shown` is this roster's state from now on."""
        task.shown = self._state
        self.count += 1
        self._fresh.append(task)
        if len(self._fresh) > self._limit:
            self._sweep()

    def add_all(self, tasks: Sequence[TaskState]) -> None:
        """As `add`, for each."""
        state = self._state
        for task in tasks:
            task.shown = state
        self.count += len(tasks)
        self._fresh += tasks
        if len(self._fresh) > self._limit:
            self._sweep()

    def drop(self, task: TaskState) -> None:
        """The task has gone to no other roster (one that has gone elsewhere is only counted down)."""
        task.shown = None
        self.count -= 1

    def newest(self, before: int | None = None) -> Iterator[TaskState]:
        """Newest first by seq, only those with a lower seq than `before`.  Not to be used across a change."""
        self._merge()
        chunks = self._chunks
        start = len(chunks) if before is None else bisect_left(chunks, before, key=lambda chunk: chunk[0].seq)
        for position in range(start - 1, -1, -1):
            chunk = chunks[position]
            last = len(chunk) if before is None or position < start - 1 else bisect_left(chunk, before, key=_SEQ)
            for index in range(last - 1, -1, -1):
                if chunk[index].shown is self._state:
                    yield chunk[index]

    def oldest(self) -> TaskState | None:
        """The one with the lowest seq.  Costs by the entries that have left since the last sweep."""
        return next(self.upwards(), None)

    def upwards(self, after: int = 0) -> Iterator[TaskState]:
        """Oldest first by seq, only those with a higher seq than `after`.  Not to be used across a change."""
        self._merge()
        chunks = self._chunks
        first = max(bisect_left(chunks, after + 1, key=lambda chunk: chunk[0].seq) - 1, 0)
        for position in range(first, len(chunks)):
            chunk = chunks[position]
            for index in range(bisect_left(chunk, after + 1, key=_SEQ) if position == first else 0, len(chunk)):
                if chunk[index].shown is self._state:
                    yield chunk[index]

    def find(self, seq: int) -> TaskState | None:
        """The task with this seq, if it stands here."""
        task = next(self.newest(seq + 1), None)
        return task if task is not None and task.seq == seq else None

    def _sweep(self) -> None:
        """Drop dead entries if they are many; bounds memory when nobody ever reads.  Amortised by the joinings since the last one."""
        if len(self) <= 2 * self.count + STALE_MIN:
            pass
        elif self._kept:
            self._rebuild()
        else:
            self._fresh = list({id(task): task for task in self._fresh if task.shown is self._state}.values())
        self._limit = len(self._fresh) + max(self.count, STALE_MIN)

    def _merge(self) -> None:
        fresh = self._fresh
        if not fresh:
            if self._kept > 2 * self.count + STALE_MIN:
                self._rebuild()
            return
        if len(fresh) * 8 > self._kept or self._kept > 2 * self.count + STALE_MIN:
            self._rebuild()
            return
        for task in fresh:
            if task.shown is self._state:
                self._insert(task)
        fresh.clear()

    def _insert(self, task: TaskState) -> None:
        chunks = self._chunks
        position = max(bisect_left(chunks, task.seq + 1, key=lambda chunk: chunk[0].seq) - 1, 0)
        chunk = chunks[position]
        index = bisect_left(chunk, task.seq, key=_SEQ)
        if index < len(chunk) and chunk[index].seq == task.seq:
            chunk[index] = task  # it had left and come back, perhaps as another object
            return
        chunk.insert(index, task)
        self._kept += 1
        if len(chunk) > 2 * ROSTER_CHUNK:
            chunks.insert(position + 1, chunk[ROSTER_CHUNK:])
            del chunk[ROSTER_CHUNK:]

    def _rebuild(self) -> None:
        entries = [task for chunk in self._chunks for task in chunk if task.shown is self._state]
        entries += [task for task in self._fresh if task.shown is self._state]
        present = sorted({task.seq: task for task in entries}.values(), key=_SEQ)
        self._chunks = [present[i : i + ROSTER_CHUNK] for i in range(0, len(present), ROSTER_CHUNK)]
        self._kept = len(present)
        self._fresh = []


__all__ = ["Roster"]
