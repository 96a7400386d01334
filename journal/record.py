"""The bytes of one record, and the chain that ties commits together.  Written here, read here, documented byte by byte here.

    key    8 bytes, big-endian: the record's seq (table EVENTS)
    value  offset  size
           0       1     format version, now 1
           1       1     kind tag (kernel/tags.py, TAGS)
           2       1     flags: 1 first record of its commit, 2 last record of its commit, 4 ignorable
           3       1     reserved, 0
           4       4     crc32 (zlib's), big-endian, of: key, bytes 0..3, bytes 8..end
           8       16    only when flag 1 is set: the chain hash of the previous commit
           8|24    ...   canonical CBOR: the array of the event's fields, in order

A record is valid when
 1. its format version is one that this code knows, else JournalVersion;
 2. its crc matches, else JournalCorrupt (the key is part of it, so a record that sits in another's place is found too);
 3. its tag is known, else: with flag 4 it is carried along as `Ignored`, without it JournalVersion;
 4. its body is exactly one array, strictly decoded; missing trailing fields take their defaults (an older writer), extra ones stay on disk
    and are ignored (a younger writer of the same format version);
 5. the commits chain: hash(commit) = B(B'(previous) where the previous hash is what the first record carries:

        B(x)          = BLAKE2b of x, 16 bytes
        chain(commit) = B(chain(previous) || B(B(record 1) || B(record 2) || ...))      chain before the first commit: 16 zero bytes

    Prune removes records from the middle of commits.  A commit with a hole cannot be computed any more; the next commit's first record then
    gives the hash to go on with.  The newest commit never has a hole, because the prune that made one is itself in a later commit.

Problem of speed.  Recovery reads hundreds of thousands of records a second and sealing happens on the event loop.  So records are decoded
in chunks (one CBOR call for all bodies) and events are built with `tuple.__new__`; rejected: a class per reader with a method per record
(twice the time).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple, cast
from zlib import crc32

from journeyman.journal.cbor import CodecError, decode, decode_many, encode, encode_flat
from journeyman.journal.digest import begin, digest
from journeyman.journal.errors import JournalCorrupt, JournalVersion
from journeyman.journal.hot import HotEncoder
from journeyman.journal.store import Items
from journeyman.kernel.events import AttemptFailed, AttemptStarted, Event, TaskFailed, TaskSubmitted, TaskSucceeded
from journeyman.kernel.tags import RESERVED, TAGS

FORMAT: Final = 1
FIRST: Final = 1
LAST: Final = 2
IGNORABLE: Final = 4
GENESIS: Final = bytes(16)
_EDGES: Final = FIRST | LAST

_HEADER = Struct(">BBBBI")
_HEADER_SIZE: Final = 8
_FIRST_SIZE: Final = 24
TAG_OF: Final[dict[type[Any], int]] = {kind: tag for tag, kind in TAGS.items()}
# Kinds that hold a map outside `options`: the plain encoder would not sort its keys.
_MAPPED: Final = frozenset(
    TAG_OF[kind] for kind in TAGS.values() if {"policy", "residue", "facts", "queues", "row", "spec"} & set(kind._fields)
)
_HOT: Final = HotEncoder()
_BY_PIECES: Final[dict[Any, Callable[[Any], bytes]]] = {
    TaskSubmitted: _HOT.submitted,
    AttemptStarted: _HOT.started,
    TaskSucceeded: _HOT.succeeded,
}
# By kind: how to encode an event without options (by pieces, by the plain encoder where there is nothing to sort, or canonically), and
# bytes 0..3 of its record, by flags.
_WRITING: Final[dict[type[Any], tuple[Callable[[Any], bytes], tuple[bytes, ...]]]] = {
    kind: (
        _BY_PIECES.get(kind, encode if tag in _MAPPED else encode_flat),
        tuple(bytes((FORMAT, tag, flags, 0)) for flags in range(4)),
    )
    for tag, kind in TAGS.items()
}
_ERROR_FIELD: Final = {kind: kind._fields.index("error") for kind in (AttemptFailed, TaskFailed)}
# By tag: the kind, and how many fields it has if they need no second look.
_SHAPES: Final[tuple[tuple[Any, int], ...]] = tuple(
    (kind, -1 if kind is None or kind in _ERROR_FIELD else len(kind._fields)) for kind in map(TAGS.get, range(256))
)


class Ignored(NamedTuple):
    """A record of a kind this version does not know and may pass over."""

    at: int
    queue: str
    qseq: int
    epoch: int
    tag: int
    fields: list[Any]


def encode_commit(items: Sequence[tuple[int, Event]], previous: bytes) -> tuple[Items, bytes]:
    """The records of one commit, and its chain hash.  `items` must be in ascending seq and not empty."""
    if len(items) == 1:
        records = [_record(*items[0], _EDGES, previous)]
        return records, link(previous, [digest(records[0][1])])
    records = [_record(*items[0], FIRST, previous)]
    hashes = [digest(records[0][1])]
    for seq, event in items[1:-1]:  # most: as `_record` does, without the call
        quick, heads = _WRITING[type(event)]
        body = quick(event) if event[-1] is None else encode(event)
        key = seq.to_bytes(8, "big")
        head = heads[0]
        value = head + crc32(body, crc32(key + head)).to_bytes(4, "big") + body
        records.append((key, value))
        running = begin()
        running.update(value)
        hashes.append(running.digest())
    records.append(_record(*items[-1], LAST, b""))
    hashes.append(digest(records[-1][1]))
    return records, link(previous, hashes)


def _record(seq: int, event: Event, flags: int, before: bytes) -> tuple[bytes, bytes]:
    """Key and value of one record.  `before`: what stands in front of its body, the chain in a first one."""
    quick, heads = _WRITING[type(event)]
    body = before + (quick(event) if event[-1] is None else encode(event))
    key = seq.to_bytes(8, "big")
    head = heads[flags]
    return key, head + crc32(body, crc32(key + head)).to_bytes(4, "big") + body


def link(previous: bytes, hashes: Sequence[bytes]) -> bytes:
    """The chain hash of a commit whose records have these hashes."""
    return digest(previous + digest(b"".join(hashes)))


def tag_of(value: bytes) -> int:
    """The kind of a record, without a look at the rest of it; -1 for what is no record."""
    return value[1] if len(value) > 1 else -1


def chain_before(value: bytes) -> bytes:
    """What the first record of a commit says of the commit before."""
    return value[_HEADER_SIZE:_FIRST_SIZE]


class Chain:
    """Walks the commits in ascending seq and complains where they do not chain.  `head` is None after a hole, until the next commit."""

    __slots__ = ("_hashes", "_previous", "expected", "head", "holes")

    def __init__(self, expected: int, head: bytes | None) -> None:
        self.expected = expected  # the seq that comes next when nothing was pruned
        self.head = head
        self.holes = 0
        self._previous: bytes | None = None  # what the commit under way says came before it; None: between commits, or a holed commit
        self._hashes: list[bytes] | None = None  # of the commit under way; None: between commits

    def copy(self) -> Chain:
        """As it stands now, for whoever may have to come back to it."""
        twin = Chain(self.expected, self.head)
        twin.holes, twin._previous = self.holes, self._previous
        twin._hashes = None if self._hashes is None else list(self._hashes)
        return twin

    def begin(self, seq: int, value: bytes) -> None:
        """A first record: check what it says came before."""
        if self._hashes is not None and seq == self.expected:
            raise JournalCorrupt(
                f"record {seq} begins a commit before the one under way has ended: commits are atomic, so records are missing", seq
            )
        previous = value[_HEADER_SIZE:_FIRST_SIZE]
        if seq != self.expected:
            self.holes += seq - self.expected
        elif self.head is not None and previous != self.head:
            raise JournalCorrupt(f"record {seq} does not chain to the commit before it: history was altered or a commit is missing", seq)
        self._previous, self._hashes = previous, []

    def add(self, seq: int, value: bytes, flags: int) -> None:
        if flags & FIRST:
            self.begin(seq, value)
        elif seq != self.expected or self._hashes is None:
            self.holes += seq - self.expected
            if seq == self.expected:
                raise JournalCorrupt(f"record {seq} belongs to no commit: the record that begins it is missing", seq)
            self._previous, self._hashes = None, []
        if self._hashes is not None and self._previous is not None:
            self._hashes.append(digest(value))
        if flags & LAST:
            self.head = None if self._previous is None else link(self._previous, self._hashes or ())
            self._previous = self._hashes = None
        self.expected = seq + 1

    def follow(self, seqs: Sequence[int], values: Sequence[bytes]) -> None:
        """`add` each of these.  Most stand in the middle of a whole commit, and need no more than their hash."""
        expected, hashes, whole = self.expected, self._hashes, self._previous is not None
        for seq, value in zip(seqs, values, strict=True):
            flags = value[2]
            if whole and seq == expected and not flags & _EDGES:
                running = begin()
                running.update(value)
                hashes.append(running.digest())  # type: ignore[union-attr]  # a whole commit is under way
                expected += 1
                continue
            self.expected = expected
            self.add(seq, value, flags)
            expected, hashes, whole = self.expected, self._hashes, self._previous is not None
        self.expected = expected

    def finish(self) -> bytes:
        """The hash of the newest commit.  JournalCorrupt when it is not whole."""
        if self._hashes is not None or self.head is None:
            raise JournalCorrupt(f"the newest commit, up to record {self.expected - 1}, is not whole", self.expected - 1)
        return self.head


def decode_records(pairs: Items, chain: Chain | None = None) -> list[tuple[int, Event | Ignored]]:
    """Check and decode records in ascending seq.  JournalCorrupt or JournalVersion names the first bad one."""
    seqs: list[int] = []
    tags: list[int] = []
    bodies: list[bytes] = []
    try:
        _check(pairs, seqs, tags, bodies)
    finally:  # what is bad may be the second thing that is
        if chain is not None:
            chain.follow(seqs, [value for _, value in pairs[: len(seqs)]])
    try:
        values = decode_many(bodies)
    except CodecError:
        values = [_decode_alone(seq, body) for seq, body in zip(seqs, bodies, strict=True)]
    new, shapes = tuple.__new__, _SHAPES
    found: list[tuple[int, Event | Ignored]] = []
    for seq, tag, fields in zip(seqs, tags, values, strict=True):
        kind, width = shapes[tag]
        if type(fields) is list and len(fields) == width:
            found.append((seq, new(kind, fields)))
        else:
            found.append((seq, _build(seq, tag, fields)))
    return found


def _check(pairs: Items, seqs: list[int], tags: list[int], bodies: list[bytes]) -> None:
    """Take the records apart, up to the first bad one."""
    unpack, known = _HEADER.unpack_from, TAGS
    for key, value in pairs:
        seq = int.from_bytes(key, "big")
        if len(value) < _HEADER_SIZE:
            raise JournalCorrupt(f"record {seq} is shorter than its header", seq)
        version, tag, flags, _, crc = unpack(value)
        body = value[8:]
        if crc32(body, crc32(key + value[:4])) != crc:
            raise _damaged(seq)
        if version != FORMAT:
            raise JournalVersion(
                f"record {seq} has format version {version}; this Journeyman reads version {FORMAT}: upgrade it to open this journal"
            )
        if tag not in known and not flags & IGNORABLE:
            raise _unknown_kind(seq, tag)
        seqs.append(seq)
        tags.append(tag)
        bodies.append(body[16:] if flags & FIRST else body)


def _build(seq: int, tag: int, fields: list[Any]) -> Event | Ignored:
    """An event whose fields need a second look: unknown, older, younger, or with an error in it."""
    if not isinstance(fields, list) or len(fields) < 4:
        raise JournalCorrupt(f"record {seq} is not an event's array of fields", seq)
    kind = TAGS.get(tag)
    if kind is None:
        return Ignored(fields[0], fields[1], fields[2], fields[3], tag, fields)
    names = kind._fields
    for name in names[len(fields) :]:
        if name not in kind._field_defaults:
            raise JournalCorrupt(f"record {seq} ({kind.__name__}) lacks its field {name}", seq)
        fields.append(kind._field_defaults[name])
    place = _ERROR_FIELD.get(cast("Any", kind))
    if place is not None and fields[place] is not None:
        fields[place] = tuple(fields[place])
    return kind._make(fields[: len(names)])


def _decode_alone(seq: int, body: bytes) -> Any:
    try:
        return decode(body)
    except CodecError as failure:
        raise JournalCorrupt(f"record {seq} has a valid crc but its body cannot be read: {failure}", seq) from failure


def _damaged(seq: int) -> JournalCorrupt:
    return JournalCorrupt(
        f"record {seq} is damaged: its crc does not match.  Keep a copy of the journal's directory, check the disk, and restore a backup",
        seq,
    )


def _unknown_kind(seq: int, tag: int) -> JournalVersion:
    name = RESERVED.get(tag, f"kind {tag}")
    return JournalVersion(
        f"record {seq} is a {name}, which this version of Journeyman does not know: open the journal with a newer version"
    )
