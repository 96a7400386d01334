"""Whether there is room for new tasks (DECISIONS 24).

Problem.  On a full disk nothing can be written any more, deletes included, and what runs cannot finish.  Choice: admission
stops while there is still room for outcomes and for prune to free more.  The gauge costs a system call, so it is read again
only when enough bytes have been admitted to matter, when a second has passed, or always while the journal is tight.
"""

from __future__ import annotations

from typing import Final

import trio

from journeyman.journal.store import Store

RESERVE_MAX: Final = 64 << 20  # bytes kept free on a large disk
RESERVE_MIN: Final = 2 << 20
_SHARE: Final = 10  # a tenth of a small disk is kept free
ROOM_PER_TASK: Final = 1_000  # what a task costs beside its payload, generously
_AGE: Final = 1.0  # seconds a reading stays good


class Room:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._budget = 0  # bytes that may be admitted before the next reading
        self._read_at = float("-inf")
        self.refusal: str | None = None

    def refuse(self, payload_bytes: int) -> str | None:
        """Why a task with a payload of this size cannot be admitted now; None when it can."""
        self._budget -= payload_bytes + ROOM_PER_TASK
        if self._budget < 0 or self.refusal is not None or trio.current_time() - self._read_at > _AGE:
            self._read()
        return self.refusal

    def _read(self) -> None:
        gauge = self._store.gauge()
        reserve = min(RESERVE_MAX, max(RESERVE_MIN, gauge.disk_size // _SHARE))
        spare = gauge.disk_free - reserve
        self._read_at = trio.current_time()
        self._budget = spare // 8  # pages are copied on write, several for each task
        self.refusal = None
        if spare <= 0:
            self.refusal = (
                f"the disk of the journal has {gauge.disk_free:,} bytes left and {reserve:,} are kept for running tasks to finish;"
                " free some space, and submits work again"
            )
