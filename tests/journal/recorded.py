"""Stores that remember every event ever committed, pruned ones too, and journals on disk made of what a memory store holds."""

from __future__ import annotations

from pathlib import Path

from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.opening import open_store
from journeyman.journal.record import Ignored, decode_records
from journeyman.journal.store import Batch, Table
from journeyman.journal.view import JournalView, open_journal
from journeyman.kernel.events import Event
from journeyman.sim.disk import Disk


def events_of(batch: Batch) -> list[tuple[int, Event]]:
    """The events that a commit brings."""
    pairs = [pair for table, items, _ in batch.puts if table is Table.EVENTS for pair in items]
    return [(seq, event) for seq, event in decode_records(pairs) if not isinstance(event, Ignored)]


class RecordedStore(MemoryStore):
    """`live`: all events that were ever committed."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[tuple[int, Event]] = []

    def commit(self, batch: Batch) -> None:
        super().commit(batch)
        self.live += events_of(batch)


class RecordedDisk(Disk):
    """The same for a simulated world."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[tuple[int, Event]] = []

    def commit(self, batch: Batch) -> None:
        super().commit(batch)
        self.live += events_of(batch)


def poured(store: MemoryStore, path: Path) -> JournalView:
    """What `store` holds, as a journal on disk, open for reading."""
    batch = Batch()
    for table, rows in store.tables.items():
        batch.put(table, [(key, value) for key, value in sorted(rows.rows.items()) if (table, key) != (Table.META, b"identity")])
    disk: LmdbStore = open_store(path)
    failures: list[BaseException | None] = []
    disk.begin_append(batch, failures.append)
    disk.close()
    assert failures == [None]
    return open_journal(path)
