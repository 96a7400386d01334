"""Lists and counts of ended tasks when an index, which has no checksums, is misread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from journeyman.engine import Engine, Queue, Retention
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Items, Table
from journeyman.kernel.lifecycle import State


class Misread(MemoryStore):
    """One of which a bit of the first value of a table is flipped at each scan."""

    table: Table | None = None
    bit = 0

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False, limit: int) -> Items:
        pairs = super().scan(table, start, stop, reverse=reverse, limit=limit)
        if table is not self.table or not pairs:
            return pairs
        key, value = pairs[0]
        wrong = int.from_bytes(value, "big") ^ (1 << self.bit)
        return [(key, wrong.to_bytes(len(value), "big")), *pairs[1:]]


@asynccontextmanager
async def _settled(store: MemoryStore, tasks: int) -> AsyncIterator[Engine]:
    """An engine that has `tasks` ended ones on disk and none in memory."""
    queue = Queue("q", retention=Retention(succeeded=60))

    @queue.handler
    async def work(n: int) -> int:
        return n

    async with Engine("x", [queue], store=store) as engine:
        await engine.submit_many([work.bind(n) for n in range(tasks)])
        await engine.drain(timeout=5)
        assert await engine._opened().runtime.snapshotter.take()
        assert not engine._opened().shell.world.queue("q").tasks
        yield engine


@pytest.mark.parametrize("bit", [0, 63, 127])
async def test_an_entry_that_names_no_row_is_an_error_and_not_a_shorter_list(bit: int) -> None:
    store = Misread()
    store.bit = bit
    async with _settled(store, 5) as engine:
        catalog = engine._opened().shell.catalog
        store.table = Table.BY_STATE
        with pytest.raises(JournalCorrupt, match=r"BY_STATE names a task that has no such row, [0-9a-f]{32}: run `journeyman verify`"):
            await engine.list("q", "succeeded")
        with pytest.raises(JournalCorrupt, match="BY_STATE"):
            catalog.oldest("q", State.SUCCEEDED, 0, limit=5)
        store.table = None
        found = await engine.list("q", "succeeded")
        assert [task.seq for task in found] == [task.seq for task in catalog.oldest("q", State.SUCCEEDED, 0, limit=5)][::-1]
        assert len(found) == 5


async def test_an_entry_in_the_place_of_another_is_an_error() -> None:
    store = MemoryStore()
    async with _settled(store, 2) as engine:
        (first, one), (second, two) = store.scan(Table.BY_STATE, limit=2)
        store.tables[Table.BY_STATE].rows.update({first: two, second: one})
        with pytest.raises(JournalCorrupt, match="BY_STATE"):
            await engine.list("q", "succeeded")


@pytest.mark.parametrize("bit", [7, 39], ids=["state", "queue"])
async def test_counts_refuse_what_no_engine_wrote(bit: int) -> None:
    store = Misread()
    store.bit = bit
    async with _settled(store, 2) as engine:
        catalog, late = engine._opened().shell.catalog, 1 << 62
        assert catalog.counts(late)["q"][State.SUCCEEDED] == 0
        store.table = Table.BY_EXPIRY
        with pytest.raises(JournalCorrupt, match="BY_EXPIRY"):
            catalog.counts(late)
