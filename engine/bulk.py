"""Orders about many tasks at once: those that a filter names.

Problem.  An operator wants to cancel what one customer has waiting, before he knows how much that is, in a queue of a hundred thousand,
while it works.  Choice: the filters are those of `list` and `count`; `dry_run=True` counts what would be touched and touches nothing; the
order itself is one ordinary command a task, so it is decided, recorded and refused as a single one would be, in chunks of
OPERATION_CHUNK between which everybody else has a turn.  What comes while it works is not meant, and what has moved on meanwhile
(started, ended) is passed over, so the count is of what was really done.  Each event names who acted and why.  Which tasks are meant and
what each of them is told is said in one place for the order and for its dry run, engine/aim.py.

Rejected: one event for many tasks (a record concerns at most one task); all or none (a hundred thousand cancels in one commit would
stop every other queue for as long as they take).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

from journeyman.actors.call import Call
from journeyman.actors.following import follow_for_named
from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.surroundings import around
from journeyman.engine.aim import Aim, Rehearsal, to_cancel, to_prune, to_reprioritise, to_reschedule, to_retry, why_kept
from journeyman.engine.names import check_words
from journeyman.engine.operating import Operations
from journeyman.engine.questions import StateLike, id_of
from journeyman.engine.reading import Filters
from journeyman.engine.scope import Scope
from journeyman.kernel.commands import Accepted, Answer, Command
from journeyman.kernel.duration import Seconds
from journeyman.kernel.lifecycle import State
from journeyman.kernel.state import TaskState

Tell = Callable[[int], object]


def unheard(_: int) -> None:
    """Of progress that nobody asked for."""


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
        return await self._aimed(to_cancel(filters, running=running, reason=reason, by=by), dry_run)

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
        return await self._aimed(to_retry(filters, reason=reason, by=by), dry_run)

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
        filters = self._filters(session, queue, state, owner, parent, handler=handler, source=source, tag=tag, key=key)
        if at is not None and not dry_run:
            follow_for_named(session.shell)
        return await self._aimed(to_reschedule(filters, delay=delay, at=at, reason=reason, by=by), dry_run)

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
        filters = self._filters(session, queue, state, owner, parent, handler=handler, source=source, tag=tag, key=key)
        return await self._aimed(to_reprioritise(filters, priority=priority, reason=reason, by=by), dry_run)

    async def prune(
        self,
        older_than: Seconds = 3600.0,
        queue: str | None = None,
        *,
        states: Iterable[StateLike] = ("succeeded", "cancelled"),
        handler: str | None = None,
        owner: tuple[str, str] | None = None,
        source: str | None = None,
        tag: str | None = None,
        key: str | None = None,
        parent: str | None = None,
        reason: str = "",
        by: str = "api",
    ) -> int:
        """Delete tasks that ended at least `older_than` seconds ago, whatever their retention says; how many.

        Succeeded and cancelled ones unless `states` names others.  Those that others still wait for stay.  QueueNotFound.
        """
        check_words(reason, by)
        session = self._opened()
        filters = self._filters(session, queue, states, owner, parent, handler=handler, source=source, tag=tag, key=key)
        return await self._pruned(to_prune(filters, older_than, session.shell.now()), by, reason)

    # --- for those who carry an order out -----------------------------------------------------------------------------

    async def _aimed(self, aim: Aim, dry_run: bool = False, tell: Tell = unheard) -> int:
        """Give the order to each task that it is for; how many obeyed, or would.  `tell` hears how many it has been so far."""
        session = self._opened()
        rehearsal = Rehearsal(session.shell.now()) if dry_run else None
        total, past, bound = 0, None, session.shell.journal.next_seq
        while found := aim.chunk(session.reader.stock(aim.filters.queue), past, bound):
            past = found[-1].seq
            if rehearsal is None:
                session.shell.room.check_order()
                total += await self._order(session, [(task.seq, task.id) for task in found], aim.command)
                tell(total)
            else:
                actors = session.shell.actors
                total += sum(_would(rehearsal, actors[task.queue], task, aim.command) for task in found)
                await self._seen(session)
        await self._seen(session)
        return total

    async def _pruned_by_id(self, ids: Iterable[str], by: str, reason: str) -> tuple[int, list[tuple[str, str]]]:
        """Delete these ended tasks, whatever their age; how many, and (id, why) of those that stay."""
        session = self._opened()
        refused: list[tuple[str, str]] = []
        chosen: list[TaskState] = []
        for id in dict.fromkeys(ids):
            task = session.reader.find(id_of(id))
            if (why := why_kept(id, task, session.shell.dependencies.pinned(id_of(id)))) is not None:
                refused.append((id, why))
            elif task is not None:
                chosen.append(task)
        chosen.sort(reverse=True)

        def listing(before: int | None) -> Iterator[TaskState]:
            return (task for task in chosen if before is None or task.seq < before)

        return await session.runtime.housekeeper.prune_by_hand([listing], by, reason), refused

    async def _pruned(self, chosen: Filters, by: str, reason: str, tell: Tell = unheard) -> int:
        """Delete what was chosen (`to_prune`); how many."""
        session = self._opened()
        queues = [actor.name for actor in session.queues()] if chosen.queue is None else [chosen.queue]

        def listing(queue: str, before: int | None) -> Iterator[TaskState]:
            return session.reader.newest(chosen._replace(queue=queue), before)

        listings = [partial(listing, queue) for queue in sorted(queues)]
        return await session.runtime.housekeeper.prune_by_hand(listings, by, reason, tell)

    async def _order(self, session: Scope, tasks: Sequence[tuple[int, bytes]], command: Callable[[bytes], Command]) -> int:
        """One chunk: given at once, so that their queues decide them together."""
        calls: list[Call[Answer]] = []
        for seq, task_id in tasks:
            task = session.find(task_id)
            if task is not None and task.seq == seq:
                calls.append(session.shell.actors[task.queue].ask(command(task_id)))
        answers = [await call.wait() for call in calls]
        return sum(answer.count for answer in answers if type(answer) is Accepted)


def _would(rehearsal: Rehearsal, actor: QueueActor, task: TaskState, command: Callable[[bytes], Command]) -> int:
    return rehearsal.count(actor.state, task, command(task.id), around(actor))
