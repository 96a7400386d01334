"""Which tasks an order about many is for, and what each of them is told: one answer, for the engine that carries the order out and for the
dry run that only counts.

Problem.  "How many would it be?" is asked before an order is given, of an engine (`dry_run=True`) and of a journal beside one
(`--dry-run`).  Answered by rules of its own it is a second account of what cancel, retry and the others mean, and the two drift apart
unseen: of two dead letters with one unique key a retry takes the first and refuses the second, and both counts said two.

Choice: an `Aim` is a filter, an order and a command for each task; there is nothing else to it.  Which tasks are listed is decided by the
filter and the listing (reading.py), which a dry run uses over its own copy of the state.  Whether a task obeys is decided by the
kernel: the engine hands the command to the queue's actor, a `Rehearsal` hands the same command to the same `decide` and drops the events
that come of it.  Deciding changes nothing, so it needs nobody's leave.

Two orders are not commands about a task.  `clear` is one of a queue; what it takes is `kernel.orders.to_clear`, in its decision and in the
dry run.  `prune` is no decision of a queue's at all; what it takes is its filter and `kernel.waits.pinned`, in the housekeeper and in the
dry run.

What a rehearsal cannot know, because it would take the orders themselves to find out: what the news of an end does to tasks that wait for
it (a cancel that cancels others, which the order then finds gone), and what an engine's opening makes of attempts that a killed one left
running.  Events dropped also means that a task is not told what the order did to the one before; the one thing that matters there, a
unique key that is taken, a rehearsal remembers.

Rejected: folding the events into the copy (exact in that, too, but five times the work for each of a million tasks, and a copy of an
open engine's state would have to be made first); asking `TaskState` by predicates beside the commands (the second account again).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from journeyman.engine.errors import NotRetryable
from journeyman.engine.names import check_words
from journeyman.engine.reading import Filters, Stock
from journeyman.engine.spec import whole
from journeyman.journal.instants import instant_us
from journeyman.kernel.bounds import OPERATION_CHUNK, PRIORITY_MAX, PRIORITY_MIN
from journeyman.kernel.commands import Accepted, Answer, Cancel, Command, Env, Reprioritise, Reschedule, Retry
from journeyman.kernel.decide import decide
from journeyman.kernel.duration import Seconds, microseconds
from journeyman.kernel.lifecycle import TERMINAL, WAITING, State
from journeyman.kernel.orders import key_taken
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState

RETRYABLE = frozenset({State.FAILED, State.CANCELLED, State.INTERRUPTED})
PRUNED = frozenset({State.SUCCEEDED, State.CANCELLED})  # what a prune takes that names no states


class Aim(NamedTuple):
    """`filters`: whom it is for; their states are only those that it makes sense for.  `command`: what each is told, by id."""

    filters: Filters
    command: Callable[[bytes], Command]
    oldest_first: bool = False  # so that they keep their order among each other

    def chunk(self, stock: Stock, past: int | None, bound: int | None = None) -> list[TaskState]:
        """The next OPERATION_CHUNK tasks after the one with seq `past`; those with a seq from `bound` on are not meant."""
        if self.oldest_first:
            tasks: Iterator[TaskState] = stock.oldest(self.filters, 0 if past is None else past)
            return [task for task in islice(tasks, OPERATION_CHUNK) if bound is None or task.seq < bound]
        return list(islice(stock.newest(self.filters, bound if past is None else past), OPERATION_CHUNK))


def to_cancel(filters: Filters, *, running: bool, reason: str, by: str) -> Aim:
    """Newest first: of tasks that wait for each other the last goes first, and each by this order."""
    check_words(reason, by)
    return Aim(_of(filters, WAITING | {State.RUNNING} if running else WAITING), lambda id: Cancel(id, reason, by, running))


def to_retry(filters: Filters, *, reason: str, by: str) -> Aim:
    """Failed ones, unless the filter names other states.  NotRetryable if it names one out of which there is no way."""
    check_words(reason, by)
    wanted = frozenset({State.FAILED}) if filters.states is None else filters.states
    if wrong := sorted(wanted - RETRYABLE):
        raise NotRetryable(f"tasks that are {wrong[0]} cannot be retried; only failed, cancelled and interrupted ones can")
    return Aim(filters._replace(states=wanted), lambda id: Retry(id, reason, by), oldest_first=True)


def to_reschedule(filters: Filters, *, delay: Seconds | None, at: datetime | None, reason: str, by: str) -> Aim:
    check_words(reason, by)
    delay_us, due_at = due_of(delay, at)
    return Aim(_of(filters, WAITING), lambda id: Reschedule(id, delay_us, due_at, reason, by), oldest_first=True)


def to_reprioritise(filters: Filters, *, priority: int, reason: str, by: str) -> Aim:
    check_words(reason, by)
    chosen = whole(priority, "priority", PRIORITY_MIN, PRIORITY_MAX)
    return Aim(_of(filters, WAITING), lambda id: Reprioritise(id, chosen, reason, by))


def to_prune(filters: Filters, older_than: Seconds, now: int) -> Filters:
    """Succeeded and cancelled ones, unless the filter names other states; ended at least so many seconds before `now`.  ValueError."""
    wanted = PRUNED if filters.states is None else filters.states
    if wanted - TERMINAL:
        raise ValueError(f"only ended tasks can be pruned, not {', '.join(sorted(wanted - TERMINAL))}")
    return filters._replace(states=wanted, ended_by=now - microseconds(older_than, "older_than"))


def why_kept(id: str, task: TaskState | None, pinned: bool) -> str | None:
    """Why a prune that names this task refuses; None if it takes it.  `pinned`: whether others wait for it."""
    if task is None:
        return no_task(id)
    if task.state not in TERMINAL:
        return f"task {id} is {task.state}; only ended tasks can be pruned"
    return f"task {id} must stay: other tasks still wait for it" if pinned else None


def no_task(id: str) -> str:
    return f"no task {id}: it was never submitted here, or retention has dropped it"


def has_ended(id: str, task: TaskState) -> str:
    """Of an order about a task that memory holds no longer."""
    return f"task {id} has ended ({task.state})"


def due_of(delay: Seconds | None, at: datetime | None) -> tuple[int, int | None]:
    """(microseconds from now, or the instant instead).  ValueError unless exactly one is given."""
    if (delay is None) == (at is None):
        raise ValueError("give delay (from now) or at (an instant), one of them")
    if delay is not None:
        return microseconds(delay, "delay"), None
    if not isinstance(at, datetime):
        raise ValueError(f"at must be an aware datetime, not {at!r}")
    return 0, max(0, instant_us(at, "at"))


def _of(filters: Filters, states: frozenset[State]) -> Filters:
    """Only those of `states` that the filter asks for."""
    return filters._replace(states=states if filters.states is None else filters.states & states)


class Rehearsal:
    """What tasks would answer to one order, one after another.  Nothing is applied."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._taken: dict[tuple[str, str], bytes] = {}  # unique keys of tasks that would be retried

    def answer(self, state: QueueState, task: TaskState, command: Command, env: Env = Env()) -> Answer:  # noqa: B008  # a value
        """`state`: of the task's queue.  `env`: what its actor knows of the world."""
        if type(command) is not Retry:
            return decide(state, [command], self._now, env).answers[0]
        if task.id not in state.tasks:
            command = command._replace(ended=task)
        answer = decide(state, [command], self._now, env).answers[0]
        key = None if task.options is None else task.options.get("unique")
        if key is None or type(answer) is not Accepted:
            return answer
        holder = self._taken.setdefault((state.name, key), task.id)
        return answer if holder == task.id else key_taken(key, task.id, holder)

    def count(self, state: QueueState, task: TaskState, command: Command, env: Env = Env()) -> int:  # noqa: B008
        """1 if the task would be touched."""
        answer = self.answer(state, task, command, env)
        return answer.count if type(answer) is Accepted else 0


__all__ = [
    "PRUNED",
    "RETRYABLE",
    "Aim",
    "Rehearsal",
    "due_of",
    "has_ended",
    "no_task",
    "to_cancel",
    "to_prune",
    "to_reprioritise",
    "to_reschedule",
    "to_retry",
    "why_kept",
]
