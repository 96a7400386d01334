"""Headroom: data.mdb is longer than what it holds, so that a commit need not make it longer.

Problem.  LMDB puts new pages behind the end of its file.  To flush those, the file system must record in its own journal that the file
has grown and where its new blocks lie, which is a flush more: a commit of 64 submits took 380 us, and takes 240 where the blocks are
there. Choice: when little is left between LMDB's last page and the end of the file, the writer thread writes zeros behind the end, after
a commit to data.mdb has been answered, and flushes them there and then.  Only ever behind the end, so nothing that LMDB wrote can be
touched, and a crash leaves a file that is too long, which LMDB does not mind.  A close in good order gives the room back.

Who gets none: a journal that has not grown by `MATURE` since it was opened (a small one stays small), one that grows by `LARGE` a commit or
more (the zeros would double what is written, and beside such a commit the flush is little), and any on a disk that is nearly full.

Rejected: fallocate (blocks that are only reserved are turned into written ones by the same record in the file system's journal: no gain);
one large piece (the longer the flush, the more likely somebody waits for it); doing it when the engine opens (most journals never grow that
much).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final

from journeyman.journal.errors import JournalError

MATURE: Final = 64 << 10  # bytes of growth since the open, before which nothing is added
LEAST: Final = 64 << 10  # bytes added at a time: as many as the journal has grown since the open, in these bounds
MOST: Final = 512 << 10
LARGE: Final = MOST // 2  # bytes of growth a commit from which on it is not worth while; a full log (wal.py) comes to less
DISK_FREE: Final = 16 << 20  # bytes that must be free
PATIENCE: Final = 8  # commits from one look to the next at most: with a log in use they become ten times as large at once
_ZEROS: Final = memoryview(bytes(MOST))


class Headroom:
    """Of one data.mdb.  All methods are for the thread that commits.  Where it fails, commits go on without it."""

    def __init__(self, data: str, extent: Callable[[], tuple[int, int]]) -> None:
        """`data`: the file.  `extent()`: bytes of it up to the last page that LMDB has ever taken, and the size of the map."""
        self._fd = os.open(data, os.O_RDWR | os.O_CLOEXEC)
        self._extent = extent
        self._first = self._used = extent()[0]  # at the open; at the last look
        self._commits = 0  # since the last look
        self._due = 1  # commits from that look to the next

    def after_commit(self) -> None:
        """Add to the file if it is about to end.  Looks no more often than it has to."""
        self._commits += 1
        if self._commits < self._due or self._fd < 0:
            return
        try:
            self._look()
        except (OSError, JournalError):  # commits go on without it
            self._forget()

    def _look(self) -> None:
        used, most = self._extent()
        grown = used - self._first
        pace = max(1, (used - self._used) // self._commits)  # bytes a commit
        self._used, self._commits = used, 0
        piece = min(max(grown, LEAST), MOST)
        low = piece // 2  # bytes left, below which more are added
        end = max(os.fstat(self._fd).st_size, used)
        if end - used < low and grown >= MATURE and pace < LARGE and end + piece <= most and self._room():
            end += os.pwrite(self._fd, _ZEROS[:piece], end)
            os.fdatasync(self._fd)
        self._due = max(1, min(PATIENCE, (end - used - low) // pace))

    def settle(self) -> None:
        """LMDB is about to go: how much of the file is in use for good."""
        try:
            self._used = self._extent()[0]
        except (OSError, JournalError):
            self._forget()

    def close(self, *, in_order: bool) -> None:
        """LMDB has gone.  In good order the file ends with what is in use from now on."""
        with contextlib.suppress(OSError):
            if in_order and self._fd >= 0 and self._only_zeros():
                os.ftruncate(self._fd, self._used)
        self._forget()

    def _only_zeros(self) -> bool:
        """Whether there is something behind what is in use, and only what was written here.  Else it is another's, or for `repair`."""
        ahead = os.fstat(self._fd).st_size - self._used
        return 0 < ahead <= 2 * MOST and not os.pread(self._fd, ahead, self._used).strip(b"\0")

    def _forget(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1

    def _room(self) -> bool:
        disk = os.fstatvfs(self._fd)
        return disk.f_bavail * disk.f_frsize >= DISK_FREE


__all__ = ["DISK_FREE", "Headroom"]
