"""A journal made of its records alone: import.

Problem.  An export holds events and payloads; an engine that opens a journal wants rows, indexes and a checkpoint, and folding ten
million events at its first opening would take minutes and all memory.  Choice: every record is read once: its crc and the chain are
checked, it is stored as it came, and its event is folded as recovery folds it; every so often a checkpoint (the same code as in an
engine) writes the rows and lets go of what has ended, so memory holds what a running engine's would: unfinished tasks and the events of
one stage.  Rejected: recovery anew after each stage, which reads, checks and decodes everything twice and unfinished tasks once a stage.

A stage may only end where a commit ends whose hash can be computed; where prune has taken records of a commit it goes on to the next
whole one.  What came from outside is checked twice: here, and in the end by `verify` (checked.py).

The journal keeps its identity: an import is a copy, and what is said of copies in backup.py holds for it too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from journeyman.journal.building import building
from journeyman.journal.checked import Checking, check_copy, check_payload
from journeyman.journal.collector import without_collector
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.identity import check_features, identity_batch, mark_copied, read_identity, write_sidecar
from journeyman.journal.log import seq_key
from journeyman.journal.migrate import append_now
from journeyman.journal.opening import open_store
from journeyman.journal.parcel import Header, Item, cut_short, last_seq
from journeyman.journal.parquet import open_parcel
from journeyman.journal.record import GENESIS, LAST, Chain, Ignored, decode_records
from journeyman.journal.recovery import recover
from journeyman.journal.row import decode_rows
from journeyman.journal.store import Batch, Store, Table
from journeyman.journal.streaming import STUMBLES
from journeyman.journal.values import Rows, note_put, rows_batch
from journeyman.kernel.events import Event, TaskRetried, TransitionRejected, ValuePut
from journeyman.kernel.world import fold

STAGE: Final = 100_000  # records between two checkpoints, at least; as in an engine
CHUNK_ROWS: Final = 5_000  # of a checkpoint, a commit
_BATCH_RECORDS: Final = 10_000  # a commit
_BATCH_BYTES: Final = 16 << 20


class Imported(NamedTuple):
    """What an import has made."""

    path: str
    events: int
    last_seq: int


def _nothing(*_: object) -> None:
    """Nobody wants to hear."""


def import_journal(
    file: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    tell: Callable[[int, int], object] = _nothing,
    checking: Checking = _nothing,
    allow_unsafe_fs: bool = False,
) -> Imported:
    """Make the journal that a complete export holds, at `path`, where nothing may be yet.

    `tell` hears how many seqs are done and of how many, `checking` what of the result is checked, how far, and of how much.
    NotImportable, JournalCorrupt (the file is damaged), JournalVersion, Occupied, JournalFull; then nothing is left at `path`.
    """
    with open_parcel(file) as parcel, building(path, allow_unsafe_fs=allow_unsafe_fs) as directory:
        header = parcel.header
        check_features(header.identity, readonly=False)
        store = open_store(directory, allow_unsafe_fs=allow_unsafe_fs)
        try:
            own = read_identity(store)
            assert own is not None
            identity = header.identity._replace(lmdb=own.lmdb)
            append_now(store, identity_batch(identity))
            write_sidecar(directory, identity)
            events = rebuild(store, parcel.pages(), lambda seq: tell(seq, header.last_seq))
            _whole(store, header)
        finally:
            store.close()
        check_copy(directory, checking)
        mark_copied(directory)
    return Imported(os.path.abspath(os.fspath(path)), events, header.last_seq)


def _whole(store: Store, header: Header) -> None:
    first = store.scan(Table.EVENTS, limit=1)
    if (int.from_bytes(first[0][0], "big") if first else 0, last_seq(store)) != (header.first_seq, header.last_seq):
        raise cut_short("it begins or ends elsewhere than its header says")


def rebuild(store: Store, pages: Iterable[list[Item]], tell: Callable[[int], object] = _nothing, *, stage: int = STAGE) -> int:
    """Fill an empty store with these records and make its rows; how many there are.  JournalCorrupt, JournalVersion."""
    with without_collector():
        work = _Rebuild(store, stage)
        for page in pages:
            work.add(page)
            tell(work.last)
        work.finish()
    return work.events


class _Rebuild:
    """Records on their way in."""

    def __init__(self, store: Store, stage: int) -> None:
        self.events = self.last = 0
        self._store, self._stage = store, stage
        found = recover(store)
        self._state, self._journal, self._checkpoint, self._tally = found.state, found.journal, found.checkpoint, found.tally
        self._chain = Chain(1, GENESIS)
        self._records: list[tuple[bytes, bytes]] = []
        self._payloads: list[tuple[bytes, bytes]] = []
        self._weight = self._since = 0
        self._rows: Rows = {}  # of table KEYVALUES

    def add(self, page: list[Item]) -> None:
        while page:
            end = self._end_of_stage(page)
            self._take(page if end is None else page[:end])
            if end is not None and self._chain.head is not None:
                self._write_rows()
            page = [] if end is None else page[end:]

    def _end_of_stage(self, page: list[Item]) -> int | None:
        """How many records of a page are left to the first end of a commit after a whole stage; None if that is not in it."""
        left = self._stage - self._since
        if len(page) < left:
            return None
        return next((n for n, item in enumerate(page, 1) if n >= left and len(item.value) > 2 and item.value[2] & LAST), None)

    def _take(self, page: list[Item]) -> None:
        pairs = []
        for seq, value, _ in page:
            if not self.last < seq < 1 << 63:
                raise cut_short(f"record {seq} is not where it belongs")
            self.last = seq
            pairs.append((seq_key(seq), value))
            self._weight += len(value)
        events = decode_records(pairs, self._chain)  # which checks crc and chain before anything is stored
        for (key, _), (seq, event), item in zip(pairs, events, page, strict=True):
            if item.payload is not None:
                check_payload(seq, event, item.payload)
                self._payloads.append((key, item.payload))
                self._weight += len(item.payload)
        self._fold(events)
        self._records += pairs
        self._since += len(page)
        self.events += len(page)
        if len(self._records) >= _BATCH_RECORDS or self._weight >= _BATCH_BYTES:
            self._store_gathered()

    def _fold(self, events: list[tuple[int, Event | Ignored]]) -> None:
        state, seq = self._state, 0
        try:
            for seq, event in events:
                kind = type(event)
                if kind is Ignored:
                    continue
                if kind is ValuePut:
                    note_put(self._rows, seq, event)  # type: ignore[arg-type]
                if kind is TaskRetried:
                    self._checkpoint.before_apply(event)  # type: ignore[arg-type]
                elif kind is TransitionRejected:
                    self._call_back(event)  # type: ignore[arg-type]
                fold(state, event, seq)  # type: ignore[arg-type]
        except STUMBLES as failure:  # the chain takes a record that is missing at the edge of a commit for a pruned one
            raise JournalCorrupt(
                f"record {seq} cannot follow on those before it ({failure!r}): records are missing, or another version's code wrote them, "
                "and nothing was made of this export; run `journeyman verify` on the journal that was exported",
                seq,
            ) from failure
        self._journal.note(events)

    def _call_back(self, event: TransitionRejected) -> None:
        """A stale word about a task that a checkpoint has settled: it comes back, as recovery brings it."""
        queue = self._state.queue(event.queue)
        if event.task in queue.tasks:
            return
        value = self._store.get(Table.TASKS, event.task)
        if value is not None:
            task = decode_rows(Table.TASKS, [(event.task, value)])[0][0]
            queue.tasks[task.id] = task
            queue.agenda.rosters[task.state].add(task)
            self._tally.shadow(self._tally.place(task))

    def finish(self) -> None:
        if self.events:
            self._chain.finish()
            self._write_rows()

    def _store_gathered(self) -> None:
        batch = Batch()
        batch.put(Table.EVENTS, self._records, append=True)
        batch.put(Table.PAYLOADS, self._payloads, append=True)
        batch.absorb(rows_batch(self._rows))
        if batch:
            append_now(self._store, batch)
        self._records, self._payloads, self._weight, self._rows = [], [], 0, {}

    def _write_rows(self) -> None:
        """Make the rows as of the newest record, which ends a whole commit."""
        self._store_gathered()
        if not self._since:
            return
        journal, checkpoint = self._journal, self._checkpoint
        assert self._chain.head is not None
        journal.chain, journal.sealed, journal.next_seq = self._chain.head, self.last, self.last + 1
        checkpoint.begin(self._state, journal.sealed, 0)  # as of instant 0 nothing has expired: every ended task gets its row
        while (chunk := checkpoint.next_chunk(CHUNK_ROWS)) is not None:
            if chunk:
                append_now(self._store, chunk)
        self._since = 0


__all__ = ["Imported", "import_journal", "rebuild"]
