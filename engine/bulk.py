"""Orders about many tasks at once: those that a filter names.

Problem.  An operator wants to cancel what one customer has waiting, before he knows how much that is, in a queue of a hundred thousand,
while it works.  Choice: the filters are those of `list` and `count`; `dry_run=True` counts what would be touched and touches nothing; the
order itself is one ordinary command a task, so it is decided, recorded and refused as a single one would be, in chunks of
OPERATION_CHUNK between which everybody else has a turn.  What comes while it works is not meant, and what has moved on meanwhile
(started, ended) is passed over, so the count is of what was really done.  Each event names who acted and why.

Rejected: one event for many tasks (a record concerns at most one task); all or none (a hundred thousand cancels in one commit would
stop every other queue for as long as they take).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice

from journeyman.actors.call import Call
from journeyman.engine.errors import NotRetryable
from journeyman.engine.names import check_words
from journeyman.engine.operating import Operations, due_of
from journeyman.engine.questions import StateLike
from journeyman.engine.reading import Filters
from journeyman.engine.scope import Scope
from journeyman.engine.spec import whole
from journeyman.kernel.bounds import OPERATION_CHUNK, PRIORITY_MAX, PRIORITY_MIN
from journeyman.kernel.commands import Accepted, Answer, Cancel, Command, Reprioritise, Reschedule, Retry
from journeyman.kernel.duration import Seconds
from journeyman.kernel.lifecycle import WAITING, State
from journeyman.kernel.state import TaskState

Order = Callable[[TaskState], Command]
Meant = Callable[[TaskState], bool]


class Bulk(Operations):
    """What an operator may do to many tasks.  Filters are those of `list`; all that are given must hold.  Each returns how many tasks it
    touched, or with `dry_run` would touch.
    """

    async def cancel_all(
        self,
        queue: str | None = None,
        state: StateLike | Iterable[StateLike] | None = None,
        handler: str | None = None,
        owner: tuple[str, str] | None = None,
        source: str | None = None,
        tag: str | None = None,
        key: str | None = None,
        parent: str | None = None,
        *,
        running: bool = True,
        reason: str = "",
        by: str = "api",
        dry_run: bool = False,
    ) -> int:
        """Cancel every task that matches and has not ended; `running=False` leaves those that run alone.  QueueNotFound."""
        check_words(reason, by)
        session = self._opened()
        filters = self._filters(session, queue, state, owner, parent, handler=handler, source=source, tag=tag, key=key)
        filters = _of(filters, WAITING | {State.RUNNING} if running else WAITING)
        return await self._each(
            session, filters, lambda task: task.cancel is None, lambda task: Cancel(task.id, reason, by, running), dry_run
        )

    async def retry_all(
        self,
        queue: str | None = None,
        state: StateLike = State.FAILED,
        handler: str | None = None,
        owner: tuple[str, str] | None = None,
        source: str | None = None,
        tag: str | None = None,
        key: str | None = None,
        parent: str | None = None,
        *,
        reason: str = "",
        by: str = "api",
        dry_run: bool = False,
    ) -> int:
        """Retry every task that matches, in `state` (failed, cancelled or interrupted), in the order in which they were submitted.

        Those whose arguments were dropped are passed over.  QueueNotFound; NotRetryable for any other state.
        """
        check_words(reason, by)
        session = self._opened()
        if not isinstance(state, str):
            raise ValueError(f"retry_all takes one state (failed, cancelled or interrupted), not {state!r}")
        wanted = State(state)
        filters = self._filters(session, queue, wanted, owner, parent, handler=handler, source=source, tag=tag, key=key)
        if wanted not in (State.FAILED, State.CANCELLED, State.INTERRUPTED):
            raise NotRetryable(f"tasks that are {wanted} cannot be retried; only failed, cancelled and interrupted ones can")
        return await self._each(
            session, filters, lambda task: task.keep_payload, lambda task: Retry(task.id, reason, by), dry_run, oldest_first=True
        )

    async def reschedule_all(
        self,
        queue: str | None = None,
        state: StateLike | Iterable[StateLike] | None = None,
        handler: str | None = None,
        owner: tuple[str, str] | None = None,
        source: str | None = None,
        tag: str | None = None,
        key: str | None = None,
        parent: str | None = None,
        *,
        delay: Seconds | None = None,
        at: datetime | None = None,
        reason: str = "",
        by: str = "api",
        dry_run: bool = False,
    ) -> int:
        """As `reschedule`, for every task that matches and waits.  They keep their order among each other.  QueueNotFound."""
        check_words(reason, by)
        session = self._opened()
        delay_us, due_at = due_of(delay, at)
        filters = self._filters(session, queue, state, owner, parent, handler=handler, source=source, tag=tag, key=key)
        return await self._each(
            session,
            _of(filters, WAITING),
            lambda task: True,
            lambda task: Reschedule(task.id, delay_us, due_at, reason, by),
            dry_run,
            oldest_first=True,
        )

    async def reprioritise_all(
        self,
        queue: str | None = None,
        state: StateLike | Iterable[StateLike] | None = None,
        handler: str | None = None,
        owner: tuple[str, str] | None = None,
        source: str | None = None,
        tag: str | None = None,
        key: str | None = None,
        parent: str | None = None,
        *,
        priority: int,
        reason: str = "",
        by: str = "api",
        dry_run: bool = False,
    ) -> int:
        """As `reprioritise`, for every task that matches, waits and has another priority.  QueueNotFound."""
        check_words(reason, by)
        session = self._opened()
        chosen = whole(priority, "priority", PRIORITY_MIN, PRIORITY_MAX)
        filters = self._filters(session, queue, state, owner, parent, handler=handler, source=source, tag=tag, key=key)
        return await self._each(
            session,
            _of(filters, WAITING),
            lambda task: task.priority != chosen,
            lambda task: Reprioritise(task.id, chosen, reason, by),
            dry_run,
        )

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _each(
        self, session: Scope, filters: Filters, meant: Meant, order: Order, dry_run: bool, *, oldest_first: bool = False
    ) -> int:
        """Give the order to each task that matches and is meant; how many obeyed."""
        if dry_run:
            number = sum(map(meant, session.reader.newest(filters, None)))
            await self._seen(session)
            return number
        total, before = 0, session.shell.journal.next_seq
        if oldest_first:
            tasks = [(task.seq, task.id) for task in session.reader.newest(filters, before) if meant(task)]
            tasks.reverse()
            for start in range(0, len(tasks), OPERATION_CHUNK):
                total += await self._order(session, tasks[start : start + OPERATION_CHUNK], order)
        else:
            while found := list(islice(session.reader.newest(filters, before), OPERATION_CHUNK)):
                before = found[-1].seq
                total += await self._order(session, [(task.seq, task.id) for task in found if meant(task)], order)
        await self._seen(session)
        return total

    async def _order(self, session: Scope, tasks: Sequence[tuple[int, bytes]], order: Order) -> int:
        """One chunk: given at once, so that their queues decide them together."""
        calls: list[Call[Answer]] = []
        for seq, task_id in tasks:
            task = session.find(task_id)
            if task is not None and task.seq == seq:
                calls.append(session.shell.actors[task.queue].ask(order(task)))
        answers = [await call.wait() for call in calls]
        return sum(answer.count for answer in answers if type(answer) is Accepted)


def _of(filters: Filters, states: frozenset[State]) -> Filters:
    """Only those of `states` that the filter asks for."""
    return filters._replace(states=states if filters.states is None else filters.states & states)
