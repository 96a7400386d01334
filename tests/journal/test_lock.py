"""The lock of a journal, asked for while its owner lets go of it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from journeyman.journal.errors import JournalLocked
from journeyman.journal.lock import OwnerLock


def test_whoever_refuses_is_named_also_while_it_closes(tmp_path: Path) -> None:
    """Its lock may be gone by the time the system is asked who has it (FOUND 216): asked again, the journal is free, or another has it."""
    over = threading.Event()

    def open_and_close() -> None:
        while not over.is_set():
            try:
                lock = OwnerLock(str(tmp_path))
            except JournalLocked:
                continue
            time.sleep(0.0002)
            lock.release(clean=False)
            time.sleep(0.0002)

    other = threading.Thread(target=open_and_close)
    other.start()
    refusals: list[int | None] = []
    try:
        for _ in range(2_000):
            try:
                OwnerLock(str(tmp_path)).release(clean=False)
            except JournalLocked as refused:
                refusals.append(refused.pid)
    finally:
        over.set()
        other.join()
    assert set(refusals) <= {os.getpid()}
