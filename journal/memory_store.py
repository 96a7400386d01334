"""A store that forgets when the process ends: for tests, for simulation (which wraps it) and for `Engine(None)`.

Each table is a dict plus a sorted list of its keys.  Keys mostly arrive in ascending order, so the list is appended to; a deleted key
stays in the list until a quarter of it is dead.  Closing and using the same object again is what a restart looks like.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise

from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.store import Batch, Done, Gauge, Items, Table

_PLENTY = 1 << 50


class MemoryTable:
    __slots__ = ("dead", "keys", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.keys: list[bytes] = []  # sorted; may hold keys no longer in rows
        self.dead = 0

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.rows:
            if not self.keys or key > self.keys[-1]:
                self.keys.append(key)
            else:
                at = bisect_left(self.keys, key)
                if at < len(self.keys) and self.keys[at] == key:
                    self.dead -= 1
                else:
                    insort(self.keys, key)
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        if self.rows.pop(key, None) is None:
            return
        self.dead += 1
        if self.dead > 64 and self.dead * 4 > len(self.keys):
            self.keys = sorted(self.rows)
            self.dead = 0

    def last_key(self) -> bytes | None:
        while self.keys and self.keys[-1] not in self.rows:
            self.keys.pop()
            self.dead -= 1
        return self.keys[-1] if self.keys else None


class MemoryStore:
    """A `Store` in this process's memory; appends complete before `begin_append` returns."""

    def __init__(self) -> None:
        self.tables: dict[Table, MemoryTable] = {table: MemoryTable() for table in Table}
        self.marks: dict[int, int] = {}

    def begin_append(self, batch: Batch, done: Done) -> None:
        try:
            self.commit(batch)
        except Exception as failure:
            done(failure)
        else:
            done(None)

    def commit(self, batch: Batch) -> None:
        """Apply a whole batch now.  Raises JournalCorrupt, with nothing applied, when an append is out of order."""
        for table, items, append in batch.puts:
            if append:
                last = self.tables[table].last_key()
                if (last is not None and items[0][0] <= last) or (len(items) > 1 and any(a[0] >= b[0] for a, b in pairwise(items))):
                    raise JournalCorrupt(f"append out of order in table {table.name}")
        for table, keys in batch.deletes:
            rows = self.tables[table]
            for key in keys:
                rows.delete(key)
        for table, items, _ in batch.puts:
            rows = self.tables[table]
            for key, value in items:
                rows.put(key, value)

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self.tables[table].rows.get(key)

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        rows = self.tables[table].rows
        return [rows.get(key) for key in keys]

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False, limit: int) -> Items:
        keys, rows = self.tables[table].keys, self.tables[table].rows
        low = bisect_left(keys, start)
        high = len(keys) if stop is None else bisect_left(keys, stop)
        found: Items = []
        at, end, step = (high - 1, low - 1, -1) if reverse else (low, high, 1)
        while (at > end if reverse else at < end) and len(found) < limit:
            key = keys[at]
            value = rows.get(key)
            if value is not None:
                found.append((key, value))
            at += step
        return found

    def last(self, table: Table) -> tuple[bytes, bytes] | None:
        key = self.tables[table].last_key()
        return None if key is None else (key, self.tables[table].rows[key])

    def count(self, table: Table) -> int:
        return len(self.tables[table].rows)

    def gauge(self) -> Gauge:
        return Gauge(map_size=_PLENTY, map_used=0, disk_free=_PLENTY, disk_size=_PLENTY, readers=0, reader_lag=0)

    def space(self) -> tuple[int, int]:
        return _PLENTY, _PLENTY

    def tend(self) -> None:
        """Nothing is held here that could go stale."""

    def enter(self, slot: int, seq: int) -> None:
        self.marks[slot] = seq

    def leave(self, slot: int) -> None:
        self.marks.pop(slot, None)

    def entered(self, through: int | None = None) -> set[int]:
        if through is not None:
            self.marks = {slot: seq for slot, seq in self.marks.items() if seq <= through}
        return set(self.marks.values())

    def give_way(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing to close: the object is the disk."""
