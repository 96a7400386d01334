"""Table KEYVALUES: which event speaks for a key of the application, and so where its value lies.

Problem.  A key is looked up at random, by handlers and transactions, among perhaps millions, and its value must be the one that the events
come to, after any crash.  Choice: the event of a change (ValuePut) and its value, a payload like any other, are the journal; this table is
their fold, with one small row a key, written in the commit of the event that it names.  So it is exact after every commit, recovery reads
none of it, and it can be made anew from the events (rebuild.py, repair.py) as every other table can.  The value that was there before is
deleted in the same commit; its event stays until a compaction takes it.

    key     namespace in UTF-8, 0x1f, key       (names hold no control characters, so nothing collides)
    row     crc32 of key and the rest, 4 bytes; seq of the event, 8 bytes; B(value), 16 bytes

Rejected: the value in the row (whatever checks, saves, exports and imports payloads would need a second way for it); rows written by a
checkpoint (memory would have to hold the newest values until then); all keys in memory (an application has as many as it likes).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from zlib import crc32

from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.store import Batch, Items, Store, Table
from journeyman.kernel.bounds import DIGEST_BYTES
from journeyman.kernel.events import ValuePut
from journeyman.kernel.values import Name, shown_key

_SEPARATOR: Final = b"\x1f"
_ROW_BYTES: Final = 4 + 8 + DIGEST_BYTES
Rows = dict[bytes, bytes | None]  # what a commit makes of the table; None: the row goes


class Spoken(NamedTuple):
    """What a row says."""

    seq: int
    digest: bytes


def row_key(name: Name) -> bytes:
    return name[0].encode() + _SEPARATOR + name[1]


def name_of(key: bytes) -> Name:
    """JournalCorrupt for what is no key of this table."""
    namespace, separator, own = key.partition(_SEPARATOR)
    try:
        if separator and own:
            return namespace.decode(), own
    except UnicodeDecodeError:
        pass
    raise JournalCorrupt(f"table KEYVALUES holds a key that is none, {key.hex()}.  Keep a copy of the directory and restore a backup")


def encode_row(key: bytes, seq: int, value_digest: bytes) -> bytes:
    body = seq.to_bytes(8, "big") + value_digest
    return crc32(body, crc32(key)).to_bytes(4, "big") + body


def decode_row(key: bytes, data: bytes) -> Spoken:
    """JournalCorrupt where it is damaged."""
    if len(data) != _ROW_BYTES or crc32(data[4:], crc32(key)) != int.from_bytes(data[:4], "big"):
        raise JournalCorrupt(f"the row of key {key!r} in table KEYVALUES is damaged.  Keep a copy of the directory and restore a backup")
    return Spoken(int.from_bytes(data[4:12], "big"), data[12:])


def note_put(rows: Rows, seq: int, event: ValuePut) -> None:
    """What `event` makes of the table."""
    key = row_key((event.namespace, event.key))
    rows[key] = None if event.deleted else encode_row(key, seq, event.value_digest)


def rows_batch(rows: Mapping[bytes, bytes | None]) -> Batch:
    """The same as a part of a commit."""
    batch = Batch()
    batch.delete(Table.KEYVALUES, [key for key, row in rows.items() if row is None])
    batch.put(Table.KEYVALUES, sorted((key, row) for key, row in rows.items() if row is not None))
    return batch


def spoken_for(store: Store, name: Name) -> int:
    """The seq of the event that speaks for a key; 0 if there is no value.  JournalCorrupt."""
    key = row_key(name)
    data = store.get(Table.KEYVALUES, key)
    return 0 if data is None else decode_row(key, data).seq


def stored_value(store: Store, name: Name) -> tuple[int, bytes | None]:
    """The value that is stored for a key and the seq of its event; (0, None) if there is none.  JournalCorrupt."""
    key = row_key(name)
    data = store.get(Table.KEYVALUES, key)
    while data is not None:
        seq, wanted = decode_row(key, data)
        value = store.get(Table.PAYLOADS, seq.to_bytes(8, "big"))
        if value is not None and digest(value) == wanted:
            return seq, value
        again = store.get(Table.KEYVALUES, key)
        if again == data:  # else a commit has come between the two readings
            what = "is missing" if value is None else "does not match its digest"
            raise JournalCorrupt(f"the value of key {shown_key(name)} (record {seq}) {what}: restore a backup", seq)
        data = again
    return 0, None


def names_after(store: Store, namespace: str, prefix: bytes, after: bytes | None, limit: int) -> list[Name]:
    """At most `limit` keys of a namespace that begin with `prefix`, ascending, those behind `after`."""
    start = row_key((namespace, prefix if after is None or after < prefix else after + b"\0"))
    whole = row_key((namespace, prefix))
    stop = _behind(whole)
    pairs: Items = store.scan(Table.KEYVALUES, start, stop, limit=limit)
    return [name_of(key) for key, _ in pairs]


def _behind(prefix: bytes) -> bytes:
    """The first key that is greater than all with this prefix.  A prefix begins with a namespace and ends in 0x1f at least."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,))


__all__ = [
    "Rows", "Spoken", "decode_row", "encode_row", "name_of", "names_after", "note_put", "row_key", "rows_batch", "spoken_for",
    "stored_value",
]  # fmt: skip
