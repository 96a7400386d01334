"""Memory stores that a test can hold back, watch and read: what a disk is to the engine, made visible."""

from __future__ import annotations

from collections.abc import Iterator

from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.recovery import recover
from journeyman.journal.store import Batch, Done, Table
from journeyman.kernel.events import Event


class WatchedStore(MemoryStore):
    """Counts what each commit holds; `hold` keeps commits from becoming durable until `release`."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[int] = []  # event records in each
        self.hold = False
        self._held: list[tuple[Batch, Done]] = []

    @property
    def held(self) -> int:
        return len(self._held)

    def begin_append(self, batch: Batch, done: Done) -> None:
        self.commits.append(sum(len(items) for table, items, *_ in batch.puts if table is Table.EVENTS))
        if self.hold:
            self._held.append((batch, done))
        else:
            super().begin_append(batch, done)

    def release(self) -> None:
        self.hold = False
        held, self._held = self._held, []
        for batch, done in held:
            super().begin_append(batch, done)


def events_in(store: MemoryStore) -> Iterator[Event]:
    """Every event that `store` holds, in order.  For a store that no engine has open."""
    journal = recover(store).journal
    for chunk in journal.walk(1, journal.next_seq - 1):
        for _, event in chunk:
            assert isinstance(event, tuple)
            yield event
