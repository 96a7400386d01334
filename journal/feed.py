"""The feed's cursors, and the stretches of events that it reads: what `Engine.events` is made of.

Problem.  A reader says where it stands and wants every event after that, none twice, in order, however long it has been away.  Seqs are
dense when written, so reading on after a seq repeats nothing; but prune and compaction take events out of the middle, and a hole does not
say whose events were in it.

Choice: a cursor names one event, by its seq and the crc of its record, and the course of history it belongs to (the lineage).  What was
taken is known per queue as one number, the newest seq that is gone (`QueueState.gone_seq`, folded from TasksPruned and JournalCompacted):
a reader of a queue that meets a hole has lost something exactly when that number is beyond the event it stands at.  A reader that was told
so and goes on is given a cursor that says up to where it knows that events are missing.

A cursor is text, and what is in it is nobody's business but this file's:

    base64url of: 1 (layout), lineage 4, seq 8, crc 4, known 8, crc32 of all that 4; numbers big-endian

lineage: the first bytes of the journal's lineage, 0 for a journal in memory.  A journal that was put back from a backup has another
lineage, and may have other events under the same seqs; a cursor of the older one is taken where the record at its seq is the very same,
and refused where that cannot be seen.  The same crc finds an event that a power cut took back under "relaxed" durability.

Rejected: a bare seq (after a restore it would skip events in silence); the hole judged by whatever TasksPruned can be found behind it (a
pass over the whole journal, and compaction takes those too); a count of the queue's own events, qseq, in each cursor (exact for one queue,
but a namespace has many).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple
from zlib import crc32

from journeyman.journal.instants import NO_SEQ
from journeyman.journal.log import Journal, seq_key
from journeyman.journal.record import Ignored, decode_records
from journeyman.journal.row import decode_named
from journeyman.journal.store import Store, Table
from journeyman.kernel.events import Event

PAGE: Final = 256  # records read, and kept, at a time
_LAYOUT: Final = 1
_BODY: Final = Struct(">B4sQ4sQ")
_IDENTITY: Final = b"identity"
_NO_LINEAGE: Final = bytes(4)
_NO_CRC: Final = bytes(4)


class Cursor(NamedTuple):
    """A place in a journal: behind the event `seq`, of which `crc` is the record's (zeros: of no event).  Up to `known` its reader knows
    that events are missing."""

    lineage: bytes
    seq: int
    crc: bytes = _NO_CRC
    known: int = 0

    def text(self) -> str:
        body = _BODY.pack(_LAYOUT, *self)
        return urlsafe_b64encode(body + crc32(body).to_bytes(4, "big")).decode("ascii").rstrip("=")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """ValueError for what is no cursor."""
        try:
            data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            layout, lineage, seq, crc, known = _BODY.unpack(data[:-4])
        except (ValueError, StructError) as error:
            raise ValueError(_no_cursor(text)) from error
        if layout != _LAYOUT or crc32(data[:-4]).to_bytes(4, "big") != data[-4:] or seq > NO_SEQ:
            raise ValueError(_no_cursor(text))
        return cls(lineage, seq, crc, known)


def _no_cursor(text: str) -> str:
    return f'{text!r} is no cursor of a feed: give `since` the .cursor of an event, an aware datetime, "first" or None'


def lineage_of(store: Store) -> bytes:
    """What cursors say of a journal's lineage."""
    identity = decode_named(_IDENTITY, store.get(Table.META, _IDENTITY))
    return _NO_LINEAGE if identity is None else bytes(identity["lineage"][:4])


def behind(store: Store, lineage: bytes, seq: int) -> Cursor:
    """The cursor behind whatever event stands at `seq`."""
    value = store.get(Table.EVENTS, seq_key(seq)) if seq else None
    return Cursor(lineage, seq, _NO_CRC if value is None else value[4:8])


def check_cursor(cursor: Cursor, store: Store, last: int) -> None:
    """ValueError when the event it names is none of this journal's.  `last`: the newest durable seq."""
    value = store.get(Table.EVENTS, seq_key(cursor.seq)) if 0 < cursor.seq <= last else None
    same = cursor.crc == _NO_CRC if value is None else cursor.crc in (value[4:8], _NO_CRC)
    if cursor.lineage == lineage_of(store):
        if cursor.seq <= last and (value is None or same):
            return
        what = "has been taken back, by a power cut under relaxed durability or by whoever put back an older journal"
    elif value is not None and same and cursor.crc != _NO_CRC:
        return
    else:
        what = "is not in this journal, which is another one, or was put back from a backup"
    raise ValueError(f"the event behind which this cursor stands (seq {cursor.seq}) {what}: read the state anew, and begin with since=None")


class Stretch(NamedTuple):
    """What one look at the journal has found: (seq, crc, event) in order, up to `through`; a hole behind that, from `lost` on, if any."""

    events: list[tuple[int, bytes, Event]]
    through: int
    lost: int | None


def read_on(store: Store, after: int, last: int, known: int, wanted: Callable[[Event], bool], gone: Callable[[], int]) -> Stretch:
    """The wanted events after `after`, at most a page of records, none beyond `last`.

    `gone`: the newest seq of a wanted event that is not there any more.  The stretch ends before a hole in which one may have been, or
    after which one was, unless that is at or before `known`.
    """
    pairs = store.scan(Table.EVENTS, seq_key(after + 1), seq_key(last + 1), limit=PAGE)
    through = last if len(pairs) < PAGE else int.from_bytes(pairs[-1][0], "big")
    found: list[tuple[int, bytes, Event]] = []
    at, newest = after, -1
    for (seq, event), (_, value) in zip(decode_records(pairs), pairs, strict=True):
        if seq != at + 1:
            newest = gone() if newest < 0 else newest
            if newest > max(at, known):
                return Stretch(found, at, at + 1)
        if not isinstance(event, Ignored) and wanted(event):
            found.append((seq, value[4:8], event))
        at = seq
    if at != through and gone() > max(at, known):
        return Stretch(found, at, at + 1)
    return Stretch(found, through, None)


def first_at(journal: Journal, at: int, last: int) -> int:
    """The first seq, of those up to `last`, that is not before the instant `at`; `last + 1` when all are."""
    low, high = 1, last + 1  # everything before `low` is before the instant
    while low < high:
        middle = (low + high) // 2
        page = journal.read(middle, high, limit=1)
        if page and page[0][0] <= last and page[0][1].at < at:
            low = page[0][0] + 1
        else:
            high = middle
    return low


def last_before(store: Store, seq: int) -> int:
    """The newest seq before `seq` that is still there; 0 for none."""
    pairs = store.scan(Table.EVENTS, b"", seq_key(seq), reverse=True, limit=1)
    return int.from_bytes(pairs[0][0], "big") if pairs else 0


__all__ = ["PAGE", "Cursor", "Stretch", "behind", "check_cursor", "first_at", "last_before", "lineage_of", "read_on"]
