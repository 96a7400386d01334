"""Reading: tasks in memory and tasks on disk as one list.

Unfinished tasks, and ended ones until a checkpoint has written them, live in their queue's state; older ended ones live in the
catalog's tables. Every reader here looks at both, prefers memory (it is newer), and leaves out what retention has expired:
invisible exactly on time, deleted soon after.  What was read is only answered once it is durable; the callers in engine.py see
to that.

What is read is a `Stock`: queues and a catalog.  An engine's are its actors'; a dry run (foresee.py) has its own, so both list with the
same code.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.shell import Shell
from journeyman.journal.catalog import Catalog
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.state import QueueState, TaskState

if TYPE_CHECKING:
    from journeyman.engine.scope import Scope

_PAGE = 64  # rows read from disk at a time while listing
_OLDEST_FIRST: Final = attrgetter("seq")


class Filters(NamedTuple):
    """What a listing is narrowed to; None: anything.  `queue`: by its stored name."""

    queue: str | None = None
    states: frozenset[State] | None = None
    handler: str | None = None
    owner: tuple[str, str] | None = None
    source: str | None = None
    tag: str | None = None
    key: str | None = None
    parent: bytes | None = None
    unique: str | None = None
    ended_by: int | None = None  # a prune's: ended at this instant or before, microseconds UTC; and those too that nobody sees any more

    @property
    def coarse(self) -> bool:
        """Whether queue and state say it all, so that counts need no look at tasks."""
        return self[2:] == (None,) * 8

    def admit(self, task: TaskState) -> bool:
        options = task.options or {}
        if self.handler is not None and task.handler != self.handler:
            return False
        if self.owner is not None and tuple(options.get("owner") or ()) != self.owner:
            return False
        if self.tag is not None and self.tag not in (options.get("tags") or ()):
            return False
        if self.parent is not None and options.get("parent") != self.parent:
            return False
        if self.unique is not None and options.get("unique") != self.unique:
            return False
        if self.ended_by is not None and (task.finished_at is None or task.finished_at > self.ended_by):
            return False
        return (self.source is None or options.get("source") == self.source) and (self.key is None or options.get("key") == self.key)


class Stock(NamedTuple):
    """Where tasks are: in memory and on disk.  `queues`: those to look at."""

    queues: Sequence[QueueState]
    catalog: Catalog
    now: int

    def newest(self, filters: Filters, before: int | None) -> Iterator[TaskState]:
        """Matching tasks by descending seq, lazily.  Not to be used across a change."""
        return self._merged(
            filters,
            lambda queue, state: queue.listed(state, self.now, before),
            lambda queue, state, seen_at: self._settled(queue, state, before, seen_at),
            _newest_first,
        )

    def oldest(self, filters: Filters, after: int) -> Iterator[TaskState]:
        """The same by rising seq."""
        return self._merged(
            filters,
            lambda queue, state: queue.listed_upwards(state, self.now, after),
            lambda queue, state, seen_at: self._settled_upwards(queue, state, after, seen_at),
            _OLDEST_FIRST,
        )

    def _merged(
        self,
        filters: Filters,
        held: Callable[[QueueState, State], Iterator[TaskState]],
        settled: Callable[[QueueState, State, int], Iterator[TaskState]],
        order: Callable[[TaskState], int],
    ) -> Iterator[TaskState]:
        """What memory holds and what lies on disk, of each queue and state, in this order."""
        seen_at = self.now if filters.ended_by is None else 0  # by whom expiry is asked: to a prune nothing has expired, until it is gone
        streams: list[Iterator[TaskState]] = []
        for queue in self.queues:
            for state in _states(filters):
                streams.append(held(queue, state))
                if state in TERMINAL:
                    streams.append(settled(queue, state, seen_at))
        return (task for task in heapq.merge(*streams, key=order) if filters.admit(task) and not expired(task, seen_at))

    def _settled(self, queue: QueueState, state: State, before: int | None, seen_at: int) -> Iterator[TaskState]:
        """Ended tasks on disk, page by page; memory's are not among them."""
        while page := self.catalog.newest(queue.name, state, seen_at, before=before, limit=_PAGE):
            yield from page
            before = page[-1].seq

    def _settled_upwards(self, queue: QueueState, state: State, after: int, seen_at: int) -> Iterator[TaskState]:
        while page := self.catalog.oldest(queue.name, state, seen_at, after=after, limit=_PAGE):
            yield from page
            after = page[-1].seq


class Reader:
    """Reads what a scope reaches, and nothing else."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def _shell(self) -> Shell:
        return self._scope.shell

    def find(self, task_id: bytes) -> TaskState | None:
        """The task, unless it is unknown, pruned or expired, or another's."""
        return self._scope.find(task_id)

    def newest(self, filters: Filters, before: int | None) -> Iterator[TaskState]:
        """Matching tasks by descending seq, lazily.  Not to be used across an await."""
        return self.stock(filters.queue).newest(filters, before)

    def stock(self, queue: str | None) -> Stock:
        """What this scope reaches, as of now: one queue, by its stored name, or all."""
        return Stock([actor.state for actor in self._actors(queue)], self._shell.catalog, self._shell.now())

    def count(self, filters: Filters) -> int:
        """How many tasks match.  O(queues) when only queue and state are asked for and nothing has expired unpruned."""
        if not filters.coarse:
            return sum(1 for _ in self.newest(filters, None))
        wanted = _states(filters)
        return sum(n for actor in self._actors(filters.queue) for state, n in self.counts(actor).items() if state in wanted)

    def counts(self, actor: QueueActor) -> dict[State, int]:
        """Visible tasks of one queue by observed state."""
        now = self._shell.now()
        found = dict(actor.state.counts(now))
        settled = self._shell.catalog.counts(now).get(actor.name, {})
        for state in TERMINAL:
            memory = sum(1 for task in actor.state.listed(state, now) if expired(task, now)) if found[state] else 0
            found[state] += settled.get(state, 0) - memory
        return found

    def _actors(self, queue: str | None) -> Sequence[QueueActor]:
        return self._scope.queues() if queue is None else [self._shell.actors[queue]]


def expired(task: TaskState, now: int) -> bool:
    """Whether retention has ended for the task: nobody sees it any more."""
    return task.expires_at is not None and task.expires_at <= now


def _states(filters: Filters) -> frozenset[State]:
    return filters.states if filters.states is not None else frozenset(State)


def _newest_first(task: TaskState) -> int:
    return -task.seq
