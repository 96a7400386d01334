"""Which handlers were entered: eight bytes a slot in a shared memory map.

Problem.  A crash charges an attempt only if its handler had been entered, and the start is journalled before that.  Choice: an executor
slot writes the seq of the AttemptStarted into its cell as it enters the handler and 0 when it leaves.  The page cache survives the death of
the process, so no sync is needed; after a power cut a mark may be missing (nothing is charged) or stale (its attempt ended long ago, so
nobody asks for that seq).  Under durability="relaxed" the power cut may have taken the start back too, and its seq will be another's: so
the next owner removes marks beyond the newest event.  Not all of them: it may die before its verdicts are stored.

Rejected: an event per entry (a commit more per start), writing to a file (a system call more per start).

Cells are native 64-bit words, written by one store instruction.  The file doubles when a slot does not fit.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from journeyman.journal.plain import open_plain

CELL: Final = 8
_FIRST_SIZE: Final = 4096


class EnteredMarks:
    """The cells of one file.  `all` after opening tells what the last process left behind."""

    def __init__(self, path: str) -> None:
        self._fd = open_plain(path, os.O_RDWR | os.O_CREAT)
        size = os.fstat(self._fd).st_size
        size = max(_FIRST_SIZE, size - size % CELL)
        os.ftruncate(self._fd, size)
        os.posix_fallocate(self._fd, 0, size)  # a hole on a full disk would be SIGBUS
        self._map = mmap.mmap(self._fd, size, mmap.MAP_SHARED)
        self._cells = memoryview(self._map).cast("Q")

    def set(self, slot: int, seq: int) -> None:
        try:
            self._cells[slot] = seq
        except IndexError:
            self._grow(slot)
            self._cells[slot] = seq

    def all(self, through: int | None = None) -> frozenset[int]:
        """What is set.  `through`: marks of later seqs are removed first."""
        marks = frozenset(self._cells) - {0}
        if through is None or not (stale := {seq for seq in marks if seq > through}):
            return marks
        for slot, seq in enumerate(self._cells):
            if seq in stale:
                self._cells[slot] = 0
        return marks - stale

    def _grow(self, slot: int) -> None:
        size = len(self._cells) * CELL
        while size <= slot * CELL:
            size *= 2
        os.posix_fallocate(self._fd, 0, size)
        self._cells.release()
        self._map.resize(size)
        self._cells = memoryview(self._map).cast("Q")

    def close(self) -> None:
        self._cells.release()
        self._map.close()
        os.close(self._fd)
