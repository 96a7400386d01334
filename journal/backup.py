"""A backup: a complete journal directory elsewhere, made while the engine works, and checked before anybody is told that it is there.

It is the journal as of one commit.  It keeps its identity, and its lineage until it is first opened to be written to (identity.py): it is
the same journal, as of a moment.  That is why it must never be run *beside* the original: both would do the work that was waiting at that
moment.  A backup that is only read, exported or kept does no harm; opened in place of a lost original it goes on where that commit stood,
and attempts that were running then are lost ones, as after a kill.

The marks of entered handlers (`entered`) are not part of it: they speak of a process that is still alive, so an attempt that was running
is not charged for the loss.  Rejected: a copy of the lock files (they speak of the original's process).
"""

from __future__ import annotations

import os
from typing import NamedTuple

from journeyman.journal.building import building
from journeyman.journal.checked import Checking, check_copy
from journeyman.journal.errors import Occupied
from journeyman.journal.hotcopy import Tell, copy_data
from journeyman.journal.identity import Identity, mark_copied, read_identity, write_sidecar
from journeyman.journal.lock import OwnerLock
from journeyman.journal.opening import open_store


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
    checking: Checking = _nothing,
    allow_unsafe_fs: bool = False,
) -> Backup:
    """Copy the journal at `path` to `destination`, where nothing may be yet, whether or not an engine writes to it.

    `copying` hears how many bytes are done and of how many, `checking` what of the copy is checked, how far, and of how much.  Occupied,
    JournalCorrupt (the copy is damaged, so the journal is), JournalFull; then nothing is left at `destination`.
    """
    store = open_store(path, readonly=True, allow_unsafe_fs=allow_unsafe_fs)
    try:
        home, target = os.path.realpath(os.fspath(path)), os.path.realpath(os.fspath(destination))
        if os.path.commonpath([home, target]) == home:
            raise Occupied(f"{destination} is inside the journal's own directory, which is to hold nothing else: name another place")
        identity = read_identity(store)
        assert identity is not None  # whatever has none was not opened
        with building(destination, allow_unsafe_fs=allow_unsafe_fs) as directory:
            size = copy_data(store, directory, copying)
            last = check_copy(directory, checking)
            settle(directory, identity)
    finally:
        store.close()
    return Backup(os.path.abspath(os.fspath(destination)), size, last)


def settle(directory: str, identity: Identity) -> None:
    """Make a directory that holds a data.mdb, and nothing else that counts, a journal that was closed in good order."""
    write_sidecar(directory, identity)
    mark_copied(directory)
    lock, clean = OwnerLock(directory), False
    try:
        lock.own()
        clean = True
    finally:
        lock.release(clean=clean)


__all__ = ["Backup", "backup", "settle"]
