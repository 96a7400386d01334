"""Whether there is room for new tasks (DECISIONS 24).

Problem.  On a full disk nothing can be written any more, deletes included, and what runs cannot finish.  Choice: admission
stops while there is still room for outcomes and for prune to free more.  The disk is asked at every commit, while the disk is
busy with it (2 us), and within one commit's time the bytes admitted are counted against what was spare.  When even the reserve
is being used up, the ballast is let go; the room it leaves is for outcomes and prune, never for new tasks.

A checkpoint can wait (the next open reads a longer tail), so it takes nothing of the reserve.  What an operator orders may use it, so that
there is a way out, down to `LAST`: with nothing at all left no order could be carried out, and no journal opened.
"""

from __future__ import annotations

import contextlib
from typing import Final

from journeyman.journal.errors import JournalError, JournalFull
from journeyman.journal.store import Store

RESERVE_MAX: Final = 64 << 20  # bytes kept free on a large disk
RESERVE_MIN: Final = 2 << 20
LAST: Final = 1 << 20  # bytes that no order uses up
_SHARE: Final = 10  # a tenth of a small disk is kept free
ROOM_PER_TASK: Final = 1_000  # what a task costs beside its payload, generously


class Room:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._budget = 0  # bytes that may be admitted before the next look
        self._given = 0  # bytes of ballast that were let go
        self._spare = 0  # bytes beyond the reserve, at the last look
        self.refusal: str | None = None

    def refuse(self, payload_bytes: int) -> str | None:
        """Why a task with a payload of this size cannot be admitted now; None when it can."""
        self._budget -= payload_bytes + ROOM_PER_TASK
        if self._budget < 0 or self.refusal is not None:
            self.look()
        return self.refusal

    def look(self) -> None:
        """Ask the disk.  Wanted once a commit."""
        disk_free, disk_size = self._store.space()
        reserve = min(RESERVE_MAX, max(RESERVE_MIN, disk_size // _SHARE))
        if disk_free < reserve // 2 and not self._given:
            self._given = self._store.give_way()
        spare = self._spare = disk_free - reserve - self._given
        self._budget = spare // 8  # pages are copied on write, several for each task
        self.refusal = None
        if spare <= 0:
            self.refusal = (
                f"the disk of the journal has {disk_free:,} bytes left and {reserve + self._given:,} are kept for running tasks to"
                " finish; free some space, and submits work again"
            )

    def has(self, size: int) -> bool:
        """Whether there are `size` bytes for what can wait.  A disk that cannot even be asked fails the next commit, which says so."""
        with contextlib.suppress(OSError, JournalError):
            self.look()
            return self._spare > size
        return True

    def has_at_last(self, size: int) -> bool:
        """The same for what an operator orders."""
        with contextlib.suppress(OSError, JournalError):
            self.look()
            gauge = self._store.gauge()
            return gauge.disk_free + gauge.reusable - LAST > size
        return True

    def check_order(self) -> None:
        """JournalFull when an order must not go on."""
        if not self.has_at_last(0):
            raise JournalFull(
                "the disk of the journal is full, and the last of it is kept: `prune` ended tasks and give the order again, "
                "or free some space"
            )
