"""Prune: ended tasks leave the journal whole, and an event says so.

Problem.  Deleting is the one thing that can silently break "live state equals replayed state", and it happens while checkpoints are written
and recovered from. Choice: a task goes as a whole (every event, payload, result, row and index entry) in the commit of the TasksPruned that
names it, and only when its life lies on one side of the newest complete checkpoint:

- all of it at or below the checkpoint: recovery reads rows, which go in the same commit, and never its events;
- all of it above: recovery reads only the tail, in which nothing of it is left.

A task that lived across the checkpoint waits for the next one; while a checkpoint is being written, a task in memory that it may concern
waits too.  So folding what remains, from the first event or from a checkpoint, gives the live state: what others still need of a pruned
task is the residue in the event (the limiter's time and the seq that set it).

Tasks expire exactly on time for readers (catalog.py); being deleted a little later is invisible.  What is freed is reused by LMDB; the file
does not shrink.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from journeyman.journal.catalog import Catalog
from journeyman.journal.checkpoint import Checkpoint, delete_live, delete_places
from journeyman.journal.log import Journal, seq_key
from journeyman.journal.store import Batch, Table
from journeyman.journal.tally import Tally
from journeyman.kernel.events import TasksPruned
from journeyman.kernel.keys import key_of
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.state import QueueState
from journeyman.kernel.steps import kept_seqs
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState

_ENDED: Final = tuple(state for state in State if state in TERMINAL)


class Pruning(NamedTuple):
    """One commit's worth.  Fold and seal `events` in this order with `extra` in the same commit, in the same step that planned it."""

    events: list[TasksPruned]
    extra: Batch
    ids: list[bytes]


class Pruner:
    """Plans prunes.  On the loop thread; nothing else may seal between `prune` and the sealing of its events."""

    def __init__(
        self,
        journal: Journal,
        catalog: Catalog,
        checkpoint: Checkpoint,
        tally: Tally | None = None,
        pinned: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self._journal = journal
        self._catalog = catalog
        self._checkpoint = checkpoint
        self._pinned = pinned  # whether something waits for the task, or for the news of its end
        self._tally = tally or catalog.tally
        self._found: deque[tuple[str, bytes, int]] = deque()  # expired tasks in memory
        self._found_at: int | None = None
        self.more = True  # whether there may be more than `expired` has returned
        self.held_back = False  # whether this round has met an expired task that only another checkpoint lets go

    def look_again(self) -> None:
        """Another checkpoint was taken: search anew, though it be the same instant."""
        self._found_at = None

    def expired(self, world: JournalState, now: int, limit: int, durable_seq: int) -> list[TaskState]:
        """At most `limit` tasks whose retention has ended at `now` and that may go now.  Empty: nothing more for this `now`.

        Memory is searched once for each `now`, so use one instant for a whole round.
        """
        if self._found_at != now:
            self._found_at, self.held_back = now, False
            self._found = deque(_expired_in_memory(world, now))
        tasks: list[TaskState] = []
        while self._found and len(tasks) < limit:
            queue, id, seq = self._found.popleft()
            task = world.queue(queue).tasks.get(id)
            if task is None or task.seq != seq:
                continue
            if self.may_go(task, durable_seq):
                tasks.append(task)
            elif task.seq <= self._checkpoint.through_seq < task.last_seq:
                self.held_back = True
        room = limit - len(tasks)
        settled = self._catalog.expired(now, room) if room else []
        self.more = len(settled) == room
        return tasks + [task for task in settled if not self._pinned(task.id)]

    def may_go(self, task: TaskState, durable_seq: int) -> bool:
        """Whether an ended task that memory holds may be pruned now.  (A settled one always may.)"""
        if task.state not in TERMINAL or task.last_seq > durable_seq or self._pinned(task.id):
            return False
        checkpoint = self._checkpoint
        if checkpoint.seq is not None:
            return task.seq > checkpoint.seq
        return task.seq > checkpoint.through_seq or task.last_seq <= checkpoint.through_seq

    def prune(self, tasks: Sequence[TaskState], world: JournalState, now: int, *, by: str = "retention", reason: str = "") -> Pruning:
        """The events and deletes that take `tasks` (from `expired`, or allowed by `may_go`, or settled) out of the journal.

        Tasks that are gone already are passed over, so there may be nothing to seal.
        """
        tally, journal = self._tally, self._journal
        extra = Batch()
        tasks = list({task.id: task for task in tasks}.values())
        settled = self._settled(tasks, world)
        tasks = [task for task in tasks if task.id in settled or _held(task, world)]
        by_queue: dict[str, list[TaskState]] = {}
        for task in tasks:
            by_queue.setdefault(task.queue, []).append(task)
        places = [tally.place(task) for task in settled.values()]
        places += [place for task in tasks if (place := tally.shadowed.get(task.id)) is not None and place.seq == task.seq]
        if places:
            delete_places(places, journal, tally, extra)
        delete_live([task.seq for task in tasks if task.seq <= self._checkpoint.live_bound], journal, tally, extra)
        extra.delete(Table.EVENTS, [seq_key(seq) for task in tasks for seq in task.seqs])
        extra.delete(Table.PAYLOADS, [seq_key(seq) for task in tasks for seq in _payload_seqs(task)])
        tally.put_into(extra)
        for task in tasks:
            tally.leaving[task.id] = task.seq
            journal.dirty.pop(task.id, None)
        events = [_event(world.queue(name), group, now, by, reason) for name, group in sorted(by_queue.items())]
        return Pruning(events, extra, [task.id for task in tasks])

    def _settled(self, tasks: Sequence[TaskState], world: JournalState) -> dict[bytes, TaskState]:
        """Those that memory does not hold and that are still there: whoever listed them may have done so a while ago."""
        found = {task.id: task for task in tasks if not _held(task, world) and task.id not in self._tally.leaving}
        values = self._journal.store.get_many(Table.TASKS, list(found))
        return {id: task for (id, task), value in zip(found.items(), values, strict=True) if value is not None}

    def durable(self, pruning: Pruning) -> None:
        """The commit of `pruning` is on disk."""
        self._tally.left(pruning.ids)


def _held(task: TaskState, world: JournalState) -> bool:
    held = world.queue(task.queue).tasks.get(task.id)
    return held is not None and held.seq == task.seq


def _event(queue: QueueState, tasks: Sequence[TaskState], now: int, by: str, reason: str) -> TasksPruned:
    residue: dict[str, Any] = {}
    if queue.tat_seq:  # set by a start, perhaps one of these, and moved by clock steps since
        residue = {"tat_at": queue.tat_at, "tat_seq": queue.tat_seq}
    if shared := queue.limiters.facts():
        residue["limiters"] = shared
    if of_keys := queue.key_tats.facts({key for task in tasks if (key := key_of(task)) is not None}):
        residue["key_tats"] = of_keys
    residue |= queue.claims.residue(tasks, by_hand=by != "retention")
    entries = sorted([task.seqs[0], task.seqs[-1], len(task.seqs)] for task in tasks)
    return TasksPruned(now, queue.name, queue.qseq + 1, queue.epoch, entries, residue, by, {"reason": reason} if reason else None)


def _payload_seqs(task: TaskState) -> Iterable[int]:
    if task.keep_payload:
        yield from kept_seqs(task)
    if task.result_seq:
        yield task.result_seq


def _expired_in_memory(world: JournalState, now: int) -> Iterable[tuple[str, bytes, int]]:
    for queue in world.queues.values():
        for state in _ENDED:
            for task in queue.listed(state, now):
                if task.expires_at is not None and task.expires_at <= now:
                    yield queue.name, task.id, task.seq
