"""Carrying an order out: by an engine that is open, or by one that is opened for it alone.

An engine that is opened for an order declares no queues.  So it has no handlers: nothing starts, no schedule fires, no policy is
declared; all tasks are parked, as those of any queue that a program no longer declares.  What its opening does leave behind is true and
needed anyway: EngineBooted, a new epoch for each queue, and a verdict on attempts that a killed engine left running.

Problem.  That is still something, and an order that is refused, or that has nothing to do, should leave the journal as it was: a queue's
name mistyped is no reason for a new epoch.  Choice: before it opens anything, the order is counted (foresee.py) up to the first task that
it would touch.  If there is none, that is the answer.  Where a killed engine left attempts running, the opening is what changes them, so
there the order is carried out and finds what there is.  It costs reading the unfinished tasks twice (measured: 30 us a task).

What was done stays done: an order of a million tasks is a thousand commits, and one that is stopped (Ctrl-C, a full disk) has done some
of them.  How many is read from the journal then, and said.

Rejected: events written beside an engine's back (they would be decided by nobody); opening with stand-in handlers (they would run); looking
between recovery and boot inside the engine's opening (the look must not touch what the engine goes on with, and opening for writing
touches the directory: the lock's text, a migration).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable

import trio

from journeyman.engine.bulk import Bulk, Tell, unheard
from journeyman.engine.engine import Engine
from journeyman.engine.errors import JourneymanError, NotCancellable, NotRetryable, NotWaiting, QueueNotFound, TaskNotFound
from journeyman.engine.foresee import needless
from journeyman.engine.orders import BY_TASK, Order, Outcome
from journeyman.engine.questions import unless_refused
from journeyman.journal.errors import JournalLocked
from journeyman.journal.identity import check_features, read_identity, require_data
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.lock import owner_of
from journeyman.journal.view import JournalView, open_journal
from journeyman.kernel.events import (
    CancelRequested,
    Event,
    QueuePaused,
    QueueResumed,
    TaskCancelled,
    TaskReprioritised,
    TaskRescheduled,
    TaskRetried,
    TasksPruned,
)
from journeyman.kernel.ids import id_text

_LEFT_BY = (TaskCancelled, CancelRequested, TaskRetried, TaskRescheduled, TaskReprioritised)
_LEFT_BY_QUEUES = (QueuePaused, QueueResumed)
_CLEARED = "cleared"  # the reason of a clear that gives none


async def carry_out(engine: Bulk, order: Order, tell: Tell = unheard) -> Outcome:
    """Give the order to an open engine.  What that raises of an order as a whole is raised; ids are refused one by one.  `tell` hears how
    many tasks it has been so far."""
    if order.ids:
        return await _by_id(engine, order)
    session = engine._opened()  # a door is asked for what it reaches, as its own calls are
    if order.action in BY_TASK:
        queue = order.selection.queue
        return Outcome(await engine._aimed(order.aim(None if queue is None else engine._actor(session, queue).name), tell=tell))
    actors = [engine._actor(session, name) for name in dict.fromkeys(order.queues)] or list(session.queues())
    count = 0
    for actor in actors:
        if order.action == "clear":
            count += await engine.clear(session.called(actor.name), reason=order.reason or _CLEARED, by=order.by)
            tell(count)
        elif order.action == "prune":
            count += await engine._pruned(order.prunes(actor.name, session.shell.now()), order.by, order.reason, _after(count, tell))
        else:
            count += unless_refused(await actor.ask(order.of_queue()).wait()).count
    return Outcome(count)


def _after(count: int, tell: Tell) -> Tell:
    """For what comes after `count` others."""
    return lambda done: tell(count + done)


async def _by_id(engine: Bulk, order: Order) -> Outcome:
    if order.action == "prune":
        done, stay = await engine._pruned_by_id(order.ids, order.by, order.reason)
        return Outcome(done, tuple(stay))
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


def at_rest(path: str | os.PathLike[str], order: Order, *, shown: int = 0, tell: Tell = unheard) -> Outcome:
    """Open the journal for the order alone, and close it again; with the ids of the first `shown` tasks that it touched.

    JournalLocked while an engine has it open, naming the process; NoJournal: none is made.  QueueNotFound, ValueError: nothing is
    written.  Whatever ends it in the middle has a note that says how much was done.
    """
    directory = os.path.abspath(path)
    require_data(directory)  # an engine would make a new one
    refuse_owned(directory, owner_of(directory))
    with open_journal(directory) as view:
        if (identity := read_identity(view.store)) is not None:
            check_features(identity, readonly=False)  # reading may be allowed where writing is not
        since = view.last_seq + 1
        if (nothing := needless(view, order)) is not None:
            return nothing

    async def work() -> Outcome:
        async with Engine(directory) as engine:
            return await carry_out(engine, order, tell)

    try:
        done = trio.run(work)
    except (KeyboardInterrupt, JourneymanError) as error:
        if not isinstance(error, JournalLocked | QueueNotFound):
            error.add_note(_how_far(directory, order, since))
        raise
    if not shown or not done.count or order.action not in (*BY_TASK, "clear"):
        return done
    with JournalView(LmdbStore(directory, readonly=True)) as view:  # which our engine has just closed in good order
        return Outcome(done.count, done.refused, tuple(_ids(view, order, since, shown)))


def _how_far(directory: str, order: Order, since: int) -> str:
    """Of an order that was broken off: what it has done, as the journal tells."""
    try:
        with open_journal(directory) as view:
            count = sum(_touched(event, order) for _, event in view.events(since))
    except JourneymanError as error:
        return f"How much was done before cannot be told: {error}"
    if not count:
        return "Nothing was done before."
    of = "queue" if order.action in ("pause", "resume") else "task"
    some = f"{count:,} {of}" + ("" if count == 1 else "s")
    return f"Before that, {some} had been dealt with, and stay so; the rest is as it was.  The same order goes on from there."


def _ids(view: JournalView, order: Order, since: int, shown: int) -> dict[str, None]:
    ids: dict[str, None] = {}
    for _, event in view.events(since):
        if isinstance(event, _LEFT_BY) and _touched(event, order):
            ids[id_text(event.task)] = None
            if len(ids) == shown:
                break
    return ids


def _touched(event: Event, order: Order) -> int:
    """How many tasks or queues this event of an order took; 0 for events of others."""
    reason = order.reason or (_CLEARED if order.action == "clear" else "")
    if isinstance(event, TasksPruned):
        return len(event.entries) if order.action == "prune" and event.by == order.by else 0
    if isinstance(event, (*_LEFT_BY, *_LEFT_BY_QUEUES)):
        return int(event.by == order.by and event.reason == reason)
    return 0


def refuse_owned(path: str, owner: int | None) -> None:
    """JournalLocked if a process has the journal open."""
    if owner is not None:
        who = f"process {owner}" if owner else "a process that cannot be seen from here (another container?)"
        raise JournalLocked(
            f"the engine of {who} has the journal at {path} open, and only it can do this: stop it first, or have that program call its "
            "engine (docs/OPERATING.md); --dry-run counts without it",
            owner or None,
        )


__all__ = ["at_rest", "carry_out", "refuse_owned"]
