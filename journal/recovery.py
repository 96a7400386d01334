"""Recovery: the newest complete checkpoint, then the fold of the tail.

What it costs: the rows of live tasks (one scan of LIVE) and the events since the checkpoint.  History is not read.  The proof that the
state at the checkpoint is exact even when a later checkpoint was cut short stands at the head of checkpoint.py; this file carries it out:

1. rows of LIVE as of the checkpoint or before are taken as they are; younger ones are made from their own events (`task_as_of`);
2. the queues' facts and the journal's own are those of the checkpoint;
3. the tail is folded, its crc and its chain checked; a TransitionRejected about a task that memory does not hold brings that task back from
   TASKS first, because the engine that wrote it still held it;
4. ended-task rows of tasks that memory holds are shadowed, tasks that need a new row are marked dirty.

Nothing is written here.  Damage is an error, never a shorter history: a torn or missing commit, a row or record with a wrong crc, tables
with fewer rows than counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from journeyman.journal.catalog import Catalog
from journeyman.journal.checkpoint import CHECKPOINT, PROGRESS, QUEUE_FACTS, Checkpoint
from journeyman.journal.collector import without_collector
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.log import Journal, seq_key
from journeyman.journal.record import GENESIS, Chain, Ignored
from journeyman.journal.row import add_digest, decode_named, decode_rows, digest_value
from journeyman.journal.store import Store, Table
from journeyman.journal.tally import Tally
from journeyman.kernel.events import TaskRetried, TransitionRejected
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState, fold

_PAGE: Final = 2_000
_NO_SEQ: Final = (1 << 64) - 2


class Report(NamedTuple):
    """What recovery did, for the log and for figures."""

    checkpoint_seq: int
    rows: int
    refolded: int  # rows younger than the checkpoint, made anew from events
    tail: int
    holes: int  # seqs in the tail that prune took
    cut_short: bool  # a checkpoint was under way when the last process died
    seconds: float


class Recovered(NamedTuple):
    """An open journal: the state, and the objects that carry it on."""

    state: JournalState
    journal: Journal
    checkpoint: Checkpoint
    catalog: Catalog
    tally: Tally
    report: Report


def recover(store: Store, prepare: Callable[[QueueState], None] | None = None) -> Recovered:
    """Bring back the state that the store's events add up to.

    `prepare` is called once for each stored queue before its tasks are there (to set handlers cheaply).  JournalCorrupt, JournalVersion.
    """
    with without_collector():
        return _recover(store, prepare)


def _recover(store: Store, prepare: Callable[[QueueState], None] | None) -> Recovered:
    started = time.perf_counter()
    cut_short = decode_named(PROGRESS, store.get(Table.META, PROGRESS))
    tally = Tally.load(store)
    tally.check(store)
    base = at_checkpoint(store, prepare)
    through, journal, state = base.through, base.journal, base.state
    state.rebuild()
    tail = _Tail(store, journal, state, through)
    tail.run(journal.chain)
    _cast_shadows(store, journal, tally, state, tail.back if cut_short is None else tail.touched | tail.back, base.ended)
    checkpoint = Checkpoint(journal, tally, through_seq=through, live_bound=0 if cut_short is None else cut_short["seq"])
    _drop_folded(store, journal)
    report = Report(through, base.rows, base.refolded, tail.count, tail.chain.holes, cut_short is not None, time.perf_counter() - started)
    return Recovered(state, journal, checkpoint, Catalog(store, tally), tally, report)


class AtCheckpoint(NamedTuple):
    """What the newest complete checkpoint says memory held.  Indexes are not built yet."""

    through: int
    state: JournalState
    journal: Journal  # stands at `through`
    ended: list[TaskState]  # those of the tasks that had ended
    rows: int
    refolded: int


def at_checkpoint(store: Store, prepare: Callable[[QueueState], None] | None = None) -> AtCheckpoint:
    """What recovery begins with."""
    found = facts_at_checkpoint(store, prepare)
    ended, rows, refolded = _load_live(store, found.journal, found.state, found.through)
    return found._replace(ended=ended, rows=rows, refolded=refolded)


def facts_at_checkpoint(store: Store, prepare: Callable[[QueueState], None] | None = None) -> AtCheckpoint:
    """The same without the tasks.  For a look at the past too: basis.py adds the tasks beside an engine that writes."""
    base = decode_named(CHECKPOINT, store.get(Table.META, CHECKPOINT)) or {
        "seq": 0,
        "chain": GENESIS,
        "facts": None,
        "loose": [],
        "steps": [],
    }
    through: int = base["seq"]
    journal = Journal(store, through + 1, base["chain"])
    journal.loose, journal.steps = list(base["loose"]), list(base["steps"])
    state = JournalState()
    if base["facts"] is not None:
        state.load_facts(base["facts"])
    _load_queues(store, state, prepare)
    return AtCheckpoint(through, state, journal, [], 0, 0)


def _load_queues(store: Store, state: JournalState, prepare: Callable[[QueueState], None] | None) -> None:
    start, stop = QUEUE_FACTS, QUEUE_FACTS[:-1] + b"0"  # "0" follows "/"
    while pairs := store.scan(Table.META, start, stop, limit=_PAGE):
        for key, value in pairs:
            facts = decode_named(key, value)
            assert facts is not None
            queue = state.queue(key[len(QUEUE_FACTS) :].decode())
            if prepare is not None:
                prepare(queue)
            queue.merge_facts(facts)
        start = pairs[-1][0] + b"\0"


def _load_live(store: Store, journal: Journal, state: JournalState, through: int) -> tuple[list[TaskState], int, int]:
    """Adopt the tasks of LIVE as they stood at `through`.  Those of them that had ended; rows read; rows folded anew."""
    ended: list[TaskState] = []
    count = refolded = 0
    start = b""
    queues = state.queues
    while pairs := store.scan(Table.LIVE, start, limit=_PAGE):
        for task, as_of in decode_rows(Table.LIVE, pairs):
            if as_of > through:
                if task.seq > through:
                    continue  # the tail makes it
                task = task_as_of(journal, task, through)
                refolded += 1
            queue = queues.get(task.queue)
            if queue is None:
                queue = state.queue(task.queue)
            queue.adopt(task)
            if task.state in TERMINAL:
                ended.append(task)
        count += len(pairs)
        start = pairs[-1][0] + b"\0"
    return ended, count, refolded


def task_as_of(journal: Journal, task: TaskState, through: int) -> TaskState:
    """The task as it stood at `through`: the fold of its own events up to there, and of the clock's steps since it exists."""
    own = [seq for seq in task.seqs if seq <= through]
    steps = [seq for seq in journal.steps if task.seq < seq <= through]
    scratch = JournalState()
    for seq, event in journal.events(own + steps):
        if not isinstance(event, Ignored):
            fold(scratch, event, seq)
    return scratch.queue(task.queue).tasks[task.id]


class _Tail:
    """The fold of what came after the checkpoint."""

    def __init__(self, store: Store, journal: Journal, state: JournalState, through: int) -> None:
        self.count = 0
        self.touched: set[bytes] = set()
        self.back: set[bytes] = set()  # ended tasks that an event called back into memory
        self.chain = Chain(through + 1, None)
        self._store = store
        self._journal = journal
        self._state = state
        self._through = through

    def run(self, head: bytes) -> None:
        journal, state = self._journal, self._state
        self.chain.head = head
        for chunk in journal.walk(self._through + 1, _NO_SEQ, self.chain):
            seq = 0
            try:
                for seq, event in chunk:
                    kind = type(event)
                    if kind is TransitionRejected or kind is TaskRetried:
                        self._call_back(event)  # type: ignore[arg-type]
                    elif kind is Ignored:
                        continue
                    fold(state, event, seq)  # type: ignore[arg-type]
            except KeyError as failure:  # the chain takes a record that was lost at the edge of a commit for a pruned one
                raise JournalCorrupt(
                    f"record {seq} tells of a task whose beginning is missing, and nothing says that it was pruned: keep a copy of the "
                    "directory, then restore a backup or run `journeyman repair`",
                    seq,
                ) from failure
            journal.note(chunk)
            self.count += len(chunk)
        journal.chain = self.chain.finish()
        journal.next_seq = self.chain.expected
        journal.sealed = journal.next_seq - 1
        self.touched = set(journal.dirty)

    def _call_back(self, event: TaskRetried | TransitionRejected) -> None:
        self.back.add(event.task)
        queue = self._state.queue(event.queue)
        if event.task in queue.tasks or type(event) is TaskRetried:
            return
        value = self._store.get(Table.TASKS, event.task)
        if value is None:
            return  # pruned since
        task, as_of = decode_rows(Table.TASKS, [(event.task, value)])[0]
        if as_of > self._through:
            task = task_as_of(self._journal, task, self._through)
        queue.adopt(task)
        queue.rebuild()


def _cast_shadows(
    store: Store, journal: Journal, tally: Tally, state: JournalState, ids: Iterable[bytes], ended_in_live: list[TaskState]
) -> None:
    """Find the tasks that both memory and TASKS hold: memory speaks for them, and the next checkpoint puts TASKS right."""
    owners: dict[bytes, str] = {id: journal.dirty[id] for id in ids if id in journal.dirty}
    owners.update((task.id, task.queue) for task in ended_in_live)
    wanted = list(owners)
    pairs = [(id, value) for id, value in zip(wanted, store.get_many(Table.TASKS, wanted), strict=True) if value is not None]
    for task, _ in decode_rows(Table.TASKS, pairs):
        if task.id in state.queue(owners[task.id]).tasks:
            tally.shadow(tally.place(task))
            journal.dirty[task.id] = owners[task.id]


def _drop_folded(store: Store, journal: Journal) -> None:
    """Forget loose records that a compaction after the checkpoint took away."""
    keys = [seq_key(seq) for seq in journal.loose]
    journal.loose = [seq for seq, value in zip(journal.loose, store.get_many(Table.EVENTS, keys), strict=True) if value is not None]


def reload_queue(
    store: Store, journal: Journal, tally: Tally, name: str, prepare: Callable[[QueueState], None] | None = None
) -> QueueState:
    """One queue's state read anew while the journal is open, for an actor whose state is in doubt.  Everything sealed must be durable."""
    found = recover(store, prepare)
    queue = found.state.queue(name)
    for id, place in found.tally.shadowed.items():
        if id in queue.tasks and id not in tally.shadowed:
            tally.shadow(place)
        if id in queue.tasks:
            journal.dirty[id] = name
    return queue


def fold_everything(journal: Journal) -> JournalState:
    """The state by the fold of all events from the first one on: what `verify` and the tests compare with.  O(history)."""
    state = JournalState()
    chain = Chain(1, GENESIS)
    for chunk in journal.walk(1, _NO_SEQ, chain):
        for seq, event in chunk:
            if not isinstance(event, Ignored):
                fold(state, event, seq)
    chain.finish()
    return state


def check_records(store: Store) -> int:
    """Read every event and check crc and chain; how many there are.  JournalCorrupt, JournalVersion.  O(history)."""
    chain = Chain(1, GENESIS)
    count = sum(len(chunk) for chunk in Journal(store).walk(1, _NO_SEQ, chain))
    chain.finish()
    return count


def verify_indexes(store: Store, tally: Tally, settled: Iterable[TaskState] | None = None) -> None:
    """Compare BY_STATE and BY_EXPIRY with the rows they point to.  JournalCorrupt when one lies.  O(retained tasks).

    `settled`: the tasks of those rows, for whoever has just read them.
    """
    states: dict[bytes, bytes] = {}
    expiries: dict[bytes, bytes] = {}
    for task in _settled(store) if settled is None else settled:
        place = tally.place(task)
        states[place.state_key] = place.id
        if place.expiry_key is not None:
            expiries[place.expiry_key] = place.expiry_value
    for table, expected in ((Table.BY_STATE, states), (Table.BY_EXPIRY, expiries)):
        start = b""
        while pairs := store.scan(table, start, limit=_PAGE):
            for key, value in pairs:
                if expected.pop(key, None) != value:
                    raise JournalCorrupt(
                        f"index {table.name} names a task that has no such row: restore a backup, or rebuild from the events"
                    )
            start = pairs[-1][0] + b"\0"
        if expected:
            raise JournalCorrupt(f"index {table.name} lacks {len(expected)} tasks: restore a backup, or rebuild from the events")


def _settled(store: Store) -> Iterator[TaskState]:
    """The tasks of table TASKS."""
    start = b""
    while pairs := store.scan(Table.TASKS, start, limit=_PAGE):
        for task, _ in decode_rows(Table.TASKS, pairs):
            yield task
        start = pairs[-1][0] + b"\0"


def verify_rows(store: Store, tally: Tally, settled: list[TaskState] | None = None) -> None:
    """Read every row and compare the sum of their digests with the one kept.  JournalCorrupt when they differ.  O(retained tasks).

    `settled`: where to put the tasks of table TASKS, for whoever wants them.
    """
    total = 0
    for table in (Table.LIVE, Table.TASKS):
        start = b""
        while pairs := store.scan(table, start, limit=_PAGE):
            rows = decode_rows(table, pairs)
            if settled is not None and table is Table.TASKS:
                settled += [task for task, _ in rows]
            for _, value in pairs:
                total = add_digest(total, digest_value(value))
            start = pairs[-1][0] + b"\0"
    if total != tally.digest:
        raise JournalCorrupt(
            "the rows of the checkpoint do not add up to the digest kept beside them: restore a backup, or rebuild from the events"
        )
