"""One engine per journal: a lock file of our own, which also tells how the last owner went.

Problem.  LMDB's own lock file lets several writers take turns, and must never be opened by anyone else.  Choice: flock(2) on `owner.lock`.
The lock goes with the process whatever kills it; the file's text stays: "open ..." while owned, "closed SIZE MTIME" after a close in good
order.  So the next owner knows whether to look at the data in a child process first: after an unclean end, or when data.mdb is not as it
was left.

Tools ask who owns a journal without taking a lock, or an engine that opens at that moment would be refused.  For them the owner also locks
single bytes of the file by its open description (fcntl(2), F_OFD_SETLK): one as long as it owns, one from when it has found the journal
sound, one from when it writes.  Such locks can be asked for from another container and on an overlay, where /proc/locks, which alone tells
the process, leaves locks out or calls the file by another name.

A forked child closes its copy of the descriptor, else it would hold the lock beyond the parent's death.  Rejected: pid files (stale after a
crash), POSIX locks of the process (lost when any descriptor of the file is closed).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from itertools import count
from struct import Struct
from typing import Final

from journeyman.journal.errors import JournalLocked
from journeyman.journal.forked import abandon_after_fork
from journeyman.journal.plain import open_plain, read_plain

LOCK_NAME: Final = "owner.lock"
FLOCK: Final = Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid
TRIES: Final = 5
_OWNS, _SOUND, _WRITES = range(3)  # the bytes of the file that its owner locks


class OwnerLock:
    """Held from construction to `release`.  JournalLocked when another has it."""

    def __init__(self, directory: str) -> None:
        self.path = os.path.join(directory, LOCK_NAME)
        self._data = os.path.join(directory, "data.mdb")
        self._fd = open_plain(self.path, os.O_RDWR | os.O_CREAT)
        try:
            self._take(directory)
        except JournalLocked:
            os.close(self._fd)
            raise
        self._last = os.pread(self._fd, 200, 0)
        self._say(_OWNS)
        os.fchmod(self._fd, 0o600)
        abandon_after_fork(self)

    def _take(self, directory: str) -> None:
        for tries in count(1):
            try:
                return fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as failure:
                pid = owner_of(directory)
                if not pid and tries < TRIES:
                    continue  # nobody that can be seen has it: its owner may have closed just now
                # The system knows who has it; the text in the file may still be the last owner's, for the new one looks at the data first.
                pid = pid or _pid_in(os.pread(self._fd, 200, 0))
                here = " (this process)" if pid == os.getpid() else ""
                owner = "another engine" if pid is None else f"the engine of process {pid}{here}"
                raise JournalLocked(
                    f"the journal at {directory} is open in {owner}: one engine per journal; stop that one or use another path", pid
                ) from failure

    @property
    def suspicious(self) -> bool:
        """Whether the last owner did not close in good order, or data.mdb is not as it left it.  True too where nobody ever was."""
        return self._last != _closing_words(self._data)

    @property
    def unclean(self) -> bool:
        """Whether the last owner died."""
        return self._last.startswith(b"open")

    def withdraw(self) -> None:
        """Let go, and leave no trace in a directory that was never ours."""
        if self._fd >= 0 and not self._last:
            os.unlink(self.path)
        self.release(clean=False)

    def own(self) -> None:
        """Write down who owns the journal, and has found it sound; on disk, so that a power cut counts as an unclean end."""
        self._write(b"open pid %d\n" % os.getpid())
        os.fsync(self._fd)
        self._say(_SOUND)

    def writes(self) -> None:
        """From here on commits may be in the log that nobody was told of."""
        self._say(_WRITES)

    def _say(self, byte: int, kind: int = fcntl.F_WRLCK, length: int = 1) -> None:
        with contextlib.suppress(OSError):  # a file system without such locks: /proc/locks has to do
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, FLOCK.pack(kind, os.SEEK_SET, byte, length, 0))

    def release(self, *, clean: bool) -> None:
        """Let go.  `clean`: the store was closed in good order."""
        if self._fd < 0:
            return
        if clean:
            with contextlib.suppress(OSError):  # a full disk: then the next owner looks twice
                self._write(_closing_words(self._data))
        self._say(_OWNS, fcntl.F_UNLCK, 0)  # a child forked just now may still have its copy of the descriptor open
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        os.close(self._fd)
        self._fd = -1

    def _write(self, text: bytes) -> None:
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))

    def abandon(self) -> None:
        """In a forked child: the lock is the parent's."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def owner_of(directory: str) -> int | None:
    """The process that has the journal open now; None for none, 0 for one that cannot be seen from here (another container)."""
    try:
        found = os.stat(os.path.join(directory, LOCK_NAME))
    except OSError:
        return None
    unseen = 0 if _said(directory, _OWNS) else None
    try:
        with open("/proc/locks", encoding="ascii") as file:
            locks = [line.split() for line in file if "FLOCK" in line]
    except OSError:
        return unseen
    name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for words in locks:
        if "->" not in words and words[5] == name:
            return max(int(words[4]), 0)
    return unseen


def looked_at(directory: str) -> bool:
    """Whether a process has the journal open and has found it sound."""
    return _said(directory, _SOUND)


def written_to(directory: str) -> bool:
    """Whether a process has the journal open for writing."""
    return _said(directory, _WRITES)


def _said(directory: str, byte: int) -> bool:
    """Whether the owner has locked this byte."""
    try:
        fd = os.open(os.path.join(directory, LOCK_NAME), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        kind, *_ = FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)))
    except OSError:
        return False
    finally:
        os.close(fd)
    return bool(kind != fcntl.F_UNLCK)


def left_in_order(directory: str) -> bool:
    """Whether the last owner closed the journal here in good order, and data.mdb is as it left it."""
    return _words(directory) == _closing_words(os.path.join(directory, "data.mdb")) != b""


def closed_once(directory: str) -> bool:
    """Whether the last owner of the journal here closed it in good order."""
    return (_words(directory) or b"").startswith(b"closed")


def _words(directory: str) -> bytes | None:
    return read_plain(os.path.join(directory, LOCK_NAME), 200)


def _closing_words(data: str) -> bytes:
    try:
        found = os.stat(data)
    except FileNotFoundError:
        return b""
    return b"closed %d %d\n" % (found.st_size, found.st_mtime_ns)


def _pid_in(text: bytes) -> int | None:
    words = text.split()
    return int(words[2]) if len(words) == 3 and words[:2] == [b"open", b"pid"] and words[2].isdigit() else None
