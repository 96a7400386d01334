"""The rate of each serialization key: those whose key has no token stand aside, and one a key stands where it may start.

Problem.  A hundred thousand keys, each with a rate of its own, must not mean a hundred thousand alarms, nor a look at each of them when a
slot is free; and a task that waits for its key's token must not keep others from starting.  Choice: a key's limiter is one integer,
folded from its starts as a queue's is (kernel/ratelimit.py, kernel/tats.py).  Of the tasks that are due and at the front of their key
(kernel/keys.py), the best of each key is in the queue's line of those that may start, from the instant at which its token is there; the
others of the key wait here, in a line of their own.  Keys that wait for a token are in one heap, by that instant.  So there is one next
instant for the whole queue, it is asked for only while a slot is free, and each start costs one entry in the heap: O(log keys).

An instant in the heap may be out of date (another start, another best task, a cancelled one): it is looked at again when it comes, and
put back if it was too early.  It is never too late, for whatever brings it nearer puts in another.  Nothing here is logical: all of it is
rebuilt from the tasks and the limiters' times.  Rejected: a timer a key; a filter over the line at each pick (it passes over every key
without a token).
"""

from __future__ import annotations

from heapq import heappop, heappush

from journeyman.kernel.ratelimit import allowed_at
from journeyman.kernel.ready import Ready
from journeyman.kernel.shares import Shares
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.tats import Tats


class KeyTokens:
    """Stands before `ready`, for tasks that have a key."""

    __slots__ = ("_aging_us", "_heap", "_in_front", "_lines", "_rate", "_ready", "_tats")

    def __init__(self, rate: tuple[int, int, int], tats: Tats, ready: Ready | Shares, aging_us: int | None) -> None:
        self._rate = rate
        self._tats = tats
        self._ready = ready
        self._aging_us = aging_us
        self._lines: dict[str, Ready] = {}  # those that wait behind the one in front, or for a token
        self._in_front: dict[str, TaskState] = {}  # those that are in `ready`
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        """Entries kept, dead ones included: what it costs."""
        return len(self._heap) + len(self._in_front) + sum(map(len, self._lines.values()))

    def token_at(self, task: TaskState, key: str) -> int:
        """The first instant at which its key's rate would let `task` start, were it the next."""
        cost = 1 if task.options is None else task.options.get("cost", 1)
        return allowed_at(self._rate, self._tats.get(key), cost)

    def holds(self, task: TaskState, key: str) -> bool:
        """Whether it waits here."""
        return key in self._lines and task.entry is not None and self._in_front.get(key) is not task

    def push(self, task: TaskState, key: str) -> None:
        """It is due, and at the front of its key's line."""
        front = self._in_front.get(key)
        if front is not None and self._ready.key(task)[:3] < self._ready.key(front)[:3]:
            del self._in_front[key]
            self._ready.remove(front)
            self._wait(front, key)
        self._wait(task, key)

    def _wait(self, task: TaskState, key: str) -> None:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Ready(self._aging_us)
        line.push(task)
        if line.best(1)[0] is task and key not in self._in_front:
            heappush(self._heap, (self.token_at(task, key), key))

    def remove(self, task: TaskState, key: str) -> None:
        """It starts, or waits no longer."""
        line = self._lines.get(key)
        if self._in_front.get(key) is task:
            del self._in_front[key]
            self._ready.remove(task)
        else:
            assert line is not None
            line.remove(task)
            if not line.count:
                del self._lines[key]
                return
        if line is not None and key not in self._in_front:
            heappush(self._heap, (self.token_at(line.best(1)[0], key), key))

    def charged(self, key: str) -> None:
        """A start has taken of its tokens: whoever else of the key was about to start waits for the next."""
        front = self._in_front.pop(key, None)
        if front is not None:
            self._ready.remove(front)
            self._wait(front, key)

    def advance(self, now: int) -> None:
        """Bring to the front what has a token by `now`.  Changes nothing logical."""
        heap, lines = self._heap, self._lines
        while heap and heap[0][0] <= now:
            _, key = heappop(heap)
            line = lines.get(key)
            if line is None or key in self._in_front:
                continue
            task = line.best(1)[0]
            at = self.token_at(task, key)
            if at > now:
                heappush(heap, (at, key))
                continue
            line.remove(task)
            if not line.count:
                del lines[key]
            self._in_front[key] = task
            self._ready.push(task)

    def next_at(self) -> int | None:
        """The next instant at which a key has a token; after `advance`."""
        heap, lines = self._heap, self._lines
        while heap:
            at, key = heap[0]
            line = lines.get(key)
            if line is not None and key not in self._in_front:
                true_at = self.token_at(line.best(1)[0], key)
                if true_at <= at:
                    return at
                heappop(heap)
                heappush(heap, (true_at, key))
            else:
                heappop(heap)
        return None


__all__ = ["KeyTokens"]
