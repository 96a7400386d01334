"""An operator's order as a value: what is to be done, to which tasks, by whom and why; and carrying it out.

Problem.  The same order comes from a command line today and through a door into a running engine tomorrow, and must mean the same.
Choice: an `Order` is plain data that knows nothing of how it reaches an engine; `carry_out` gives it to any open engine; `at_rest` opens
the engine for it.  What an order would touch, without an engine and without touching it, is in engine/foresee.py.

An engine that is opened for an order declares no queues.  So it has no handlers: nothing starts, no schedule fires, no policy is
declared; all tasks are parked, as those of any queue that a program no longer declares.  What its opening does leave behind is true and
needed anyway: EngineBooted, a new epoch for each queue, and a verdict on attempts that a killed engine left running.

Rejected: events written beside an engine's back (they would be decided by nobody); opening with stand-in handlers (they would run).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import trio

from journeyman.engine.bulk import Bulk
from journeyman.engine.engine import Engine
from journeyman.engine.errors import NotCancellable, NotRetryable, NotWaiting, TaskNotFound
from journeyman.journal.errors import JournalLocked, NoJournal
from journeyman.journal.identity import refuse_lost_data
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.lock import owner_of
from journeyman.journal.record import TAG_OF
from journeyman.journal.store import Table
from journeyman.journal.view import JournalView
from journeyman.kernel.events import CancelRequested, EngineBooted, Event, TaskCancelled, TaskReprioritised, TaskRescheduled, TaskRetried
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State

Action = Literal["retry", "cancel", "reschedule", "reprioritise", "clear", "pause", "resume", "prune"]
BY_TASK: Final = frozenset({"retry", "cancel", "reschedule", "reprioritise"})
PRUNED: Final = (State.SUCCEEDED, State.CANCELLED)  # what a prune takes that names no states
_PAGE: Final = 1_000
_LEFT_BY: Final = (TaskCancelled, CancelRequested, TaskRetried, TaskRescheduled, TaskReprioritised)


@dataclass(frozen=True, slots=True)
class Selection:
    """Tasks by what is known of them, as in `engine.list`; all that is given must hold."""

    queue: str | None = None
    states: tuple[State, ...] = ()  # none: those that the action is for
    handler: str | None = None
    owner: tuple[str, str] | None = None
    source: str | None = None
    tag: str | None = None
    key: str | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is narrowed down."""
        return self == Selection()

    def filters(self) -> dict[str, Any]:
        """For the calls of an engine; the states are apart."""
        return {"queue": self.queue, "handler": self.handler, "owner": self.owner, "source": self.source, "tag": self.tag, "key": self.key}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done.  By task: `ids`, or else `selection`.  By queue (clear, pause, resume, prune): `queues`, none for all."""

    action: Action
    ids: tuple[str, ...] = ()
    selection: Selection = field(default_factory=Selection)
    queues: tuple[str, ...] = ()
    by: str = "api"
    reason: str = ""
    delay: float | None = None  # reschedule: seconds from now, or
    at: datetime | None = None  # this instant
    priority: int = 0  # reprioritise
    older_than: float = 0.0  # prune: seconds since the end


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an order.  `count`: tasks, or for pause and resume queues, without those that were so already.
    `refused`: id and why, of those named by id."""

    count: int
    refused: tuple[tuple[str, str], ...] = ()
    ids: tuple[str, ...] = ()  # of tasks that were touched, the first so many


async def carry_out(engine: Bulk, order: Order) -> Outcome:
    """Give the order to an open engine.  What that raises of an order as a whole is raised; ids are refused one by one."""
    if order.action not in BY_TASK:
        return Outcome(await _by_queue(engine, order))
    if not order.ids:
        return Outcome(await _selected(engine, order))
    count = 0
    refused: list[tuple[str, str]] = []
    for id in dict.fromkeys(order.ids):
        try:
            await _one(engine, order, id)
            count += 1
        except (TaskNotFound, NotCancellable, NotRetryable, NotWaiting) as error:
            refused.append((id, str(error)))
    return Outcome(count, tuple(refused))


def _one(engine: Bulk, order: Order, id: str) -> Awaitable[None]:
    by, reason = order.by, order.reason
    match order.action:
        case "retry":
            return engine.retry(id, reason=reason, by=by)
        case "cancel":
            return engine.cancel(id, reason, by=by)
        case "reschedule":
            return engine.reschedule(id, delay=order.delay, at=order.at, reason=reason, by=by)
        case _:
            return engine.reprioritise(id, order.priority, reason=reason, by=by)


async def _selected(engine: Bulk, order: Order) -> int:
    filters, states = order.selection.filters(), order.selection.states or None
    by, reason = order.by, order.reason
    match order.action:
        case "retry":
            wanted = states or (State.FAILED,)
            return sum([await engine.retry_all(state=state, reason=reason, by=by, **filters) for state in dict.fromkeys(wanted)])
        case "cancel":
            return await engine.cancel_all(state=states, reason=reason, by=by, **filters)
        case "reschedule":
            return await engine.reschedule_all(state=states, delay=order.delay, at=order.at, reason=reason, by=by, **filters)
        case _:
            return await engine.reprioritise_all(state=states, priority=order.priority, reason=reason, by=by, **filters)


async def _by_queue(engine: Bulk, order: Order) -> int:
    by, reason = order.by, order.reason
    known = await engine.stats()
    names = tuple(dict.fromkeys(order.queues)) or tuple(known)
    if order.action == "prune":
        states = order.selection.states or PRUNED
        return sum([await engine.prune(order.older_than, name, states=states, reason=reason, by=by) for name in names])
    if order.action == "clear":
        return sum([await engine.clear(name, reason=reason or "cleared", by=by) for name in names])
    pausing = order.action == "pause"
    count = 0
    for name in names:
        await (engine.pause if pausing else engine.resume)(name, reason=reason, by=by)
        count += name not in known or pausing != known[name].paused or (not pausing and known[name].parked_until is not None)
    return count


def at_rest(path: str | os.PathLike[str], order: Order, *, shown: int = 0) -> Outcome:
    """Open the journal for the order alone, and close it again; with the ids of the first `shown` tasks that it touched.

    JournalLocked while an engine has it open, naming the process; NoJournal: none is made.
    """
    directory = os.path.abspath(path)
    refuse_absent(directory)
    refuse_owned(directory, owner_of(directory))

    async def work() -> Outcome:
        async with Engine(directory) as engine:
            return await carry_out(engine, order)

    done = trio.run(work)
    if not shown or not done.count:
        return done
    with JournalView(LmdbStore(directory, readonly=True)) as view:  # which our engine has just closed in good order
        ids: dict[str, None] = {}
        for _, event in view.events(_newest_boot(view.store)):
            if _left_by(event, order) and len(ids) < shown:
                ids[id_text(event.task)] = None  # type: ignore[union-attr]
    return Outcome(done.count, done.refused, tuple(ids))


def _newest_boot(store: LmdbStore) -> int:
    """The seq of the newest EngineBooted."""
    stop: bytes | None = None
    while pairs := store.scan(Table.EVENTS, b"", stop, reverse=True, limit=_PAGE):
        for key, value in pairs:
            if value[1] == TAG_OF[EngineBooted]:
                return int.from_bytes(key, "big")
        stop = pairs[-1][0]
    return 1


def _left_by(event: Event, order: Order) -> bool:
    return isinstance(event, _LEFT_BY) and event.by == order.by and (event.reason == order.reason or not order.reason)


def refuse_absent(directory: str) -> None:
    """NoJournal where an engine would make a new one; JournalCorrupt where one was lost."""
    if os.path.isdir(directory):
        refuse_lost_data(directory)
    data = os.path.join(directory, "data.mdb")
    if not os.path.exists(data) or not os.path.getsize(data):
        raise NoJournal(directory)


def refuse_owned(path: str, owner: int | None) -> None:
    """JournalLocked if a process has the journal open."""
    if owner is not None:
        who = f"process {owner}" if owner else "a process that cannot be seen from here (another container?)"
        raise JournalLocked(
            f"the engine of {who} has the journal at {path} open, and only it can do this: stop it first, or have that program call its "
            "engine (docs/OPERATING.md); --dry-run counts without it",
            owner or None,
        )


__all__ = ["BY_TASK", "PRUNED", "Action", "Order", "Outcome", "Selection", "at_rest", "carry_out", "refuse_owned"]
