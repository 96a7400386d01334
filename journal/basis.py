"""Where a look at the past begins: the state as of the newest checkpoint, read bit by bit beside an engine that goes on writing.

Problem.  Recovery reads the rows of a checkpoint with the journal to itself.  A tool reads them while an engine takes the next checkpoint,
prunes and retries, and of three million ended tasks that takes half a minute: one read transaction for so long would pin every page that
the engine frees meanwhile, and the file would grow.

Choice: every read is a page, and ends; what moves meanwhile is found again by what is known of how it moves (checkpoint.py).  Let S be the
seq of the checkpoint that was read first.
- A row that a later checkpoint wrote says so.  Its task as of S is the fold of its own events, as in recovery.
- A task leaves LIVE only for TASKS, where it is put in an earlier commit than it is swept out of LIVE.  LIVE is read before TASKS, so it
  is met in one of them, or in both, and then LIVE's word counts.
- A task leaves TASKS for LIVE only when it is retried, and TaskRetried brings it along whole.  After each page of TASKS the events written
  since are looked through: a task retried whose place has not been read yet is taken from there and passed over afterwards.
- What prune takes is in no past, whichever page it was on.

Numbers need no rows: while no checkpoint is under way, the tally says how many ended tasks TASKS holds of each queue and state, and index
BY_EXPIRY which of them had expired at an instant.  If the tally is another after the index was read than before, that is done again, and
with a checkpoint under way the rows are read after all.

Only the newest checkpoint is there: each one overwrites the rows of the one before, so there is no older basis to begin with.

Rejected: one snapshot (see above); giving up and starting anew when a checkpoint comes between (a busy engine takes one every few seconds).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from journeyman.journal.checkpoint import CHECKPOINT, PROGRESS
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.log import seq_key
from journeyman.journal.record import TAG_OF, decode_records
from journeyman.journal.recovery import AtCheckpoint, facts_at_checkpoint, task_as_of
from journeyman.journal.row import STATE_OF_CODE, decode_named, decode_rows
from journeyman.journal.store import Store, Table
from journeyman.journal.tally import TALLY, Tally
from journeyman.kernel.events import TaskRetried
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.taskstate import TaskState

_PAGE: Final = 2_000
_TRIES: Final = 5
_KIND: Final = 1  # where a record says its kind
_RETRIED: Final = TAG_OF[TaskRetried]
Counts = dict[str, Counter[State]]


def begin(store: Store) -> AtCheckpoint:
    """The queues as of the newest checkpoint, with the tasks that memory held then."""
    while True:
        before = store.get(Table.META, CHECKPOINT)
        base = facts_at_checkpoint(store)
        if store.get(Table.META, CHECKPOINT) == before:
            break
    start = b""
    while pairs := store.scan(Table.LIVE, start, limit=_PAGE):
        for task, as_of in decode_rows(Table.LIVE, pairs):
            if task.seq > base.through:
                continue
            found = task if as_of <= base.through else _as_of(store, base, task, Table.LIVE, seq_key(task.seq))
            if found is not None:
                base.state.queue(found.queue).adopt(found)
                if found.state in TERMINAL:
                    base.ended.append(found)
        start = pairs[-1][0] + b"\0"
    return base


def counted(store: Store, base: AtCheckpoint, observers: Sequence[int]) -> list[Counts] | None:
    """How many ended tasks there were at `base` beside those that it holds, as seen at each of these instants, without reading them.

    None while a checkpoint is under way: then count those of `settled`.  Tasks of `base.ended` that are among them leave `base.ended`.
    """
    for _ in range(_TRIES):
        before = store.get(Table.META, TALLY)
        tally = Tally.load(store)
        expired = _expired(store, tally, observers)
        held = _held(store, base)
        progress, now = store.get_many(Table.META, [PROGRESS, CHECKPOINT])
        stands = decode_named(CHECKPOINT, now)
        if progress is not None or stands is None or stands["seq"] != base.through:
            return None
        if store.get(Table.META, TALLY) == before:
            base.ended[:] = [task for task in base.ended if task.id not in held]
            return [_less(tally, gone) for gone in expired]
    return None


def _held(store: Store, base: AtCheckpoint) -> set[bytes]:
    """Those of `base.ended` that TASKS holds too: the sweep that follows a checkpoint has not taken them out of LIVE yet."""
    ids = [task.id for task in base.ended]
    found: set[bytes] = set()
    for start in range(0, len(ids), _PAGE):
        some = ids[start : start + _PAGE]
        found.update(id for id, row in zip(some, store.get_many(Table.TASKS, some), strict=True) if row is not None)
    return found


def _expired(store: Store, tally: Tally, observers: Sequence[int]) -> list[Counts]:
    """Ended tasks whose retention had ended, at each of these instants."""
    found: list[Counts] = [{} for _ in observers]
    start, stop = b"", seq_key(max(observers, default=-1) + 1)
    while pairs := store.scan(Table.BY_EXPIRY, start, stop, limit=_PAGE):
        for key, value in pairs:
            name, state = tally.names.get(int.from_bytes(value[16:20], "big"), ""), STATE_OF_CODE[value[20]]
            for at, counts in zip(observers, found, strict=True):
                if int.from_bytes(key[:8], "big") <= at:
                    counts.setdefault(name, Counter())[state] += 1
        start = pairs[-1][0] + b"\0"
    return found


def _less(tally: Tally, gone: Counts) -> Counts:
    return {
        name: Counter({STATE_OF_CODE[code]: count - gone.get(name, Counter())[STATE_OF_CODE[code]] for code, count in counts.items()})
        for ordinal, counts in tally.counts.items()
        for name in (tally.names[ordinal],)
    }


def settled(store: Store, base: AtCheckpoint) -> Iterator[TaskState]:
    """The tasks beside those of `base` that were there as of it.  They had ended, but for those that ended and left LIVE meanwhile."""
    retried = _Retried(store, base)
    start = b""
    while True:
        pairs = store.scan(Table.TASKS, start, limit=_PAGE)
        yield from retried.since(start)
        if not pairs:
            return
        for task, as_of in decode_rows(Table.TASKS, pairs):
            if task.seq > base.through or task.id in retried.ids or _holds(base, task):
                continue
            found = task if as_of <= base.through else _as_of(store, base, task, Table.TASKS, task.id)
            if found is not None:
                yield found
        start = pairs[-1][0] + b"\0"


class _Retried:
    """Tasks that were retried after `base`, before their place in TASKS was read."""

    def __init__(self, store: Store, base: AtCheckpoint) -> None:
        self.ids: set[bytes] = set()
        self._store, self._base = store, base
        self._read = base.through

    def since(self, place: bytes) -> Iterator[TaskState]:
        """Those of the events written since the last call that were not met before `place`, as of `base`."""
        store, base = self._store, self._base
        while pairs := store.scan(Table.EVENTS, seq_key(self._read + 1), limit=_PAGE):
            self._read = int.from_bytes(pairs[-1][0], "big")
            for _, event in decode_records([pair for pair in pairs if len(pair[1]) > _KIND and pair[1][_KIND] == _RETRIED]):
                if not isinstance(event, TaskRetried) or event.task < place or event.task in self.ids:
                    continue
                task = TaskState.from_row(event.row)
                if task.seq > base.through or _holds(base, task):
                    continue
                self.ids.add(task.id)
                found = _as_of(store, base, task, Table.EVENTS, seq_key(task.seq))
                if found is not None:
                    yield found


def _holds(base: AtCheckpoint, task: TaskState) -> bool:
    queue = base.state.queues.get(task.queue)
    return queue is not None and task.id in queue.tasks


def _as_of(store: Store, base: AtCheckpoint, task: TaskState, table: Table, key: bytes) -> TaskState | None:
    """The task as it stood at `base`, from its own events; None if it has been pruned, and with it what `key` names."""
    try:
        return task_as_of(base.journal, task, base.through)
    except JournalCorrupt:
        if store.get(table, key) is None:
            return None
        raise


__all__ = ["Counts", "begin", "counted", "settled"]
