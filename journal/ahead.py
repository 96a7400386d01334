"""What a journal holds that is not in data.mdb yet: the commits in the write-ahead log (wal.py), added to what is read from LMDB.

Problem.  A reader must see every commit that was answered, once, and each read must fit one moment, while the writer thread takes the log
into data.mdb. Choice: an `Ahead` only grows, and is replaced, never emptied. A reader takes hold of the present one first and begins its
transaction then, so nothing can be in neither; what is in both is told by the newest event of the transaction: `beyond` leaves it out.
All that is left comes after every event in data.mdb, so stretches are put end to end.

In another process the same is read from the file: first the log, then LMDB, for the same reason. While an engine writes, a commit counts
there when `acked` says that it was answered, for before that it may not be on the disk; what a dead engine left counts whole, also to a
`compact`, which owns the journal and writes nothing to it.  An engine makes what it finds last, and lets `acked` say so, before it writes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, cast

from journeyman.journal.cursors import scan_down, scan_up
from journeyman.journal.lock import written_to
from journeyman.journal.store import Items, Table
from journeyman.journal.wal import Logged, acknowledged, decode_log, read_log


class Ahead:
    """Events and payloads by seq, in order.  The writer thread adds at the end, while others read."""

    __slots__ = ("_rows", "tables")

    def __init__(self, events: Items | None = None, payloads: Items | None = None) -> None:
        self.tables: dict[Table, Items] = {Table.EVENTS: events or [], Table.PAYLOADS: payloads or []}
        self._rows = {table: dict(items) for table, items in self.tables.items()}

    def __bool__(self) -> bool:
        return bool(self.tables[Table.EVENTS])

    def add(self, events: Items, payloads: Items) -> None:
        """A commit more.  Its events come last: by them a reader knows that there is something."""
        if payloads:
            self._rows[Table.PAYLOADS].update(payloads)
            self.tables[Table.PAYLOADS].extend(payloads)
        self._rows[Table.EVENTS].update(events)
        self.tables[Table.EVENTS].extend(events)

    def beyond(self, last: bytes) -> Ahead:
        """What of it comes after the event with key `last`."""
        events = self.tables[Table.EVENTS]
        if not events or events[0][0] > last:
            return self
        if events[-1][0] <= last:
            return NOTHING
        return Ahead(_after(events, last), _after(self.tables[Table.PAYLOADS], last))

    def get(self, table: Table, key: bytes) -> bytes | None:
        rows = self._rows.get(table)
        return None if rows is None else rows.get(key)

    def fill(self, table: Table, keys: Sequence[bytes], found: list[bytes | None]) -> list[bytes | None]:
        """`found`, with what is here in place of what was not found there.  A commit that is added meanwhile is left out whole."""
        rows, newest = self._rows.get(table), self.tables[Table.EVENTS][-1][0]
        if not rows:
            return found
        return [rows.get(key) if value is None and key <= newest else value for key, value in zip(keys, found, strict=True)]

    def scan(self, cursor: Any, table: Table, start: bytes, stop: bytes | None, limit: int, *, reverse: bool) -> Items:
        """`scan_up` or `scan_down` of a cursor on the table, with what is ahead of it."""
        items = self.tables.get(table)
        if not items:
            return scan_down(cursor, start, stop, limit) if reverse else scan_up(cursor, start, stop, limit)
        low = bisect_left(items, (start, b""))
        high = len(items) if stop is None else bisect_left(items, (stop, b""))
        if reverse:
            found = list(islice(reversed(items[low:high]), limit))
            return found + (scan_down(cursor, start, stop, limit - len(found)) if len(found) < limit else [])
        found = scan_up(cursor, start, stop, limit)
        return found + items[low : low + min(high - low, limit - len(found))]

    def last(self, table: Table) -> tuple[bytes, bytes] | None:
        items = self.tables.get(table)
        return items[-1] if items else None

    def count(self, table: Table) -> int:
        return len(self.tables.get(table, ()))


NOTHING: Final = Ahead()


class LogReader:
    """For who does not write: what the log of a directory says now."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._bytes = b""
        self._unanswered = False  # whether something of it is left out
        self._ahead = NOTHING

    def read(self) -> Ahead:
        """A reader begins with this, and looks at data.mdb then."""
        log = read_log(self._directory)
        if log != self._bytes or self._unanswered:
            self._bytes = log
            commits = decode_log(log)
            told = commits
            if commits and written_to(self._directory):
                answered = acknowledged(self._directory)
                told = [each for each in commits if each.last <= answered]
            self._unanswered = len(told) < len(commits)
            self._ahead = ahead_of(told)
        return self._ahead


def ahead_of(commits: list[Logged]) -> Ahead:
    """What these commits hold."""
    return Ahead([pair for each in commits for pair in each.events], [pair for each in commits for pair in each.payloads])


def _after(items: Items, last: bytes) -> Items:
    return items[bisect_left(items, (last + b"\0", b"")) :]


def newest_event(cursor: Any) -> bytes:
    """The key of the last event in data.mdb, by a cursor on EVENTS; b"" when there is none."""
    return cast("bytes", cursor.key()) if cursor.last() else b""


__all__ = ["NOTHING", "Ahead", "LogReader", "ahead_of", "newest_event"]
