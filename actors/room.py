"""Whether there is room for new tasks, and for those that wait to run (DECISIONS 24).

Problem.  On a full disk nothing can be written any more, deletes included, and what runs cannot finish.  Choice: admission
stops while there is still room for outcomes and for prune to free more.  The disk is asked at every commit, while the disk is
busy with it (2 us), and within one commit's time the bytes admitted are counted against what was spare.  When even the reserve
is being used up, the ballast is let go; the room it leaves is for outcomes and prune, never for new tasks.  A backlog of short
tasks would use up any reserve by running, so when the last of it is left nothing starts (standstill.py) until prune, or somebody,
has freed some.  What runs then still ends: several times what commits have taken lately is kept for that.  Where that alone holds
starts and the file has free pages, they come one at a time.

A journal that once filled its disk keeps the file that it grew to, and what prune frees is pages inside it.  They are room too, as long as
no reader holds on to them and the disk has a little left for a file that must grow after all: a payload of several pages wants them in a
row, and may find none.  So a large one is admitted only while half of the file is free and the disk itself has several times its size.
The figures were found by filling, emptying and running down real disks of 16, 40 and 200 MiB with payloads of 200 bytes to 100 kB.

A checkpoint can wait (the next open reads a longer tail), so it takes nothing of the reserve.  What an operator orders may use it, so that
there is a way out, down to `LAST`: with nothing at all left no order could be carried out, and no journal opened.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from journeyman.journal.errors import JournalError, JournalFull
from journeyman.journal.store import Store

RESERVE_MAX: Final = 64 << 20  # bytes kept free on a large disk
RESERVE_MIN: Final = 2 << 20
LAST: Final = 1 << 20  # bytes that no order uses up
_SHARE: Final = 10  # a tenth of a small disk is kept free
_STEPS: Final = 3  # commits that may still come when starts are held
_INSIDE: Final = LAST // 4  # bytes of disk without which pages inside the file hardly count
_LAG: Final = 100  # commits since the oldest read began, beyond which they do not count at all
_SCATTERED: Final = 4  # of the last quarter of the file no free pages are taken to be in a row
_PAGE: Final = 4_000  # bytes of payload that one page holds
_NO_LIMIT: Final = 1 << 62
ROOM_PER_TASK: Final = 1_000  # what a task costs beside its payload, generously


class Room:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._budget = 0  # bytes that may be admitted before the next look
        self._given = 0  # bytes of ballast that were let go
        self._taken: int | None = None  # bytes of the file in use, at the last look at it
        self._step = 0  # how many more a commit has taken lately
        self._piece = 0  # bytes of the largest payload or result that was written lately
        self._spare = 0  # bytes for what can wait, at the last look: of pages inside the file half, for prune may need the rest
        self._in_a_row = _NO_LIMIT  # bytes that a payload may have
        self.refusal: str | None = None
        self.short = False  # whether the disk has nothing beyond the reserve
        self.holds_starts = False  # whether nothing may start
        self.trickles = False  # whether one may nevertheless, while nothing runs
        self.strained = False  # whether starts are held, or nothing is admitted

    def refuse(self, payload_bytes: int, largest: Callable[[], int] | None = None) -> str | None:
        """Why tasks with payloads of this size, together, cannot be admitted now; None when they can.

        `largest`: the size of the largest among several.
        """
        self._budget -= payload_bytes + ROOM_PER_TASK
        if self._budget < 0 or self.refusal is not None:
            self.look()
        if self.refusal is None and payload_bytes > self._in_a_row and (size := largest() if largest else payload_bytes) > self._in_a_row:
            return (
                f"the disk of the journal has no room for a payload of {size:,} bytes in one piece; `journeyman compact` the journal"
                " while no engine has it open, or free some space"
            )
        return self.refusal

    def look(self) -> None:
        """Ask the disk.  Wanted once a commit."""
        disk_free, disk_size = self._store.space()
        reserve = min(RESERVE_MAX, max(RESERVE_MIN, disk_size // _SHARE))
        if disk_free < reserve // 2 and not self._given:
            self._given = self._store.give_way()
            disk_free += self._given
        spare, self._in_a_row = disk_free - reserve - self._given, _NO_LIMIT
        self.short, self.holds_starts, self.trickles = spare <= 0, False, False
        if self.short:
            reusable, in_rows = self._look_inside(disk_free, reserve // 2)
            left = disk_free + (reusable if self._piece <= _PAGE else in_rows)
            self.holds_starts = left < LAST + _STEPS * self._step
            self.trickles = self.holds_starts and disk_free > LAST + 4 * self._piece and reusable > RESERVE_MIN
            if disk_free > _INSIDE:
                spare = max(spare, reusable - max(RESERVE_MIN, self._given))
        else:
            self._taken, self._step, self._piece = None, 0, 0
        self._spare = spare // 2 if self.short else spare
        self._budget = spare // 8  # pages are copied on write, several for each task
        self.refusal = None
        if spare <= 0:
            self.refusal = (
                f"the disk of the journal has {disk_free:,} bytes left and {reserve + self._given:,} are kept for running tasks to"
                " finish; prune ended tasks, or free some space, and submits work again"
            )
        self.strained = self.holds_starts or spare <= 0

    def learn(self, piece: int) -> None:
        """The largest payload or result of a commit, 0 for none, while room is short."""
        if piece:
            self._piece = max(piece, self._piece - self._piece // 64)

    def _look_inside(self, disk_free: int, most: int) -> tuple[int, int]:
        """Bytes in pages of the file that are free, and those of them that are likely to lie in rows.  Learns how large a payload may be,
        and what a commit takes (`most` at most).
        """
        gauge = self._store.gauge()
        taken = gauge.map_used - gauge.reusable
        if self._taken is not None and self._taken != taken:  # there was a commit
            self._step = min(most, max(self._step - self._step // 16, taken - self._taken))
        self._taken = taken
        if gauge.reader_lag > _LAG or (disk_free < _INSIDE and gauge.reusable < gauge.map_used // 2):
            return 0, 0
        if gauge.reusable > gauge.map_used // 2:
            self._in_a_row = max(_PAGE, (disk_free - LAST // 2) // 4)
        else:
            self._in_a_row = _PAGE
        return gauge.reusable, max(0, gauge.reusable - gauge.map_used // _SCATTERED)

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
