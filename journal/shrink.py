"""`compact`: the room that was freed inside data.mdb goes back to the disk.

Problem.  LMDB reuses freed pages and never gives them back, so after a great prune the file stays as large as it was, and what was
deleted can still be read in it.  Choice: copy (without free pages), look at the whole copy in a child process, compare the numbers of
rows, make it durable, and put it in place by one rename.  A kill at any point leaves the old file or the new one, whole; a folder
`compacting` that it may leave beside it is removed by the next `compact`, and nobody else minds it.

The journal must be alone.  An engine is kept out by the owner's lock.  A tool that reads would go on reading the old file, which is
harmless, but it shares LMDB's lock file with the next engine, and that file's newest transaction number belongs to the old data: so
LMDB's own lock is asked for too, which no reader's process holds at the same time, and the lock file goes with the data it spoke of.
LMDB makes it anew.

Rejected: compacting beside a running engine (its map would show the old file for ever); deleting the lock file first (a reader that opens
between the two would carry the old number over to the new data).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from journeyman.journal.building import readable, sweep_away
from journeyman.journal.checked import Checking, check_copy
from journeyman.journal.errors import JournalCorrupt, JournalLocked
from journeyman.journal.filesystem import sync_directory
from journeyman.journal.hotcopy import Tell, copy_data
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.lock import FLOCK, OwnerLock
from journeyman.journal.opening import open_store
from journeyman.journal.plain import open_plain, own_alike
from journeyman.journal.store import Table
from journeyman.journal.wal import WAL_FLAG, forget_log

COMPACTING: Final = "compacting"


class Shrunk(NamedTuple):
    """Bytes of data.mdb on disk."""

    before: int
    after: int


def _nothing(*_: object) -> None:
    """Nobody wants to hear."""


def shrink(
    path: str | os.PathLike[str],
    *,
    copying: Tell = _nothing,
    checking: Checking = _nothing,
    allow_unsafe_fs: bool = False,
) -> Shrunk:
    """Write data.mdb anew without its free pages.  JournalLocked while an engine or a tool has it open, naming the process; NoJournal,
    JournalCorrupt, JournalFull; then the journal is as it was.
    """
    open_store(path, readonly=True, allow_unsafe_fs=allow_unsafe_fs).close()  # is it a journal, and a sound one?
    directory = os.path.abspath(os.fspath(path))
    with readable(directory), _owned(directory):
        work = os.path.join(directory, COMPACTING)
        sweep_away(work)  # what a killed one has left
        try:
            os.mkdir(work, 0o700)
            own_alike(work, directory)
            return _replace(directory, work, copying, checking)
        finally:
            sweep_away(work)


@contextlib.contextmanager
def _owned(directory: str) -> Iterator[None]:
    """Keep engines out.  If nothing came of it, the lock file's words are as good as they were."""
    lock = OwnerLock(directory)
    clean = not lock.suspicious
    try:
        lock.own()
        yield
        clean = True
    finally:
        lock.release(clean=clean)


def _replace(directory: str, work: str, copying: Tell, checking: Checking) -> Shrunk:
    old, new = os.path.join(directory, "data.mdb"), os.path.join(work, "data.mdb")
    source = LmdbStore(directory, readonly=True)
    try:
        copy_data(source, work, copying)
        expected = rows(source)
    finally:
        source.close()
    check_copy(work, checking)
    _compare(work, expected)
    sizes = Shrunk(_on_disk(old), _on_disk(new))
    with _alone(directory) as forget_lock:
        own_alike(new, old)  # root's would be closed to the engine
        os.rename(new, old)
        forget_lock()
        sync_directory(directory)
    forget_log(directory)
    return sizes


def _compare(work: str, expected: dict[Table, int]) -> None:
    copied = LmdbStore(work, readonly=True, locking=False)
    try:
        if rows(copied) != expected:
            raise JournalCorrupt("the copy does not hold what the journal holds, so the journal was left as it is: run `journeyman verify`")
    finally:
        copied.close()


def rows(store: LmdbStore) -> dict[Table, int]:
    """How many rows each table holds, but for what META says of a log, which a copy has not."""
    spoken = store.get(Table.META, WAL_FLAG) is not None
    return {table: store.count(table) - (spoken and table is Table.META) for table in Table}


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[Callable[[], None]]:
    """Hold LMDB's own lock, which every process that has the data open shares.  Yields what removes the lock file.  JournalLocked."""
    name = os.path.join(directory, "lock.mdb")
    fd = open_plain(name, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except OSError as failure:
            pid = _holder(fd)
            who = "another process" if pid is None else f"process {pid}"
            raise JournalLocked(
                f"{who} is reading the journal at {directory}: stop it (a `top`, a `log --follow`?) and try again", pid
            ) from failure
        yield lambda: os.unlink(name)
    finally:
        os.close(fd)


def _holder(fd: int) -> int | None:
    """The process that keeps the lock from us, as far as the system tells."""
    asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
    kind, _, _, _, pid = FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    return pid if kind != fcntl.F_UNLCK and pid > 0 else None


def _on_disk(path: str) -> int:
    return os.stat(path).st_size


__all__ = ["Shrunk", "shrink"]
