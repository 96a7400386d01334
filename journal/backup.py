"""A backup: a complete journal directory elsewhere, made while the engine works, and checked before anybody is told that it is there.

It is the journal as of one commit.  It keeps its identity and lineage: it is the same journal, as of a moment.  That is why it must never
be run *beside* the original: both would do the work that was waiting at that moment.  A backup that is only read, exported or kept does
no harm; opened in place of a lost original it goes on where that commit stood, and attempts that were running then are lost ones, as
after a kill.

The marks of entered handlers (`entered`) are not part of it: they speak of a process that is still alive, so an attempt that was running
is not charged for the loss.  Rejected: a copy of the lock files (they speak of the original's process).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from journeyman.journal.building import building
from journeyman.journal.filesystem import write_durably
from journeyman.journal.hotcopy import Tell, copy_data
from journeyman.journal.identity import SIDECAR, read_identity
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.lock import OwnerLock
from journeyman.journal.opening import open_store
from journeyman.journal.probe import examine
from journeyman.journal.store import Store, Table


class Backup(NamedTuple):
    """What a backup holds."""

    path: str
    bytes: int
    last_seq: int


def _nothing(*_: object) -> None:
    """Nobody wants to hear."""


def backup(
    path: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    copying: Tell = _nothing,
    checking: Callable[[], object] = _nothing,
    allow_unsafe_fs: bool = False,
) -> Backup:
    """Copy the journal at `path` to `destination`, where nothing may be yet, whether or not an engine writes to it.

    `copying` hears how many bytes are done, `checking` when the copy is being checked.  Occupied, JournalCorrupt (the copy is damaged, so
    the journal is), JournalFull; then nothing is left at `destination`.
    """
    store = open_store(path, readonly=True, allow_unsafe_fs=allow_unsafe_fs)
    try:
        with building(destination, allow_unsafe_fs=allow_unsafe_fs) as directory:
            size = copy_data(store, directory, copying)
            checking()
            last = settle(directory)
    finally:
        store.close()
    return Backup(os.path.abspath(os.fspath(destination)), size, last)


def settle(directory: str) -> int:
    """Make a directory that holds a data.mdb and nothing more a journal that was closed in good order, after a child process has looked at
    all of it; its newest seq.  JournalCorrupt.
    """
    examine(directory, thorough=True)
    copied = LmdbStore(directory, readonly=True, locking=False)
    try:
        identity = read_identity(copied)
        last = last_seq(copied)
    finally:
        copied.close()
    if identity is not None:
        write_durably(os.path.join(directory, SIDECAR), identity.journal.hex().encode() + b"\n")
    lock = OwnerLock(directory)
    lock.own()
    lock.release(clean=True)
    return last


def last_seq(store: Store) -> int:
    """The newest event; 0 if there is none."""
    pair = store.last(Table.EVENTS)
    return 0 if pair is None else int.from_bytes(pair[0], "big")


__all__ = ["Backup", "backup", "last_seq", "settle"]
