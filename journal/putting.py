"""One batch, into a transaction of LMDB that is under way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.store import Batch, Table


def put(txn: Any, tables: Mapping[Table, Any], batch: Batch) -> None:
    """Deletes, then puts.  `tables`: LMDB's handles.  JournalCorrupt when an append is out of order."""
    for table, keys in batch.deletes:
        db = tables[table]
        for key in keys:
            txn.delete(key, db=db)
    for table, items, append in batch.puts:
        if len(items) == 1:  # a lone commit: a cursor would cost more than the put
            added = int(txn.put(*items[0], append=append, db=tables[table]))
            consumed = 1
        else:
            consumed, added = txn.cursor(tables[table]).putmulti(items, append=append)
        if consumed != len(items) or (append and added != len(items)):
            raise JournalCorrupt(f"append out of order in table {table.name}: {added} of {len(items)} keys were taken")


__all__ = ["put"]
