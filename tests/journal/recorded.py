"""A store that remembers every event ever committed, pruned ones too, and what it holds as a journal on disk."""

from __future__ import annotations

from pathlib import Path

from journeyman.journal.record import Ignored, decode_records
from journeyman.journal.store import Batch, Table
from journeyman.journal.view import JournalView, open_journal
from journeyman.kernel.events import Event
from journeyman.sim.disk import Disk
from journeyman.sim.saving import save


class RecordedStore(Disk):
    """For an engine, or for a simulated world.  `live`: all events that were ever committed."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[tuple[int, Event]] = []

    def commit(self, batch: Batch) -> None:
        super().commit(batch)
        pairs = [pair for table, items, _ in batch.puts if table is Table.EVENTS for pair in items]
        self.live += [(seq, event) for seq, event in decode_records(pairs) if not isinstance(event, Ignored)]


def poured(store: Disk, path: Path) -> JournalView:
    """What `store` holds, as a journal on disk, open for reading."""
    save(store, path)
    return open_journal(path)
