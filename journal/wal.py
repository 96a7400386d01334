"""The write-ahead log: small commits are on the disk after one barrier, and come to data.mdb many at a time.

Problem.  A commit of LMDB waits for two barriers (its pages, then the page that says which pages count) and rewrites six to eight pages
for one event of 150 bytes. Who submits one task at a time, or runs one at a time, waits for all of that, and so do 64 who submit at once.
Choice: the writer thread appends a small commit to the file `wal`, flushes it, and answers; the next larger commit, one for which the log
has no room, or a moment without work takes everything in the log into data.mdb, in one transaction that is flushed as ever.  So data.mdb
is sound by itself at every instant, and is behind by what the log holds; readers add that (ahead.py), recovery needs nothing of its own,
and a close in good order leaves no log.

What makes it safe.
- The log is written out in zeros before it is used, so that a flush has no metadata to wait for (headroom.py tells why that matters).
- Only events in a row with the payloads they own go into it: whether one of its commits is in data.mdb already is told by its number.
- Each log has a salt of its own, which is in every digest, so that nothing a payload holds can be taken for a commit; while there is a log,
  META in data.mdb says so and has the salt: one that is missing is missed, and another's is known.
- It starts from the front when data.mdb has everything. What is left behind the newest commit is older, which its numbers tell, so
  nothing has to be wiped out, and a power cut can tear nothing but the one commit that nobody was told of.
- Which commit was told of last, wherever it went, is kept in `acked`, a word in shared memory that survives the process: a journal that
  ends before it is damaged, or its data.mdb is an older one.  The newest event is never deleted.

    0   4   "JWAL"
    4   12  salt, by chance; the commits follow, one behind the other, each

    0   4   "JCMT"
    4   4   length of the body
    8   8   seq of the first event
    16  4   number of events; their seqs follow on each other
    20  16  B(salt, bytes 0..19, body)
    36      body: each event as length (4) and record, then each payload as seq (8), length (4) and bytes

Rejected: the log alone, with data.mdb made from it at leisure without flushes (a power cut could tear data.mdb itself); commits of any size
through the log (what fills a quarter of it gains little by one barrier less, and is written twice); a longer log (256 and 512 KiB gain
nothing, and readers in other processes read all of it); a thread of its own for data.mdb (a tenth quicker for a lone submit, and a second
owner of write transactions).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from itertools import islice
from operator import lt
from struct import Struct
from typing import Final, NamedTuple

from journeyman.journal.digest import begin, digest
from journeyman.journal.entered import EnteredMarks
from journeyman.journal.filesystem import sync_directory
from journeyman.journal.headroom import DISK_FREE
from journeyman.journal.plain import open_plain, read_plain
from journeyman.journal.store import Batch, Items, Table

WAL: Final = "wal"
ACKED: Final = "acked"
WAL_BYTES: Final = 128 << 10
SMALL: Final = WAL_BYTES // 4  # bytes of a commit; what is larger goes to data.mdb at once
WAL_FLAG: Final = b"wal"  # in META while there is a log: {"salt": ...}
FRONT: Final = 16  # where commits begin
FILE: Final = b"JWAL"
MAGIC: Final = b"JCMT"
HEAD: Final = Struct(">4sIQI")
BODY_AT: Final = HEAD.size + 16
_LENGTHS: Final = tuple(n.to_bytes(4, "big") for n in range(256))


class Logged(NamedTuple):
    """One commit in the log."""

    first: int  # seq of its first event
    events: Items
    payloads: Items
    end: int  # where it ends in the file

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1


def loggable(batch: Batch, seq: int) -> tuple[Items, Items] | None:
    """The events and payloads of a commit that may go into the log when the newest event before it is `seq`; None for any other.

    One whose keys do not ascend is for LMDB to refuse, before anybody is told of it: the log would number its events anew.
    """
    puts = batch.puts
    if batch.deletes or not puts or len(puts) > 2:
        return None
    table, events, append = puts[0]
    if table is not Table.EVENTS or not append:
        return None
    first, last = (seq + 1).to_bytes(8, "big"), (seq + len(events)).to_bytes(8, "big")
    size = _rising(events, first, last)
    if size is None or events[0][0] != first or events[-1][0] != last:
        return None
    if len(puts) == 1:
        return (events, []) if size <= SMALL else None
    table, payloads, append = puts[1]
    if table is not Table.PAYLOADS or not append or (more := _rising(payloads, first, last)) is None:
        return None
    return (events, payloads) if size + more <= SMALL else None


def _rising(items: Items, first: bytes, last: bytes) -> int | None:
    """The bytes of their values, if their keys are seqs from `first` to `last` at most, each greater than the one before it."""
    if len(items) == 1:
        [(key, value)] = items
        return len(value) if first <= key <= last and len(key) == 8 else None
    keys = [key for key, _ in items]
    if keys[0] < first or keys[-1] > last or not all(map(lt, keys, islice(keys, 1, None))) or set(map(len, keys)) != {8}:
        return None
    return sum([len(value) for _, value in items])


def encode_logged(events: Items, payloads: Items, salt: bytes) -> bytes:
    """These events, which follow on each other, and their payloads, as one commit of the log with this salt."""
    parts: list[bytes] = []
    for _, value in events:
        size = len(value)
        parts += (_LENGTHS[size] if size < 256 else size.to_bytes(4, "big"), value)
    for key, value in payloads:
        size = len(value)
        parts += (key, _LENGTHS[size] if size < 256 else size.to_bytes(4, "big"), value)
    body = b"".join(parts)
    head = HEAD.pack(MAGIC, len(body), int.from_bytes(events[0][0], "big"), len(events))
    running = begin()
    running.update(salt + head)
    running.update(body)
    return b"".join((head, running.digest(), body))


def salt_of(data: bytes) -> bytes | None:
    """The salt of a log; None for what is none (any more)."""
    return data[len(FILE) : FRONT] if data.startswith(FILE) and len(data) >= FRONT else None


def decode_log(data: bytes) -> list[Logged]:
    """The commits of a log, from its front to the first that is torn, older than the one before it, or not there."""
    found: list[Logged] = []
    if salt_of(data) is None:
        return found
    at, seq = FRONT, 0
    while (logged := decode_at(data, at)) is not None and (not found or logged.first == seq + 1):
        found.append(logged)
        at, seq = logged.end, logged.last
    return found


def stragglers(data: bytes, known: list[Logged]) -> Iterator[Logged]:
    """Whole commits further back in the file that are newer than those that were reached: between them something is damaged."""
    at, seq = (known[-1].end, known[-1].last) if known else (FRONT, 0)
    while (at := data.find(MAGIC, at)) >= 0:
        logged = decode_at(data, at)
        if logged is not None and logged.first > seq:
            yield logged
            seq = logged.last
        at += 1 if logged is None else logged.end - at


def decode_at(data: bytes, at: int) -> Logged | None:
    """The commit that begins at `at`; None where none does that is whole."""
    if len(data) - at < BODY_AT:
        return None
    magic, length, first, count = HEAD.unpack_from(data, at)
    end = at + BODY_AT + length
    if magic != MAGIC or end > len(data) or not 0 < count <= length:
        return None
    body = data[at + BODY_AT : end]
    if digest(data[len(FILE) : FRONT] + data[at : at + HEAD.size] + body) != data[at + HEAD.size : at + BODY_AT]:
        return None
    events: Items = []
    payloads: Items = []
    place = 0
    for seq in range(first, first + count):
        size = int.from_bytes(body[place : place + 4], "big")
        events.append((seq.to_bytes(8, "big"), body[place + 4 : place + 4 + size]))
        place += 4 + size
    while place < length:
        size = int.from_bytes(body[place + 8 : place + 12], "big")
        payloads.append((body[place : place + 8], body[place + 12 : place + 12 + size]))
        place += 12 + size
    if place != length:
        return None
    return Logged(first, events, payloads, end)


def read_log(directory: str) -> bytes:
    """The bytes of the log in `directory`; none when there is no log.  JournalCorrupt, Unreadable."""
    return read_plain(os.path.join(directory, WAL)) or b""


def acknowledged(directory: str) -> int:
    """The seq up to which the log in `directory` is known to have been answered for; 0 when nothing tells.  JournalCorrupt, Unreadable."""
    return int.from_bytes(read_plain(os.path.join(directory, ACKED), 8) or b"", sys.byteorder)


def adopt_log(directory: str) -> None:
    """What a dead engine has left in the log counts, answered or not: make it last, and let `acked` say so.  OSError."""
    commits = decode_log(read_log(directory))
    if not commits:
        return
    with os.fdopen(open_plain(os.path.join(directory, WAL), os.O_RDONLY), "rb") as log:
        os.fsync(log.fileno())  # the newest commit may be in the system's memory alone
    last = max(commits[-1].last, acknowledged(directory))
    with os.fdopen(open_plain(os.path.join(directory, ACKED), os.O_RDWR | os.O_CREAT), "r+b") as acked:
        acked.write(last.to_bytes(8, sys.byteorder))


def forget_log(directory: str) -> None:
    """The log goes: data.mdb has everything.  OSError."""
    for name in (WAL, ACKED):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))


class WriteAheadLog:
    """The log of one directory, for the thread that commits."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._fd = -1
        self._at = FRONT
        self.salt = b""
        self._acked: EnteredMarks | None = None

    @property
    def ready(self) -> bool:
        return self._fd >= 0

    def lay_out(self, seq: int) -> bool:
        """Make it, all zeros but its front; what it held must be in data.mdb, as event `seq` is.  False: the disk has no room.  OSError."""
        disk = os.statvfs(self._directory)
        if disk.f_bavail * disk.f_frsize < DISK_FREE:
            return False
        fd = open_plain(os.path.join(self._directory, WAL), os.O_RDWR | os.O_CREAT)
        try:
            os.fchmod(fd, 0o600)
            self.salt = os.urandom(FRONT - len(FILE))
            _write(fd, (FILE + self.salt).ljust(WAL_BYTES, b"\0"), 0)
            os.fsync(fd)
            sync_directory(self._directory)
            self._acked = EnteredMarks(os.path.join(self._directory, ACKED))
        except BaseException:
            os.close(fd)
            raise
        self._acked.set(0, seq)
        self._fd = fd
        return True

    def fits(self, commit: bytes) -> bool:
        return self._at + len(commit) <= WAL_BYTES

    def append(self, commit: bytes) -> None:
        """On the disk when this returns.  After an OSError nobody knows."""
        _write(self._fd, commit, self._at)
        os.fdatasync(self._fd)
        self._at += len(commit)

    def answered(self, seq: int) -> None:
        """Everything up to event `seq` is durable, and somebody is about to hear of it."""
        if self._acked is not None:
            self._acked.set(0, seq)

    def restart(self) -> None:
        """Begin again at the front: data.mdb has everything."""
        self._at = FRONT

    def close(self, *, in_order: bool) -> None:
        """In good order data.mdb has everything, and the log goes."""
        if self._acked is not None:
            self._acked.close()
            self._acked = None
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # whatever was answered for was flushed; the journal must be given back all the same
                os.close(self._fd)
            self._fd = -1
        if in_order and os.path.exists(os.path.join(self._directory, WAL)):
            with contextlib.suppress(OSError), open(os.path.join(self._directory, "data.mdb"), "rb") as data:
                os.fsync(data.fileno())  # `relaxed` has not waited for its last page
                forget_log(self._directory)


def _write(fd: int, data: bytes, at: int) -> None:
    if os.pwrite(fd, data, at) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


__all__ = [
    "ACKED", "BODY_AT", "FILE", "FRONT", "HEAD", "MAGIC", "SMALL", "WAL", "WAL_FLAG", "Logged", "WriteAheadLog", "acknowledged",
    "adopt_log", "decode_at", "decode_log", "encode_logged", "forget_log", "loggable", "read_log", "salt_of", "stragglers",
]  # fmt: skip
