"""The state as it was: at any moment that the journal still tells of.

Problem.  An operator asks what a queue looked like at ten past four.  The journal keeps one snapshot, the newest checkpoint; the events
before it are many, and of tasks that were pruned, and of bookkeeping that was compacted, there is nothing left.

Choice: the ordinary fold, with nothing of its own.  A moment at or after the newest checkpoint begins with the rows of that checkpoint
(basis.py), an earlier one with the first event.  Each page of events is a read of its own; nothing stays open while they are folded.
A caller who wants numbers only (`ended=False`) has ended tasks counted and let go of, so memory holds what was unfinished then, however
long the history; nothing that happens later needs them, for TaskRetried brings its task along whole.

What is honest about it:
- A task that was pruned since is in no past: all of its events have gone.  Counts of the past are counts of what is still retained.
- What was compacted since (boots, policies, pauses, prunes) is known again from the JournalCompacted that took its place, as far as that
  says something set at or before the moment; what it cannot say is named in `unknown`.
- Tasks are seen as an observer of that instant saw them: due is pending, and what had expired is not counted.

Rejected: folding backwards from the newest state (events say what became, not what was before); keeping a checkpoint every so often (disk
for a question that is rarely asked; the fold makes some hundred thousand events a second); a table of states by seq (the same, worse).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from journeyman.journal.basis import begin, counted, settled
from journeyman.journal.checkpoint import CHECKPOINT
from journeyman.journal.collector import without_collector
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.instants import instant_us, seq_of
from journeyman.journal.log import Journal, seq_key
from journeyman.journal.record import TAG_OF, Ignored, decode_records
from journeyman.journal.recovery import AtCheckpoint, task_as_of
from journeyman.journal.row import decode_named
from journeyman.journal.store import Store, Table
from journeyman.kernel.events import (
    Event,
    JournalCompacted,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskRetried,
    TaskSucceeded,
)
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState, fold

if TYPE_CHECKING:
    from journeyman.journal.view import JournalView, Moment

Tell = Callable[[int], object]
_ENDS: Final = frozenset({TaskSucceeded, TaskFailed, TaskCancelled, TaskInterrupted})
_PAGE: Final = 2_000
_KIND: Final = 1  # where a record says its kind


def _nothing(_seq: int) -> None: ...


class Past:
    """The journal as of one moment.

    `seq` is the last event in it and `at` the instant at which it is looked at.  `state` holds its tasks; `settled` counts the ended ones
    that it does not hold, by queue.  `unknown`: queue (or "" for the journal) -> what was compacted away since.
    """

    def __init__(
        self, seq: int, at: int, state: JournalState, settled: Mapping[str, Mapping[State, int]], unknown: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.seq, self.at, self.state, self.settled, self.unknown = seq, at, state, settled, unknown

    def __repr__(self) -> str:
        return f"<Past seq={self.seq} queues={sorted(self.state.queues)}>"

    def counts(self, queue: str) -> dict[State, int]:
        """Tasks of a queue by observed state; what had expired by then is left out."""
        held = self.state.queues.get(queue)
        counts = dict.fromkeys(State, 0)
        if held is not None:
            counts.update(held.counts(self.at))
            for state in TERMINAL:
                counts[state] -= sum(1 for task in held.listed(state, self.at) if not unexpired(task, self.at))
        for state, count in self.settled.get(queue, {}).items():
            counts[state] += count
        return counts

    def task(self, id: bytes) -> TaskState | None:
        """A task that it holds."""
        return next((queue.tasks[id] for queue in self.state.queues.values() if id in queue.tasks), None)


def unexpired(task: TaskState, at: int) -> bool:
    """Whether an observer at `at` still sees an ended task."""
    return task.expires_at is None or task.expires_at > at


class Walk:
    """A fold on its way through the journal: from the newest checkpoint if that is at or before `first`, else from the first event.

    With `ended`, ended tasks stay in `state`; else they are counted, once for each instant of `observers` as seen then, and let go of.
    An engine may be writing all the while: nothing stays open between two pages.
    """

    def __init__(self, store: Store, first: int, *, ended: bool, observers: Sequence[int] = ()) -> None:
        self.seq = 0  # all events up to here are in the state
        self.state = JournalState()
        self.settled: list[dict[str, Counter[State]]] = [{} for _ in observers]
        self._store = store
        self._ended = ended
        self._observers = observers
        base = decode_named(CHECKPOINT, store.get(Table.META, CHECKPOINT))
        if base is not None and base["seq"] <= first:
            self._begin_at_checkpoint(begin(store), first)

    def _begin_at_checkpoint(self, base: AtCheckpoint, first: int) -> None:
        if base.through > first:  # an engine has just taken the next one
            return
        self.seq, self.state = base.through, base.state
        in_memory = [task for task in base.ended if not self._ended]
        counts = None if self._ended else counted(self._store, base, self._observers)
        if counts is not None:
            self.settled = counts
            known = {task.id for task in base.ended}
        else:
            known = {task.id for task in in_memory}
            for task in settled(self._store, base):
                if self._ended or task.state not in TERMINAL:
                    self.state.queue(task.queue).adopt(task)
                else:
                    self._count(task, 1)
        self.state.rebuild()
        for task in in_memory:
            if task.id in known:
                self._count(task, 1)
            self.state.queues[task.queue].settle((task.id,))

    def events(self, last: int, tell: Tell = _nothing) -> Iterator[tuple[int, Event]]:
        """The events after `seq` up to `last`, to be taken one after another."""
        for chunk in Journal(self._store).walk(self.seq + 1, last):
            for seq, event in chunk:
                if not isinstance(event, Ignored):
                    yield seq, event
            tell(chunk[-1][0])
        self.seq = max(self.seq, last)

    def take(self, seq: int, event: Event) -> TaskState | None:
        """Fold one; the task that ended by it, if it was let go of."""
        try:
            fold(self.state, event, seq)
        except KeyError:
            raise JournalCorrupt(
                f"record {seq} speaks of a task that no record before it submitted: run `journeyman verify`, and restore a backup", seq
            ) from None
        self.seq = seq
        if self._ended:
            return None
        kind = type(event)
        if kind in _ENDS:
            task = self.state.queues[event.queue].tasks[event.task]  # type: ignore[union-attr]
            self._let_go(task)
            return task
        if kind is TaskRetried:
            self._count(TaskState.from_row(event.row), -1)  # type: ignore[union-attr]
        return None

    def run(self, last: int, tell: Tell = _nothing) -> None:
        """Take all up to `last`."""
        take = self.take
        for seq, event in self.events(last, tell):
            take(seq, event)

    def _let_go(self, task: TaskState) -> None:
        self._count(task, 1)
        self.state.queues[task.queue].settle((task.id,))

    def _count(self, task: TaskState, by: int) -> None:
        for at, counts in zip(self._observers, self.settled, strict=True):
            if unexpired(task, at):
                counts.setdefault(task.queue, Counter())[task.state] += by

    def without_pruned(self) -> None:
        """Let go of tasks that an engine pruned while their events were being read: half of a life is no life."""
        for queue in self.state.queues.values():
            for some in _pages([task for task in queue.tasks.values() if task.state not in TERMINAL]):
                found = self._store.get_many(Table.EVENTS, [seq_key(task.seq) for task in some])
                gone = [task for task, value in zip(some, found, strict=True) if value is None]
                for task in gone:
                    del queue.tasks[task.id]
                    queue.running.pop(task.id, None)
                if gone:
                    queue.rebuild()

    def recall(self) -> dict[str, tuple[str, ...]]:
        """Bring back what a later compaction says of this moment; queue -> what it cannot say.  After the last `take`."""
        compacted = _compacted_after(self._store, self.seq)
        if compacted is None:
            return {}
        unknown: dict[str, tuple[str, ...]] = {"": ("boots",)}
        for name, facts in compacted.queues.items():
            known = _as_of(facts, self.seq)
            if name not in self.state.queues and not (known["config_seq"] or known["pause_seq"]):
                continue
            queue = self.state.queue(name)
            queue.merge_facts(known)
            missing = [
                what
                for what, fact, seen in (("policy", "config_seq", queue.config_seq), ("pauses", "pause_seq", queue.pause_seq))
                if facts[fact] > self.seq and not seen
            ]
            if missing:
                unknown[name] = tuple(missing)
        return unknown


def _pages(tasks: list[TaskState]) -> Iterator[list[TaskState]]:
    for start in range(0, len(tasks), _PAGE):
        yield tasks[start : start + _PAGE]


def _as_of(facts: Mapping[str, Any], seq: int) -> dict[str, Any]:
    """Those facts of a queue that were set at or before `seq`; for the rest, what `merge_facts` passes over."""
    known = dict(facts, epoch=0, qseq=0, gone_seq=0, limiters=None, key_tats=None, holds={})
    for name in ("config_seq", "pause_seq"):
        if facts[name] > seq:
            known[name] = 0
    if facts.get("declared_seq", facts["config_seq"]) > seq:
        known["declared_seq"] = 0
    for name in ("tat_seq", "schedules_seq"):
        if facts.get(name, 0) > seq:
            known[name] = -1
    if known.get("parked") is not None and facts["parked"][2] > seq:
        known["parked"] = None
    return known


def _compacted_after(store: Store, seq: int) -> JournalCompacted | None:
    """The newest JournalCompacted, if it is after `seq`: what it replaced is missing from the fold up to there."""
    base = decode_named(CHECKPOINT, store.get(Table.META, CHECKPOINT))
    found = 0
    start = seq
    if base is not None:
        found = base["facts"]["compacted_seq"]
        start = max(seq, base["seq"])
    tag = TAG_OF[JournalCompacted]
    while pairs := store.scan(Table.EVENTS, seq_key(start + 1), limit=_PAGE):
        for key, value in pairs:
            if len(value) > _KIND and value[_KIND] == tag:
                found = int.from_bytes(key, "big")
        start = int.from_bytes(pairs[-1][0], "big")
    event = Journal(store).event(found) if found > seq else None
    return event if isinstance(event, JournalCompacted) else None


def state_at(view: JournalView, moment: Moment, *, ended: bool, tell: Tell | None) -> Past:
    """What `JournalView.state_at` answers."""
    seq, at = resolve(view, moment)
    with without_collector():
        walk = Walk(view.store, seq, ended=ended, observers=(at,))
        walk.run(seq, tell or _nothing)
        walk.without_pruned()
        unknown = walk.recall()
    return Past(seq, at, walk.state, walk.settled[0], unknown)


def task_at(view: JournalView, id: bytes, seq: int) -> TaskState | None:
    """The task as it stood at `seq`, from its own events alone; None if it did not exist then, or is not there any more."""
    with view.newest() as found:
        task = next((queue.tasks[id] for queue in found.state.queues.values() if id in queue.tasks), None) or found.catalog.get(id, 0)
        return None if task is None or task.seq > seq else task_as_of(found.journal, task, seq)


def resolve(view: JournalView, moment: Moment) -> tuple[int, int]:
    """The last seq that belongs to `moment`, and the instant at which to look.  ValueError for one that has not come."""
    last = view.last_seq
    if (seq := seq_of(moment)) is not None:
        if seq > last:
            raise ValueError(f"there is no seq {moment}: the journal ends at {last}")
        return seq, instant_at(view.store, seq)
    assert isinstance(moment, datetime)
    at = instant_us(moment, "a moment")
    if at > view.now():
        raise ValueError(f"{moment.isoformat()} has not come yet")
    return view.seq_at(moment), at


def instant_at(store: Store, seq: int) -> int:
    """The instant of the last event at or before `seq` that is still there; 0 if there is none."""
    pairs = store.scan(Table.EVENTS, b"", seq_key(seq + 1), reverse=True, limit=1)
    return decode_records(pairs)[0][1].at if pairs else 0


__all__ = ["Past", "Tell", "Walk", "instant_at", "resolve", "state_at", "task_at", "unexpired"]
