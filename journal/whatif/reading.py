"""The events that a recording of one queue is made of, straight from the records.

Problem.  A journal of ten million events may hold a million of the queue that is asked about, and decoding is most of what reading costs.
Choice: a record says its kind in its second byte and its queue within the first few bytes of its body, in canonical CBOR, so records of
other queues are told by a comparison of bytes and never decoded.  What is kept of them is what `Hearing` asks: starts that may draw on a
shared limiter, the record before each of the journal's own (its instant is when a crash was, at the earliest), the first and the last of
each page.  A record that does not begin as ours do is decoded, and then says itself what is wrong with it.

Nothing here needs the state: which queues there are, and what a compaction before the newest checkpoint has folded away, stand in table
META and in the records after the checkpoint.

Each page is a read of its own.  Rejected: recovering the journal first (a journal without a checkpoint is folded whole for it, in one read
transaction); a second index by queue (disk for a question that is rarely asked).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from journeyman.journal.cbor import encode
from journeyman.journal.checkpoint import CHECKPOINT, QUEUE_FACTS
from journeyman.journal.log import Journal, seq_key
from journeyman.journal.record import FIRST, TAG_OF, Ignored, decode_records
from journeyman.journal.row import decode_named
from journeyman.journal.store import Items, Store, Table
from journeyman.kernel.events import AttemptStarted, Event, JournalCompacted, QueueOpened
from journeyman.kernel.namespace import shown_name

PAGE: Final = 4_000  # records a read transaction: a few milliseconds
_TAG, _FLAGS = 1, 2  # where a record says its kind, and where it lies in its commit
_HEADER, _FIRST_HEADER = 8, 24
_FIRSTS: Final = frozenset(bytes((flags,)) for flags in range(8) if flags & FIRST)
_HEADS: Final = frozenset(bytes((0x80 + n, 0x1B)) for n in range(24))  # an array of n fields, the first of them an integer of eight bytes
_QUEUE: Final = 10  # where the queue stands in a body that begins so
_NO_QUEUE: Final = b"\x60"  # "", of the journal's own events
_NONE: Final = 0xF6
_STARTED: Final = TAG_OF[AttemptStarted]
Tell = Callable[[int], object]


def events_for(store: Store, queue: str, first: int, last: int, tell: Tell) -> Iterator[tuple[int, Event]]:
    """The events up to seq `last` that a recording of `queue` needs; `tell` hears the seq up to which they have been read.

    `first`: where the recording begins; its first record is always among them, whatever queue it is of.
    """
    start, own = 1, encode(queue)
    for stop in sorted({min(first, last + 1), last + 1}):
        while pairs := store.scan(Table.EVENTS, seq_key(start), seq_key(stop), limit=PAGE):
            for seq, event in decode_records(_wanted(pairs, own)):
                if not isinstance(event, Ignored):
                    yield seq, event
            start = int.from_bytes(pairs[-1][0], "big") + 1
            tell(start - 1)


def _wanted(pairs: Items, own: bytes) -> Items:
    """Those to be decoded."""
    found = [pairs[0]]
    passed: tuple[bytes, bytes] | None = None  # over, the newest
    for pair in islice(pairs, 1, None):
        value = pair[1]
        body = _FIRST_HEADER if value[_FLAGS : _FLAGS + 1] in _FIRSTS else _HEADER
        if value[body : body + 2] in _HEADS:
            if value.startswith(own, body + _QUEUE):
                passed = None
            elif value.startswith(_NO_QUEUE, body + _QUEUE):
                if passed is not None:
                    found.append(passed)
                    passed = None
            elif value[_TAG] != _STARTED or value[-1] == _NONE:
                passed = pair
                continue
        found.append(pair)
    if passed is not None:
        found.append(passed)
    return found


def stored_queue(store: Store, shown: str) -> str:
    """The stored name of the queue that people call `shown`.  ValueError names those that there are."""
    known: set[str] = set()
    for name in _queue_names(store):
        found = shown_name(name)
        if found == shown:
            return name
        known.add(found)
    raise ValueError(f"the journal knows no queue {shown!r}; there are: {', '.join(sorted(known)) or 'none'}")


def _queue_names(store: Store) -> Iterator[str]:
    """Every queue that the journal knows, as stored: those of the newest checkpoint, then those that were opened since."""
    start, stop = QUEUE_FACTS, QUEUE_FACTS[:-1] + b"0"  # "0" follows "/"
    while pairs := store.scan(Table.META, start, stop, limit=PAGE):
        for key, _ in pairs:
            yield key[len(QUEUE_FACTS) :].decode()
        start = pairs[-1][0] + b"\0"
    opened = bytes((TAG_OF[QueueOpened],))
    for pairs in _after_checkpoint(store):
        for _, event in decode_records([pair for pair in pairs if pair[1][_TAG : _TAG + 1] == opened]):
            yield event.queue


def newest_compaction(store: Store, last: int) -> JournalCompacted | None:
    """The newest one at or before seq `last`, if no newer one has taken its place: only one stands at a time."""
    base = decode_named(CHECKPOINT, store.get(Table.META, CHECKPOINT))
    if base is None:
        return None  # there is none before a checkpoint
    seq: int = base["facts"]["compacted_seq"]
    compacted = bytes((TAG_OF[JournalCompacted],))
    for pairs in _after_checkpoint(store):
        seq = max([seq, *(int.from_bytes(key, "big") for key, value in pairs if value[_TAG : _TAG + 1] == compacted)])
    event = Journal(store).event(seq) if 0 < seq <= last else None
    return event if isinstance(event, JournalCompacted) else None


def _after_checkpoint(store: Store) -> Iterator[Items]:
    base = decode_named(CHECKPOINT, store.get(Table.META, CHECKPOINT))
    start = 1 if base is None else base["seq"] + 1
    while pairs := store.scan(Table.EVENTS, seq_key(start), limit=PAGE):
        yield pairs
        start = int.from_bytes(pairs[-1][0], "big") + 1


__all__ = ["events_for", "newest_compaction", "stored_queue"]
