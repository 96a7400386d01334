"""A simulated disk as a real journal's directory, so that the journal's tools can look at what a world left behind.

The records are copied byte for byte: seqs, ids, instants and the chain are those of the world.  Only the identity is new, for it is another
journal.
"""

from __future__ import annotations

import os
from typing import Final

from journeyman.journal.identity import IDENTITY
from journeyman.journal.migrate import append_now
from journeyman.journal.opening import open_store
from journeyman.journal.store import Batch, Table
from journeyman.sim.disk import Disk

_PAGE: Final = 5_000


def save(disk: Disk, directory: str | os.PathLike[str]) -> None:
    """Write what is durable on `disk` to a journal in `directory`, which must not exist.  FileExistsError, JournalError."""
    if os.path.exists(directory):
        raise FileExistsError(f"{os.fspath(directory)} is there already: give a directory that can be made")
    store = open_store(directory)
    try:
        for table in Table:
            start = b""
            while pairs := disk.scan(table, start, limit=_PAGE):
                batch = Batch()
                batch.put(table, [pair for pair in pairs if (table, pair[0]) != (Table.META, IDENTITY)])
                append_now(store, batch)
                start = pairs[-1][0] + b"\0"
    finally:
        store.close()


__all__ = ["save"]
