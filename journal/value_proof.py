"""That table KEYVALUES says what the events say: the part of `verify` for the application's key-values.

In both directions, each with what a page or a row needs and no table of keys in memory.  From the events: one that put a value must be
named by the row of its key, and have its value; or a later one takes its place, and its value is gone.  Whoever takes its place names it
(`former`), so the seqs of those that wait for that are all that is remembered; what is left of them in the end was lost or put there.
From the rows: each names an event that put just that key.  A row that names an older event than there is, is met on the way from the
events.

Beside a running engine a page is read in one snapshot with the rows that it asks for.  An event that was compacted before its turn has its
former ones compacted with it, so those are no longer there in the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from journeyman.journal.errors import JournalCorrupt, JournalVersion
from journeyman.journal.findings import Finding, Findings
from journeyman.journal.log import seq_key
from journeyman.journal.record import decode_records
from journeyman.journal.store import Store, Table
from journeyman.journal.values import Spoken, decode_row, name_of, row_key
from journeyman.kernel.events import ValuePut
from journeyman.kernel.values import shown_key

_PAGE: Final = 500


class ValueProof:
    """Feed it every ValuePut, oldest first; then the rows, then the end."""

    def __init__(self, store: Store, findings: Findings) -> None:
        self._store = store
        self._findings = findings
        self._over: set[int] = set()  # events of which a later one must say that it takes their place

    def take(self, puts: Iterable[tuple[int, ValuePut, bool]]) -> None:
        """Of one page, in its snapshot, each with whether its value is there."""
        for seq, event, there in puts:
            self._over.discard(event.former)
            name = event.namespace, event.key
            spoken = self._row(row_key(name))
            if spoken is not None and spoken.seq < seq:
                self._find(f"the row of key {shown_key(name)} names record {spoken.seq}, and record {seq} is newer", seq)
            elif event.deleted:
                if spoken is not None and spoken.seq == seq:
                    self._find(f"the row of key {shown_key(name)} names record {seq}, which deleted it", seq)
            elif spoken is None or spoken.seq > seq:
                self._over.add(seq)
                if there:
                    self._find(f"the value of record {seq} is still there, and is no longer that of key {shown_key(name)}", seq)
            elif not there:
                self._findings.add(Finding("PAYLOADS", f"the value of record {seq}, key {shown_key(name)}, is missing", seq))
            elif spoken.digest != event.value_digest:
                self._find(f"the row of key {shown_key(name)} has another digest than record {seq}, which it names", seq)

    def _row(self, key: bytes) -> Spoken | None:
        data = self._store.get(Table.KEYVALUES, key)
        try:
            return None if data is None else decode_row(key, data)
        except JournalCorrupt:
            return None  # `check_rows` says so

    def _find(self, text: str, seq: int | None, key: bytes = b"") -> None:
        self._findings.add(Finding("KEYVALUES", text, seq, key=key.hex() or None))

    def check_rows(self) -> None:
        """Each row against the event that it names, in the caller's snapshot."""
        start = b""
        while pairs := self._store.scan(Table.KEYVALUES, start, limit=_PAGE):
            start = pairs[-1][0] + b"\0"
            rows: list[tuple[bytes, Spoken]] = []
            for key, data in pairs:
                try:
                    name_of(key)
                    rows.append((key, decode_row(key, data)))
                except JournalCorrupt as failure:
                    self._find(str(failure).partition(".  Keep")[0], None, key)
            values = self._store.get_many(Table.EVENTS, [seq_key(spoken.seq) for _, spoken in rows])
            for (key, spoken), value in zip(rows, values, strict=True):
                self._check_row(key, spoken.seq, value)

    def _check_row(self, key: bytes, seq: int, record: bytes | None) -> None:
        if record is None:
            self._find(f"the row of key {shown_key(name_of(key))} names record {seq}, which is missing", seq, key)
            return
        try:
            [(_, event)] = decode_records([(seq_key(seq), record)])
        except (JournalCorrupt, JournalVersion):
            return  # whoever reads the events says so
        if not isinstance(event, ValuePut) or event.deleted or row_key((event.namespace, event.key)) != key:
            self._find(f"the row of key {shown_key(name_of(key))} names record {seq}, which put no such value", seq, key)

    def check_ends(self) -> None:
        """When every event was taken, in the snapshot of the last ones."""
        for seq in sorted(self._over):
            event: Any = None
            if (record := self._store.get(Table.EVENTS, seq_key(seq))) is not None:
                [(_, event)] = decode_records([(seq_key(seq), record)])
            if isinstance(event, ValuePut):
                name = shown_key((event.namespace, event.key))
                self._find(f"record {seq} put key {name}, which has no such value, and no later record says why", seq)


__all__ = ["ValueProof"]
