"""What changed between two moments.

Problem.  "What did the deploy at four do?"  Two states could be compared, but two states of a large journal do not fit into memory, and
most tasks of a busy hour begin and end within it.

Choice: the state at the first moment, with ended tasks let go of (past.py), folded on to the second; the events between say which tasks to
look at.  A task is told of when its end is folded, and what is still unfinished at the second moment is told of then, so memory holds
what was unfinished at either moment, however many tasks came and went.  One task is one line: those that an operator retried in between
are known beforehand from a look at the kinds of the records, and are kept until the end.

A change is a difference of facts, not a list of events: a task that failed, waited and runs again is `running` before and after, with an
attempt more.  A task of which nothing happened but that its instant came is `scheduled` before and `pending` after, as observed.
What is not told of: tasks pruned since, of which the journal knows nothing any more (TasksPruned in between are counted); words of stale
attempts about a task that had ended; due instants that a step of the clock moved.

Rejected: comparing rows of two whole states (memory); the net of each task's own events alone (no observed states, no queues).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from journeyman.journal.log import seq_key
from journeyman.journal.past import Past, Tell, Walk, resolve
from journeyman.journal.record import TAG_OF, decode_records
from journeyman.journal.store import Store, Table
from journeyman.kernel.events import (
    ClockStepped,
    EngineBooted,
    Event,
    JournalCompacted,
    TaskRetried,
    TasksPruned,
    TaskSubmitted,
    ValuePut,
)
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import TERMINAL, State, observed
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState

if TYPE_CHECKING:
    from journeyman.journal.view import JournalView, Moment

_PAGE: Final = 5_000
_KIND: Final = 1
_FACTS: Final = (
    "attempt", "failures", "crashes", "priority", "due_at", "reason", "message", "progress_ppm", "cancel", "error", "waits_for",
    "payload_digest",
)  # fmt: skip
Facts = dict[str, Any]
What = Literal["added", "added and ended", "ended", "retried", "changed"]


@dataclass(frozen=True, slots=True)
class TaskChange:
    """One task.  `fields`: name -> (before, after) of what differs; `state` is as observed, None before it existed."""

    what: What
    id: str
    queue: str  # as stored
    handler: str
    fields: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class QueueChange:
    """One queue.  `counts`: state -> (before, after), all of them; `fields` what differs of policy, pauses and schedules."""

    queue: str  # as stored
    is_new: bool
    counts: Mapping[State, tuple[int, int]]
    fields: Mapping[str, tuple[Any, Any]]
    unknown: tuple[str, ...]  # what of either moment was compacted away since, and is not compared


@dataclass(frozen=True, slots=True)
class JournalChange:
    """What concerns no queue: always the last one."""

    a: int
    b: int
    boots: int
    stepped_us: int  # by how much the clock was stepped
    pruned: int  # tasks that left the journal in between
    compactions: int
    values: int = 0  # how often a key of the application got another value, or none


Change = TaskChange | QueueChange | JournalChange


def changes(view: JournalView, a: Moment, b: Moment, *, tell: Tell | None = None) -> Iterator[Change]:
    """What `JournalView.diff` answers.  ValueError if `b` is before `a`, or has not come."""
    first, last = resolve(view, a), resolve(view, b)
    if first > last:
        raise ValueError(f"the first moment (seq {first[0]}) is after the second (seq {last[0]}): give them the other way round")
    return _changes(view, first, last, tell or (lambda seq: None))


def _changes(view: JournalView, a: tuple[int, int], b: tuple[int, int], tell: Tell) -> Iterator[Change]:
    retried = _retried_between(view.store, a[0], b[0])
    walk = Walk(view.store, a[0], ended=False, observers=(a[1], b[1]))
    walk.run(a[0], tell)
    unknown = walk.recall()
    before = _queues(walk, *a, 0)
    tasks, journal = _Tasks(walk.state, a[1], b[1], retried), _JournalFacts()
    for seq, event in walk.events(b[0], tell):
        tasks.before(event)
        ended = walk.take(seq, event)
        journal.after(event)
        if ended is not None and (change := tasks.ended(ended)) is not None:
            yield change
    walk.without_pruned()
    yield from tasks.rest(a[0])
    for name, lost in walk.recall().items():
        unknown[name] = tuple(dict.fromkeys((*unknown.get(name, ()), *lost)))
    yield from _queue_changes(before, _queues(walk, *b, 1), unknown)
    yield JournalChange(a[0], b[0], journal.boots, journal.stepped_us, journal.pruned, journal.compactions, journal.values)


class _Tasks:
    """The tasks that the events between the two moments touch."""

    def __init__(self, state: JournalState, a: int, b: int, retried: set[bytes]) -> None:
        self._state, self._a, self._b, self._retried = state, a, b, retried
        self._before: dict[bytes, Facts | None] = {}  # of those touched: as they were; None for new ones
        self._held: dict[bytes, TaskState] = {}  # ended, but retried in between: told of at the end

    def before(self, event: Event) -> None:
        """`event` is about to be folded."""
        id: bytes | None = getattr(event, "task", None)
        if id is None or id in self._before:
            return
        if type(event) is TaskSubmitted:
            self._before[id] = None
        elif type(event) is TaskRetried:
            self._before[id] = _facts(TaskState.from_row(event.row), self._a)
        else:
            task = self._state.queues[event.queue].tasks.get(id)
            if task is not None:  # else a late word about one that has ended
                self._before[id] = _facts(task, self._a)

    def ended(self, task: TaskState) -> TaskChange | None:
        """It was just let go of."""
        if task.id in self._retried:
            self._held[task.id] = task
            return None
        return self._change(task, self._before.pop(task.id, None))

    def rest(self, first: int) -> Iterator[TaskChange]:
        """All that are left, those that only became due since seq `first` included."""
        for queue in self._state.queues.values():
            for task in queue.tasks.values():
                self._held.pop(task.id, None)
                if task.id in self._before:
                    found = self._change(task, self._before[task.id])
                elif task.seq <= first:
                    found = self._came_due(task)
                else:
                    continue
                if found is not None:
                    yield found
        for task in self._held.values():
            found = self._change(task, self._before.get(task.id))
            if found is not None:
                yield found

    def _came_due(self, task: TaskState) -> TaskChange | None:
        was, now = (observed(task.state, task.due_at, at) for at in (self._a, self._b))
        return None if was is now else TaskChange("changed", id_text(task.id), task.queue, task.handler, {"state": (was, now)})

    def _change(self, task: TaskState, before: Facts | None) -> TaskChange | None:
        after = _facts(task, self._b)
        over = task.state in TERMINAL
        if over:
            del after["due_at"]  # of no account any more
        if before is None:
            fields = {name: (None, value) for name, value in after.items() if value not in (None, 0, b"")}
            fields.pop("payload_digest", None)
            return TaskChange("added and ended" if over else "added", id_text(task.id), task.queue, task.handler, fields)
        fields = {name: (before[name], value) for name, value in after.items() if before[name] != value}
        if not fields:
            return None
        was_over = before["state"] in TERMINAL
        what: What = "retried" if was_over else "ended" if over else "changed"
        return TaskChange(what, id_text(task.id), task.queue, task.handler, fields)


def _facts(task: TaskState, at: int) -> Facts:
    found: Facts = {"state": observed(task.state, task.due_at, at)}
    for name in _FACTS:
        found[name] = getattr(task, name)
    if found["error"] is not None:
        found["error"] = f"{task.error[0]}: {task.error[1]}" if task.error else None
    if found["waits_for"] is not None:
        found["waits_for"] = [id_text(id) for id in sorted(found["waits_for"])]
    return found


class _JournalFacts:
    """What concerns no queue."""

    def __init__(self) -> None:
        self.boots = self.stepped_us = self.pruned = self.compactions = self.values = 0

    def after(self, event: Event) -> None:
        kind = type(event)
        if kind is EngineBooted:
            self.boots += 1
        elif kind is ClockStepped:
            self.stepped_us += event.delta_us  # type: ignore[union-attr]
        elif kind is TasksPruned:
            self.pruned += len(event.entries)  # type: ignore[union-attr]
        elif kind is JournalCompacted:
            self.compactions += 1
        elif kind is ValuePut:
            self.values += 1


@dataclass(frozen=True, slots=True)
class _Queue:
    counts: dict[State, int]
    fields: Facts


def _queues(walk: Walk, seq: int, at: int, observer: int) -> dict[str, _Queue]:
    """Every queue as it stands now in `walk`, as seen by its first or second observer."""
    past = Past(seq, at, walk.state, walk.settled[observer], {})
    return {name: _Queue(past.counts(name), _queue_fields(queue, at)) for name, queue in walk.state.queues.items()}


def _queue_fields(queue: QueueState, at: int) -> Facts:
    fields: Facts = {f"policy.{name}": value for name, value in queue.policy.facts().items()}
    fields["paused"] = None if queue.paused is None else {"by": queue.paused[0], "reason": queue.paused[1], "at_us": queue.paused[2]}
    fields["parked_until_us"] = queue.parked_until if queue.parked_until > at else None
    fields["epoch"] = queue.epoch
    for name, schedule in queue.schedules.items():
        fields[f"schedule.{name}"] = _spec(schedule.spec)
    return fields


def _spec(spec: Mapping[str, Any]) -> Facts:
    """What a schedule declares, without what its tasks are given: that may be secret."""
    shown = {name: value for name, value in spec.items() if name not in ("payload", "digest")}
    shown["options"] = {name: value for name, value in (spec.get("options") or {}).items() if name != "meta"}
    return shown


def _queue_changes(before: dict[str, _Queue], after: dict[str, _Queue], unknown: Mapping[str, tuple[str, ...]]) -> Iterator[QueueChange]:
    for name, now in sorted(after.items()):
        was = before.get(name)
        lost = unknown.get(name, ())
        old = {} if was is None else was.fields
        fields = {
            field: (old.get(field), now.fields.get(field))
            for field in sorted({*old, *now.fields})
            if old.get(field) != now.fields.get(field) and not _compacted(field, lost)
        }
        counts = {state: (0 if was is None else was.counts[state], now.counts[state]) for state in State}
        if fields or lost or any(a != b for a, b in counts.values()):
            yield QueueChange(name, was is None, counts, fields, lost)


def _compacted(field: str, lost: tuple[str, ...]) -> bool:
    return (field.startswith("policy.") and "policy" in lost) or (field == "paused" and "pauses" in lost)


def _retried_between(store: Store, a: int, b: int) -> set[bytes]:
    """Ids of the tasks that were retried after seq `a` and up to `b`."""
    tag, found = TAG_OF[TaskRetried], set()
    start, stop = a + 1, seq_key(b + 1)
    while pairs := store.scan(Table.EVENTS, seq_key(start), stop, limit=_PAGE):
        some = [pair for pair in pairs if len(pair[1]) > _KIND and pair[1][_KIND] == tag]
        found |= {event.task for _, event in decode_records(some) if isinstance(event, TaskRetried)}
        start = int.from_bytes(pairs[-1][0], "big") + 1
    return found


__all__ = ["Change", "JournalChange", "QueueChange", "TaskChange", "changes"]
