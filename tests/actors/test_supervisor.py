"""What the supervisor does not restart: a disk that cannot be read.  Found by simulation (swarm seeds 1525, 1725)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from journeyman.engine import Engine, Queue
from journeyman.journal.errors import JournalError
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Table


class Unreadable(MemoryStore):
    """Arguments cannot be read while `broken`."""

    broken = False

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        if self.broken and table is Table.PAYLOADS:
            raise JournalError("the disk does not read")
        return super().get_many(table, keys)


async def test_a_disk_that_cannot_be_read_ends_the_engine_and_is_no_bug_of_a_queue() -> None:
    queue, store = Queue("mail"), Unreadable()

    @queue.handler
    async def send(n: int) -> int:
        return n

    async with Engine("x", [queue], store=store) as engine:
        await engine.pause("mail")
        handles = [await engine.submit(send, n) for n in range(3)]
    store.broken = True
    with pytest.raises(JournalError, match="does not read"):
        async with Engine("x", [queue], store=store) as engine:
            await engine.resume("mail")
            await engine.drain()
    store.broken = False
    async with Engine("x", [queue], store=store) as engine:
        await engine.resume("mail")  # the first one failed with its step
        await engine.drain()
        assert [(await engine.get(handle.id)).result for handle in handles] == [0, 1, 2]
