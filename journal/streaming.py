"""The fold of a whole history in the memory of its unfinished tasks.

Problem.  Folding a journal from its first event proves that live and replayed state are one, but ended tasks pile up: ten million events
are three million tasks.  Choice: a task that has ended is let go at the end of its page, when the row that the tables hold of it says the
very same bytes; its digest goes into a running sum.  What later events may say of an ended task is little:

- TaskRetried carries the whole task along: its digest leaves the sum, nothing need be remembered;
- TransitionRejected (a stale attempt spoke) does not: the task comes back by the fold of its own events, whose seqs its row names.  A row
  that says already that such a word will come keeps its task here until it has;
- TasksPruned goes with the events of its tasks, so a fold never meets them (unless prune ran while we read; then the record is gone).

An ended task without a row is younger than the newest checkpoint and stays: memory is bounded by the unfinished tasks and the tail.  One
that is older and still has no row is noted (`rowless`, bounded) and let go; the caller judges, for a prune may have come between.

The comparison with the rows is the point and not a price: it names the first task that this code reads otherwise than the code that wrote
the checkpoint, where a single sum over all rows would only say that there is one.

Rejected: keeping a digest for each ended task (16 bytes times millions is no bound); a first pass that looks for TransitionRejected (twice
the reading); trusting rows instead of folding again (they are what is to be proved).

One thing the sum does not know: an id used again after the retention of its first task has ended.  Both count until prune takes the first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from journeyman.journal.checkpoint import CHECKPOINT
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.log import Journal, seq_key
from journeyman.journal.record import Ignored
from journeyman.journal.row import add_digest, decode_named, decode_rows, digest_body, encode_body
from journeyman.journal.store import Store, Table
from journeyman.kernel.events import (
    ClockStepped,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskRetried,
    TaskSucceeded,
    TransitionRejected,
)
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.state import QueueState
from journeyman.kernel.tags import TASK_KINDS
from journeyman.kernel.taskstate import ROW, TaskState
from journeyman.kernel.world import JournalState, fold

_ENDINGS: Final = frozenset({TaskSucceeded, TaskFailed, TaskCancelled, TaskInterrupted})
_CALLING: Final = frozenset({TaskRetried, TransitionRejected})
_BROKEN: Final = 10_000  # tasks whose events are passed over; beyond that every stumble is told
_NOTED: Final = 1_000
# What code raises that meets an event which cannot follow what it has, or that reads events otherwise than the code that wrote them.
STUMBLES: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
_ROW_HEAD: Final = 13


class Difference(NamedTuple):
    """What the fold says otherwise than the journal's tables do, or cannot say at all."""

    seq: int  # of the last event in which they differ
    first: int  # of the first event of the task that it concerns; the same as `seq` where it concerns none
    task: bytes | None
    text: str


class StreamingFold:
    """Feed it all events in pages, oldest first, and call `settle` after each."""

    def __init__(self, store: Store) -> None:
        self.state = JournalState()
        self.gone = 0  # sum of the digests of what was let go
        self.events = 0
        self.matched = 0  # ended tasks whose rows in TASKS say the same
        self.matched_sum = 0  # of the digests of those rows
        self.checkpoint = 0
        self.differences: list[Difference] = []
        self.more = 0  # differences beyond those kept
        self.rowless: list[TaskState] = []
        self.broken: set[bytes] = set()
        self._store = store
        self._journal = Journal(store)
        self._ended: dict[bytes, TaskState] = {}
        self._kept: dict[bytes, TaskState] = {}  # ended, and not let go yet
        self._steps: list[int] = []

    @property
    def digest(self) -> int:
        """Of the whole state: the sum that META `tally` keeps of the rows."""
        total = self.gone
        for queue in self.state.queues.values():
            for task in queue.tasks.values():
                total = add_digest(total, digest_body(encode_body(task)))
        return total

    @property
    def ended(self) -> Iterable[TaskState]:
        """Tasks that have ended on this page, before `settle`.  Some may have been retried on it, too."""
        return self._ended.values()

    @property
    def held(self) -> int:
        """Tasks in memory now."""
        return sum(len(queue.tasks) for queue in self.state.queues.values())

    def feed(self, page: Sequence[tuple[int, Any]]) -> None:
        """Fold these.  What cannot be folded becomes a difference, and its task is passed over from then on."""
        state, ended, broken = self.state, self._ended, self.broken
        for seq, event in page:
            kind = type(event)
            if kind is Ignored or (broken and kind in TASK_KINDS and event[4] in broken):
                continue
            try:
                if kind in _CALLING:
                    self._call_back(event, seq)
                fold(state, event, seq)
                if kind in _ENDINGS:
                    ended[event[4]] = state.queues[event[1]].tasks[event[4]]
                elif kind is ClockStepped:
                    self._steps.append(seq)
            except STUMBLES as failure:
                self._stumble(seq, event, failure)
        self.events += len(page)

    def _stumble(self, seq: int, event: Any, failure: BaseException) -> None:
        task: bytes | None = event[4] if len(event) > 4 and isinstance(event[4], bytes) else None
        said = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
        if isinstance(failure, KeyError) and task is not None and failure.args == (task,):
            said = "its task is not there, or not in the state that this may follow"
        self.note(seq, seq, task, f"{type(event).__name__} at seq {seq} cannot be folded ({said})")
        if task is not None and len(self.broken) < _BROKEN:
            self.broken.add(task)
            queue = self.state.queues.get(event[1])
            former = None if queue is None else queue.tasks.pop(task, None)
            if queue is not None and former is not None:
                queue.running.pop(task, None)
                queue.rebuild()
            self._kept.pop(task, None)

    def there(self, seq: int) -> bool:
        """Whether the record is there still."""
        return self._store.get(Table.EVENTS, seq_key(seq)) is not None

    def settled_otherwise(self, task: TaskState) -> bool:
        """Whether no row says the same of an ended task: in the table, or in LIVE if it had expired at its checkpoint."""
        body = encode_body(task)
        rows = (self._store.get(Table.TASKS, task.id), self._store.get(Table.LIVE, seq_key(task.seq)))
        return all(row is None or row[_ROW_HEAD:] != body for row in rows)

    def superseded(self, task: TaskState) -> bool:
        """Whether the id of an ended task is that of a later one by now."""
        row = self._row(Table.TASKS, task.id)
        queue = self.state.queues.get(task.queue)
        new = None if queue is None else queue.tasks.get(task.id)
        return (row is not None and row.seq > task.seq) or (new is not None and new.seq > task.seq)

    def note(self, seq: int, first: int, task: bytes | None, text: str) -> None:
        """Keep a difference, if there is room."""
        if len(self.differences) < _NOTED:
            self.differences.append(Difference(seq, first, task, text))
        else:
            self.more += 1

    # --- back into memory -----------------------------------------------------------------------------------------------

    def _call_back(self, event: TaskRetried | TransitionRejected, seq: int) -> None:
        id = event.task
        queue = self.state.queue(event.queue)
        here = queue.tasks.get(id)
        if type(event) is TaskRetried:
            told = TaskState.from_row(event.row)
            if here is None:
                self.gone = add_digest(self.gone, -digest_body(encode_body(told)))
            elif here.row() != told.row():
                self.note(
                    seq, here.seq, id, f"TaskRetried at seq {seq} tells another past of its task than the fold: {columns(told, here)}"
                )
            self._kept.pop(id, None)
            self._ended.pop(id, None)
        elif here is not None:
            if here.state in TERMINAL:
                self._ended[id] = here
        elif (found := self._from_events(id, seq)) is not None:
            self.gone = add_digest(self.gone, -digest_body(encode_body(found)))
            queue.tasks[id] = found
            queue.agenda.rosters[found.state].add(found)
            self._ended[id] = found

    def _from_events(self, id: bytes, before: int) -> TaskState | None:
        """An ended task anew from its own events before `before`; None for one that prune has taken."""
        row = self._row(Table.TASKS, id)
        if row is None:
            return None
        wanted = [seq for seq in row.seqs if seq < before] + [seq for seq in self._steps if row.seq < seq < before]
        scratch = JournalState()
        try:
            for seq, event in self._journal.events(wanted):
                if not isinstance(event, Ignored):
                    fold(scratch, event, seq)
        except (JournalCorrupt, *STUMBLES):
            return None
        return scratch.queue(row.queue).tasks.get(id)

    # --- letting go -------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let go of what has ended and stands in the tables as it does here."""
        through = (decode_named(CHECKPOINT, self._store.get(Table.META, CHECKPOINT)) or {"seq": 0})["seq"]
        if through != self.checkpoint:
            self.checkpoint = through
            self._ended, self._kept = self._kept | self._ended, {}
        if not self._ended:
            return
        ended, self._ended = self._ended, {}
        queues = self.state.queues
        tasks = [task for id, task in ended.items() if task.state in TERMINAL and queues[task.queue].tasks.get(id) is task]
        values = self._store.get_many(Table.TASKS, [task.id for task in tasks])
        go: dict[str, list[bytes]] = {}
        total = 0
        for task, value in zip(tasks, values, strict=True):
            body = encode_body(task)
            if value is not None and value[_ROW_HEAD:] == body:
                self.matched += 1
                total += digest_body(body)
            elif self._stays(task, body):
                self._kept[task.id] = task
                continue
            else:
                self.gone = add_digest(self.gone, digest_body(body))
            self._kept.pop(task.id, None)
            go.setdefault(task.queue, []).append(task.id)
        self.matched_sum = add_digest(self.matched_sum, total)
        self.gone = add_digest(self.gone, total)
        for name, ids in go.items():
            queues[name].settle(ids)

    def _stays(self, task: TaskState, body: bytes) -> bool:
        """Whether a task with another row, or none, must stay in memory."""
        row, table = self._row(Table.TASKS, task.id), Table.TASKS
        if row is None or row.seq != task.seq:
            row, table = self._row(Table.LIVE, seq_key(task.seq)), Table.LIVE
        recent = task.last_seq > self.checkpoint
        if row is None or row.seq != task.seq:
            if not recent and len(self.rowless) < _NOTED:
                self.rowless.append(task)
            return recent
        if row.last_seq > task.last_seq:  # more will be said of it: only a stale word needs it here
            after = row.seqs[bisect_right(row.seqs, task.last_seq)]
            return not isinstance(self._journal.event(after), TaskRetried)
        if row.last_seq == task.last_seq and encode_body(row) == body:
            return table is Table.LIVE  # expired at its checkpoint; nobody could find it there by its id
        if row.last_seq < task.last_seq and recent:
            return True
        self.note(task.last_seq, task.seq, task.id, f"{told(task)} in table {table.name}: {columns(row, task)}")
        return False

    def _row(self, table: Table, key: bytes) -> TaskState | None:
        value = self._store.get(table, key)
        try:
            return None if value is None else decode_rows(table, [(key, value)])[0][0]
        except JournalCorrupt:
            return None  # whoever reads the rows says so


# --- at the end -----------------------------------------------------------------------------------------------------------------


def compare(mine: StreamingFold, theirs: JournalState) -> None:
    """Note where the fold of everything differs from what checkpoint and tail lead to, as of one seq.  In the snapshot of `theirs`.

    What prune took between two pages of the fold is half a task there, and is passed over: its first record is gone.
    """
    state, edge = mine.state, mine.checkpoint
    for name, value in theirs.facts().items():
        if state.facts()[name] != value:
            mine.note(edge, edge, None, f"{name} of the journal: the checkpoint leads to {value!r}, the fold to {state.facts()[name]!r}")
    for name in sorted({*state.queues, *theirs.queues}):
        _compare_queue(mine, state.queue(name), theirs.queue(name))


def _compare_queue(mine: StreamingFold, folded: QueueState, stored: QueueState) -> None:
    ours, others = folded.facts(), stored.facts()
    edge = mine.checkpoint
    for fact in ours:
        if ours[fact] != others[fact]:
            mine.note(
                edge, edge, None, f"{fact} of queue {folded.name!r}: the checkpoint leads to {others[fact]!r}, the fold to {ours[fact]!r}"
            )
    for id, task in folded.tasks.items():
        other = stored.tasks.get(id)
        if other is not None and other.row() != task.row():
            mine.note(task.last_seq, task.seq, id, f"{told(task)} in the checkpoint with what followed it: {columns(other, task)}")
        elif other is None and task.state not in TERMINAL and mine.there(task.seq):
            mine.note(task.last_seq, task.seq, id, f"{told(task)} in the events only: no table has it")
        elif other is None and task.state in TERMINAL and mine.settled_otherwise(task):
            mine.rowless.append(task)
    for id, task in stored.tasks.items():
        if id not in folded.tasks and task.state not in TERMINAL and id not in mine.broken:
            mine.note(task.last_seq, task.seq, id, f"{told(task)} in the tables only: the events lead to no such task")


def told(task: TaskState) -> str:
    """The beginning of a sentence about a task that is not the same everywhere."""
    return f"task {id_text(task.id)} (events {task.seq} to {task.last_seq}) is not the same"


def columns(stored: TaskState, folded: TaskState) -> str:
    """Which facts differ, and how.  No payloads: rows hold none."""
    pairs = zip(ROW, stored.row(), folded.row(), strict=True)
    found = [f"{name} {_short(one)} there, {_short(other)} by the fold" for name, one, other in pairs if one != other]
    return "; ".join(found[:4]) + ("; ..." if len(found) > 4 else "")


def _short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) < 60 else text[:57] + "..."


__all__ = ["STUMBLES", "Difference", "StreamingFold", "columns", "compare", "told"]
