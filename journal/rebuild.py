"""A journal made of its records alone: import.

Problem.  An export holds events and payloads; an engine that opens a journal wants rows, indexes and a checkpoint, and folding ten
million events at its first opening would take minutes and all memory.  Choice: the records are stored as they came, and every so often
recovery (the same code as at any opening) folds what is new and a checkpoint (the same code as in an engine) writes the rows, so memory
holds what a running engine's would: unfinished tasks and the events of one stage.  A stage grows with the number of unfinished tasks, for
each recovery reads them again.

A stage may only end where a commit ends whose hash can be computed; where prune has taken records of a commit it goes on to the next
whole one.  What came from outside is checked twice: recovery checks crc and chain of every record, and in the end a child process looks
at the whole journal, as after an unclean end.

The journal keeps its identity and lineage: an import is a copy, and what is said of copies in backup.py holds for it too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from journeyman.journal.building import building
from journeyman.journal.checked import Checking, check_copy, check_payload
from journeyman.journal.identity import check_features, identity_batch, read_identity, write_sidecar
from journeyman.journal.log import seq_key
from journeyman.journal.migrate import append_now
from journeyman.journal.opening import open_store
from journeyman.journal.parcel import Header, Item, cut_short, last_seq
from journeyman.journal.parquet import open_parcel
from journeyman.journal.record import GENESIS, LAST, Chain, decode_records
from journeyman.journal.recovery import recover
from journeyman.journal.store import Batch, Store, Table

STAGE: Final = 200_000  # records between two checkpoints, at least
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
    return Imported(os.path.abspath(os.fspath(path)), events, header.last_seq)


def _whole(store: Store, header: Header) -> None:
    first = store.scan(Table.EVENTS, limit=1)
    if (int.from_bytes(first[0][0], "big") if first else 0, last_seq(store)) != (header.first_seq, header.last_seq):
        raise cut_short("it begins or ends elsewhere than its header says")


def rebuild(store: Store, pages: Iterable[list[Item]], tell: Callable[[int], object] = _nothing, *, stage: int = STAGE) -> int:
    """Fill an empty store with these records and make its rows; how many there are.  JournalCorrupt, JournalVersion."""
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
        self._chain = Chain(1, GENESIS)
        self._records: list[tuple[bytes, bytes]] = []
        self._payloads: list[tuple[bytes, bytes]] = []
        self._weight = self._since = 0

    def add(self, page: list[Item]) -> None:
        pairs = []
        for seq, value, _ in page:
            if not self.last < seq < 1 << 63:
                raise cut_short(f"record {seq} is not where it belongs")
            self.last = seq
            pairs.append((seq_key(seq), value))
        for (_, event), item in zip(decode_records(pairs), page, strict=True):  # which checks each crc before anything is stored
            if item.payload is not None:
                check_payload(item.seq, event, item.payload)
        for (key, value), item in zip(pairs, page, strict=True):
            self._chain.add(item.seq, value, value[2])
            self._records.append((key, value))
            self._weight += len(value)
            if item.payload is not None:
                self._payloads.append((key, item.payload))
                self._weight += len(item.payload)
            self._since += 1
            if value[2] & LAST and self._chain.head is not None and self._since >= self._stage:
                self._checkpoint()
        self.events += len(page)
        if len(self._records) >= _BATCH_RECORDS or self._weight >= _BATCH_BYTES:
            self._store_gathered()

    def finish(self) -> None:
        if self.events:
            self._chain.finish()
            self._checkpoint()

    def _store_gathered(self) -> None:
        batch = Batch()
        batch.put(Table.EVENTS, self._records, append=True)
        batch.put(Table.PAYLOADS, self._payloads, append=True)
        if batch:
            append_now(self._store, batch)
        self._records, self._payloads, self._weight = [], [], 0

    def _checkpoint(self) -> None:
        """Make the rows as of the newest record."""
        self._store_gathered()
        if not self._since:
            return
        found = recover(self._store)
        checkpoint = found.checkpoint
        checkpoint.begin(found.state, found.journal.sealed, 0)  # as of instant 0 nothing has expired: every ended task gets its row
        while (chunk := checkpoint.next_chunk(CHUNK_ROWS)) is not None:
            if chunk:
                append_now(self._store, chunk)
        self._since = 0
        self._stage = max(self._stage, found.tally.live)


__all__ = ["Imported", "import_journal", "rebuild"]
