"""A copy of a journal's data while an engine writes to it.

Problem.  LMDB copies itself consistently and fast (`mdb_env_copyfd`, free pages left out), but from first to last byte in one call into C
that knows no progress and hears no Ctrl-C.  Choice: a thread copies into a pipe, and this side moves the bytes from the pipe to the file,
counting.  Whoever stops this side closes the pipe; LMDB's next write fails, its read transaction ends, and the thread with it.  So a
stopped copy leaves no reader behind, and the engine beside it is held up by nothing; only the pages that this commit needs stay in use
meanwhile.

A database that has lost track of pages (LMDB says "incompatible") costs room and no data; then it is copied as it is, free pages
included. Rejected: a child process to be killed (it leaves a reader's slot until the engine's next minute), pages read and written by our
own code (a second implementation of LMDB's file), `cp data.mdb` (torn pages)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from typing import Final

from journeyman.journal.ahead import Ahead
from journeyman.journal.errors import JournalError
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.migrate import append_now
from journeyman.journal.store import Batch

Tell = Callable[[int, int], object]  # how much is done, of how much
_CHUNK: Final = 1 << 20


def copy_data(store: LmdbStore, directory: str, tell: Tell = lambda done, total: None) -> int:
    """Write the newest commit of `store`, opened for reading, to `directory`/data.mdb, mode 0600, on the disk when this returns; its bytes.

    It has no log: what the store's has beyond data.mdb is in the copy's.

    `tell` hears how many bytes are done, and of how many at the most: free pages are left out.
    """
    ahead = store.logged()  # taken first: what data.mdb takes from the log meanwhile is in both, and told by its number
    fd = os.open(os.path.join(directory, "data.mdb"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if not _pour(store, fd, tell, compact=True):
            os.lseek(fd, 0, os.SEEK_SET)
            os.ftruncate(fd, 0)
            _pour(store, fd, tell, compact=False)
        os.fsync(fd)
    finally:
        os.close(fd)
    _take_in(directory, ahead)
    return os.path.getsize(os.path.join(directory, "data.mdb"))


def _take_in(directory: str, ahead: Ahead) -> None:
    """Bring what the log had into the copy, and let it speak of no log."""
    copy = LmdbStore(directory, locking=False)
    try:
        rest = ahead.beyond(copy.newest_in_data().to_bytes(8, "big"))
        if rest:
            batch = Batch()
            for table, items in rest.tables.items():
                batch.put(table, items, append=True)
            append_now(copy, batch)
    finally:
        copy.close()
    if copy.failure is not None:  # its last words, that there is no log, are written at the close
        raise copy.failure


def _pour(store: LmdbStore, fd: int, tell: Tell, *, compact: bool) -> bool:
    """One copy through a pipe.  False: LMDB could not leave out the free pages."""
    total = store.gauge().map_used
    out, into = os.pipe()
    with contextlib.suppress(OSError):  # a larger pipe is a kindness of the system
        fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, _CHUNK)
    copier = _Copier(store, into, compact)
    done = 0
    try:
        copier.start()
        while chunk := os.read(out, _CHUNK):
            view = memoryview(chunk)
            while view:
                view = view[os.write(fd, view) :]
            done += len(chunk)
            tell(done, total)
    finally:
        os.close(out)
        copier.wait()
    if isinstance(copier.outcome, JournalError):
        raise copier.outcome
    return copier.outcome


class _Copier:
    """LMDB's side of the pipe.  A Ctrl-C may come while its thread is being started, so whether it has begun is settled between the two:
    who waits when it has not begun yet keeps it from beginning.
    """

    def __init__(self, store: LmdbStore, into: int, compact: bool) -> None:
        self.outcome: bool | JournalError = JournalError("the copy was given up")
        self._store, self._into, self._compact = store, into, compact
        self._turn, self._ended = threading.Lock(), threading.Event()
        self._begun = self._given_up = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="journeyman-copier", daemon=True).start()

    def _run(self) -> None:
        try:
            with self._turn:
                if self._given_up:
                    return
                self._begun = True
            self.outcome = self._store.copy_to(self._into, compact=self._compact)
        except JournalError as failure:  # told on the thread that asked
            self.outcome = failure
        finally:
            os.close(self._into)
            self._ended.set()

    def wait(self) -> None:
        """Until the store is no longer used; the other end of the pipe must be closed, or at its end."""
        with self._turn:
            self._given_up = True
        if self._begun:
            self._ended.wait()


__all__ = ["Tell", "copy_data"]
